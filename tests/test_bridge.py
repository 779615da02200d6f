"""What both sides have in common: the PT's life, the host's, and the stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import CLIENT, SERVER, exchange, is_reset

if TYPE_CHECKING:
    from tests.processes import Bench, Program

SIDES = ["client", "server"]
STOP_SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
DEBUG = (
    "client",
    "--loglevel=debug",
    "--remote=127.0.0.1:9",
    "--plugin-opts=transport=obfs4;exec=obfs4proxy;cert=AAAAAAAA;iat-mode=0",
)


def play(bench: Bench, side: str, *more: str, before: tuple[str, ...] = ()) -> None:
    """Let the PT get ready, and do more then."""
    bench.pt.play(*before, *(CLIENT if side == "client" else SERVER), *more)


def start(bench: Bench, side: str, **keywords: Any) -> Program:
    program: Program = getattr(bench, side)(**keywords)
    program.said("ready: obfs4proxy")
    return program


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


def test_a_signal_resets_what_goes_through(bench: Bench) -> None:
    """LC-09: a cut transfer must not look complete."""
    play(bench, "client")
    listener = bench.listen()
    program = start(bench, "client", target=listener.getsockname())
    near = bench.connect(bench.port)
    near.sendall(b"x")
    bench.accept(listener).recv(1)
    bench.stop(program)
    assert is_reset(near)


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
    near = bench.connect(bench.port)
    near.sendall(b"x")
    bench.accept(listener)
    bench.stop(program)


def test_nohup_works(bench: Bench) -> None:
    """LC-08."""
    play(bench, "client")
    program = start(bench, "client", before=["nohup"])
    program.signal(signal.SIGHUP)
    bench.connect(bench.port).close()
    bench.stop(program)


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
    assert "the PT did not end in time, and is killed" in program.text
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
        "pt-bridge[obfs4]: the host that started pt-bridge has ended",
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
    near = bench.connect(bench.port)
    near.sendall(b"x")
    bench.accept(listener)
    bench.stop(program)


@pytest.mark.parametrize("side", SIDES)
def test_a_host_that_dies_stops_it(bench: Bench, side: str) -> None:
    """LC-07: its stdin is /dev/null, and it hears of nothing."""
    play(bench, side)
    program = start(bench, side, before=["/bin/sh", "-c", '"$@" & wait', "host"])
    program.signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    program.said("the host that started pt-bridge has ended")
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
    """LC-10, ER-10, HQ-01: with any code, 0 included."""
    play(bench, side, "await", "write goodbye, 192.0.2.7", step)
    program = start(bench, side)
    bench.pt.open_gate()
    assert bench.failure(program) == (
        75,
        f"{sentence}; it wrote: goodbye, [scrubbed]",
    )


def test_the_death_of_the_pt_resets_what_goes_through(bench: Bench) -> None:
    """RL-11, SK-13."""
    play(bench, "client", "await", "die 9")
    listener = bench.listen()
    program = start(bench, "client", target=listener.getsockname())
    near, parked = bench.connect(bench.port), bench.connect(bench.port)
    near.sendall(b"x")
    far = bench.accept(listener)
    assert far.recv(1) == b"x"
    exchange(near, far)
    bench.pt.open_gate()
    assert is_reset(near)
    assert is_reset(parked)
    assert bench.failure(program)[0] == 75


def test_a_stop_that_meets_the_pt_first_is_a_stop(bench: Bench) -> None:
    """LC-09, design 2: systemd signals the whole group at once."""
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
    code, text = bench.failure(
        bench.client(options="transport=obfs3;exec=obfs4proxy;start-timeout=1.5")
    )
    assert code == 75
    assert text == (
        "obfs4proxy was not ready within 1.5 seconds; it said: hello (start-timeout= "
        "sets the limit)"
    )


def test_the_death_of_the_pt_is_seen_where_the_host_ignores_sigchld(
    bench: Bench,
) -> None:
    """LC-10, LC-12: it is inherited, and the kernel then reaps our child for us."""
    play(bench, "client", "await", "exit 2")
    program = start(bench, "client", before=["env", "--ignore-signal=CHLD"])
    bench.pt.open_gate()
    assert bench.failure(program) == (75, "obfs4proxy ended with exit code 2")


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
    if side == "client":
        expected = common | {"TOR_PT_CLIENT_TRANSPORTS": "obfs4"}
    else:
        expected = common | {
            "TOR_PT_EXTENDED_SERVER_PORT": "",
            "TOR_PT_ORPORT": "127.0.0.1:9",
            "TOR_PT_SERVER_BINDADDR": f"obfs4-127.0.0.1:{bench.port}",
            "TOR_PT_SERVER_TRANSPORTS": "obfs4",
        }
    state = got.pop("TOR_PT_STATE_LOCATION")
    assert got == expected
    assert state.startswith(str(bench.folder))


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
    near = bench.connect(bench.port)
    near.sendall(b"x")
    bench.accept(listener)
    bench.stop(program)


def test_lyrebird_is_warned_of(bench: Bench) -> None:
    """RL-07, PO-15: whatever the program is called."""
    line = 'say STATUS TYPE=version IMPLEMENTATION="lyrebird" VERSION="devel"'
    bench.pt.play(CLIENT[0], line, *CLIENT[1:])
    program = start(bench, "client")
    bench.stop(program)
    assert program.text.count("warning: lyrebird does not pass on") == 1


def test_warnings_of_the_options_are_logged(bench: Bench) -> None:
    """Design 1: an argument that the transport does not take."""
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
        r'say LOG SEVERITY=error MESSAGE="at [2001:db8::1]:443"',
        *CLIENT,
    )
    program = start(bench, "client")
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
