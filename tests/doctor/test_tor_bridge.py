"""The chain of a Tor bridge: a fake PT, and a program that says what tors have said."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import fake_tor
from tests.support.processes import CLIENT, SECRET

if TYPE_CHECKING:
    from tests.support.processes import Bench

FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
BOOTSTRAP = "STATUS_CLIENT {level} BOOTSTRAP PROGRESS={progress} TAG=x SUMMARY="


def event(progress: int, summary: str = "Going on", more: str = "") -> str:
    level = "WARN" if more else "NOTICE"
    return f'{BOOTSTRAP.format(level=level, progress=progress)}"{summary}"{more}'


def problem(progress: int, reason: str, text: str) -> str:
    more = f' WARNING="{text}" REASON={reason} COUNT=1 RECOMMENDATION=warn'
    return event(progress, more=more)


ANSWERED, IDENTIFIED, DONE = event(14), event(15), event(100, "Done")
EOF = problem(10, "TLS_ERROR", "unexpected eof while reading")
OTHER = problem(14, "IDENTITY", "Unexpected identity in router certificate")
SKEW = "STATUS_GENERAL WARN CLOCK_SKEW SKEW=-172779 SOURCE=CONSENSUS"
STUCK = problem(40, "CLOCK_SKEW", "Clock skew")
BUSY = problem(50, "RESOURCELIMIT", "No room")
# The whole limit passes by where tor gets no farther; a busy machine needs a longer one
# to come that far (seconds).
LIMITS = 4, 20, 100


def doctor(bench: Bench, events: str | None, *flags: str) -> list[dict[str, Any]]:
    """Ask of a bridge behind which a tor says that; see that nothing is left."""
    bench.pt.play(*CLIENT)
    path = bench.pt.folder / "tor"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {fake_tor.__file__} "$@"\n')
    path.chmod(0o755)
    if events is not None:
        bench.variables[fake_tor.EVENTS] = events
    listener = bench.listen()
    host, port = listener.getsockname()
    line = f"Bridge obfs4 {host}:{port} {FINGERPRINT} cert={SECRET} iat-mode=0"
    program = bench.standalone("doctor", line, "--with-tor", "--json", *flags)
    program.wait()
    assert not list((bench.folder / "tmp").iterdir())
    assert SECRET not in program.text
    assert "Traceback" not in program.text
    return [json.loads(each) for each in program.output.decode().splitlines()]


@pytest.mark.parametrize(
    ("events", "link", "text"),
    [
        ([EOF, EOF], "orport", "no tor relay answers behind it (unexpected eof"),
        ([ANSWERED, OTHER], "identity", "another one than the bridge line's"),
        (
            [ANSWERED, EOF, EOF],
            "identity",
            "does not go on with its handshake",
        ),
        ([IDENTIFIED, SKEW, STUCK], "clock", "clock is 2 days behind, and tor trusts"),
    ],
)
def test_the_link_that_is_broken_is_named(
    bench: Bench, events: list[str], link: str, text: str
) -> None:
    """By what tor 0.4.9 has said of bridges that were broken like that."""
    *before, last = doctor(bench, "\n".join(events))
    assert (last["link"], last["verdict"]) == (link, "failed"), last
    assert text in last["text"]
    assert {each["verdict"] for each in before} == {"ok"}


def test_a_bridge_that_leads_into_the_network_is_said_to_do_so(bench: Bench) -> None:
    results = doctor(bench, "\n".join([ANSWERED, IDENTIFIED, event(45), DONE]))
    links = ["tor", "orport", "identity", "clock", "network"]
    assert [each["link"] for each in results[-5:]] == links
    assert {each["verdict"] for each in results} == {"ok"}
    assert results[-1]["text"].startswith("tor is at 100 %")


def test_a_clock_that_tor_bears_is_warned_of(bench: Bench) -> None:
    """Seen: three hours behind, and tor is at 100 % nevertheless."""
    results = doctor(bench, "\n".join([IDENTIFIED, SKEW, event(45), DONE]))
    (clock,) = (each for each in results if each["link"] == "clock")
    assert (clock["verdict"], results[-1]["verdict"]) == ("warning", "ok")


@pytest.mark.parametrize(
    ("events", "link", "text"),
    [
        ([event(1)], "orport", "tor did not get through to the PT"),
        ([event(2)], "orport", "the PT did not let tor in"),
        ([IDENTIFIED, event(30, "Loading")], "clock", "tor stays at 30 % (loading)"),
        ([event(45), BUSY], "network", "tor stays at 50 %"),
    ],
)
def test_a_tor_that_comes_no_farther_is_said(
    bench: Bench, events: list[str], link: str, text: str
) -> None:
    for limit in LIMITS:
        last = doctor(bench, "\n".join(events), f"--timeout={limit}")[-1]
        if "there was no time left" not in last["text"]:
            break
    assert (last["link"], last["verdict"]) == (link, "failed"), last
    assert text in last["text"]


def test_a_tor_that_does_not_start_says_why(bench: Bench) -> None:
    last = doctor(bench, None)[-1]
    assert (last["link"], last["verdict"]) == ("tor", "failed")
    assert last["text"] == "tor does not start: Failed to parse: Bridge line"
