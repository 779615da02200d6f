"""One tunnel, started again where it fails; how PTs are replaced is another test's."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.process.test_several import carries, client_table, start
from tests.support.processes import CLIENT

if TYPE_CHECKING:
    from tests.support.processes import Bench


def test_one_that_failed_says_so_and_is_started_again(bench: Bench) -> None:
    far = bench.listen()
    bench.pt.play("exit 1")
    program = start(bench, client_table("one", bench.port, far.getsockname()[1]))
    program.said("; trying again in 2 s")
    program.signal(signal.SIGUSR1)
    program.said("status: it has failed, and is started again soon")
    bench.pt.play(*CLIENT)
    program.said("ready: ")
    carries(bench, bench.port, far)
    bench.stop(program)
