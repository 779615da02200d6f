"""The PT process, with a fake PT that does what a scenario says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import (
    NotOffered,
    ProgramError,
    ProxyRefused,
    PtExitedBeforeReady,
    PtProtocolViolation,
    PtStartTimeout,
    TransportError,
)
from pt_bridge.protocol.pt_launch import Launch
from pt_bridge.pt.process import PtProcess
from pt_bridge.system.child_process import GRACE
from pt_bridge.system.rate_limit import BURST
from tests.support.processes import (
    CLIENT,
    DEADLINE,
    SERVER,
    Program,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import FakePt

# However noisy the machine is, nothing that works takes this long (seconds).
LIMIT = DEADLINE
ENVIRONMENT = {
    b"TOR_PT_CLIENT_TRANSPORTS": b"obfs4",
    b"TOR_PT_SERVER_BINDADDR": b"obfs4-127.0.0.1:0",
    b"TOR_PT_EXIT_ON_STDIN_CLOSE": b"1",
}
VERSION, DONE, SERVER_DONE = "say VERSION 1", "say CMETHODS DONE", "say SMETHODS DONE"


def child_of(
    pt: FakePt,
    *,
    server: bool = False,
    proxy: bool = False,
    environment: dict[bytes, bytes] | None = None,
) -> PtProcess:
    launch = Launch("obfs4proxy", "obfs4", server=server, proxy=proxy)
    return PtProcess(str(pt.path), environment or ENVIRONMENT, launch)


async def start(
    pt: FakePt, *steps: str, server: bool = False, proxy: bool = False
) -> None:
    """Let a PT play some steps to its start, whatever becomes of it."""
    pt.play(*steps)
    async with child_of(pt, server=server, proxy=proxy) as child:
        await child.ready(LIMIT)


# -- the start -------------------------------------------------------------------------


async def test_a_client_becomes_ready(pt: FakePt) -> None:
    """PO-03."""
    pt.play(*CLIENT)
    async with child_of(pt) as child:
        await child.ready(LIMIT)
        assert child.launch.methods["obfs4"].protocol == "socks5"
        assert child.pid == int(await pt.heard("started"))
        assert not child.is_ending()
    assert pt.is_gone()


async def test_a_server_becomes_ready(pt: FakePt) -> None:
    """PO-03, SV-05."""
    pt.play(*SERVER)
    async with child_of(pt, server=True) as child:
        await child.ready(LIMIT)
        assert child.launch.arguments == [("cert", "A" * 70), ("iat-mode", "0")]
    assert pt.is_gone()


async def test_a_proxy_that_the_pt_takes_is_no_hindrance(pt: FakePt) -> None:
    """PE-08."""
    await start(pt, VERSION, "say PROXY DONE", "client", DONE, proxy=True)


@pytest.mark.parametrize(
    "line",
    [
        "say",
        "say hello world",
        "say cmethod obfs4 socks5 127.0.0.1:1",
        "say CMETHOD meek_lite socks5 192.0.2.1:80",
        "say CMETHOD-ERROR meek_lite no such transport",
        "say SMETHOD obfs4 192.0.2.1:80",
        'say LOG SEVERITY=warning MESSAGE="it\'s fine"',
        "say LOG SEVERITY=strange MESSAGE=word",
        "say LOG SEVERITY=info MESSAGE=two words",
        'say LOG MESSAGE="no severity"',
        'say STATUS TYPE=version IMPLEMENTATION="lyrebird" VERSION="devel"',
        "say STATUS TRANSPORT=obfs4 CONNECT=Success",
        r"raw CMETHOD\x00 \xff\xfe\r\n",
        r"raw " + "x" * 1024 * 1024 + r"\n",
        r"raw LOG SEVERITY=info MESSAGE=\xe2\x82\xac\n",
    ],
)
async def test_lines_that_mean_nothing_for_the_start_do_no_harm(
    pt: FakePt, line: str
) -> None:
    """PO-01, PO-05, PO-11, PO-12, PO-15: NUL, non-UTF-8 and 1 MiB included."""
    await start(pt, VERSION, line, "client", line, DONE)


async def test_a_line_that_is_too_long_is_said_once(
    pt: FakePt, caplog: pytest.LogCaptureFixture
) -> None:
    """PO-11."""
    line = "raw " + "x" * 100_000 + r"\n"
    with caplog.at_level(logging.WARNING):
        await start(pt, VERSION, line, line, "client", DONE)
    assert caplog.messages == ["obfs4proxy printed a line that is too long"]


@pytest.mark.parametrize(
    ("steps", "kind", "text"),
    [
        (
            ["exit 0"],
            PtExitedBeforeReady,
            (
                "obfs4proxy ended with exit code 0 before it was ready, without a "
                "word: is it a pluggable transport?"
            ),
        ),
        (
            ["exit 1"],
            PtExitedBeforeReady,
            (
                "obfs4proxy ended with exit code 1 before it was ready, without a "
                "word: is it a pluggable transport?"
            ),
        ),
        (
            ["write one", "write No state directory: mkdir /proc/nope", "exit 1"],
            PtExitedBeforeReady,
            (
                "obfs4proxy ended with exit code 1 before it was ready; it wrote: No "
                "state directory: mkdir /proc/nope"
            ),
        ),
        (
            ["say VERSION 1", "die 11"],
            PtExitedBeforeReady,
            "obfs4proxy was killed by SIGSEGV before it was ready",
        ),
        (
            # One of those that have no name.
            ["die 40"],
            PtExitedBeforeReady,
            "obfs4proxy was killed by signal 40 before it was ready",
        ),
        (
            ["say VERSION-ERROR no-version"],
            PtProtocolViolation,
            (
                "obfs4proxy does not speak version 1 of the PT protocol: "
                "VERSION-ERROR no-version"
            ),
        ),
        (
            ["say VERSION 2"],
            PtProtocolViolation,
            (
                "obfs4proxy speaks version 2 of the PT protocol, and pt-bridge version "
                "1: use another version of it"
            ),
        ),
        (
            ["say ENV-ERROR no TOR_PT_STATE_LOCATION"],
            PtProtocolViolation,
            "obfs4proxy cannot use its environment: ENV-ERROR no TOR_PT_STATE_LOCATION",
        ),
        (
            [VERSION, 'say ENV-ERROR "localhost": not an IP string', "exit 1"],
            PtProtocolViolation,
            (
                "obfs4proxy cannot use its environment: "
                'ENV-ERROR "localhost": not an IP string'
            ),
        ),
        (
            [DONE],
            PtProtocolViolation,
            (
                "obfs4proxy printed CMETHODS DONE before VERSION: it is no pluggable "
                "transport, or a broken one"
            ),
        ),
        (
            [VERSION, "say CMETHOD obfs4 socks5 192.0.2.1:80"],
            PtProtocolViolation,
            (
                "obfs4proxy listens for obfs4 on an address that is not loopback, "
                "where others could read the arguments"
            ),
        ),
        (
            [VERSION, "say CMETHOD obfs4 socks5 localhost:80"],
            PtProtocolViolation,
            (
                "obfs4proxy printed an address for obfs4 that cannot be used: it must "
                "be an IP address and a port"
            ),
        ),
        (
            [VERSION, "say CMETHOD obfs4 http 127.0.0.1:80"],
            PtProtocolViolation,
            (
                "obfs4proxy offers obfs4 over 'http', and pt-bridge speaks socks5 and "
                "socks4"
            ),
        ),
        (
            [VERSION, "say CMETHOD obfs4"],
            PtProtocolViolation,
            "obfs4proxy printed a line 'CMETHOD' with fewer than 3 words",
        ),
        (
            # snowflake-client and webtunnel-client stay alive then.
            [VERSION, "say CMETHOD-ERROR obfs4 no such transport", DONE],
            NotOffered,
            "obfs4proxy cannot offer obfs4: no such transport",
        ),
        (
            [VERSION, "say CMETHOD-ERROR obfs4 no such transport", DONE, "exit 255"],
            NotOffered,
            "obfs4proxy cannot offer obfs4: no such transport",
        ),
        ([VERSION, DONE], NotOffered, "obfs4proxy does not offer obfs4"),
        (
            [VERSION, "say CMETHOD obfs3 socks5 127.0.0.1:9", DONE],
            NotOffered,
            "obfs4proxy does not offer obfs4",
        ),
    ],
)
async def test_a_client_that_fails_to_start(
    pt: FakePt, steps: list[str], kind: type[TransportError], text: str
) -> None:
    """PO-03 to PO-08: the error says what it was; and nothing is left."""
    with pytest.raises(kind) as caught:
        await start(pt, *steps)
    assert str(caught.value) == text
    assert pt.is_gone()


@pytest.mark.parametrize(
    ("steps", "kind", "text", "reason"),
    [
        (
            # webtunnel-server without url=
            [VERSION, "say SMETHOD-ERROR obfs4 url is missing", "exit 0"],
            NotOffered,
            "obfs4proxy cannot offer obfs4: url is missing",
            "url is missing",
        ),
        (
            [
                VERSION,
                (
                    "say SMETHOD-ERROR obfs4 listen tcp 192.0.2.1:1: bind: address "
                    "already in use"
                ),
                SERVER_DONE,
                "exit 255",
            ],
            NotOffered,
            (
                "obfs4proxy cannot offer obfs4: listen tcp 192.0.2.1:1: bind: address "
                "already in use"
            ),
            "listen tcp 192.0.2.1:1: bind: address already in use",
        ),
        (
            [VERSION, "write listen tcp :443: bind: permission denied", "exit 1"],
            PtExitedBeforeReady,
            (
                "obfs4proxy ended with exit code 1 before it was ready; it wrote: "
                "listen tcp :443: bind: permission denied"
            ),
            "listen tcp :443: bind: permission denied",
        ),
        (
            [VERSION, "client", DONE, SERVER_DONE],
            NotOffered,
            "obfs4proxy does not offer obfs4",
            "",
        ),
    ],
)
async def test_a_server_that_fails_to_start(
    pt: FakePt, steps: list[str], kind: type[TransportError], text: str, reason: str
) -> None:
    """PO-07, PO-08, SV-08: `reason` holds the PT's own words."""
    with pytest.raises(kind) as caught:
        await start(pt, *steps, server=True)
    assert str(caught.value) == text
    assert caught.value.reason == reason
    assert pt.is_gone()


async def test_arguments_that_do_not_parse_do_not_stop_a_server(pt: FakePt) -> None:
    """SV-05."""
    pt.play(VERSION, "server ARGS:cert", SERVER_DONE)
    async with child_of(pt, server=True) as child:
        await child.ready(LIMIT)
        assert child.launch.arguments == []


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "say PROXY-ERROR proxy is not supported",
            (
                "obfs4proxy cannot use the proxy that it was given: PROXY-ERROR "
                "proxy is not supported"
            ),
        ),
        (
            "say LOG SEVERITY=info MESSAGE=hello",
            (
                "obfs4proxy did not say that it uses the proxy that it was given, "
                "so its connections could go around it"
            ),
        ),
    ],
)
async def test_a_proxy_that_the_pt_does_not_take_ends_it(
    pt: FakePt, line: str, text: str
) -> None:
    """PE-08, ER-05."""
    with pytest.raises(ProxyRefused) as caught:
        await start(pt, VERSION, line, "client", DONE, proxy=True)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([], ""),
        (["say usage: obfs4proxy [OPTIONS]"], "; it said: usage: obfs4proxy [OPTIONS]"),
        ([VERSION, "client", r"raw CMETHODS DONE"], ""),
    ],
)
async def test_a_pt_that_does_not_get_ready_is_late(
    pt: FakePt, steps: list[str], said: str
) -> None:
    """PO-09: a last line without LF does not count."""
    pt.play(*steps, "write here", "tell here")
    async with child_of(pt) as child:
        await pt.heard("here")
        with pytest.raises(PtStartTimeout) as caught:
            await child.ready(0.1)
    assert str(caught.value) == (
        f"obfs4proxy was not ready within 0.1 seconds{said} (start-timeout= sets the "
        f"limit)"
    )
    assert caught.value.reason == "here"
    assert pt.is_gone()


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [
        (None, 0, "no such file or directory"),
        ("#!/nonexistent/interpreter\n", 0o755, "no such file or directory"),
        ("nothing that runs", 0o755, "exec format error"),
        ("#!/bin/sh\n", 0o644, "permission denied"),
    ],
)
async def test_a_program_that_cannot_be_started(
    tmp_path: Path, content: str | None, mode: int, text: str
) -> None:
    """ER-07."""
    path = tmp_path / "obfs4proxy"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    launch = Launch("obfs4proxy", "obfs4", server=False)
    with pytest.raises(ProgramError, match=f"^cannot start {path}: {text}"):
        async with PtProcess(str(path), {}, launch):
            raise AssertionError("it started")


# -- how it is started -----------------------------------------------------------------


async def test_the_environment_is_what_was_given_and_nothing_else(pt: FakePt) -> None:
    """PE-01."""
    environment = {b"TOR_PT_X": b"\xff", b"LC_ALL": b"C.UTF-8"}
    async with child_of(pt, environment=environment):
        await pt.heard("started")
        assert pt.report()["environment"] == environment


async def test_it_gets_three_pipes_and_no_other_descriptor(pt: FakePt) -> None:
    """LC-04, PE-05: a copy of its stdin in another PT would keep this one alive."""
    leak = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        async with child_of(pt):
            await pt.heard("started")
            async with child_of(pt):
                await pt.heard("started", count=2)
                descriptors = pt.report()["descriptors"]
                assert sorted(descriptors) == [0, 1, 2]
                assert all(each.startswith("pipe:") for each in descriptors.values())
    finally:
        os.close(leak)


async def test_it_has_a_process_group_of_its_own(pt: FakePt) -> None:
    """LC-05, PE-14: a terminal's signals do not reach it."""
    async with child_of(pt) as child:
        await pt.heard("started")
        report = pt.report()
        assert report["group"] == report["pid"] == child.pid
        assert (report["folder"], report["umask"]) == ("/", 0o077)
        assert report["arguments"] == [str(pt.path)]


async def test_it_gets_the_owners_arguments_as_they_are(pt: FakePt) -> None:
    """SE-04: no shell has a look at them."""
    arguments = ["-enableLogging", "$HOME", "a b", "*", ";true", "", "\udcff"]
    launch = Launch("obfs4proxy", "obfs4", server=False)
    pt.play(*CLIENT)
    async with PtProcess(
        str(pt.path), ENVIRONMENT, launch, arguments=arguments
    ) as child:
        await child.ready(DEADLINE)
        assert pt.report()["arguments"] == [str(pt.path), *arguments]


async def test_it_has_the_default_signal_handlers(tmp_path: Path) -> None:
    """HQ-08: whatever the host ignores."""
    path = tmp_path / "obfs4proxy"
    path.write_text("#!/bin/sh\nexec grep SigIgn /proc/self/status >&2\n")
    path.chmod(0o755)
    numbers = (signal.SIGPIPE, signal.SIGABRT, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    launch = Launch("obfs4proxy", "obfs4", server=False)
    try:
        async with PtProcess(str(path), {b"PATH": b"/bin"}, launch) as child:
            words = (await child.wait()).reason.split()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert words[0] == "SigIgn:"
    ignored = int(words[1], 16)
    assert [n for n in numbers if ignored & 1 << (n - 1)] == []


# -- its life --------------------------------------------------------------------------


@pytest.mark.parametrize("descriptor", [1, 2])
async def test_what_it_writes_is_read_for_its_whole_life(
    pt: FakePt, descriptor: int
) -> None:
    """PE-13: it would wait for ever at the end of the first 64 KiB."""
    pt.play(*CLIENT, f"flood {descriptor} 4", "tell written", "await", "exit 7")
    async with child_of(pt) as child:
        await child.ready(LIMIT)
        await pt.heard("written")
        pt.open_gate()
        assert "ended with exit code 7" in str(await child.wait())


async def test_what_it_says_becomes_log_records(
    pt: FakePt, caplog: pytest.LogCaptureFixture
) -> None:
    """PO-10, PO-14, PO-16."""
    pt.play(
        r'say LOG SEVERITY=error MESSAGE="one\ntwo"',
        'say LOG SEVERITY=notice MESSAGE="second"',
        "write before",
        "tell there",
        "await",
        *CLIENT,
        "write after",
        "say CMETHOD obfs4 socks5 127.0.0.1:1",
        "say CMETHOD",
        'say LOG SEVERITY=warning MESSAGE="third"',
        "exit 0",
    )
    with caplog.at_level(logging.DEBUG, "pt_bridge"):
        async with child_of(pt) as child:
            await pt.heard("there")
            # Its stderr must have been read before it gets ready.
            while "before" not in caplog.text:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)  # one turn
            pt.open_gate()
            await child.wait()
    records = [
        (each.levelname, each.getMessage())
        for each in caplog.records
        if not each.getMessage().startswith("< ")
    ]
    assert sorted(records) == sorted(
        [
            ("ERROR", "obfs4proxy: one\ntwo"),
            ("INFO", "obfs4proxy: second"),
            ("INFO", "obfs4proxy: before"),
            ("DEBUG", "obfs4proxy: after"),
            ("DEBUG", "! the PT printed a line CMETHOD after the PT was ready"),
            ("DEBUG", "! the PT printed a line 'CMETHOD' with fewer than 3 words"),
            ("WARNING", "obfs4proxy: third"),
        ]
    )


async def test_the_last_line_of_its_news_is_kept(pt: FakePt) -> None:
    """Whoever sees a connection fail asks what the PT said of it."""
    pt.play(
        *CLIENT,
        "await",
        "say STATUS TRANSPORT=obfs4 CONNECT=Success",
        'say LOG SEVERITY=warning MESSAGE="first"',
        'say LOG SEVERITY=debug MESSAGE="second"',
        "exit 0",
    )
    async with child_of(pt) as child:
        await child.ready(LIMIT)
        assert child.take_news() == ""
        pt.open_gate()
        await child.wait()
        assert child.take_news() == "obfs4proxy: second"
        assert child.take_news() == ""


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (["exit 0"], "obfs4proxy ended with exit code 0"),
        (["exit 2"], "obfs4proxy ended with exit code 2"),
        (["die 9"], "obfs4proxy was killed by SIGKILL"),
        (["die 6"], "obfs4proxy was killed by SIGABRT"),
        (["die 40"], "obfs4proxy was killed by signal 40"),
        (
            ["write goroutine 1 [running]:", "write ", "write main.go:7", "exit 2"],
            "obfs4proxy ended with exit code 2; it wrote: main.go:7",
        ),
    ],
)
async def test_how_it_ended_is_told_with_its_last_words(
    pt: FakePt, steps: list[str], text: str
) -> None:
    """LC-10, LC-11, ER-10."""
    pt.play(*CLIENT, "await", *steps)
    async with child_of(pt) as child:
        await child.ready(LIMIT)
        pt.open_gate()
        assert str(await child.wait()) == text
        assert child.is_ending()


async def test_the_end_is_told_although_a_grandchild_holds_the_pipes(
    pt: FakePt,
) -> None:
    """LC-10, LC-12: an EOF on stdout would come much later, or never."""
    pt.play(*CLIENT, "fork", "write last", "exit 3")
    async with child_of(pt) as child:
        died = await child.wait()
        await pt.heard("forked")
        assert str(died) == "obfs4proxy ended with exit code 3; it wrote: last"
    assert pt.is_gone()


# -- its end ---------------------------------------------------------------------------


async def test_a_polite_pt_is_not_killed(
    pt: FakePt, caplog: pytest.LogCaptureFixture
) -> None:
    """LC-09: it ends by itself, and leaving the block waits for that."""
    pt.play(*CLIENT)
    with caplog.at_level(logging.DEBUG, "pt_bridge"):
        async with child_of(pt) as child:
            await child.ready(LIMIT)
            child.terminate()
            assert str(await child.wait()) == "obfs4proxy ended with exit code 0"
    assert "is killed" not in caplog.text
    assert pt.is_gone(within=0)


async def test_a_pt_that_will_not_end_is_killed(
    pt: FakePt, caplog: pytest.LogCaptureFixture
) -> None:
    """LC-09, HQ-03: SIGTERM and the end of its stdin, a second, SIGKILL."""
    pt.play("deaf", *CLIENT)
    with caplog.at_level(logging.DEBUG, "pt_bridge"):
        async with child_of(pt) as child:
            await child.ready(LIMIT)
            began = time.monotonic()
    assert time.monotonic() - began >= GRACE
    assert set(pt.named("ignored")) == {"EOF", "SIGTERM"}
    assert "is killed" in caplog.text
    assert pt.is_gone(within=0)


async def test_a_pt_may_be_killed_at_once(
    pt: FakePt, caplog: pytest.LogCaptureFixture
) -> None:
    """LC-09: the second signal."""
    pt.play("deaf", *CLIENT)
    with caplog.at_level(logging.DEBUG, "pt_bridge"):
        async with child_of(pt) as child:
            await child.ready(LIMIT)
            child.kill()
    assert "is killed" not in caplog.text
    assert pt.is_gone(within=0)


@pytest.mark.parametrize("steps", [["deaf"], []])
async def test_its_grandchildren_end_with_it(pt: FakePt, steps: list[str]) -> None:
    """LC-12: its whole process group is ended."""
    pt.play(*steps, *CLIENT, "fork")
    async with child_of(pt) as child:
        await child.ready(LIMIT)
        await pt.heard("forked")
        if steps:
            child.kill()
    assert pt.is_gone()


async def test_leaving_the_block_with_an_error_ends_it(pt: FakePt) -> None:
    pt.play(*CLIENT)
    with contextlib.suppress(KeyError):
        async with child_of(pt) as child:
            await child.ready(LIMIT)
            raise KeyError
    assert pt.is_gone(within=0)


async def test_nothing_is_left_of_many(pt: FakePt) -> None:
    """LC-12; the descriptors are counted by the fixture of all tests."""
    pt.play(*CLIENT, "exit 1")
    for count in range(1, 4):
        async with child_of(pt) as child:
            await child.wait()
            await pt.heard("started", count=count)
    assert pt.is_gone(within=0)


@pytest.mark.parametrize("steps", [["deaf"], []])
def test_it_dies_with_us_when_we_are_killed(pt: FakePt, steps: list[str]) -> None:
    """LC-03, HQ-04: PDEATHSIG, whatever it does with its stdin and SIGTERM."""
    pt.play(*steps, *CLIENT)
    source = (
        "import asyncio, sys\n"
        "from pt_bridge.pt.process import PtProcess\n"
        "from pt_bridge.protocol.pt_launch import Launch\n"
        "async def main():\n"
        "    launch = Launch('obfs4proxy', 'obfs4', server=False)\n"
        "    environment = {b'TOR_PT_CLIENT_TRANSPORTS': b'obfs4'}\n"
        "    async with PtProcess(sys.argv[1], environment, launch) as child:\n"
        "        await child.ready(60)\n"
        "        print('ready', flush=True)\n"
        "        await child.wait()\n"
        "asyncio.run(main())\n"
    )
    parent = Program([sys.executable, "-c", source, str(pt.path)], {})
    with contextlib.closing(parent):
        parent.printed(b"ready\n")
        pidfd = os.pidfd_open(pt.pid)
        try:
            parent.process.kill()
            assert select.select([pidfd], [], [], DEADLINE)[0], "it lives on"
        finally:
            os.close(pidfd)


# -- a flood ---------------------------------------------------------------------------


async def test_a_flood_of_lines_is_rationed(
    pt: FakePt, caplog: pytest.LogCaptureFixture
) -> None:
    """SE-10: and what it warns of has a ration of its own."""
    flood = 'say LOG SEVERITY=notice MESSAGE="handshake failed"'
    warning = 'say LOG SEVERITY=warning MESSAGE="the disk is full"'
    pt.play(*CLIENT, *[flood] * (3 * BURST), warning, "exit 0")
    with caplog.at_level(logging.INFO, "pt_bridge"):
        async with child_of(pt) as child:
            await child.wait()
    said = [record.getMessage() for record in caplog.records]
    assert BURST <= said.count("obfs4proxy: handshake failed") < 2 * BURST
    assert "obfs4proxy: the disk is full" in said


async def test_a_flood_is_shown_to_whoever_debugs(
    pt: FakePt, caplog: pytest.LogCaptureFixture
) -> None:
    """SE-10: loglevel=debug is asked for."""
    flood = 'say LOG SEVERITY=notice MESSAGE="handshake failed"'
    pt.play(*CLIENT, *[flood] * (3 * BURST), "exit 0")
    with caplog.at_level(logging.DEBUG, "pt_bridge"):
        async with child_of(pt) as child:
            await child.wait()
    said = [record.getMessage() for record in caplog.records]
    assert said.count("obfs4proxy: handshake failed") == 3 * BURST


async def test_the_reason_of_a_crash_is_its_first_line(pt: FakePt) -> None:
    """ER-10: Go's runtime writes stacks and registers behind it."""
    pt.play(
        *CLIENT,
        "write panic: out of luck",
        "write goroutine 1:",
        "write gs 0",
        "exit 2",
    )
    async with child_of(pt) as child:
        error = await child.wait()
    assert error.reason == "panic: out of luck"
    assert str(error).endswith("it wrote: panic: out of luck")
