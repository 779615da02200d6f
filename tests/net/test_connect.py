"""Dialling the PT, which follows a script, and the server: on real TCP."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import (
    ArgumentsRejected,
    ConnectRefused,
    ProtocolError,
    Unreached,
    Unresolved,
)
from pt_bridge.net.connect import (
    DIAL_LIMIT,
    connect_and_handshake,
    connect_first,
    connect_remote,
)
from pt_bridge.net.sockets import reset
from pt_bridge.protocol import socks_client
from pt_bridge.protocol.address import Address
from tests.support.tcp import is_silent, noise, read, read_to_end

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = Address("192.0.2.3", 443)
ARGUMENTS = b"cert=AAAA;iat-mode=0"
# Conformance, appendix B: what we say, step by step, and what a PT answers.
GREETING, METHOD = bytes.fromhex("05 01 02"), bytes.fromhex("05 02")
AUTHENTICATION = bytes.fromhex("01 14") + ARGUMENTS + bytes.fromhex("01 00")
ACCEPTED, REJECTED = bytes.fromhex("01 00"), bytes.fromhex("01 01")
REQUEST = bytes.fromhex("05 01 00 01 c0000203 01bb")
OPEN, REFUSED = (
    bytes.fromhex(f"05 {code} 00 01 00000000 0000") for code in ("00", "01")
)
STEPS = [(GREETING, METHOD), (AUTHENTICATION, ACCEPTED), (REQUEST, OPEN)]

Script = list[tuple[bytes, bytes]]


class Pt:
    """A PT's SOCKS listener, as far as a script goes."""

    def __init__(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._server = socket.create_server((host, 0), family=family)
        self._server.setblocking(False)
        self.address = Address(host, self._server.getsockname()[1])
        self.sock: socket.socket | None = None

    def close(self) -> None:
        self._server.close()
        if self.sock is not None:
            self.sock.close()

    async def play(self, script: Script) -> socket.socket:
        """Expect and answer step by step; nothing may come before its turn."""
        loop = asyncio.get_running_loop()
        sock, _ = await loop.sock_accept(self._server)
        self.sock = sock
        for expected, answer in script:
            assert await read(sock, len(expected)) == expected
            assert is_silent(sock)
            await loop.sock_sendall(sock, answer)
        return sock

    async def serve(
        self, script: Script, *, limit: float = DIAL_LIMIT
    ) -> socket.socket:
        """Be dialled, and follow the script; return our dialler's socket."""
        handshake = socks_client.connect(TARGET, ARGUMENTS)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.play(script))
            dialled = tasks.create_task(
                connect_and_handshake(self.address, handshake, limit=limit)
            )
        return dialled.result()

    async def fail(self, script: Script, *, limit: float = DIAL_LIMIT) -> Exception:
        """The same where the dialler must give up, and close; return its error."""
        handshake = socks_client.connect(TARGET, ARGUMENTS)
        async with asyncio.TaskGroup() as tasks:
            played = tasks.create_task(self.play(script))
            try:
                sock = await connect_and_handshake(self.address, handshake, limit=limit)
            except Exception as error:
                assert await read_to_end(await played) == b""
                return error
            sock.close()
            raise AssertionError("it should have failed")


@contextlib.contextmanager
def pt(host: str = "127.0.0.1") -> Iterator[Pt]:
    """Run a PT's listener, and take it down."""
    built = Pt(host)
    try:
        yield built
    finally:
        built.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_dialled_connection_is_ready_for_the_tunnel(host: str) -> None:
    """SK-06, RL-05: strictly one step after the other, and then nothing of ours."""
    with pt(host) as p, await p.serve(STEPS) as sock:
        assert p.sock is not None
        assert is_silent(p.sock)
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_who_has_taken_the_port_of_a_pt_that_died_hears_nothing() -> None:
    """It may be another user, and would learn the destination."""
    with pt() as p:
        handshake = socks_client.connect(TARGET, ARGUMENTS)
        async with asyncio.TaskGroup() as tasks:
            played = tasks.create_task(p.play([]))
            with pytest.raises(ConnectionRefusedError):
                await connect_and_handshake(p.address, handshake, has_died=lambda: True)
        assert await read_to_end(await played) == b""


async def test_a_pt_that_lives_is_spoken_to() -> None:
    """The same question, and the other answer."""
    with pt() as p:
        handshake = socks_client.connect(TARGET, ARGUMENTS)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(p.play(STEPS))
            dialled = tasks.create_task(
                connect_and_handshake(p.address, handshake, has_died=lambda: False)
            )
        dialled.result().close()


async def test_payload_right_behind_the_reply_is_left_for_the_tunnel() -> None:
    """SK-09: even where both come in one segment."""
    payload = noise(1000)
    steps = [*STEPS[:-1], (REQUEST, OPEN + payload)]
    with pt() as p, await p.serve(steps) as sock:
        assert p.sock is not None
        p.sock.shutdown(socket.SHUT_WR)
        assert await read_to_end(sock) == payload


async def test_an_answer_may_come_byte_by_byte() -> None:
    """SK-09: a segment's end means nothing."""
    trickle = [(b"", bytes([byte])) for byte in OPEN]
    with pt() as p, await p.serve([*STEPS[:-1], (REQUEST, b""), *trickle]):
        pass


async def test_the_same_goes_for_socks4() -> None:
    """SK-15: another handshake, the same dialling."""
    request = bytes.fromhex("04 01 01bb c0000203") + ARGUMENTS + b"\0"
    granted = bytes.fromhex("00 5a 0000 00000000")
    with pt() as p:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(p.play([(request, granted + b"payload")]))
            dialled = tasks.create_task(
                connect_and_handshake(
                    p.address, socks_client.connect_socks4(TARGET, ARGUMENTS)
                )
            )
        with dialled.result() as sock:
            assert await read(sock, 7) == b"payload"


async def test_arguments_that_the_pt_rejects_are_an_error_of_their_own() -> None:
    """ER-12: the same for every server, so no other needs to be tried."""
    with pt() as p:
        error = await p.fail([(GREETING, METHOD), (AUTHENTICATION, REJECTED)])
        assert isinstance(error, ArgumentsRejected)


async def test_a_server_that_the_pt_did_not_reach_is_an_error() -> None:
    """ER-13."""
    with pt() as p:
        error = await p.fail([*STEPS[:-1], (REQUEST, REFUSED[:4])])
        assert isinstance(error, ConnectRefused)


@pytest.mark.parametrize(
    "script",
    [
        [(GREETING, b"HT")],
        [(GREETING, bytes.fromhex("05 ff"))],
        [*STEPS[:-1], (REQUEST, b"HTTP")],
        [*STEPS[:-1], (REQUEST, bytes.fromhex("05 00 00 09"))],
    ],
    ids=["not SOCKS", "no method", "not a reply", "no address"],
)
async def test_what_is_not_socks_is_an_error(script: Script) -> None:
    """SK-05, SK-09: and the connection is dropped."""
    with pt() as p:
        error = await p.fail(script)
        assert type(error) is ProtocolError


@pytest.mark.parametrize("steps", range(len(STEPS)))
async def test_a_pt_that_closes_in_the_middle_is_an_error(steps: int) -> None:
    """RL-10, SK-07: obfs4proxy closes without a word when it does not like a step."""
    script = [*STEPS[:steps], (STEPS[steps][0], STEPS[steps][1][:1])]
    with pt() as p:

        async def play_and_close() -> None:
            (await p.play(script)).close()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(play_and_close())
            with pytest.raises(ProtocolError, match="closed the connection during"):
                await connect_and_handshake(
                    p.address, socks_client.connect(TARGET, ARGUMENTS)
                )


async def test_a_pt_that_resets_is_an_error_of_the_system() -> None:
    """RL-10: a PT that dies under us, for one."""
    with pt() as p:

        async def play_and_reset() -> None:
            reset(await p.play(STEPS[:1]))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(play_and_reset())
            with pytest.raises(OSError, match=r"reset by peer|Broken pipe"):
                await connect_and_handshake(
                    p.address, socks_client.connect(TARGET, ARGUMENTS)
                )


@pytest.mark.parametrize("steps", range(len(STEPS) + 1))
async def test_a_pt_that_does_not_answer_is_given_up(steps: int) -> None:
    """SK-11: after a limit, whatever it is that it leaves out."""
    if steps == len(STEPS):
        script = [*STEPS[:-1], (REQUEST, OPEN[:-1])]
    else:
        script = STEPS[:steps]
    with pt() as p:

        async def play() -> None:
            with contextlib.suppress(ConnectionError):  # given up while it was played
                await p.play(script)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(play())
            with pytest.raises(TimeoutError):
                await connect_and_handshake(
                    p.address, socks_client.connect(TARGET, ARGUMENTS), limit=0.05
                )


def test_pts_get_the_time_that_they_give_their_servers() -> None:
    """SK-11: 60 s and a margin."""
    assert DIAL_LIMIT >= 61


async def test_a_pt_that_does_not_listen_is_an_error_of_the_system() -> None:
    """RL-10."""
    with pt() as p:
        address = p.address
    with pytest.raises(ConnectionRefusedError):
        await connect_and_handshake(address, socks_client.connect(TARGET, ARGUMENTS))


async def test_a_dial_that_is_cancelled_leaves_nothing() -> None:
    """RL-11: as when the PT dies."""
    with pt() as p:
        async with asyncio.TaskGroup() as tasks:
            played = tasks.create_task(p.play([*STEPS[:2], (REQUEST, b"")]))
            dialling = tasks.create_task(
                connect_and_handshake(
                    p.address, socks_client.connect(TARGET, ARGUMENTS)
                )
            )
            sock = await played
            dialling.cancel()
        assert dialling.cancelled()
        assert await read_to_end(sock) == b""


# -- the server ------------------------------------------------------------------------


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Act as a server."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        yield server


def port_of(server: socket.socket) -> int:
    port = server.getsockname()[1]
    assert isinstance(port, int)
    return port


@contextlib.contextmanager
def mute() -> Iterator[Address]:
    """Return where nobody answers: there is no room for one more who waits."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield Address("127.0.0.1", port_of(server))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_server_that_was_reached_is_ready_for_the_wire(host: str) -> None:
    """RL-05: like a connection to the PT."""
    with (
        listening(host) as server,
        await connect_remote(Address(host, port_of(server))) as sock,
    ):
        peer, _ = server.accept()
        with peer:
            assert sock.getpeername() == peer.getsockname()
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_the_addresses_of_a_name_are_tried_in_turn() -> None:
    """FE-17, SK-08."""
    with listening("::1") as server, socket.socket() as holder:
        # It does not listen. Of 127.0.0.1, somebody's connection may have that port.
        holder.bind(("127.3.0.7", port_of(server)))
        both = [Address(host, port_of(server)) for host in ("127.3.0.7", "::1")]
        with await connect_first(both) as sock:
            assert sock.getpeername()[0] == "::1"


async def test_a_server_whose_name_has_no_address_is_an_error_of_its_own() -> None:
    """ER-13, SE-06: and the name is not shown."""
    with pytest.raises(Unresolved) as caught:
        await connect_remote(Address("server.nobody.invalid", 443))
    assert str(caught.value).startswith("the server's name cannot be resolved: ")
    assert "nobody" not in str(caught.value)


async def test_a_server_that_refuses_is_an_error_with_the_systems_word() -> None:
    """ER-13, SE-06: the cause is told from it; no address is shown."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        with pytest.raises(Unreached) as caught:
            await connect_remote(Address("127.0.0.1", port_of(holder)))
    assert caught.value.errno == errno.ECONNREFUSED
    assert str(caught.value) == "the server cannot be reached: connection refused"


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    """ER-13: after a limit; the system's own is minutes."""
    with mute() as address, pytest.raises(Unreached) as caught:
        await connect_remote(address, limit=0.05)
    assert caught.value.errno == errno.ETIMEDOUT
    assert str(caught.value) == "the server cannot be reached: connection timed out"


async def test_a_shortage_of_ours_is_not_blamed_on_the_server() -> None:
    """RL-06: it may pass."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with listening() as server:
        address = Address("127.0.0.1", port_of(server))
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                await connect_remote(address)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_reaching_that_is_cancelled_leaves_nothing() -> None:
    """RL-11: a socket that is left warns, and warnings are errors."""
    with mute() as address:
        async with asyncio.TaskGroup() as tasks:
            reaching = tasks.create_task(connect_remote(address))
            await asyncio.sleep(0)
            reaching.cancel()
        assert reaching.cancelled()
