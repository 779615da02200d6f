"""The Extended ORPort of one PT server: where it brings its clients' connections.

The cookie that the PT must know is in a file that has no name: an anonymous one
(memfd), which the PT inherits. So nothing can be lost, left, or read by anybody else.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from pt_bridge.callback import PATIENCE, Callback
from pt_bridge.protocol import extorport

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Generator
    from types import TracebackType

    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.socks5 import Ask


class OrPort:
    """Listens for a PT for as long as its block lasts.

    Attributes:
        cookie_file: the descriptor that the PT must inherit, under the same number.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        called: Callable[[socket.socket, extorport.Request], None],
        *,
        patience: float = PATIENCE,
    ) -> None:
        """Listen, with a new cookie.

        Args:
            loop: the event loop.
            called: gets each connection that the PT brings, which waits for
                `extorport.OKAY` or `extorport.DENY`, and what it said of it.
            patience: as for `Callback`.

        Raises:
            OSError: there is no descriptor left for it.
        """
        self._cookie = secrets.token_bytes(extorport.COOKIE_LENGTH)
        self.cookie_file = os.memfd_create("cookie")
        try:
            os.write(self.cookie_file, extorport.cookie_file(self._cookie))
            self._callback = Callback(loop, self._accept, called, patience=patience)
        except BaseException:
            os.close(self.cookie_file)
            raise

    def _accept(self) -> Generator[Ask, bytes, extorport.Request]:
        nonce = secrets.token_bytes(extorport.NONCE_LENGTH)
        return extorport.accept(cookie=self._cookie, nonce=nonce)

    @property
    def address(self) -> Address:
        """Where it listens (TOR_PT_EXTENDED_SERVER_PORT)."""
        return self._callback.address

    @property
    def cookie_path(self) -> str:
        """Where the PT finds the cookie, by its own descriptor."""
        return f"/proc/self/fd/{self.cookie_file}"

    def __enter__(self) -> OrPort:
        self._callback.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the port, and forget the cookie."""
        os.close(self.cookie_file)
        self._callback.__exit__(kind, error, traceback)
