"""The ways through obfs4proxy to a far end, with pt-bridge and without."""

from __future__ import annotations

import functools
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import processes
from bench.contestants import (
    PT_BRIDGE,
    PT_BRIDGE_01,
    Relay,
    running_far_end,
    running_pt_bridge,
    subfolder,
)
from bench.goals import OLD_BOTH, OLD_PLAIN, PLAIN, SESSION
from bench.processes import find, running
from bench.traffic import connect, receive

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from bench.traffic import Address, Dial

BARE = "obfs4proxy"


@dataclass(frozen=True)
class Lane:
    """One way through obfs4proxy to a far end.

    Attributes:
        dial: connects to the far end through all of it.
        relay: the client's pt-bridge, or None where there is none.
        pt: the PT client's process.
    """

    dial: Dial
    relay: Relay | None
    pt: int


@contextmanager
def obfs4_lanes(folder: Path) -> Iterator[dict[str, Lane]]:
    """Run every way through obfs4proxy beside each other; return them by name.

    ========== =======================================================================
    session    pt-bridge at both ends, with the session
    plain      pt-bridge in front of a bare obfs4proxy server
    obfs4proxy a client that speaks SOCKS5 to the PT client of the one before
    0.1 ...    the version before the session, at both ends; only where it is installed
    ========== =======================================================================
    """
    obfs4proxy = find("obfs4proxy")
    with ExitStack() as stack:
        far = stack.enter_context(running_far_end(folder))
        remote, pairs = stack.enter_context(_bare_server(folder, obfs4proxy, far))
        lanes = {}
        plain = ";".join(["transport=obfs4", "session=0", *pairs])
        lanes[PLAIN] = stack.enter_context(
            _lane(folder, plain, obfs4proxy, remote, PT_BRIDGE)
        )
        lanes[BARE] = Lane(_socks5_dial(lanes[PLAIN].pt, remote, pairs), None, 0)
        for name, executable, extra in (
            (SESSION, PT_BRIDGE, ""),
            (OLD_BOTH, PT_BRIDGE_01, ";hold=both"),
            (OLD_PLAIN, PT_BRIDGE_01, ";hold=plain"),
        ):
            if not os.path.exists(executable):
                continue
            there, options = stack.enter_context(
                _running_server(folder, far, executable, obfs4proxy, extra)
            )
            lanes[name] = stack.enter_context(
                _lane(folder, f"{options}{extra}", obfs4proxy, there, executable)
            )
        yield lanes


@contextmanager
def _lane(
    folder: Path, options: str, pt: str, remote: str, executable: str
) -> Iterator[Lane]:
    with running_pt_bridge(folder, options, pt, remote, executable=executable) as relay:
        child = _only_child(relay)
        processes.wait_until(lambda: _listens(child), "the PT client listens")
        yield Lane(relay.dial, relay, child)


@contextmanager
def _bare_server(
    folder: Path, pt: str, far: Address
) -> Iterator[tuple[str, list[str]]]:
    """Run obfs4proxy as a server by itself; return where, and its arguments."""
    server_folder = subfolder(folder, "obfs4-server")
    more = {
        "TOR_PT_MANAGED_TRANSPORT_VER": "1",
        "TOR_PT_STATE_LOCATION": str(server_folder / "pt-state"),
        "TOR_PT_EXIT_ON_STDIN_CLOSE": "1",
        "TOR_PT_SERVER_TRANSPORTS": "obfs4",
        "TOR_PT_SERVER_BINDADDR": "obfs4-127.0.0.1:0",
        "TOR_PT_ORPORT": f"{far[0]}:{far[1]}",
    }
    with running([pt], server_folder, more, is_heard=True) as server:
        # SMETHOD obfs4 127.0.0.1:PORT ARGS:cert=CERT,iat-mode=0
        _, _, remote, arguments = processes.line_of(server, "SMETHOD")
        yield remote, arguments.removeprefix("ARGS:").split(",")


@contextmanager
def _running_server(
    folder: Path, far: Address, executable: str, pt: str, extra: str
) -> Iterator[tuple[str, str]]:
    """Run pt-bridge's server; return where, and what its clients must use."""
    folder = subfolder(folder, "pt-bridge-server")
    remote = f"127.0.0.1:{processes.free_port()}"
    command = [
        *(executable, "server", "--local", f"{far[0]}:{far[1]}", "--remote", remote),
        *("--plugin-opts", f"transport=obfs4{extra}", "--exec", pt),
    ]
    with running(command, folder):
        found: list[Path] = []

        def is_ready() -> bool:
            found[:] = folder.rglob("client-options.txt")
            return bool(found) and "ready: " in (folder / "log").read_text()

        processes.wait_until(is_ready, "the server is ready")
        yield remote, found[0].read_text().strip()


def _socks5_dial(pt: int, remote: str, pairs: list[str]) -> Dial:
    return functools.partial(
        dial_socks5,
        ("127.0.0.1", processes.listening_port(pt)),
        int(remote.rpartition(":")[2]),
        ";".join(pairs).encode(),
    )


def _only_child(relay: Relay) -> int:
    """Wait until pt-bridge has started its PT; return the PT's process."""
    assert relay.pid is not None  # it is no `direct`
    pid = relay.pid
    processes.wait_until(lambda: bool(processes.children(pid)), "the PT is started")
    return processes.children(pid)[0]


def _listens(pid: int) -> bool:
    try:
        processes.listening_port(pid)
    except processes.Unavailable:
        return False
    return True


def dial_socks5(proxy: Address, port: int, arguments: bytes) -> socket.socket:
    """Connect to a port of 127.0.0.1 through a PT client, as a plain client does."""
    sock = connect(proxy)
    try:
        user, password = arguments[:255], arguments[255:] or b"\0"
        sock.sendall(b"\x05\x01\x02")
        receive(sock, 2)
        sock.sendall(bytes([1, len(user), *user, len(password), *password]))
        receive(sock, 2)
        sock.sendall(bytes([5, 1, 0, 1, 127, 0, 0, 1, *divmod(port, 256)]))
        reply = receive(sock, 10)
        if reply[1]:
            raise ConnectionError(f"the PT answered with SOCKS reply {reply[1]}")
    except BaseException:
        sock.close()
        raise
    return sock
