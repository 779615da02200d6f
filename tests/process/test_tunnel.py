"""One tunnel, started again where it fails; how PTs are replaced is another test's."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.support.processes import CLIENT

if TYPE_CHECKING:
    from tests.support.tunnel_rig import TunnelRig


def test_one_that_failed_says_so_and_is_started_again(rig: TunnelRig) -> None:
    rig.pt.play("exit 1")
    program = rig.run(rig.client())
    program.said("; trying again in 2 s")
    says = "status: it has failed, and is started again soon"
    rig.signal(signal.SIGUSR1, says)
    rig.pt.play(*CLIENT)
    program.said("ready: ")
    rig.carries()
    rig.stop()
