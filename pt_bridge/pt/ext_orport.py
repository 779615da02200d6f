"""The Extended ORPort of one PT server: where it brings its clients' connections.

The cookie that the PT must know is in a file that has no name: an anonymous one
(memfd), which the PT inherits. So nothing can be lost, left, or read by anybody else.
Where a sandbox forbids that, or there is no /proc to name it by, it is in a private
folder for as long as the PT runs.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from pt_bridge.errors import SHORTAGES
from pt_bridge.listen.loopback_server import PATIENCE, LoopbackServer
from pt_bridge.protocol import ext_orport

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Generator

    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.handshake import Ask


class OrPort:
    """Listens for a PT for as long as its block lasts.

    Attributes:
        cookie_file: the descriptor that the PT must inherit, under the same number.
        cookie_path: where the PT finds the cookie.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_accepted: Callable[[socket.socket, ext_orport.Request], None],
        *,
        make_folder: Callable[[], str],
        patience: float = PATIENCE,
    ) -> None:
        """Listen, with a new cookie.

        Args:
            loop: the event loop.
            on_accepted: gets each connection that the PT brings, which waits for
                `ext_orport.OKAY` or `ext_orport.DENY`, and what it said of it.
            make_folder: makes a private folder that goes when the PT has gone, for
                systems where a file must have a name.
            patience: as for `LoopbackServer`.

        Raises:
            OSError: there is no descriptor left for it.
        """
        self._cookie = secrets.token_bytes(ext_orport.COOKIE_LENGTH)
        content = ext_orport.cookie_file(self._cookie)
        found = _unnamed_file(content) or _named_file(content, make_folder())
        self.cookie_file, self.cookie_path = found
        try:
            self._callback = LoopbackServer(
                loop, self._accept, on_accepted, patience=patience
            )
        except BaseException:
            os.close(self.cookie_file)
            raise

    def _accept(self) -> Generator[Ask, bytes, ext_orport.Request]:
        nonce = secrets.token_bytes(ext_orport.NONCE_LENGTH)
        return ext_orport.accept(cookie=self._cookie, nonce=nonce)

    @property
    def address(self) -> Address:
        """Where it listens (TOR_PT_EXTENDED_SERVER_PORT)."""
        return self._callback.address

    def __enter__(self) -> OrPort:
        self._callback.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the port, and forget the cookie."""
        os.close(self.cookie_file)
        self._callback.__exit__(*raised)


def _unnamed_file(content: bytes) -> tuple[int, str] | None:
    """Return a file without a name, and a path to it; None where that cannot be."""
    try:
        descriptor = os.memfd_create("cookie")
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno in SHORTAGES:
            raise
        return None
    path = f"/proc/self/fd/{descriptor}"
    if os.access(path, os.R_OK) and os.write(descriptor, content) == len(content):
        return descriptor, path
    os.close(descriptor)
    return None


def _named_file(content: bytes, folder: str) -> tuple[int, str]:
    path = os.path.join(folder, "cookie")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    os.write(descriptor, content)
    return descriptor, path
