"""Dialling the PT: against a SOCKS server that follows a script, on real TCP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.connection import reset
from pt_bridge.dial import DIAL_LIMIT, dial
from pt_bridge.errors import ArgumentsRejected, ConnectRefused, ProtocolError
from pt_bridge.protocol import socks4, socks5
from pt_bridge.protocol.address import Address
from tests.tcp import is_silent, noise, read, read_to_end

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
        """Be dialled, and follow the script; give our dialler's socket."""
        handshake = socks5.connect(TARGET, ARGUMENTS)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.play(script))
            dialled = tasks.create_task(dial(self.address, handshake, limit=limit))
        return dialled.result()

    async def fail(self, script: Script, *, limit: float = DIAL_LIMIT) -> Exception:
        """The same where the dialler must give up, and close; give its error."""
        handshake = socks5.connect(TARGET, ARGUMENTS)
        async with asyncio.TaskGroup() as tasks:
            played = tasks.create_task(self.play(script))
            try:
                sock = await dial(self.address, handshake, limit=limit)
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
                dial(p.address, socks4.connect(TARGET, ARGUMENTS))
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
                await dial(p.address, socks5.connect(TARGET, ARGUMENTS))


async def test_a_pt_that_resets_is_an_error_of_the_system() -> None:
    """RL-10: a PT that dies under us, for one."""
    with pt() as p:

        async def play_and_reset() -> None:
            reset(await p.play(STEPS[:1]))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(play_and_reset())
            with pytest.raises(OSError, match=r"reset by peer|Broken pipe"):
                await dial(p.address, socks5.connect(TARGET, ARGUMENTS))


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
                await dial(p.address, socks5.connect(TARGET, ARGUMENTS), limit=0.05)


def test_pts_get_the_time_that_they_give_their_servers() -> None:
    """SK-11: 60 s and a margin."""
    assert DIAL_LIMIT >= 61


async def test_a_pt_that_does_not_listen_is_an_error_of_the_system() -> None:
    """RL-10."""
    with pt() as p:
        address = p.address
    with pytest.raises(ConnectionRefusedError):
        await dial(address, socks5.connect(TARGET, ARGUMENTS))


async def test_a_dial_that_is_cancelled_leaves_nothing() -> None:
    """RL-11: as when the PT dies."""
    with pt() as p:
        async with asyncio.TaskGroup() as tasks:
            played = tasks.create_task(p.play([*STEPS[:2], (REQUEST, b"")]))
            dialling = tasks.create_task(
                dial(p.address, socks5.connect(TARGET, ARGUMENTS))
            )
            sock = await played
            dialling.cancel()
        assert dialling.cancelled()
        assert await read_to_end(sock) == b""
