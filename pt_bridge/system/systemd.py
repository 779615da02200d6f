"""Tell systemd how we are: sd_notify(3), for units of Type=notify."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTIFY_SOCKET = b"NOTIFY_SOCKET"


def notify(variables: Mapping[bytes, bytes], state: str) -> None:
    """Send a state such as ``READY=1``, where somebody asked for it.

    Args:
        variables: our environment.
        state: assignments, one a line.
    """
    path = variables.get(NOTIFY_SOCKET, b"")
    if not path.startswith((b"/", b"@")):  # a file, or an abstract name
        return
    address = b"\0" + path[1:] if path.startswith(b"@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), os.fsdecode(address))
    except OSError:  # tunnels come first
        pass
