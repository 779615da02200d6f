"""A client between a test and a fake PT, and who is at the other end of that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tests.support.processes import PLAIN_OPTIONS
from tests.support.session_end import SessionEnd

if TYPE_CHECKING:
    import socket

    from tests.support.processes import Bench, End, Program


def play_client(
    bench: Bench, behaviours: str = "relay", protocol: str = "socks5"
) -> None:
    """Have the PT be ready as a client, and do so with each connection."""
    bench.pt.play(
        "say VERSION 1", f"client {protocol} {behaviours}", "say CMETHODS DONE"
    )


def ready_client(bench: Bench, target: tuple[str, int], **keywords: Any) -> Program:
    """Start a client; return it when it is ready."""
    program = bench.client(target, **{"options": PLAIN_OPTIONS, **keywords})
    program.said("ready: ")
    return program


def server_end(bench: Bench, listener: socket.socket, way: str) -> End:
    """Act as the server on the next connection that the PT brings."""
    sock = bench.accept(listener)
    return SessionEnd.as_server(sock) if way == "session" else sock


def target_of(link: str | os.PathLike[str]) -> str:
    """Return where a link leads that may vanish meanwhile, or ""."""
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""
