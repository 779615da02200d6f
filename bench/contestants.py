"""Who is measured: each is started afresh, in front of a far end of its own.

============== =======================================================================
direct         nobody: the client is connected to the far end itself
pt-bridge      ``pt-bridge client``, as it is installed; its PT is the far end
HAProxy        mode tcp, one thread
HAProxy splice the same with ``option splice-auto``
ptadapter      its own program, ``ptadapter -C``; its PT is the far end
socat          a process per connection
============== =======================================================================
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from bench import far_end, processes
from bench.processes import find, running, variables
from bench.traffic import connect, receive

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from bench.traffic import Address, Dial

ROOT = Path(__file__).parent.parent
# Where scripts/bench has installed what is compared.
VENVS = ROOT / ".bench"
PT_BRIDGE_PYTHON = str(VENVS / "pt-bridge/bin/python")
PT_BRIDGE = str(VENVS / "pt-bridge/bin/pt-bridge")
PTADAPTER = str(VENVS / "ptadapter/bin/ptadapter")
TRANSPORT = "null"
# A far end that is a PT is told where to go, and goes nowhere.
NOWHERE = "127.0.0.1:1"

HAPROXY_CONFIG = """\
global
    nbthread 1
    maxconn 4000
defaults
    mode tcp
    timeout connect 30s
    timeout client 300s
    timeout server 300s
    {option}
listen relay
    bind {address}
    server far {far}
"""
PTADAPTER_CONFIG = """\
[client]
exec = {pt}
state = {state}
tunnels = only
[only]
transport = {transport}
listen = {address}
upstream = {nowhere}
"""


@dataclass(frozen=True)
class Relay:
    """A contestant that runs.

    Attributes:
        dial: connects through it to the far end.
        pid: its process, or None where there is none.
        per_connection: whether it starts a process for each connection.
        folder: where its output is, in `log`.
    """

    dial: Dial
    pid: int | None
    folder: Path
    per_connection: bool = False

    def cpu_seconds(self) -> float:
        """Give the time on a CPU that it has had so far."""
        if self.pid is None:
            return 0.0
        pids = [self.pid]
        if self.per_connection:
            pids += processes.children(self.pid)
        return processes.cpu_seconds(pids)

    def come_to_rest(self) -> None:
        """Wait until its connections' processes have ended, where it has such."""
        if self.per_connection and self.pid is not None:
            pid = self.pid
            processes.wait_until(lambda: not processes.children(pid), "they end")

    def tasks(self) -> int:
        """Give how many asyncio tasks it has; only where it is watched."""
        assert self.pid is not None  # else nobody asks
        log = self.folder / "log"
        told_before = log.read_text(errors="replace").count("\ntasks ")
        os.kill(self.pid, signal.SIGUSR2)
        processes.wait_until(
            lambda: log.read_text(errors="replace").count("\ntasks ") > told_before,
            "the number of tasks",
        )
        return int(log.read_text(errors="replace").split("\ntasks ")[-1].split()[0])


def subfolder(folder: Path, name: str) -> Path:
    """Make a new folder for a process."""
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))


@contextmanager
def running_far_end(folder: Path) -> Iterator[Address]:
    """Run a far end that is a plain TCP server; give where."""
    with running(
        [sys.executable, "-I", far_end.__file__],
        subfolder(folder, "far-end"),
        is_heard=True,
    ) as process:
        host, _, port = processes.line_of(process, "LISTENING")[1].rpartition(":")
        yield host, int(port)


def write_pt(folder: Path) -> str:
    """Write the far end as a program that can be a PT; give its path."""
    path = folder / "far-end-pt"
    path.write_text(f"#!{sys.executable} -I\n{Path(far_end.__file__).read_text()}")
    path.chmod(0o700)
    return str(path)


@contextmanager
def direct(folder: Path) -> Iterator[Relay]:
    """Run no relay at all."""
    with running_far_end(folder) as address:
        yield Relay(functools.partial(connect, address), None, folder)


@contextmanager
def pt_bridge(folder: Path, *, is_watched: bool = False) -> Iterator[Relay]:
    """Run pt-bridge's client in front of a far end that is its PT."""
    with running_pt_bridge(
        folder, f"transport={TRANSPORT}", write_pt(folder), is_watched=is_watched
    ) as relay:
        yield relay


@contextmanager
def running_pt_bridge(
    folder: Path,
    options: str,
    pt: str,
    remote: str = NOWHERE,
    *,
    is_watched: bool = False,
) -> Iterator[Relay]:
    """Run pt-bridge's client.

    Args:
        folder: where to put its own.
        options: the plugin options.
        pt: the PT's path.
        remote: the server.
        is_watched: whether it tells how many tasks it has.
    """
    watched = str(Path(__file__).with_name("watched.py"))
    program = [PT_BRIDGE_PYTHON, "-I", watched] if is_watched else [PT_BRIDGE]
    address = ("127.0.0.1", processes.free_port())
    arguments = [
        *(*program, "client", "--local", f"127.0.0.1:{address[1]}"),
        *("--remote", remote, "--plugin-opts", options, "--exec", pt),
    ]
    folder = subfolder(folder, "pt-bridge")
    with running(arguments, folder) as process:
        yield _ready(process, address, folder)


@contextmanager
def haproxy(folder: Path, option: str = "") -> Iterator[Relay]:
    """Run HAProxy in front of a far end."""
    with running_far_end(folder) as (host, port):
        address = ("127.0.0.1", processes.free_port())
        folder = subfolder(folder, "haproxy")
        config = folder / "haproxy.cfg"
        config.write_text(
            HAPROXY_CONFIG.format(
                option=option, address=f"127.0.0.1:{address[1]}", far=f"{host}:{port}"
            )
        )
        with running([find("haproxy"), "-db", "-f", str(config)], folder) as process:
            yield _ready(process, address, folder)


def haproxy_splice(folder: Path) -> AbstractContextManager[Relay]:
    """Run HAProxy with splicing in front of a far end."""
    return haproxy(folder, "option splice-auto")


@contextmanager
def ptadapter(folder: Path) -> Iterator[Relay]:
    """Run ptadapter's client in front of a far end that is its PT."""
    pt = write_pt(folder)
    address = ("127.0.0.1", processes.free_port())
    folder = subfolder(folder, "ptadapter")
    config = folder / "ptadapter.conf"
    config.write_text(
        PTADAPTER_CONFIG.format(
            pt=pt,
            state=folder / "pt-state",
            transport=TRANSPORT,
            address=f"127.0.0.1:{address[1]}",
            nowhere=NOWHERE,
        )
    )
    with running([PTADAPTER, "-C", str(config)], folder) as process:
        yield _ready(process, address, folder)


@contextmanager
def socat(folder: Path) -> Iterator[Relay]:
    """Run socat in front of a far end."""
    with running_far_end(folder) as (host, port):
        address = ("127.0.0.1", processes.free_port())
        folder = subfolder(folder, "socat")
        arguments = [
            find("socat"),
            f"TCP-LISTEN:{address[1]},bind=127.0.0.1,fork,reuseaddr,nodelay",
            f"TCP:{host}:{port},nodelay",
        ]
        with running(arguments, folder) as process:
            yield _ready(process, address, folder, per_connection=True)


def _ready(
    process: subprocess.Popen[bytes],
    address: Address,
    folder: Path,
    *,
    per_connection: bool = False,
) -> Relay:
    """Wait until a relay listens."""
    processes.wait_for_port(process, address, folder)
    dial = functools.partial(connect, address)
    return Relay(dial, process.pid, folder, per_connection)


CONTESTANTS: dict[str, Callable[[Path], AbstractContextManager[Relay]]] = {
    "direct": direct,
    "pt-bridge": pt_bridge,
    "HAProxy": haproxy,
    "HAProxy splice": haproxy_splice,
    "ptadapter": ptadapter,
    "socat": socat,
}


class Placement(Enum):
    """Which cores a relay, and the two ends that it joins, may run on.

    A message's way between two cores that are idle costs more than all that a relay
    does with it, and the system puts the three now on one core and now on two: where
    single messages count, that would be all one sees.
    """

    FREE = "wherever the system puts them"
    TOGETHER = "all on one core"
    APART = "the relay on a core of its own, the ends on another"


@contextmanager
def placed(name: str, folder: Path, placement: Placement) -> Iterator[Relay]:
    """Run a contestant, and us with it, where the placement says."""
    cores = sorted(os.sched_getaffinity(0))
    if placement is Placement.APART and len(cores) < 2:
        raise processes.Unavailable("this takes two cores")
    ours = set(cores) if placement is Placement.FREE else {cores[-1]}
    with processes.on_cores(ours), CONTESTANTS[name](folder) as relay:
        if placement is Placement.APART and relay.pid is not None:
            os.sched_setaffinity(relay.pid, {cores[0]})
        yield relay


@dataclass(frozen=True)
class Chain:
    """pt-bridge and obfs4proxy in front of obfs4proxy's server and a far end.

    Attributes:
        relay: pt-bridge with ``hold=plain``; what is dialled goes through all of it.
        pt: its PT client's process.
        dial_pt: connects to the same PT client without pt-bridge.
        held: pt-bridge with ``hold=both``, in front of the same server.
        held_pt: its PT client's process.
    """

    relay: Relay
    pt: int
    dial_pt: Dial
    held: Relay
    held_pt: int


@contextmanager
def obfs4_chain(folder: Path) -> Iterator[Chain]:
    """Run pt-bridge with obfs4proxy at both ends."""
    obfs4proxy = find("obfs4proxy")
    with ExitStack() as stack:
        host, port = stack.enter_context(running_far_end(folder))
        server_folder = subfolder(folder, "obfs4-server")
        more = {
            "TOR_PT_MANAGED_TRANSPORT_VER": "1",
            "TOR_PT_STATE_LOCATION": str(server_folder / "pt-state"),
            "TOR_PT_EXIT_ON_STDIN_CLOSE": "1",
            "TOR_PT_SERVER_TRANSPORTS": "obfs4",
            "TOR_PT_SERVER_BINDADDR": "obfs4-127.0.0.1:0",
            "TOR_PT_ORPORT": f"{host}:{port}",
        }
        server = stack.enter_context(
            running([obfs4proxy], server_folder, more, is_heard=True)
        )
        # SMETHOD obfs4 127.0.0.1:PORT ARGS:cert=CERT,iat-mode=0
        _, _, remote, arguments = processes.line_of(server, "SMETHOD")
        pairs = arguments.removeprefix("ARGS:").split(",")
        relays = []
        for hold in ("plain", "both"):
            options = ";".join(["transport=obfs4", f"hold={hold}", *pairs])
            relay = stack.enter_context(
                running_pt_bridge(folder, options, obfs4proxy, remote)
            )
            relays.append((relay, _only_child(relay)))
        (relay, pt), (held, held_pt) = relays
        processes.wait_until(lambda: _listens(pt), "the PT client listens")
        dial_pt = functools.partial(
            dial_socks5,
            ("127.0.0.1", processes.listening_port(pt)),
            int(remote.rpartition(":")[2]),
            ";".join(pairs).encode(),
        )
        yield Chain(relay, pt, dial_pt, held, held_pt)


def _only_child(relay: Relay) -> int:
    """Wait until pt-bridge has started its PT; give the PT's process."""
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


def start_command(folder: Path) -> tuple[list[str], dict[str, str], Address]:
    """Give what starts pt-bridge as a plugin: arguments, variables, and where."""
    find("obfs4proxy")
    address = ("127.0.0.1", processes.free_port())
    more = variables(
        folder,
        SS_LOCAL_HOST=address[0],
        SS_LOCAL_PORT=str(address[1]),
        SS_REMOTE_HOST="127.0.0.1",
        SS_REMOTE_PORT="1",
        SS_PLUGIN_OPTIONS="transport=obfs3;exec=obfs4proxy",
    )
    return [PT_BRIDGE], more, address
