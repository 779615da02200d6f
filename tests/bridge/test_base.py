"""What both sides have in common: the PT's life, the host's, and the stop."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bridges import server_end
from tests.support.child_processes import children
from tests.support.processes import (
    CLIENT,
    CLIENT_OPTIONS,
    PLAIN_OPTIONS,
    SERVER,
    SERVER_OPTIONS,
    exchange,
    is_reset,
    receive,
    until,
)
from tests.support.session_end import SessionEnd

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Bench, End, Program

SIDES = ["client", "server"]
# What is spoken through the PT: the session, or plain bytes.
WAYS = [(side, way) for side in SIDES for way in ("session", "plain")]
STOP_SIGNALS = [signal.SIGTERM, signal.SIGHUP]
OPTIONS = {"client": PLAIN_OPTIONS, "server": SERVER_OPTIONS}
DEBUG = (
    "client",
    "--loglevel=debug",
    "--remote=127.0.0.1:9",
    f"--plugin-opts={CLIENT_OPTIONS}",
)


def play(bench: Bench, side: str, *more: str, before: tuple[str, ...] = ()) -> None:
    """Let the PT get ready, and do more then."""
    bench.pt.play(*before, *(CLIENT if side == "client" else SERVER), *more)


def start(bench: Bench, side: str, **keywords: Any) -> Program:
    options = {"options": OPTIONS[side], **keywords}
    program: Program = getattr(bench, side)(**options)
    program.said("ready: obfs4proxy")
    return program


def options_for(side: str, way: str) -> str:
    """Return the plugin options of a side that speaks so."""
    if (side, way) == ("client", "session"):
        return f"{CLIENT_OPTIONS};session=1;preconnect=0"
    return OPTIONS[side]


def carry(
    bench: Bench, side: str, way: str, *, more: str = ""
) -> tuple[Program, socket.socket]:
    """Start a side, and carry something; return pt-bridge and the host's connection."""
    listener = bench.listen()
    program = start(
        bench,
        side,
        target=listener.getsockname(),
        options=options_for(side, way) + more,
    )
    sock = bench.connect(bench.port)
    near: End = sock
    if (side, way) == ("server", "session"):
        near = SessionEnd.as_client(sock)
    near.sendall(b"x")
    other = bench.accept(listener)
    far: End = other
    if (side, way) == ("client", "session"):
        far = SessionEnd.as_server(other)
    assert far.recv(1) == b"x"
    exchange(near, far)
    return program, sock if side == "client" else other


# -- the stop --------------------------------------------------------------------------


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("side", SIDES)
def test_a_signal_stops_it(bench: Bench, side: str, number: signal.Signals) -> None:
    """ER-01, LC-08, LC-09: exit code 0, and nothing is left."""
    play(bench, side)
    program = start(bench, side)
    program.signal(number)
    assert bench.end(program) == 0
    assert program.lines[-1] == "pt-bridge[obfs4]: stopped"
    assert bench.pt.is_gone(within=0)


@pytest.mark.parametrize(("side", "way"), WAYS)
def test_a_signal_resets_what_goes_through(bench: Bench, side: str, way: str) -> None:
    """LC-09: a cut transfer must not look complete."""
    play(bench, side)
    program, host = carry(bench, side, way)
    bench.stop(program)
    assert is_reset(host)


@pytest.mark.parametrize("side", SIDES)
def test_a_signal_stops_it_before_the_pt_is_ready(bench: Bench, side: str) -> None:
    """LC-09."""
    bench.pt.play("await")
    program = getattr(bench, side)()
    bench.pt.event("started")
    bench.stop(program)


@pytest.mark.parametrize("name", ["HUP", "INT"])
def test_a_signal_that_is_ignored_at_the_start_stays_ignored(
    bench: Bench, name: str
) -> None:
    """LC-08: nohup, and jobs in the background of a script."""
    play(bench, "client")
    listener = bench.listen()
    program = start(
        bench,
        "client",
        target=listener.getsockname(),
        before=["env", f"--ignore-signal={name}"],
    )
    program.signal(signal.Signals[f"SIG{name}"])
    bench.speak()
    bench.accept(listener)
    bench.stop(program)


def test_nohup_works(bench: Bench) -> None:
    """LC-08."""
    play(bench, "client")
    program = start(bench, "client", before=["nohup"])
    program.signal(signal.SIGHUP)
    bench.connect(bench.port).close()
    bench.stop(program)


def test_by_hand_a_hangup_reads_the_owners_file_again(bench: Bench) -> None:
    """LC-08: for the next PT; where that cannot be, all goes on as before."""
    play(bench, "client")
    before = bench.for_ordinary_user()
    conf = bench.folder / "config/pt-bridge.conf"
    conf.parent.mkdir(mode=0o755)
    conf.write_text(f"ClientTransportPlugin obfs4 exec {bench.pt.path}")
    variables = {**bench.variables, "XDG_CONFIG_HOME": str(conf.parent)}
    options = CLIENT_OPTIONS.replace("exec=obfs4proxy;", "")
    given = ["--remote=127.0.0.1:9", f"--local=127.0.0.1:{bench.port}"]
    given.append(f"--plugin-opts={options}")
    program = bench.run(
        [*before, sys.executable, "-m", "pt_bridge", "client", *given], variables
    )
    program.said("ready:")
    conf.write_text("ClientTransportPlugin obfs4 garbage")
    program.signal(signal.SIGHUP)
    program.said("going on as before")
    conf.write_text("ClientTransportPlugin obfs4 exec /nowhere/obfs4proxy")
    program.signal(signal.SIGHUP)
    program.said("there is no PT program /nowhere/obfs4proxy")
    conf.write_text(f"ClientTransportPlugin obfs4 exec {bench.pt.path} --a-flag")
    program.signal(signal.SIGHUP)
    program.said("reloaded: ")
    program.said("replacing the PT")
    bench.pt.event("started", count=2)
    bench.stop(program)


def test_by_hand_a_hangup_opens_the_log_file_anew(bench: Bench, tmp_path: Path) -> None:
    """LC-08: what logrotate asks for."""
    play(bench, "client")
    log = tmp_path / "log"
    program = bench.standalone(
        *DEBUG, f"--local=127.0.0.1:{bench.port}", f"--logfile={log}"
    )
    program.said("ready:")
    log.rename(tmp_path / "log.1")
    program.signal(signal.SIGHUP)
    program.said("reloaded: ")
    bench.stop(program)
    assert "ready:" in (tmp_path / "log.1").read_text()
    assert "stopped" in log.read_text()


def test_by_hand_a_hangup_that_comes_as_it_starts_waits(bench: Bench) -> None:
    """LC-08: this one was sent before, and is pending when pt-bridge begins."""
    play(bench, "client")
    code = """if True:
        import os, signal, sys
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        os.kill(os.getpid(), signal.SIGHUP)
        os.execv(sys.executable, [sys.executable, "-m", "pt_bridge", *sys.argv[1:]])
    """
    given = [*DEBUG, f"--local=127.0.0.1:{bench.port}"]
    program = bench.run([sys.executable, "-c", code, *given], bench.variables)
    program.said("reloaded: ")
    program.said("ready:")
    bench.stop(program)


def test_a_log_file_has_the_error_that_ends_it_too(
    bench: Bench, tmp_path: Path
) -> None:
    """As the last line, which is on stderr once."""
    bench.pt.play(*CLIENT, "exit 1")
    log = tmp_path / "log"
    program = bench.standalone(
        *DEBUG, f"--local=127.0.0.1:{bench.port}", f"--logfile={log}", "--restarts=0"
    )
    code, text = bench.failure(program)
    assert code == 75
    assert program.text.count(text) == 1
    assert log.read_text().splitlines()[-1].endswith(f"error: {text}")


def test_by_hand_the_end_of_its_terminal_is_a_stop(bench: Bench) -> None:
    """LC-08: SIGHUP as it was meant; nobody is there to reload anything for."""
    play(bench, "client")
    ours, its = os.openpty()
    setsid = ["setsid", "--fork", "--wait", "--ctty"]
    given = [*DEBUG, f"--local=127.0.0.1:{bench.port}"]
    program = bench.run(
        [*setsid, sys.executable, "-m", "pt_bridge", *given],
        bench.variables,
        stdin=its,
    )
    os.close(its)
    program.said("ready:")
    (child,) = children(program.process.pid)
    child.send_signal(signal.SIGHUP)
    program.said("reloaded: ")
    os.close(ours)
    program.said("stopped")
    assert bench.end(program) == 0


@pytest.mark.parametrize("side", SIDES)
def test_a_second_signal_at_the_very_end_changes_nothing(
    bench: Bench, side: str
) -> None:
    """ER-01: systemd signals the group, and the host its plugin, a moment later."""
    play(bench, side)
    program = start(bench, side)
    program.signal(signal.SIGTERM)
    program.said("stopped")
    for _ in range(1000):
        program.signal(signal.SIGTERM)
    assert bench.end(program) == 0


def test_sigterm_ends_it_whatever_the_host_ignores(bench: Bench) -> None:
    """HQ-03: Debian's shadowsocks-libev waits for its plugin without limit."""
    play(bench, "client")
    before = ["env", "--ignore-signal=TERM", "--ignore-signal=PIPE"]
    bench.stop(start(bench, "client", before=before))


def test_a_pt_that_will_not_end_is_killed(bench: Bench) -> None:
    """LC-09: after a second, and its grandchildren with it."""
    play(bench, "client", "fork", before=("deaf",))
    program = bench.standalone(*DEBUG, f"--local=127.0.0.1:{bench.port}")
    bench.pt.event("forked")
    program.said("ready:")
    bench.stop(program)
    assert "obfs4proxy did not end in time, and is killed" in program.text
    assert set(bench.pt.named("ignored")) == {"EOF", "SIGTERM"}


def test_a_second_signal_kills_it_at_once(bench: Bench) -> None:
    """LC-09."""
    play(bench, "client", before=("deaf",))
    program = bench.standalone(*DEBUG, f"--local=127.0.0.1:{bench.port}")
    program.said("ready:")
    program.signal(signal.SIGTERM)
    bench.pt.event("ignored")
    program.signal(signal.SIGTERM)
    assert bench.end(program) == 0
    assert "is killed" not in program.text


@pytest.mark.parametrize("steps", [("deaf",), ()])
@pytest.mark.parametrize("side", SIDES)
def test_the_pt_ends_when_pt_bridge_is_killed(
    bench: Bench, side: str, steps: tuple[str, ...]
) -> None:
    """LC-03, HQ-04: whatever the PT does with its stdin and SIGTERM."""
    play(bench, side, before=steps)
    program = start(bench, side)
    bench.pt.event("started")
    program.signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    assert bench.pt.is_gone()


# -- the host --------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_a_stdin_pipe_that_ends_stops_it(bench: Bench, side: str) -> None:
    """LC-06, HQ-05: shadowsocks-libev was killed with SIGKILL."""
    play(bench, side)
    program = start(bench, side, stdin=subprocess.PIPE)
    assert program.process.stdin is not None
    program.process.stdin.close()
    assert bench.end(program) == 0
    assert program.lines[-2:] == [
        "pt-bridge[obfs4]: shadowsocks, which started pt-bridge, has ended",
        "pt-bridge[obfs4]: stopped",
    ]


def test_what_comes_on_stdin_is_thrown_away(bench: Bench) -> None:
    """LC-06."""
    play(bench, "client")
    program = start(bench, "client", stdin=subprocess.PIPE)
    os.write(program.process.stdin.fileno(), b"x" * 10_000)  # type: ignore[union-attr]
    bench.connect(bench.port).close()
    bench.stop(program)


def test_a_stdin_that_is_no_pipe_means_nothing(bench: Bench) -> None:
    """LC-06: shadowsocks-rust gives /dev/null, which is at its end all the time."""
    play(bench, "client")
    listener = bench.listen()
    program = start(bench, "client", target=listener.getsockname())
    bench.speak()
    bench.accept(listener)
    bench.stop(program)


@pytest.mark.parametrize("side", SIDES)
def test_a_host_that_dies_stops_it(bench: Bench, side: str) -> None:
    """LC-07: its stdin is /dev/null, and it hears of nothing."""
    play(bench, side)
    program = start(bench, side, before=["/bin/sh", "-c", '"$@" & wait', "host"])
    program.signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    program.said("shadowsocks, which started pt-bridge, has ended")
    program.said("stopped")
    assert bench.pt.is_gone()


# -- the PT ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "step", "sentence"),
    [
        ("client", "exit 0", "obfs4proxy ended with exit code 0"),
        ("client", "die 13", "obfs4proxy was killed by SIGPIPE"),
        ("server", "exit 2", "obfs4proxy ended with exit code 2"),
        ("server", "die 9", "obfs4proxy was killed by SIGKILL"),
    ],
)
def test_the_death_of_the_pt_ends_it(
    bench: Bench, side: str, step: str, sentence: str
) -> None:
    """LC-10, ER-10, HQ-01, SIP003 to the letter: with any code, 0 included."""
    play(bench, side, "await", "write goodbye, 192.0.2.7", step)
    program = start(bench, side, options=f"{OPTIONS[side]};restarts=0")
    bench.pt.open_gate()
    code, text = bench.failure(program)
    assert code == 75
    assert text == (
        f"{sentence}; it wrote: goodbye, [scrubbed]; restarts=0, so pt-bridge ends "
        f"with it"
    )


@pytest.mark.parametrize("death", ["die 9", "exit 0"])
@pytest.mark.parametrize(("side", "way"), WAYS)
def test_the_death_of_the_pt_resets_what_goes_through(
    bench: Bench, side: str, way: str, death: str
) -> None:
    """RL-11, SK-13: whatever its own end looks like."""
    play(bench, side, "await", death)
    program, host = carry(bench, side, way, more=";restarts=0")
    bench.pt.open_gate()
    assert is_reset(host)
    assert bench.failure(program)[0] == 75


@pytest.mark.parametrize("way", ["session", "plain"])
def test_the_death_of_the_last_pt_resets_what_is_parked(bench: Bench, way: str) -> None:
    """RL-11, SK-13: nobody will carry it any more."""
    play(bench, "client", "await", "die 9")
    options = f"{options_for('client', way)};restarts=0"
    program = start(bench, "client", options=options)
    waiting = bench.connect(bench.port)
    bench.pt.open_gate()
    assert is_reset(waiting)
    assert bench.failure(program)[0] == 75


def test_a_stop_that_meets_the_pt_first_is_a_stop(bench: Bench) -> None:
    """LC-09: systemd signals the whole group at once."""
    play(bench, "client")
    program = start(bench, "client")
    pid = bench.pt.pid
    # However slow we are here, it hears of both at the same time.
    program.signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGTERM)
    assert bench.pt.is_gone()
    program.signal(signal.SIGTERM)
    program.signal(signal.SIGCONT)
    assert bench.end(program) == 0


def test_the_pt_is_started_and_ready_within_the_limit_or_never(bench: Bench) -> None:
    """PO-09, ER-10."""
    bench.pt.play("write why not", "say hello")
    for limit in ("1.5", "10", "60"):  # a busy machine needs a longer one for its words
        options = f"transport=obfs3;exec=obfs4proxy;start-timeout={limit}"
        code, text = bench.failure(bench.client(options=options))
        if "it said" in text:
            break
    assert code == 75
    assert text == (
        f"obfs4proxy was not ready within {limit} seconds; it said: hello "
        "(start-timeout= sets the limit)"
    )


def test_the_death_of_the_pt_is_seen_where_the_host_ignores_sigchld(
    bench: Bench,
) -> None:
    """LC-10, LC-12: it is inherited, and the kernel then reaps our child for us."""
    play(bench, "client", "await", "exit 2")
    options = f"{PLAIN_OPTIONS};restarts=0"
    before = ["env", "--ignore-signal=CHLD"]
    program = start(bench, "client", before=before, options=options)
    bench.pt.open_gate()
    code, text = bench.failure(program)
    assert code == 75
    assert text.startswith("obfs4proxy ended with exit code 2; restarts=0")


# -- restarts --------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_a_pt_that_dies_is_started_again(bench: Bench, side: str) -> None:
    """The log says that, and why, in one line."""
    play(bench, side, "await", "die 9")
    program = start(bench, side)
    for count in (1, 2):
        bench.pt.event("started", count=count)
        bench.pt.open_gate()
    bench.pt.event("started", count=3)
    until(lambda: program.heard().count("ready: obfs4proxy") == 3)
    bench.stop(program)
    line = "warning: obfs4proxy was killed by SIGKILL; starting the PT again in 0."
    assert program.text.count(line) == 2
    assert "s (1 of 5)" in program.text
    assert "s (2 of 5)" in program.text


@pytest.mark.parametrize("way", ["session", "plain"])
def test_a_connection_that_comes_between_two_pts_is_carried_by_the_second(
    bench: Bench, way: str
) -> None:
    """It waits behind the open port."""
    listener = bench.listen()
    play(bench, "client", "await", "die 9")
    target, options = listener.getsockname(), options_for("client", way)
    program = start(bench, "client", target=target, options=options)
    play(bench, "client", before=("await",))
    bench.pt.open_gate()
    bench.pt.event("started", count=2)
    near = bench.speak()
    bench.pt.open_gate()
    far = server_end(bench, listener, way)
    assert far.recv(1) == b"x"
    exchange(near, far)
    bench.stop(program)


@pytest.mark.parametrize("way", ["session", "plain"])
def test_a_connection_whose_dialling_the_pt_does_not_survive_gets_the_next_pt(
    bench: Bench, way: str
) -> None:
    """Nothing of it has left us, so nothing is lost."""
    bench.pt.play(
        "say VERSION 1", "client socks5 silent", "say CMETHODS DONE", "await", "die 9"
    )
    listener = bench.listen()
    options = options_for("client", way)
    program = start(bench, "client", target=listener.getsockname(), options=options)
    near = bench.connect(bench.port)
    near.sendall(b"question")
    bench.pt.event("accepted")
    play(bench, "client")
    bench.pt.open_gate()
    far = server_end(bench, listener, way)
    assert far.recv(8) == b"question"
    exchange(near, far)
    bench.stop(program)
    assert "a connection failed" not in program.text


def test_a_stream_that_was_not_accepted_survives_the_pts_death(bench: Bench) -> None:
    """Its bytes were kept: it is tried again through the next PT, under the same id."""
    play(bench, "client", "await", "die 9")
    listener = bench.listen()
    options = options_for("client", "session")
    program = start(bench, "client", target=listener.getsockname(), options=options)
    near = bench.connect(bench.port)
    near.sendall(b"question")
    first = SessionEnd.before_accept(bench.accept(listener))
    bench.pt.open_gate()
    far = SessionEnd.as_server(bench.accept(listener))
    assert far.opened == first.opened
    assert receive(far, 8) == b"question"
    exchange(near, far)
    bench.stop(program)


def test_a_pt_that_keeps_dying_ends_it(bench: Bench) -> None:
    """ER-10: as SIP003 asks."""
    play(bench, "client", "die 11")
    program = start(bench, "client", options=f"{PLAIN_OPTIONS};restarts=2")
    code, text = bench.failure(program)
    assert code == 75
    assert text == (
        "obfs4proxy was killed by SIGSEGV; it failed 3 times without a quiet minute "
        "between: look at what it wrote, or raise restarts= (now 2)"
    )
    assert len(bench.pt.named("started")) == 3


@pytest.mark.parametrize("side", SIDES)
def test_a_pt_that_does_not_come_up_again_at_once_is_tried_again(
    bench: Bench, side: str
) -> None:
    """It counts as one more death."""
    play(bench, side, "await", "die 9")
    program = start(bench, side)
    bench.pt.play("tell fails", "await", "exit 1")
    bench.pt.open_gate()
    bench.pt.event("fails")
    play(bench, side)
    bench.pt.open_gate()
    bench.pt.event("started", count=3)
    until(lambda: program.heard().count("ready: obfs4proxy") == 2)
    bench.stop(program)
    assert "a pluggable transport?; starting the PT" in program.text


BEGIN = ("say VERSION 1", "say PROXY DONE")


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ((*BEGIN, "say CMETHOD-ERROR obfs4 no", "say CMETHODS DONE"), 69),
        (("say VERSION-ERROR no-version",), 76),
        (("say ENV-ERROR no",), 76),
        ((*BEGIN, "say CMETHODS DONE"), 69),
    ],
)
def test_a_failure_that_will_repeat_is_not_retried(
    bench: Bench, steps: tuple[str, ...], code: int
) -> None:
    play(bench, "client", "await", "die 9")
    program = start(bench, "client")
    bench.pt.play(*steps)
    bench.pt.open_gate()
    assert bench.failure(program)[0] == code
    assert len(bench.pt.named("started")) == 2


def test_a_pt_that_is_gone_when_it_is_to_be_started_again_is_an_error(
    bench: Bench,
) -> None:
    """ER-07: it will not come back by itself."""
    play(bench, "client", "await", "die 9")
    program = start(bench, "client")
    bench.pt.path.unlink()
    bench.pt.path.write_text("half of it")
    bench.pt.path.chmod(0o755)
    bench.pt.open_gate()
    code, text = bench.failure(program)
    assert code == 71
    assert "cannot start" in text


@pytest.mark.parametrize("side", SIDES)
def test_a_stop_between_two_pts_starts_no_second(bench: Bench, side: str) -> None:
    """Never once we are asked to stop."""
    play(bench, side, "await", "die 9")
    program = start(bench, side, options=f"{OPTIONS[side]};restarts=1000")
    bench.pt.open_gate()
    assert bench.pt.is_gone()
    program.signal(signal.SIGTERM)
    assert bench.end(program) == 0
    assert len(bench.pt.named("started")) == 1


@pytest.mark.parametrize("side", SIDES)
def test_no_pt_is_left_when_pt_bridge_is_killed_between_two(
    bench: Bench, side: str
) -> None:
    """LC-03: at any moment; the second one may have begun."""
    play(bench, side, "await", "die 9")
    program = start(bench, side)
    play(bench, side, before=("deaf",))
    bench.pt.open_gate()
    assert bench.pt.is_gone()
    program.signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    assert bench.pt.is_gone()


@pytest.mark.parametrize("side", SIDES)
def test_no_pt_is_left_when_pt_bridge_is_killed_while_it_starts(
    bench: Bench, side: str
) -> None:
    """LC-03: at any moment; this PT hears neither its stdin nor SIGTERM."""
    bench.pt.play("deaf", "tell deaf", "await")
    program = getattr(bench, side)()
    bench.pt.event("deaf")
    program.signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    assert bench.pt.is_gone()


@pytest.mark.parametrize("side", SIDES)
def test_no_pt_is_left_when_pt_bridge_is_killed_while_it_stops(
    bench: Bench, side: str
) -> None:
    """LC-03, HQ-04: shadowsocks-rust does that after 10 ms."""
    play(bench, side, before=("deaf",))
    program = start(bench, side)
    program.signal(signal.SIGTERM)
    bench.pt.event("ignored")
    program.signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    assert bench.pt.is_gone()


# -- Ctrl-C ----------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_ctrl_c_is_for_the_host_to_answer(bench: Bench, side: str) -> None:
    """It stops us then, or ends; a second one is meant for us."""
    play(bench, side)
    program = start(bench, side, stdin=subprocess.PIPE)
    program.signal(signal.SIGINT)
    program.signal(signal.SIGUSR1)
    program.said("status: up")
    program.signal(signal.SIGINT)
    assert bench.end(program) == 0


def by_hand(bench: Bench, target: tuple[str, int]) -> Program:
    program = bench.standalone(
        "client",
        f"--remote={target[0]}:{target[1]}",
        f"--local=127.0.0.1:{bench.port}",
        f"--plugin-opts={PLAIN_OPTIONS}",
    )
    program.said("ready: obfs4proxy")
    return program


def test_ctrl_c_lets_what_is_open_finish(bench: Bench) -> None:
    """Nothing new, and the end of the last one is ours."""
    play(bench, "client")
    listener = bench.listen()
    program = by_hand(bench, listener.getsockname())
    near = bench.speak()
    far = bench.accept(listener)
    assert far.recv(1) == b"x"
    program.signal(signal.SIGINT)
    program.said("finishing 1 tunnel; Ctrl-C again to stop")
    with pytest.raises(ConnectionRefusedError):
        bench.connect(bench.port)
    exchange(near, far)
    near.close()
    far.close()
    assert bench.end(program) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_let_it_finish(
    bench: Bench, number: signal.Signals
) -> None:
    play(bench, "client")
    listener = bench.listen()
    program = by_hand(bench, listener.getsockname())
    near = bench.speak()
    bench.accept(listener).recv(1)
    program.signal(signal.SIGINT)
    program.said("finishing 1 tunnel")
    program.signal(number)
    assert is_reset(near)
    assert bench.end(program) == 0


def test_ctrl_c_with_nothing_open_stops_it(bench: Bench) -> None:
    """A listening port is nothing to wait for."""
    play(bench, "client")
    program = by_hand(bench, ("127.0.0.1", 9))
    program.signal(signal.SIGINT)
    assert bench.end(program) == 0
    assert "finishing" not in program.text


# -- what people and systemd ask -------------------------------------------------------


def test_a_signal_asks_how_it_is(bench: Bench) -> None:
    """No address, no secret, whatever the log's level."""
    bench.pt.play(
        "say VERSION 1",
        'say STATUS TYPE=version IMPLEMENTATION="lyrebird" VERSION="0.8.1"',
        *CLIENT[1:],
        "await",
        "die 9",
    )
    listener = bench.listen()
    options = f"{PLAIN_OPTIONS};loglevel=error"
    program = bench.client(listener.getsockname(), options=options)
    bench.pt.event("started")
    near = bench.connect(bench.port)
    near.sendall(b"12345678")
    far = bench.accept(listener)
    exchange(near, far)
    program.signal(signal.SIGUSR1)
    pid = bench.pt.pid
    line = program.said(f"status: lyrebird 0.8.1, pid {pid}: ")
    assert re.search(r": \d+\.\d MiB, \d+ descriptors$", line)
    program.said("status: tunnels: 1 open, 1 in all; 24 bytes")
    program.said("status: up ")
    bench.pt.open_gate()
    assert is_reset(near)
    bench.pt.event("started", count=2)
    program.signal(signal.SIGUSR1)
    program.said("status: tunnels: 0 open, 1 in all; 24 bytes")
    bench.stop(program)


def test_systemd_is_told_of_the_start_and_the_stop(bench: Bench) -> None:
    """Type=notify; a restart of the PT is no business of its."""
    play(bench, "client", "await", "die 9")
    sock = bench.systemd()
    program = by_hand(bench, ("127.0.0.1", 9))
    assert sock.recv(100) == b"READY=1"
    bench.pt.open_gate()
    bench.pt.event("started", count=2)
    until(lambda: program.heard().count("ready: obfs4proxy") == 2)
    bench.stop(program)
    assert sock.recv(100) == b"STOPPING=1"


def test_the_hosts_systemd_is_told_nothing(bench: Bench) -> None:
    """HQ-07: the socket is shadowsocks's own."""
    play(bench, "client")
    sock = bench.systemd()
    bench.stop(start(bench, "client"))
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(100)


ANY_PORT = "127.0.0.1:[0-9]+"
ENVIRONMENT = {
    "client": {"TOR_PT_CLIENT_TRANSPORTS": "obfs4"},
    "server": {
        "TOR_PT_AUTH_COOKIE_FILE": "/proc/self/fd/[0-9]+",
        "TOR_PT_EXTENDED_SERVER_PORT": ANY_PORT,
        "TOR_PT_ORPORT": "127.0.0.1:9",
        "TOR_PT_SERVER_BINDADDR": "obfs4-127.0.0.1:{port}",
        "TOR_PT_SERVER_TRANSPORTS": "obfs4",
    },
}


@pytest.mark.parametrize("side", SIDES)
def test_the_environment_of_the_pt_is_an_allow_list(bench: Bench, side: str) -> None:
    """PE-01, PE-02, PE-05, SE-11: no SS_*, no leftovers, no proxies."""
    bench.variables |= {
        "ALL_PROXY": "socks5://192.0.2.1:9",
        "LC_MESSAGES": "de_DE.UTF-8",
        "NOTIFY_SOCKET": "/run/notify",
        "TOR_PT_CLIENT_TRANSPORTS": "stale",
        "TOR_PT_SERVER_TRANSPORTS": "stale",
        "TOR_PT_PROXY": "socks5://192.0.2.1:9",
        "TOR_PT_EXTENDED_SERVER_PORT": "stale",
        "TZ": "UTC",
    }
    play(bench, side)
    bench.stop(start(bench, side))
    got = bench.pt.environment
    common = {
        "LANG": "C.UTF-8",
        "LC_MESSAGES": "de_DE.UTF-8",
        "PATH": bench.variables["PATH"],
        "TMPDIR": bench.variables["TMPDIR"],
        "TOR_PT_EXIT_ON_STDIN_CLOSE": "1",
        "TOR_PT_MANAGED_TRANSPORT_VER": "1",
        "TZ": "UTC",
    }
    state = got.pop("TOR_PT_STATE_LOCATION")
    assert state.startswith(str(bench.folder))
    for name, pattern in ENVIRONMENT[side].items():
        expected = pattern.replace("{port}", str(bench.port))
        assert re.fullmatch(expected, got.pop(name)), name
    assert got == common


def test_the_working_directory_is_not_searched_for_the_pt(bench: Bench) -> None:
    """SE-03: shadowsocks-libev puts it in front of PATH, and the PT's PATH has none."""
    trap = bench.install("trap").folder
    (trap / "obfs4proxy").write_text("#!/bin/sh\necho trapped >&2\n")
    (trap / "obfs4proxy").chmod(0o755)
    path = bench.variables["PATH"]
    bench.variables["PATH"] = f"{trap}:relative:{path}"
    play(bench, "client")
    program = start(bench, "client", folder=trap)
    bench.stop(program)
    assert bench.pt.environment["PATH"] == path
    assert f"starting {bench.pt.path}" in program.text


def test_the_pt_is_out_of_reach_of_the_terminals_signals(bench: Bench) -> None:
    """LC-05, LC-04: a group of its own, and three pipes."""
    play(bench, "client")
    bench.stop(start(bench, "client", stdin=subprocess.PIPE))
    report = bench.pt.report()
    assert report["group"] == report["pid"]
    assert sorted(report["descriptors"]) == [0, 1, 2]
    assert (report["folder"], report["umask"]) == ("/", 0o077)


@pytest.mark.parametrize("descriptor", [1, 2])
def test_a_flood_from_the_pt_does_no_harm(bench: Bench, descriptor: int) -> None:
    """PE-13, FE-19: nobody reads our own stderr meanwhile."""
    play(bench, "client", f"flood {descriptor} 4", "tell written")
    listener = bench.listen()
    program = start(bench, "client", target=listener.getsockname())
    bench.pt.event("written")
    bench.speak()
    bench.accept(listener)
    bench.stop(program)


LYREBIRD = 'say STATUS TYPE=version IMPLEMENTATION="lyrebird" VERSION="devel"'


@pytest.mark.parametrize("way", ["session", "plain", "auto"])
def test_a_client_is_warned_of_lyrebird_without_a_session(
    bench: Bench, way: str
) -> None:
    """RL-07, RL-08, PO-15: whatever the program is called."""
    first, *others = CLIENT
    bench.pt.play(first, LYREBIRD, *others)
    options = CLIENT_OPTIONS if way == "auto" else options_for("client", way)
    program = start(bench, "client", options=options)
    bench.stop(program)
    warnings = program.text.count("warning: lyrebird does not pass on")
    assert warnings == (way == "plain")


def test_a_server_is_warned_of_clients_without_a_session_with_lyrebird(
    bench: Bench,
) -> None:
    """RL-07, RL-08: once, when the first one comes."""
    first, *others = SERVER
    bench.pt.play(first, LYREBIRD, *others)
    listener = bench.listen()
    program = start(bench, "server", target=listener.getsockname())
    near = SessionEnd.as_client(bench.connect(bench.port))
    near.sendall(b"x")
    assert bench.accept(listener).recv(1) == b"x"
    assert "lyrebird does not" not in program.heard()
    for _ in range(2):
        bench.speak()
        assert bench.accept(listener).recv(1) == b"x"
    bench.stop(program)
    assert program.text.count("warning: a client without a session has come") == 1


def test_warnings_of_the_options_are_logged(bench: Bench) -> None:
    """An argument that the transport does not take."""
    play(bench, "client")
    program = start(
        bench, "client", options="transport=obfs3;exec=obfs4proxy;crt=AAAAAAA"
    )
    bench.stop(program)
    assert "warning: obfs3 takes no 'crt'" in program.text


def test_what_the_pt_says_is_logged_without_secrets(bench: Bench) -> None:
    """SE-05, SE-06, SE-08, PO-14, PO-16: no address, no argument, no forged line."""
    bench.pt.play(
        r'say LOG SEVERITY=notice MESSAGE="to 192.0.2.7:443\npt-bridge[obfs4]: forged"',
        "write dialling 198.51.100.9:80 with cert=SECRETSECRETSECRETSECRET",
        "await",  # two pipes: what is written could be read after it is ready
        r'say LOG SEVERITY=error MESSAGE="at [2001:db8::1]:443"',
        *CLIENT,
    )
    program = bench.client()
    program.said("dialling")
    bench.pt.open_gate()
    program.said("ready: obfs4proxy")
    bench.stop(program)
    assert r"obfs4proxy: to [scrubbed]:443\npt-bridge[obfs4]: forged" in program.text
    assert "dialling [scrubbed]:80 with cert=[scrubbed]" in program.text
    assert "error: obfs4proxy: at [[scrubbed]]:443" in program.text


def test_starting_and_stopping_takes_a_moment(bench: Bench) -> None:
    """LC-09, HQ-03: the whole stop, of a PT that behaves, far below 1.5 s."""
    play(bench, "client")
    program = start(bench, "client")
    began = time.monotonic()
    bench.stop(program)
    assert time.monotonic() - began < 15
    assert [re.sub(r"/\S+|\d+", "N", line) for line in program.lines] == [
        "pt-bridge[obfsN]: starting N",
        "pt-bridge[obfsN]: ready: obfsNproxy, listening on port N",
        "pt-bridge[obfsN]: stopped",
    ]
