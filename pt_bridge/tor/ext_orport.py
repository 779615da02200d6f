"""A tor's own Extended ORPort, where it hears of clients and takes their connections.

tor writes a new cookie at each start. So it is read again whenever tor does not know
the one that we have: no connection later than that is lost.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
from typing import TYPE_CHECKING

from pt_bridge.errors import CookieRefused, ProtocolError, UsageError
from pt_bridge.net.connect import connect_local, shake_hands
from pt_bridge.protocol import ext_orport

if TYPE_CHECKING:
    from collections.abc import Generator

    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.handshake import Ask

# How long a tor that has gone is waited for, and how long all of it may take (seconds);
# a client's PT goes on waiting meanwhile.
PATIENCE = 3.0
LIMIT = 5.0
MAX_COOKIE_FILE = 4096  # bytes; it has 64
HOW_TO_READ_IT = (
    "run pt-bridge as tor's own user, or write ExtORPortCookieAuthFileGroupReadable 1 "
    "into torrc and add pt-bridge's user to tor's group"
)


class TorExtOrPort:
    """A tor's Extended ORPort.

    Attributes:
        address: where it listens, an IP address and a port.
        cookie_path: the file that tor writes its cookie to.
    """

    def __init__(
        self, address: Address, cookie_path: str, *, patience: float = PATIENCE
    ) -> None:
        """Create one; nothing is read or connected yet.

        Args:
            address: where it listens, an IP address and a port.
            cookie_path: the file that tor writes its cookie to.
            patience: how long to try again where tor does not listen, in seconds.
        """
        self.address = address
        self.cookie_path = cookie_path
        self._patience = patience
        self._cookie = b""

    def check_cookie_file(self) -> bool:
        """Return whether the cookie file is there; tor may be started later.

        Raises:
            UsageError: we may not read it, or it is no cookie file.
        """
        try:
            self._read_cookie()
        except FileNotFoundError:
            return False
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise UsageError(
                f"tor's cookie file {self.cookie_path} cannot be read: {why}; "
                f"{HOW_TO_READ_IT}"
            ) from None
        except ProtocolError as error:
            raise UsageError(
                f"tor's cookie file {self.cookie_path} is wrong: {error}"
            ) from None
        return True

    async def connect(
        self, user_address: Address | None, transport: str
    ) -> socket.socket:
        """Announce a client to tor; return the connection that carries it.

        Args:
            user_address: where the client comes from, or None where nobody knows.
            transport: the transport's name.

        Raises:
            Denied: tor does not take it.
            CookieRefused: tor does not know the cookie that is in its file.
            ProtocolError: what listens there is no Extended ORPort, or the file holds
                no cookie.
            OSError: tor cannot be reached, or the file not be read; TimeoutError is one
                of these.
        """

        def announce() -> Generator[Ask, bytes, None]:
            return ext_orport.announce(
                cookie=self._cookie,
                nonce=secrets.token_bytes(ext_orport.NONCE_LENGTH),
                user_address=user_address,
                transport=transport,
            )

        if not self._cookie:
            self._read_cookie()
        try:
            return await self._shake_hands(announce(), patience=self._patience)
        except CookieRefused:
            self._read_cookie()
            return await self._shake_hands(announce(), patience=self._patience)

    async def prove(self) -> None:
        """Prove that we know tor's cookie, and announce nobody; now or not at all.

        Raises:
            ProtocolError, OSError: as with `connect`.
        """
        self._read_cookie()
        nonce = secrets.token_bytes(ext_orport.NONCE_LENGTH)
        handshake = ext_orport.prove(cookie=self._cookie, nonce=nonce)
        (await self._shake_hands(handshake, patience=0)).close()

    async def _shake_hands(
        self, handshake: Generator[Ask, bytes, None], *, patience: float
    ) -> socket.socket:
        sock = await connect_local(self.address, patience=patience, limit=LIMIT)
        try:
            await shake_hands(sock, handshake, limit=LIMIT, peer="tor")
        except BaseException:
            sock.close()
            raise
        return sock

    def _read_cookie(self) -> None:
        """Read the cookie, as it is now."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # it may be a FIFO
        with open(os.open(self.cookie_path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ProtocolError("it is no file")
            content = file.read(MAX_COOKIE_FILE)
        self._cookie = ext_orport.read_cookie_file(content)
