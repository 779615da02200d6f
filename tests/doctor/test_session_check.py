"""One stream that is opened for a look, and how it is ended again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.doctor.session_check import NoSession, SessionCheck, end_of
from pt_bridge.net.sockets import reset
from pt_bridge.protocol.frames import PREFACE, Accepted, Cause, WasReset, frame
from tests.support.played_session import PlayedSession
from tests.support.tcp import closing, noise, pair, read, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.doctor.session_check import Answer

ID = b"12345678"
LIMIT = 20.0  # seconds; loopback takes none
SHORT = 0.1


async def checked(
    server: PlayedSession, *, end_limit: float = LIMIT
) -> tuple[Answer, list[str]]:
    """Check a server; return its answer, and all that it has heard."""
    near, far = pair()
    with closing((near, far)):
        reader, writer = await asyncio.open_connection(sock=far)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(reader, writer))
            check = SessionCheck(near)
            answer = await check.open(ID, limit=LIMIT)
            await check.end(limit=end_limit)
            near.close()
            await serving
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return answer, server.names


async def test_a_stream_that_is_taken_is_ended_as_it_should_be() -> None:
    """Nothing may stay behind at the server, nor in its PT."""
    answer, heard = await checked(PlayedSession())
    assert answer == Accepted()
    assert heard == ["Opened", "Ended", "Left"]


async def test_a_connection_that_does_not_end_gets_a_last_word() -> None:
    """A PT may notice an end only when it has to write: lyrebird does."""
    _, heard = await checked(PlayedSession(stays=True))
    assert heard == ["Opened", "Ended", "Left", "Left"]


@pytest.mark.parametrize("cause", [*Cause][:-1])
async def test_a_refusal_is_told_with_its_cause_and_answered(cause: Cause) -> None:
    answer, heard = await checked(PlayedSession(refusal=cause))
    assert isinstance(answer, WasReset)
    assert answer.cause is cause
    assert heard == ["Opened", "WasReset", "Left"]


async def test_a_service_that_speaks_first_has_taken_the_stream() -> None:
    answer, heard = await checked(PlayedSession(first=b"220 ready\r\n"))
    assert answer == Accepted()
    assert heard == ["Opened", "Ended", "Left"]


async def test_a_service_that_does_not_end_is_left_with_a_reset() -> None:
    answer, heard = await checked(PlayedSession(ends=False))
    assert answer == Accepted()
    assert heard == ["Opened", "Ended", "WasReset", "Left"]


async def test_a_service_that_resets_has_taken_the_stream_all_the_same() -> None:
    answer, heard = await checked(PlayedSession(cuts=True))
    assert answer == Accepted()
    assert heard == ["Opened", "Ended", "WasReset", "Left"]


async def test_a_server_that_takes_no_leave_is_not_waited_for_without_end() -> None:
    _, heard = await checked(PlayedSession(says_bye=False), end_limit=SHORT)
    assert heard == ["Opened", "Ended", "Left"]


async def opened(
    play: Callable[[socket.socket], object], *, limit: float = LIMIT
) -> Answer:
    """Open a stream towards what is no server with a session; end it, too."""
    near, far = pair()
    with closing((near, far)):
        check = SessionCheck(near)
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(check.open(ID, limit=limit))
            assert (await read(far, len(PREFACE))) == PREFACE
            play(far)
            answer = await opening
        await check.end(limit=LIMIT)  # there is nothing to be ended
    return answer


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        PREFACE,
        frame(0x7F),
        noise(100),
    ],
    ids=["HTTP", "SSH", "echo", "unknown", "noise"],
)
async def test_other_bytes_are_no_session(data: bytes) -> None:
    assert await opened(lambda far: far.send(data)) is NoSession.OTHER


async def test_an_end_is_no_session() -> None:
    shut = socket.SHUT_WR
    assert await opened(lambda far: far.shutdown(shut)) is NoSession.ENDED


async def test_a_reset_is_no_session() -> None:
    assert await opened(reset) is NoSession.RESET


@pytest.mark.parametrize("data", [b"", b"\x02", frame(0x80, b"later")])
async def test_silence_is_no_session_nor_is_what_says_nothing(data: bytes) -> None:
    found = await opened(lambda far: data and far.send(data), limit=SHORT)
    assert found is NoSession.SILENT


async def test_a_server_that_goes_away_meanwhile_raises_nothing() -> None:
    """The answer is known; the rest is manners."""
    near, far = pair()
    with closing((near, far)):
        check = SessionCheck(near)
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(check.open(ID, limit=LIMIT))
            await read(far, len(PREFACE))
            await write(far, frame(2, b"\0\1"))
            assert await opening == Accepted()
        reset(far)
        await check.end(limit=LIMIT)


async def test_many_frames_at_once_are_all_heard() -> None:
    """The machine takes 256 of them at a time."""
    beats = frame(6) * 600
    near, far = pair()
    with closing((near, far)):
        check = SessionCheck(near)
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(check.open(ID, limit=LIMIT))
            await read(far, len(PREFACE))
            await write(far, beats + frame(2, b"\0\1"))
            assert await opening == Accepted()


@pytest.mark.parametrize(
    ("play", "how"),
    [
        (lambda far: far.shutdown(socket.SHUT_WR), NoSession.ENDED),
        (reset, NoSession.RESET),
        (lambda far: far.send(b"220 ready\r\n"), None),
    ],
)
async def test_a_plain_connection_is_watched_for_its_end(
    play: Callable[[socket.socket], object], how: NoSession | None
) -> None:
    near, far = pair()
    with closing((near, far)):
        play(far)
        assert await end_of(near, limit=LIMIT) is how


async def test_a_plain_connection_that_stays_is_not_watched_for_ever() -> None:
    near, far = pair()
    with closing((near, far)):
        assert await end_of(near, limit=SHORT) is None
