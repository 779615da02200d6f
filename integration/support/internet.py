"""Two machines and the wire between them, whose addresses count as public.

::

    client                                    server
    198.51.100.10   ──────── wire ────────   198.51.100.1     what names lead to:
    2001:db8:51::10                          2001:db8:51::1   203.0.113.20 and others

Each is a network namespace (and one of mounts, for its /etc/hosts), which lasts as long
as a program in it does: one that ends when we do, however that is. So nothing can be
left. All addresses are those of documentation (RFC 5737, RFC 3849).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from typing import TYPE_CHECKING

from integration.support.programs import DEADLINE, find

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CLONE_NEWNET = 0x40000000  # setns(2)

CLIENT, CLIENT_6 = "198.51.100.10", "2001:db8:51::10"
ROUTER, ROUTER_6 = "198.51.100.1", "2001:db8:51::1"
SERVER, SERVER_6 = "203.0.113.20", "2001:db8:113::20"
PROXY = "203.0.113.30"
# Nobody has these: packets to the first vanish, the second cannot be reached.
SILENT, UNREACHABLE = "192.0.2.66", "192.0.2.77"
NAME_SERVER = "192.0.2.53"  # where nobody answers either, at once

SERVER_NAME, PROXY_NAME = "heron.example", "ibis.example"
FRONT_NAME = "plover.example"
# With an umlaut, as the DNS has it: kranich-ü.example.
IDN_NAME, IDN_UNICODE = "xn--kranich--e6a.example", "kranich-\u00fc.example"
NO_NAME = "wryneck.example"  # nobody knows it
HOSTS = f"""\
127.0.0.1 localhost
::1 localhost
{SERVER} {SERVER_NAME} {IDN_NAME} {FRONT_NAME}
{SERVER_6} {SERVER_NAME}
{PROXY} {PROXY_NAME}
"""
RESOLVER = f"nameserver {NAME_SERVER}\noptions attempts:1 timeout:1\n"

# Ends with the end of its stdin, which is ours.
HOLD = """\
mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf &&
echo made && exec cat
"""
COMMON = ("link set lo up",)
CLIENT_NETWORK = (
    "link add wire type veth peer name wire netns {peer}",
    f"addr add {CLIENT}/24 dev wire",
    f"addr add {CLIENT_6}/64 dev wire nodad",
    "link set wire up",
    f"route add default via {ROUTER}",
    f"route add default via {ROUTER_6}",
)
SERVER_NETWORK = (
    f"addr add {ROUTER}/24 dev wire",
    f"addr add {ROUTER_6}/64 dev wire nodad",
    "link set wire up",
    *(f"addr add {ip}/32 dev lo" for ip in (SERVER, PROXY, NAME_SERVER)),
    f"addr add {SERVER_6}/128 dev lo nodad",
    f"route add blackhole {SILENT}/32",
    f"route add unreachable {UNREACHABLE}/32",
)
# What is not answered is given up within seconds, and packets go on to what a route
# says of their end.
SETTINGS = {"tcp_syn_retries": "1", "tcp_syn_linear_timeouts": "0", "ip_forward": "1"}


class Site:
    """One of the two machines: where programs, and we, can be."""

    def __init__(self, files: Path) -> None:
        """Create one without a network.

        Args:
            files: a folder with the `hosts` and the `resolv.conf` that are seen there.
        """
        apart = ("--net", "--mount", "--propagation", "private")
        self._holder = subprocess.Popen(
            [find("unshare"), *apart, "sh", "-c", HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=files,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"made\n", "no namespace can be made"
        self.pid = self._holder.pid
        self._network = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)

    def command(self, folder: Path) -> list[str]:
        """Return what to put before a command that is to run here, in a folder."""
        namespaces = f"/proc/{self.pid}/ns"
        places = [f"--net={namespaces}/net", f"--mount={namespaces}/mnt"]
        return [find("nsenter"), *places, f"--wd={folder}"]

    def set_up(self, *lines: str, settings: Mapping[str, str] = SETTINGS) -> None:
        """Set up its network, in the words of ip(8), with settings of sysctl(8)."""
        command = [find("nsenter"), f"--net=/proc/{self.pid}/ns/net"]
        subprocess.run(
            [*command, find("ip"), "-batch", "-"],
            input="\n".join([*COMMON, *lines]),
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        with self.inside():
            for name, value in settings.items():
                with open(f"/proc/sys/net/ipv4/{name}", "w") as file:
                    file.write(value)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Move this thread there for the block: sockets made then are its."""
        with in_network(self._network):
            yield

    def close(self) -> None:
        """Close it; it is gone with the last program in it."""
        os.close(self._network)
        self._holder.communicate()


@contextlib.contextmanager
def in_network(namespace: int) -> Iterator[None]:
    """Move this thread into a network namespace for the block.

    Args:
        namespace: a descriptor of it.
    """
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _enter(namespace)
        yield
    finally:
        _enter(here)
        os.close(here)


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class Internet:
    """Both sites, and the wire between them.

    Attributes:
        client: where clients are.
        server: where servers are, the user's proxy, and everything else.
    """

    def __init__(self, files: Path) -> None:
        """Create both.

        Args:
            files: an empty folder.
        """
        (files / "hosts").write_text(HOSTS)
        (files / "resolv.conf").write_text(RESOLVER)
        with contextlib.ExitStack() as stack:
            self.client = stack.enter_context(contextlib.closing(Site(files)))
            self.server = stack.enter_context(contextlib.closing(Site(files)))
            peer = self.server.pid
            self.client.set_up(*(line.format(peer=peer) for line in CLIENT_NETWORK))
            self.server.set_up(*SERVER_NETWORK)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Take both down."""
        self._stack.close()
