"""What a connection speaks is told by its first byte that differs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from pt_bridge.net.sockets import reset
from pt_bridge.protocol.frames import MAGIC, PREFACE, Cause
from pt_bridge.session.recogniser import (
    BOTH_SILENT,
    PARTIAL,
    SILENT,
    Recogniser,
)
from tests.support.clock import ClockedLoop
from tests.support.tcp import is_free, is_reset, is_silent, pair, turn_until, write

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    OnReached = Callable[[socket.socket | Cause], None]


class Rig:
    """A recogniser, its client, and the service that it may reach.

    Attributes:
        told: what its owner was told.
        asked: who waits for the service.
    """

    def __init__(self, *, only_sessions: bool) -> None:
        self.clock = ClockedLoop(asyncio.get_running_loop())
        self.client, self.plain = pair()
        self.service, self.local = pair()
        self.told: list[tuple[object, ...]] = []
        self.asked: list[OnReached] = []
        self.recogniser = Recogniser(
            self.clock.as_loop,
            self.plain,
            None if only_sessions else self.asked.append,
            self,
        )

    def on_session(
        self, recogniser: Recogniser, plain: socket.socket, rest: bytes
    ) -> None:
        """Take note of it."""
        assert (recogniser, plain) == (self.recogniser, self.plain)
        self.told.append(("session", rest))

    def on_plain(
        self,
        recogniser: Recogniser,
        plain: socket.socket,
        first: bytes,
        local: socket.socket | None,
    ) -> None:
        """Take note of it."""
        assert (recogniser, plain) == (self.recogniser, self.plain)
        self.told.append(("plain", first, local))

    def on_dropped(self, recogniser: Recogniser) -> None:
        """Take note of it."""
        assert recogniser is self.recogniser
        assert self.plain.fileno() < 0
        self.told.append(("dropped",))


@contextlib.contextmanager
def rig(*, only_sessions: bool = False) -> Iterator[Rig]:
    """Build a rig; see that it is told of one thing, and watches nothing then."""
    r = Rig(only_sessions=only_sessions)
    try:
        yield r
        assert len(r.told) == 1
        r.recogniser.drop()
        assert len(r.told) == 1
        open_ones = [each for each in (r.plain, r.local) if each.fileno() >= 0]
        assert is_free(asyncio.get_running_loop(), *open_ones)
        assert all(each.is_cancelled for each in r.clock.appointments)
    finally:
        for sock in (r.client, r.plain, r.service, r.local):
            sock.close()


async def settle() -> None:
    """Let what has come be read."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_preface_is_recognised_in_any_pieces() -> None:
    """And what comes behind it is handed on."""
    for cut in range(1, len(PREFACE)):
        with rig() as r:
            await write(r.client, PREFACE[:cut])
            await turn_until(lambda: is_silent(r.plain))
            assert r.told == []
            await write(r.client, PREFACE[cut:] + b"rest")
            await turn_until(lambda: r.told)
            assert r.told == [("session", b"rest")]


@pytest.mark.parametrize(
    "first", [b"x", b"GET / HTTP/1.1", MAGIC[:1] + b"x", MAGIC[:-1] + b"x" + PREFACE]
)
async def test_the_first_byte_that_differs_decides(first: bytes) -> None:
    """With all its bytes."""
    with rig() as r:
        await write(r.client, first)
        await turn_until(lambda: r.told)
        assert r.told == [("plain", first, None)]


async def test_another_version_is_never_relayed() -> None:
    with rig() as r:
        await write(r.client, MAGIC + b"\2 and more")
        await turn_until(lambda: r.told)
        assert r.told == [("dropped",)]
        assert await is_reset(r.client)


async def test_a_preface_that_stays_partial_is_none() -> None:
    """Five seconds after its last piece."""
    with rig() as r:
        for each in MAGIC[:3]:
            await write(r.client, bytes([each]))
            await settle()
            r.clock.pass_by(PARTIAL - 1)
        assert r.told == []
        r.clock.pass_by(1)
        assert r.told == [("plain", MAGIC[:3], None)]


async def test_what_came_before_the_end_is_passed_on() -> None:
    with rig() as r:
        await write(r.client, MAGIC[:3])
        r.client.close()
        await turn_until(lambda: r.told)
        assert r.told == [("plain", MAGIC[:3], None)]


@pytest.mark.parametrize("is_a_reset", [False, True])
async def test_an_end_without_a_byte_reaches_no_service(*, is_a_reset: bool) -> None:
    with rig() as r:
        if is_a_reset:
            reset(r.client)
        else:
            r.client.close()
        await turn_until(lambda: r.told)
        assert r.told == [("dropped",)]
        assert r.asked == []


async def test_for_a_silent_client_the_service_is_reached_and_may_speak_first() -> None:
    with rig() as r:
        r.clock.pass_by(SILENT - 0.1)
        assert r.asked == []
        r.clock.pass_by(0.1)
        r.asked.pop()(r.local)
        await settle()
        assert r.told == []
        await write(r.service, b"220 ready")
        await turn_until(lambda: r.told)
        assert r.told == [("plain", b"", r.local)]


async def test_a_client_that_speaks_late_is_recognised_all_the_same() -> None:
    """The service that was reached in vain is reset."""
    with rig() as r:
        r.clock.pass_by(SILENT)
        r.asked.pop()(r.local)
        await write(r.client, PREFACE)
        await turn_until(lambda: r.told)
        assert r.told == [("session", b"")]
        assert await is_reset(r.service)


async def test_a_client_that_speaks_late_and_plain_gets_the_service_it_has() -> None:
    with rig() as r:
        r.clock.pass_by(SILENT)
        r.asked.pop()(r.local)
        await write(r.client, b"hello")
        await turn_until(lambda: r.told)
        assert r.told == [("plain", b"hello", r.local)]


async def test_a_service_that_is_reached_too_late_is_reset() -> None:
    with rig() as r:
        r.clock.pass_by(SILENT)
        await write(r.client, PREFACE)
        await turn_until(lambda: r.told)
        r.asked.pop()(r.local)
        assert await is_reset(r.service)
        assert r.told == [("session", b"")]


async def test_a_client_that_stays_silent_with_its_service_is_let_go() -> None:
    """It may be gone, behind a PT that does not tell."""
    with rig() as r:
        r.clock.pass_by(SILENT)
        r.asked.pop()(r.local)
        r.clock.pass_by(BOTH_SILENT - 0.1)
        assert r.told == []
        r.clock.pass_by(0.1)
        assert await is_reset(r.client)
        assert await is_reset(r.service)
        assert r.told == [("dropped",)]


async def test_a_partial_preface_beside_a_service_is_plain() -> None:
    with rig() as r:
        r.clock.pass_by(SILENT)
        await write(r.client, PREFACE[:4])
        await turn_until(lambda: is_silent(r.plain))
        r.asked.pop()(r.local)
        r.clock.pass_by(PARTIAL)
        assert r.told == [("plain", PREFACE[:4], r.local)]


async def test_a_silent_client_is_let_go_where_the_service_is_not_reached() -> None:
    with rig() as r:
        r.clock.pass_by(SILENT)
        r.asked.pop()(Cause.REFUSED)
        assert r.told == [("dropped",)]
        assert await is_reset(r.client)


async def test_where_only_sessions_are_served_nobody_is_waited_for() -> None:
    with rig(only_sessions=True) as r:
        r.clock.pass_by(SILENT)
        assert r.told == [("dropped",)]
        assert await is_reset(r.client)


async def test_it_can_be_dropped_with_the_service_that_it_has() -> None:
    with rig() as r:
        r.clock.pass_by(SILENT)
        r.asked.pop()(r.local)
        r.recogniser.drop()
        assert await is_reset(r.client)
        assert await is_reset(r.service)
