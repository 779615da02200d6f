"""A PT client without pt-bridge: a test speaks through it to whoever is behind."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from integration.support.programs import DEADLINE

if TYPE_CHECKING:
    from integration.support.endpoints import Address
    from integration.support.machine import Machine

# SOCKS5 (RFC 1928, RFC 1929), as PTs have it: the user's name is the arguments.
GREETING, CHOSEN = b"\x05\x01\x02", b"\x05\x02"
WELCOME = b"\x01\x00"
CONNECT, GRANTED = b"\x05\x01\x00\x01", b"\x05\x00"
REPLY_SIZE = 10
MOST_ARGUMENTS = 255


class BareClient:
    """A PT for obfs4, started as Tor does (pt-spec 3.2)."""

    def __init__(self, machine: Machine, program: str, options: str) -> None:
        """Start it, and wait until it is ready.

        Args:
            machine: where.
            program: the PT.
            options: what a server tells its clients; its cert is in it.
        """
        state = machine.folder / "bare-client"
        state.mkdir()
        pt = machine.start_pt(
            program,
            {
                "TOR_PT_STATE_LOCATION": str(state),
                "TOR_PT_CLIENT_TRANSPORTS": "obfs4",
            },
        )
        place = pt.wait_for("CMETHOD obfs4 ").rpartition(" ")[2]
        host, _, port = place.rpartition(":")
        self._socks: Address = (host, int(port))
        pairs = [
            each for each in options.split(";") if each.startswith(("cert", "iat"))
        ]
        self._arguments = ";".join(pairs).encode()
        assert len(self._arguments) <= MOST_ARGUMENTS

    async def connect(self, server: Address) -> socket.socket:
        """Return a connection to what is behind a server; nothing was said on it."""
        sock = socket.socket()
        try:
            async with asyncio.timeout(DEADLINE):
                await self._shake_hands(sock, server)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _shake_hands(self, sock: socket.socket, server: Address) -> None:
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        await loop.sock_connect(sock, self._socks)
        await loop.sock_sendall(sock, GREETING)
        assert await _exactly(sock, len(CHOSEN)) == CHOSEN
        user = bytes([len(self._arguments)]) + self._arguments
        await loop.sock_sendall(sock, b"\x01" + user + b"\x01\x00")
        assert await _exactly(sock, len(WELCOME)) == WELCOME
        address = socket.inet_aton(server[0]) + server[1].to_bytes(2, "big")
        await loop.sock_sendall(sock, CONNECT + address)
        assert (await _exactly(sock, REPLY_SIZE)).startswith(GRANTED)


async def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await asyncio.get_running_loop().sock_recv(sock, size - len(data))
        assert more, "the PT hung up during its handshake"
        data += more
    return data
