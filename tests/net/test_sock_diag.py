"""What the kernel tells of the other end of a connection, asked of real ones."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from pt_bridge.net.sock_diag import (
    ANSWER,
    CLOSE,
    CLOSE_WAIT,
    ERROR,
    FIN_WAIT2,
    HEADER,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    SOCK_DIAG_BY_FAMILY,
    Missing,
    SockDiag,
    TcpSocket,
    _read_answer,
    cannot_tell,
)
from pt_bridge.net.sockets import reset
from tests.support.processes import DEADLINE
from tests.support.tcp import closing, pair, wait_for_hangup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.tcp import Pair

ESTABLISHED = 1  # include/net/tcp_states.h
# Whose a connection is, and one that nobody has open any more.
US, ROOT = os.geteuid(), 0
# How each end of a connection is called by its own socket: v4-mapped where the listener
# is for both families and the host's own is not.
KINDS = {
    "IPv4": (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
    "IPv6": (socket.AF_INET6, "::1", "::1"),
    "both": (socket.AF_INET6, "::", "127.0.0.1"),
}
SHORTLY = 1  # seconds: the least for which a kernel remembers a closed connection
ASK = """
import socket, sys
from pt_bridge.net.sock_diag import SockDiag
with SockDiag() as diag, socket.socket(fileno=int(sys.argv[1])) as sock:
    print(diag.peer_has_closed(sock))
"""
# Says what is known of a host that has half-closed, and then is gone and forgotten.
HOST_AT = """
import socket, subprocess, sys
from pt_bridge.net.sock_diag import Missing, SockDiag

def run(*command, **keywords):
    subprocess.run(command, check=True, **keywords)

def host_at(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        SockDiag() as diag,
        socket.create_server((address, 1002), family=family) as server,
        socket.create_connection((address, port)) as host,
        server.accept()[0] as near,
    ):
        host.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
        host.shutdown(socket.SHUT_WR)
        assert near.recv(1) == b""
        print(diag.peer_has_closed(near))
        host.close()
        while diag.peer(near) is not Missing.GONE:
            pass
        print(diag.peer_has_closed(near))

run("ip", "link", "set", "lo", "up")
"""
REDIRECT = """
table {} nat {{
    chain output {{
        type nat hook output priority -100
        tcp dport 1001 redirect to :1002
    }}
}}
"""


@pytest.fixture
def diag() -> Iterator[SockDiag]:
    """One that can ask."""
    with SockDiag() as made:
        yield made


@pytest.fixture(params=KINDS)
def connection(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A host's socket and ours, over each kind of address."""
    family, bound, dialled = KINDS[request.param]
    with socket.create_server(
        (bound, 0), family=family, dualstack_ipv6=request.param == "both"
    ) as server:
        host = socket.create_connection((dialled, server.getsockname()[1]))
        near, _ = server.accept()
    with closing((host, near)):
        yield host, near


def inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def ask_until(is_so: Callable[[], object]) -> None:
    """Ask the kernel until it says so."""
    until = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < until


def end(host: socket.socket, near: socket.socket) -> None:
    """Half-close, and see that the other side has read it."""
    host.shutdown(socket.SHUT_WR)
    near.setblocking(True)
    assert near.recv(1) == b""


def in_a_namespace(*command: str) -> list[str]:
    """Return the command that runs another in a network of its own."""
    program = shutil.which("unshare")
    if program is None:
        pytest.skip("unshare is needed to make a namespace")
    namespace = [program, "--user", "--map-root-user", "--net"]
    done = subprocess.run(
        [*namespace, "true"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no namespace can be made here: {done.stderr.strip()}")
    return [*namespace, *command]


def said_by(*command: str, **keywords: Any) -> list[str]:
    """Run a program to its end; return the words that it says."""
    output: bytes = subprocess.check_output(command, timeout=DEADLINE, **keywords)
    return output.decode().split()


def said_in_a_network(code: str) -> list[str]:
    """Run code, which knows `host_at` and `run`, in a network of its own."""
    for program in ("ip", "nft"):
        if not shutil.which(program):
            pytest.skip(f"{program} is needed to set up a network")
    return said_by(*in_a_namespace(sys.executable, "-c", f"{HOST_AT}\n{code}"))


def test_the_other_end_of_a_connection_is_found(
    diag: SockDiag, connection: Pair
) -> None:
    """By an exact lookup, whatever the family."""
    host, near = connection
    assert diag.peer(near) == TcpSocket(ESTABLISHED, inode(host), US)
    assert diag.peer(host) == TcpSocket(ESTABLISHED, inode(near), US)


def test_a_host_that_has_not_ended_is_not_gone(
    diag: SockDiag, connection: Pair
) -> None:
    """Its end is still to come."""
    _, near = connection
    assert diag.peer_has_closed(near) is False


def test_a_host_that_has_half_closed_is_not_gone(
    diag: SockDiag, connection: Pair
) -> None:
    """RL-04: it waits for the answer."""
    host, near = connection
    end(host, near)
    assert diag.peer_has_closed(near) is False


def test_a_host_that_has_closed_for_good_is_gone(
    diag: SockDiag, connection: Pair
) -> None:
    """At once, and also when the kernel has had its answer."""
    host, near = connection
    host.close()
    assert diag.peer_has_closed(near) is True
    ask_until(lambda: diag.peer(near) == TcpSocket(FIN_WAIT2, 0, ROOT))
    assert diag.peer_has_closed(near) is True


def test_a_host_that_half_closes_and_then_closes_is_gone(
    diag: SockDiag, connection: Pair
) -> None:
    """Of the second nothing tells but the kernel."""
    host, near = connection
    end(host, near)
    host.close()
    assert diag.peer_has_closed(near) is True


@pytest.mark.parametrize("connection", ["both"], indirect=True)
def test_a_host_whose_end_the_kernel_has_forgotten_is_gone(
    diag: SockDiag, connection: Pair
) -> None:
    """After a minute, or where there are many."""
    host, near = connection
    host.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, SHORTLY)
    end(host, near)
    host.close()
    ask_until(lambda: diag.peer(near) is Missing.GONE)
    assert diag.peer_has_closed(near) is True


def test_who_listens_at_an_address_is_not_taken_for_a_connection(
    diag: SockDiag,
) -> None:
    """The kernel's next best, where the one that was asked for is gone."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = ("127.0.0.1", 1)
        found = diag._find(server.family, server.getsockname(), nobody)
        assert found is Missing.GONE


@pytest.mark.parametrize("how", [socket.socket.close, reset])
def test_a_host_that_resets_is_gone(
    diag: SockDiag, connection: Pair, how: Callable[[socket.socket], None]
) -> None:
    """RL-04: also one that closes with bytes unread."""
    host, near = connection
    end(host, near)
    near.sendall(b"never read")
    how(host)
    wait_for_hangup(near)
    assert diag.peer(near) is Missing.UNKNOWN
    assert diag.peer_has_closed(near) is True


def test_a_host_is_there_as_long_as_one_process_has_its_end(
    diag: SockDiag, connection: Pair
) -> None:
    """Another process, and its death."""
    host, near = connection
    end(host, near)
    with subprocess.Popen(
        ["/bin/cat"], stdin=host.fileno(), stdout=subprocess.PIPE
    ) as process:
        host.close()
        assert diag.peer_has_closed(near) is False
        near.sendall(b"late")
        assert process.stdout is not None
        assert process.stdout.read(4) == b"late"
        process.kill()
        process.wait()
        assert diag.peer_has_closed(near) is True


def test_nothing_is_known_in_another_network_namespace() -> None:
    """SIP003 knows nothing of them: a socket may be handed into one."""
    host, near = pair()
    with closing((host, near)):
        host.close()
        ask = (sys.executable, "-c", ASK, str(near.fileno()))
        descriptors = (near.fileno(),)
        assert said_by(*ask, pass_fds=descriptors) == ["True"]
        assert said_by(*in_a_namespace(*ask), pass_fds=descriptors) == ["None"]


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", "ip"), ("::1", "ip6")], ids=["IPv4", "IPv6"]
)
def test_a_host_that_is_redirected_to_us_is_not_taken_for_gone(
    host: str, family: str
) -> None:
    """RL-04: it has another address than we see, and waits for its answer."""
    rules = f"run('nft', '-f', '-', input={REDIRECT.format(family).encode()!r})"
    code = f"{rules}\nhost_at({host!r}, 1001)\nhost_at({host!r}, 1002)"
    redirected, direct = ["None", "None"], ["False", "True"]
    assert said_in_a_network(code) == redirected + direct


def test_a_host_that_may_be_on_another_machine_is_not_taken_for_gone() -> None:
    """RL-04: of one at an address that is not loopback, an absence proves nothing."""
    code = "run('ip', 'address', 'add', '192.0.2.1', 'dev', 'lo')\n"
    assert said_in_a_network(f"{code}host_at('192.0.2.1', 1002)") == ["False", "None"]


def test_nothing_is_known_where_the_kernel_cannot_be_asked() -> None:
    """No descriptor is left, or a sandbox forbids it."""
    host, near = pair()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with closing((host, near)):
        host.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with SockDiag() as diag:
                assert diag.peer(near) is Missing.UNKNOWN
                assert diag.peer_has_closed(near) is None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("error", "missing"),
    [(errno.ENOENT, Missing.GONE), (errno.EPERM, Missing.UNKNOWN)],
    ids=["none", "refused"],
)
def test_an_error_tells_why_there_is_nothing_to_tell(
    error: int, missing: Missing
) -> None:
    """netlink(7): an errno, with a minus."""
    answer = bytes(HEADER.size) + ERROR.pack(-error)
    assert _read_answer(NLMSG_ERROR, answer) is missing


def test_a_host_that_the_kernel_is_about_to_forget_is_gone() -> None:
    """A moment that no test can await; so the kernel's two answers are given."""
    host, near = pair()
    diag = SockDiag()
    netlink, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    diag._netlink = netlink
    with netlink, kernel, closing((host, near)):
        host.close()
        for sequence, state, number in ((1, CLOSE, 0), (2, CLOSE_WAIT, inode(near))):
            size = HEADER.size + ANSWER.size
            header = HEADER.pack(size, SOCK_DIAG_BY_FAMILY, 0, sequence, 0)
            told = ANSWER.pack(near.family, state, bytes(48), 0, 0, 0, US, number)
            kernel.send(header + told)
        assert diag.peer_has_closed(near) is True


def test_nothing_is_known_outside_of_the_block() -> None:
    """And no descriptor is open."""
    host, near = pair()
    with closing((host, near)):
        host.close()
        diag = SockDiag()
        assert diag.peer_has_closed(near) is None
        with diag:
            assert diag.peer_has_closed(near) is True
        assert diag.peer_has_closed(near) is None
        assert cannot_tell(near) is None


def test_an_answer_that_nobody_has_read_is_not_taken_for_the_next_one(
    diag: SockDiag,
) -> None:
    """The kernel numbers its answers as the questions were."""
    assert diag._netlink is not None
    for sequence in (0, 99):
        size, kind = HEADER.size, SOCK_DIAG_BY_FAMILY
        diag._netlink.send(HEADER.pack(size, kind, NLM_F_REQUEST, sequence, 0))
    host, near = pair()
    with closing((host, near)):
        assert diag.peer(near) == TcpSocket(ESTABLISHED, inode(host), US)
        assert diag.peer(host) == TcpSocket(ESTABLISHED, inode(near), US)
