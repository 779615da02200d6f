"""The loopback SOCKS5 proxy of one PT client: where it calls for its wire side.

``TOR_PT_PROXY`` points the PT here. It is asked through its SOCKS listener for a name
that means nothing to anybody else, and asks us for the same: so we know which tunnel
its connection belongs to, and dial the server for it ourselves. Nothing but the names
that are expected is served, each once, and only to who knows the user name and the
password that were made for this PT.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from pt_bridge.callback import PATIENCE, Callback
from pt_bridge.config import HELD_NAME_LENGTH
from pt_bridge.connection import answer
from pt_bridge.log import logger
from pt_bridge.protocol import socks5_server
from pt_bridge.protocol.socks5_server import REPLY_NOT_ALLOWED

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Generator, Iterator
    from types import TracebackType

    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.socks5 import Ask

# No name of the Internet ends so (RFC 6761 6.4), and none can be guessed.
DOMAIN = "invalid"
NAME_BYTES = (HELD_NAME_LENGTH - len(f".{DOMAIN}")) // 2
CREDENTIAL_BYTES = 16


class SocksProxy:
    """Listens for a PT for as long as its block lasts."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, patience: float = PATIENCE
    ) -> None:
        """Listen, with a new user name and password.

        Args:
            loop: the event loop.
            patience: as for `Callback`.

        Raises:
            OSError: there is no descriptor left for it.
        """
        self._user = secrets.token_hex(CREDENTIAL_BYTES)
        self._password = secrets.token_hex(CREDENTIAL_BYTES)
        self._expected: dict[str, Callable[[socket.socket], None]] = {}
        self._callback = Callback(loop, self._accept, self._called, patience=patience)

    @property
    def url(self) -> str:
        """What the PT is told (TOR_PT_PROXY, pt-spec 3.2.2)."""
        credentials = f"{self._user}:{self._password}"
        return f"socks5://{credentials}@{self._callback.address}"

    @property
    def credentials(self) -> tuple[str, str]:
        """The user name and the password, which no log may show."""
        return self._user, self._password

    @contextlib.contextmanager
    def expect(self, called: Callable[[socket.socket], None]) -> Iterator[str]:
        """Serve one more name, once, while the block lasts.

        Args:
            called: gets the PT's connection, which waits for one of
                `socks5_server`'s replies, and owns it.

        Yields:
            The host name.
        """
        name = f"{secrets.token_hex(NAME_BYTES)}.{DOMAIN}"
        self._expected[name] = called
        try:
            yield name
        finally:
            self._expected.pop(name, None)

    def _accept(self) -> Generator[Ask, bytes, Address]:
        return socks5_server.accept(
            user=self._user.encode(), password=self._password.encode()
        )

    def _called(self, sock: socket.socket, target: Address) -> None:
        called = self._expected.pop(target.host, None)
        if called is None:
            logger.debug("! the PT asked for a connection that nobody expects")
            answer(sock, REPLY_NOT_ALLOWED)
            sock.close()
        else:
            called(sock)

    def __enter__(self) -> SocksProxy:
        self._callback.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the port."""
        self._callback.__exit__(kind, error, traceback)
