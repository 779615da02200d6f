"""Whether a server speaks the session, and takes a stream: one is opened, and ended.

The machine is the one of every run (`pt_bridge.protocol.session`). Nothing but one
stream ever goes over the connection, which is then left as runs leave theirs, so that
nothing stays behind at the server, nor in its PT.
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum
from typing import TYPE_CHECKING

from pt_bridge.doctor.report import failed, ok, warning
from pt_bridge.errors import NO_ANSWER, ProtocolError
from pt_bridge.explain import pt_words, reasons, remedies
from pt_bridge.protocol.frames import PREFACE, Accepted, Cause, Left, WasReset
from pt_bridge.protocol.session import Session
from pt_bridge.session.idle_period import LAST_WAIT, LAST_WORD

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pt_bridge.doctor.report import CheckResult
    from pt_bridge.protocol.frames import Event

READ_SIZE = 16 * 1024
# How long the service may take to say that it ends, too, before the stream is reset;
# and how long the server may take to answer that (seconds).
EOF_LIMIT, RESET_LIMIT = 1.0, 5.0


class NoSession(Enum):
    """What a server does that speaks no session, as it follows "the server"."""

    SILENT = "said nothing"
    ENDED = "closed it"
    RESET = "reset it"
    OTHER = "answered something else"


Answer = Accepted | WasReset | NoSession


class SessionCheck:
    """One stream on one connection through the PT, which stays the caller's.

    The caller asks `open` once, then `end`, and then closes the connection.
    """

    def __init__(self, plain: socket.socket) -> None:
        """Say nothing yet.

        Args:
            plain: a connection through the PT, non-blocking, without a byte on it.
        """
        self._loop = asyncio.get_running_loop()
        self._plain = plain
        self._session = Session(is_client=True)
        self._has_left = False

    async def open(self, id: bytes, *, limit: float) -> Answer:
        """Open the stream, and return what the server makes of it.

        Args:
            id: the stream's 8 bytes; a second try on another connection has the same.
            limit: how long the server may say nothing, in seconds; while it reaches
                its shadowsocks, it says BEAT.
        """
        try:
            async with asyncio.timeout(limit) as silence:
                await self._send(PREFACE + self._session.open(id))
                while True:
                    for event in await self._hear():
                        if isinstance(event, Accepted | WasReset):
                            return event
                        silence.reschedule(self._loop.time() + limit)
        except TimeoutError:
            return NoSession.SILENT
        except ProtocolError:
            return NoSession.OTHER
        except EOFError:
            return NoSession.ENDED
        except OSError:
            return NoSession.RESET

    async def end(self, *, limit: float) -> None:
        """End the stream where one was opened, and say BYE; raise nothing.

        Args:
            limit: how long all of it may take, in seconds.
        """
        if not (self._session.is_accepted or self._session.reset_received):
            return
        with contextlib.suppress(ProtocolError, OSError, EOFError):
            async with asyncio.timeout(limit):
                await self._end_stream()
                await self._leave()

    async def _end_stream(self) -> None:
        session = self._session
        if session.is_accepted:
            await self._send(session.eof())
            with contextlib.suppress(TimeoutError):
                await self._hear_until(self._is_over, EOF_LIMIT)
        if session.is_open:
            await self._send(session.reset(Cause.CUT))
            await self._hear_until(self._is_over, RESET_LIMIT)

    def _is_over(self) -> bool:
        """Whether the stream has ended, or is reset and only waits for our answer."""
        session = self._session
        return not session.is_open or (
            session.reset_received and not session.reset_sent
        )

    async def _leave(self) -> None:
        """Send BYE, and once more behind the server's.

        lyrebird ends a connection only when it has to write to a side that has gone.
        """
        await self._send(self._session.bye())
        await self._hear_until(lambda: self._has_left, LAST_WAIT)
        await asyncio.sleep(LAST_WORD)
        await self._send(self._session.bye())
        await self._hear_until(lambda: False, LAST_WAIT)

    async def _send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._plain, data)

    async def _hear_until(self, condition: Callable[[], bool], limit: float) -> None:
        async with asyncio.timeout(limit):
            while not condition():
                await self._hear()

    async def _hear(self) -> list[Event]:
        """Return what comes next.

        Raises:
            ProtocolError: it is no session.
            EOFError: it is the connection's end.
            OSError: the connection was reset.
        """
        data = b""
        if not self._session.has_more:
            data = await self._loop.sock_recv(self._plain, READ_SIZE)
            if not data:
                raise EOFError
        events = self._session.receive(data)
        self._has_left = self._has_left or any(isinstance(e, Left) for e in events)
        return events


def judge(
    answer: Answer, *, seconds: str, must_be_one: bool, is_let_in: bool, heard: str
) -> CheckResult:
    """Return what to say of a server's answer to a stream.

    Args:
        answer: what it was.
        seconds: how long it took, for people.
        must_be_one: whether the client's options ask for a session.
        is_let_in: whether the PT is known to have reached the server's.
        heard: what the PT has just said, as the end of a sentence, or "".
    """
    if isinstance(answer, Accepted):
        text = "the server's pt-bridge answers, and its shadowsocks takes connections"
        return ok(f"{text} ({seconds})")
    if isinstance(answer, WasReset):
        text = reasons.explain_refusal(answer.cause) or reasons.REFUSED_SOMEHOW
        return failed(text, NO_ANSWER, remedies.advise_on_refusal(answer.cause))
    if not must_be_one and is_let_in:
        return warning(
            f"no session is spoken there (the server let a connection in, and "
            f"{answer.value}): connections are carried plain",
            "update pt-bridge on the server; session=0 saves the detour until then",
        )
    if not must_be_one:
        return warning(
            f"no session answers ({seconds}): the server has none, or nothing has "
            f"reached it{heard}",
            "put session=1 in the options if the server is a pt-bridge with one: then "
            "this is an error",
        )
    text = reasons.explain_no_session(answer.value)
    advice = remedies.ADVICE_IF_NO_SESSION
    if not is_let_in:
        text = reasons.explain_nothing_reached(answer.value)
        advice = remedies.ADVICE_IF_NOTHING_REACHED
    return failed(pt_words.with_words(text, heard), NO_ANSWER, advice)


async def end_of(plain: socket.socket, *, limit: float) -> NoSession | None:
    """Return how a connection ends on which nothing is said, or None where it stays.

    Args:
        plain: a connection through the PT, non-blocking, which stays the caller's.
        limit: how long it is watched, in seconds.
    """
    try:
        async with asyncio.timeout(limit):
            first = await asyncio.get_running_loop().sock_recv(plain, 1)
    except TimeoutError:
        return None
    except OSError:
        return NoSession.RESET
    # What has come is a sign of life, whatever it is.
    return None if first else NoSession.ENDED
