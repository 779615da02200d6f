"""One tunnel by hand: what signals mean to it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.support.processes import CLIENT
from tests.support.tunnel_rig import READY, REPLACED_HAS_ENDED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Bench
    from tests.support.tunnel_rig import TunnelRig

# What the PT is told of a client that may not come in.
DENIED = "10010000"


def test_a_hangup_replaces_a_program_that_was_upgraded(rig: TunnelRig) -> None:
    """And leaves one that is the same."""
    program = rig.start_client()
    rig.signal(signal.SIGHUP, "reloaded: ")
    content = rig.pt.path.read_text()
    new = rig.pt.path.with_name("new")
    new.write_text(f"{content}# another version\n")
    new.chmod(0o755)
    os.replace(new, rig.pt.path)
    rig.signal(signal.SIGHUP, "replacing the PT")
    rig.is_replaced(starts=2)
    rig.carries()
    program.said(REPLACED_HAS_ENDED)
    rig.stop()


def test_under_shadowsocks_nothing_is_replaced(bench: Bench) -> None:
    """SIGUSR2 means nothing there."""
    bench.pt.play(*CLIENT)
    program = bench.client()
    program.said(READY)
    program.signal(signal.SIGUSR2)
    program.signal(signal.SIGUSR1)
    program.said("status: up ")
    bench.stop(program)
    assert "replacing" not in program.text


def test_a_wrong_file_is_named_and_nothing_is_said_to_be_reloaded(
    rig: TunnelRig, tmp_path: Path
) -> None:
    """Where all is right again, what was read is named, too."""
    deny = tmp_path / "deny"
    deny.write_text("# nobody\n")
    program = rig.start_server(f"--deny={deny}")
    deny.write_text("nonsense\n")
    rig.signal(signal.SIGHUP, "line 1: 'nonsense' is no IP address")
    deny.write_text("# nobody\n")
    rig.signal(
        signal.SIGHUP,
        "reloaded: PTs are started as pt-bridge.conf says now, and --deny",
    )
    rig.stop()
    assert program.text.count("reloaded") == 1


def test_a_list_does_not_hold_where_the_rest_cannot_be_reloaded(
    rig: TunnelRig, tmp_path: Path
) -> None:
    """What is said to go on as before does."""
    deny = tmp_path / "deny"
    deny.write_text("# nobody\n")
    rig.start_server(f"--deny={deny}")
    deny.write_text("127.0.0.0/8\n")
    moved = rig.pt.path.rename(rig.pt.path.with_name("moved"))
    rig.signal(signal.SIGHUP, "going on as before")
    rig.carries()
    moved.rename(rig.pt.path)
    rig.signal(signal.SIGHUP, "reloaded: ")
    rig.bench.connect(rig.port)
    assert rig.pt.event("answered", count=2) == DENIED
    rig.stop()


def test_a_log_file_that_cannot_be_opened_anew_keeps_nothing_else_back(
    rig: TunnelRig, tmp_path: Path
) -> None:
    """And nothing is said to be as before that is not."""
    folder = tmp_path / "logs"
    folder.mkdir()
    program = rig.start_server(f"--logfile={folder / 'log'}")
    folder.rename(tmp_path / "other")
    rig.signal(
        signal.SIGHUP, f"cannot write the log file {folder / 'log'}: no such file"
    )
    program.said("the log goes on in the old file")
    program.said("reloaded: ")
    rig.stop()
    assert "as before" not in program.text
