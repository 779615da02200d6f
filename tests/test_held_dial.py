"""Dialling through a PT that is held at both ends; the PT is played by hand."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from pt_bridge.connection import prepare, reset
from pt_bridge.dial import connect
from pt_bridge.errors import (
    ConnectRefused,
    CutAtOnce,
    HungUp,
    ProtocolError,
    Unanswered,
    Unreached,
)
from pt_bridge.held_dial import Ends, dial_held
from pt_bridge.protocol import socks5
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.socks5_server import (
    REPLY_FAILED,
    REPLY_NOT_ALLOWED,
    REPLY_SUCCEEDED,
)
from pt_bridge.socks_proxy import SocksProxy
from pt_bridge.wire import Outcome, Wire
from tests.tcp import is_reset, noise, read, read_to_end, turn_until, write

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from pt_bridge.held_dial import Reach
    from pt_bridge.protocol.socks5 import Handshake

    Play = Callable[["Pt"], Coroutine[None, None, None]]

HELLO = noise(500)
REPLY_LENGTH = len(REPLY_SUCCEEDED)


class Pt:
    """A PT client: it is asked for a name, and asks the proxy for it.

    Attributes:
        address: where it listens.
        plain: the connection of who asks it.
        wire: its own to the proxy, as soon as it has called.
        name: what it was asked for.
    """

    def __init__(self, proxy: SocksProxy, stack: contextlib.ExitStack) -> None:
        self._loop = asyncio.get_running_loop()
        self._stack = stack
        self._proxy = urlsplit(proxy.url)
        self._server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._server.setblocking(False)
        self.address = Address(*self._server.getsockname())
        self.name = b""
        self.plain: socket.socket
        self.wire: socket.socket

    async def be_asked(self) -> None:
        """Take a connection, and hear what it asks for."""
        sock, _ = await self._loop.sock_accept(self._server)
        self.plain = self._stack.enter_context(sock)
        assert await read(sock, 3) == b"\5\1\0"
        await write(sock, b"\5\0")
        assert await read(sock, 4) == b"\5\1\0\3"
        (length,) = await read(sock, 1)
        self.name = await read(sock, length)
        self.port = await read(sock, 2)

    async def call(self) -> None:
        """Call the proxy, and ask it for the same."""
        self.wire = self._stack.enter_context(socket.socket())
        self.wire.setblocking(False)
        address = self._proxy.hostname, self._proxy.port
        await self._loop.sock_connect(self.wire, address)
        await write(self.wire, b"\5\1\2")
        assert await read(self.wire, 2) == b"\5\2"
        for word in (self._proxy.username, self._proxy.password):
            assert word is not None
        user, password = (
            str(word).encode() for word in (self._proxy.username, self._proxy.password)
        )
        login = bytes([len(user)]) + user + bytes([len(password)]) + password
        await write(self.wire, b"\1" + login)
        assert await read(self.wire, 2) == b"\1\0"
        request = b"\5\1\0\3" + bytes([len(self.name)]) + self.name + self.port
        await write(self.wire, request)

    async def get_through(self) -> None:
        """Be asked, call, and hear that the server was reached."""
        await self.be_asked()
        await self.call()
        assert await read(self.wire, REPLY_LENGTH) == REPLY_SUCCEEDED

    async def accept(self) -> None:
        """Say that we are through."""
        await write(self.plain, REPLY_SUCCEEDED)

    async def refuse(self) -> None:
        """Say that it came to nothing, and close everything, as PTs do."""
        await write(self.plain, REPLY_FAILED)
        self.plain.close()


class Rig:
    """What there is around a dialler: the proxy, the PT, and the server.

    Attributes:
        pt: the PT.
        server: the server's end of the connection that we make to it.
        wires: those that were made.
    """

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._loop = asyncio.get_running_loop()
        self._stack = stack
        self._proxy = stack.enter_context(SocksProxy(self._loop))
        self.pt = Pt(self._proxy, stack)
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.server: socket.socket
        self.wires: list[Wire] = []

    async def reach(self) -> socket.socket:
        """Reach the server."""
        address = Address(*self._listener.getsockname())
        net = await connect(address, patience=0, limit=10)
        self.server = self._stack.enter_context(self._listener.accept()[0])
        prepare(self.server)
        return net

    def _make_wire(
        self, leg: socket.socket, net: socket.socket, ended: Callable[[Wire], None]
    ) -> Wire:
        wire = Wire(self._loop, leg, net, ended, pt_is_ending=lambda: False)
        self.wires.append(wire)
        return self.wires[-1]

    async def dial(
        self,
        *,
        reach: Reach | None = None,
        handshake: Callable[[str], Handshake] | None = None,
    ) -> Ends:
        """Dial."""
        return await dial_held(
            self.pt.address,
            handshake or (lambda name: socks5.connect(Address(name, 443), b"")),
            proxy=self._proxy,
            reach=reach or self.reach,
            make_wire=self._make_wire,
        )

    async def succeed(self, play: Play) -> Ends:
        """Dial, while the PT plays, and get through."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(play(self.pt))
            dialled = tasks.create_task(self.dial())
        return dialled.result()

    async def fail(self, play: Play, *, reach: Reach | None = None) -> Exception:
        """Dial, while the PT plays, and do not get through; give the error."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(play(self.pt))
            dialled = tasks.create_task(_error_of(self.dial(reach=reach)))
        return dialled.result()


async def _error_of(dialling: Coroutine[None, None, Ends]) -> Exception:
    try:
        ends = await dialling
    except Exception as error:
        return error
    ends.drop()
    raise AssertionError("it should have failed")


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    """Build it all, and take it down; see that every wire has ended or was ours."""
    with contextlib.ExitStack() as stack:
        built = Rig(stack)
        yield built
        assert all(wire.outcome is not Outcome.OPEN for wire in built.wires)


async def get_through(pt: Pt) -> None:
    """Be a PT that gets through."""
    await pt.get_through()
    await write(pt.wire, HELLO)
    await pt.accept()


async def test_both_sides_of_the_pt_are_ours_when_it_is_through() -> None:
    """And what it says to the server has been on its way before."""
    with rig() as r:
        ends = await r.succeed(get_through)
        assert ends.can_be_joined
        assert ends.wire is not None
        assert await read(r.server, len(HELLO)) == HELLO
        await write(r.server, HELLO[::-1])
        assert await read(r.pt.wire, len(HELLO)) == HELLO[::-1]
        await write(ends.plain, HELLO)
        assert await read(r.pt.plain, len(HELLO)) == HELLO
        assert r.pt.name.endswith(b".invalid")
        assert r.pt.port == (443).to_bytes(2, "big")
        ends.drop()
        assert await is_reset(r.server)
        assert await is_reset(r.pt.wire)
        assert await read_to_end(r.pt.plain) == b""
        assert not ends.can_be_joined


async def test_ends_without_a_wire_can_be_joined_and_dropped() -> None:
    """As where the PT has the wire to itself."""
    ours, theirs = socket.socketpair()
    with theirs:
        ends = Ends(ours, None)
        assert ends.can_be_joined
        ends.drop()
        assert theirs.recv(1) == b""


async def call_and_refuse(pt: Pt) -> None:
    """Be a PT that could not reach the server."""
    await pt.be_asked()
    await pt.call()
    assert await read_to_end(pt.wire) == REPLY_FAILED
    await pt.refuse()


async def test_a_server_that_cannot_be_reached_is_said_to_be_that() -> None:
    """ER-13: the PT says next to nothing, and we know more."""
    error = Unreached("the server cannot be reached: no route", errno.EHOSTUNREACH)

    async def reach() -> socket.socket:
        raise error

    with rig() as r:
        assert await r.fail(call_and_refuse, reach=reach) is error


async def test_a_shortage_of_our_own_is_an_error_like_others() -> None:
    """RL-10: it ends this connection and no more."""

    async def reach() -> socket.socket:
        raise OSError(errno.EMFILE, "too many open files")

    with rig() as r:
        error = await r.fail(call_and_refuse, reach=reach)
        assert type(error) is ProtocolError
        assert "too many open files" in str(error)


async def test_a_bug_ends_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    """RL-10: and is in the log."""

    async def reach() -> socket.socket:
        raise LookupError("a bug")

    with rig() as r:
        error = await r.fail(call_and_refuse, reach=reach)
        assert isinstance(error, ConnectRefused)
    assert "a bug ended a connection" in caplog.text


@pytest.mark.parametrize("answers", [True, False])
async def test_a_server_that_resets_during_the_handshake(*, answers: bool) -> None:
    """ER-13: it did not like what it saw, and had perhaps said something before."""
    with rig() as r:

        async def play(pt: Pt) -> None:
            await pt.get_through()
            if answers:
                await write(r.server, HELLO)
                assert await read(pt.wire, len(HELLO)) == HELLO
            reset(r.server)
            assert await is_reset(pt.wire)
            await pt.refuse()

        error = await r.fail(play)
        assert isinstance(error, HungUp)
        assert error.was_reset
        assert error.received == (len(HELLO) if answers else 0)
        assert "reset the connection" in str(error)


@pytest.mark.parametrize("answers", [True, False])
async def test_a_server_that_hangs_up_during_the_handshake(*, answers: bool) -> None:
    """ER-13: likewise."""
    with rig() as r:

        async def play(pt: Pt) -> None:
            await pt.get_through()
            await write(pt.wire, HELLO)
            if answers:
                await write(r.server, HELLO)
                assert await read(pt.wire, len(HELLO)) == HELLO
            r.server.shutdown(socket.SHUT_WR)
            await turn_until(lambda: r.wires[0].net_has_ended)
            await pt.refuse()

        error = await r.fail(play)
        assert isinstance(error, HungUp)
        assert not error.was_reset
        assert error.received == (len(HELLO) if answers else 0)
        assert "closed the connection" in str(error)


async def test_a_server_that_does_not_answer_as_it_should() -> None:
    """ER-13: the PT gives up, for a reason of its own."""
    with rig() as r:

        async def play(pt: Pt) -> None:
            await pt.get_through()
            await write(r.server, HELLO)
            assert await read(pt.wire, len(HELLO)) == HELLO
            await pt.refuse()

        error = await r.fail(play)
        assert isinstance(error, Unanswered)
        assert error.received == len(HELLO)
        assert await is_reset(r.server)


async def test_a_pt_that_refuses_without_a_call() -> None:
    """ER-13: nothing is known but that."""

    async def play(pt: Pt) -> None:
        await pt.be_asked()
        await pt.refuse()

    with rig() as r:
        error = await r.fail(play)
        assert isinstance(error, ConnectRefused)
        assert not r.wires


async def test_a_pt_that_hangs_up_in_its_handshake_with_us() -> None:
    """RL-10: the server is let go, too."""

    async def play(pt: Pt) -> None:
        await pt.get_through()
        pt.plain.close()

    with rig() as r:
        error = await r.fail(play)
        assert type(error) is ProtocolError
        assert await is_reset(r.server)
        assert await is_reset(r.pt.wire)


async def test_a_pt_that_says_it_is_through_and_has_not_called() -> None:
    """Design 3: we cannot hold what we have not got."""

    async def play(pt: Pt) -> None:
        await pt.be_asked()
        await pt.accept()

    with rig() as r:
        error = await r.fail(play)
        assert isinstance(error, ConnectRefused)
        assert await read_to_end(r.pt.plain) == b""


async def test_a_pt_that_says_it_is_through_when_its_wire_is_dead() -> None:
    """RL-10: it will hear of that itself; no tunnel can begin."""
    with rig() as r:

        async def play(pt: Pt) -> None:
            await pt.get_through()
            reset(r.server)
            await turn_until(lambda: r.wires[0].outcome is Outcome.NET_RESET)
            await pt.accept()

        error = await r.fail(play)
        assert isinstance(error, CutAtOnce)
        assert error.was_reset
        assert await read_to_end(r.pt.plain) == b""


async def test_a_pt_that_hangs_up_on_us_while_we_reach_the_server() -> None:
    """RL-10: the connection to the server is closed again."""
    with rig() as r:
        may_go_on = asyncio.Event()

        async def reach() -> socket.socket:
            net = await r.reach()
            await may_go_on.wait()
            return net

        async def play(pt: Pt) -> None:
            await pt.be_asked()
            await pt.call()
            await turn_until(lambda: hasattr(r, "server"))
            reset(pt.wire)
            may_go_on.set()
            assert await read_to_end(r.server) == b""
            await pt.refuse()

        error = await r.fail(play, reach=reach)
        assert isinstance(error, ConnectRefused)
        assert not r.wires


@pytest.mark.parametrize("is_early", [True, False])
async def test_a_dial_that_is_cancelled_leaves_nothing(*, is_early: bool) -> None:
    """RL-11: as when the PT dies; before we have begun to reach the server, too."""
    with rig() as r:
        begun = asyncio.Event()

        async def reach() -> socket.socket:
            begun.set()
            await asyncio.get_running_loop().create_future()
            raise AssertionError("nobody has set it")

        async with asyncio.TaskGroup() as tasks:
            dialling = tasks.create_task(r.dial(reach=reach))
            await r.pt.be_asked()
            await r.pt.call()
            if not is_early:
                await begun.wait()
            dialling.cancel()
        assert dialling.cancelled()
        assert await read_to_end(r.pt.plain) == b""
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            heard = await read_to_end(r.pt.wire)
        assert heard in (REPLY_FAILED, REPLY_NOT_ALLOWED, b"")


async def test_a_dial_that_is_cancelled_with_the_wire_open_leaves_nothing() -> None:
    """RL-11: likewise."""
    with rig() as r:
        async with asyncio.TaskGroup() as tasks:
            dialling = tasks.create_task(r.dial())
            await r.pt.get_through()
            dialling.cancel()
        assert await read_to_end(r.pt.plain) == b""
        assert await is_reset(r.pt.wire)
        assert await is_reset(r.server)


async def test_a_pt_that_does_not_listen_is_an_error_of_the_system() -> None:
    """RL-10: it may be about to die."""
    with rig() as r:
        r.pt._server.close()
        error = await _error_of(r.dial())
        assert isinstance(error, ConnectionRefusedError)


async def test_a_pt_that_takes_too_long_is_explained_by_its_wire() -> None:
    """SK-11: the server took the connection, and that is all that is known."""
    with rig() as r:

        def handshake(name: str) -> Handshake:
            yield from socks5.connect(Address(name, 443), b"")
            raise TimeoutError

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(get_through(r.pt))
            dialled = tasks.create_task(_error_of(r.dial(handshake=handshake)))
        assert isinstance(dialled.result(), Unanswered)


async def test_one_dial_after_another_gets_its_own() -> None:
    """RL-10: a name means one tunnel, and no other ever."""
    names = set()
    with rig() as r:
        for _ in range(20):
            ends = await r.succeed(get_through)
            assert await read(r.server, len(HELLO)) == HELLO
            names.add(r.pt.name)
            ends.drop()
    assert len(names) == 20
