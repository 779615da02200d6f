"""The outer port: bound before anything else, or a sentence that says why not."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from pt_bridge.errors import ListenError
from pt_bridge.net.bind import WORDS, bind, bind_error, bind_error_from, holder
from pt_bridge.protocol.address import Address
from tests.support.python import printed_by

LOOPBACK = Address("127.0.0.1", 0)
NOBODY = 65534


def listen(address: Address, *, patience: float = 0.0) -> socket.socket:
    """Bind, and take hold of the socket."""
    return socket.socket(fileno=bind(address, patience=patience))


def port_of(sock: socket.socket) -> int:
    port = sock.getsockname()[1]
    assert isinstance(port, int)
    return port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_port_accepts_as_soon_as_it_is_bound(host: str) -> None:
    """FE-04, FE-08: no event loop is needed; the kernel keeps what comes."""
    with listen(Address(host, 0)) as sock:
        assert sock.getsockname()[0] == host
        with socket.create_connection((host, port_of(sock))):
            pass


def test_a_name_is_resolved() -> None:
    """FE-07: where a host writes 'localhost'; IPv4 first, as where one connects."""
    found = socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)
    with listen(Address("localhost", 0)) as sock:
        assert sock.family is min(each[0] for each in found)
    assert socket.AF_INET < socket.AF_INET6


def test_a_name_that_means_nothing_is_told_of() -> None:
    """ER-09."""
    with pytest.raises(ListenError, match=r"(?i)name or service not known"):
        bind(Address("pt-bridge.invalid", 8388))


def test_the_ipv6_wildcard_is_not_the_ipv4_one() -> None:
    """FE-07: exactly the address, and nothing wider."""
    with listen(Address("::", 0)) as sock:
        port = port_of(sock)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with listen(Address("0.0.0.0", port)):
            pass


def test_a_port_that_was_just_in_use_is_free_for_us() -> None:
    """FE-07: SO_REUSEADDR; connections in TIME_WAIT are no obstacle."""
    with listen(LOOPBACK) as sock:
        address = Address("127.0.0.1", port_of(sock))
        client = socket.create_connection(sock.getsockname())
        server, _ = sock.accept()
        server.close()  # first, so that TIME_WAIT is on the side of the port
        client.close()
    with listen(address, patience=0):
        pass


def test_a_port_that_a_restarting_host_lets_go_of_is_waited_for() -> None:
    """FE-07."""
    holder = listen(LOOPBACK)
    address = Address("127.0.0.1", port_of(holder))
    before = signal.signal(signal.SIGALRM, lambda *_: holder.close())
    try:
        started = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with listen(address, patience=60):
            assert time.monotonic() - started >= 0.1
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_port_that_stays_in_use_is_an_error_that_names_the_holder() -> None:
    """FE-07, ER-09: the address, the errno's text, the program and its pid."""
    code = "import socket; s = socket.create_server(('127.0.0.1', 0))\n"
    code += "print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        name = psutil.Process(holder.pid).name()
        started = time.monotonic()
        with pytest.raises(ListenError) as caught:
            bind(Address("127.0.0.1", port), patience=0.1)
        assert time.monotonic() - started >= 0.1
        holder.communicate("\n")
    assert str(caught.value) == (
        f"cannot listen on port {port}: address already in use, held by {name} "
        f"(pid {holder.pid}): stop it, or choose another port"
    )


def test_a_port_that_our_host_holds_looks_like_the_wrong_role() -> None:
    """FE-06, ER-09: it serves there, so this is the server side."""
    code = """if True:
        import sys
        from pt_bridge.errors import ListenError
        from pt_bridge.net.bind import bind
        from pt_bridge.protocol.address import Address
        try:
            bind(Address("127.0.0.1", int(sys.argv[1])), patience=0)
        except ListenError as error:
            print(error)
    """
    with listen(LOOPBACK) as sock:
        text = printed_by(code, port_of(sock))
    assert f"(pid {os.getpid()}), which started pt-bridge" in text
    assert "add 'server' to the plugin options" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_holder_that_we_may_not_look_at_is_somebody_elses() -> None:
    """ER-09: the system does not tell its name."""
    code = f"""if True:
        import os, sys
        import errno, psutil
        from pt_bridge.net.bind import bind_error
        os.setgroups([])
        os.setgid({NOBODY})
        os.setuid({NOBODY})
        print(bind_error(errno.EADDRINUSE, int(sys.argv[1])))
    """
    with listen(LOOPBACK) as sock:
        text = printed_by(code, port_of(sock))
    assert "held by a program that this user may not look at: stop it" in text


CODE_OF_A_CHILD = f"""if True:
    import os, psutil, sys
    from pt_bridge.errors import ListenError
    from pt_bridge.net.bind import bind, bind_error_from, WORDS
    from pt_bridge.protocol.address import Address
    port, is_server = int(sys.argv[1]), sys.argv[2] == "server"
    if os.geteuid() == 0:
        os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
    try:
        bind(Address("127.0.0.1", port), patience=0, is_server=is_server)
    except ListenError as error:
        print(error)
    if is_server:
        print(bind_error_from(next(iter(WORDS.values())), port))
"""


def printed_below(name: str, code: str, *arguments: object) -> str:
    """Run a child of a program with such a name; return what it printed."""
    parent = """if True:
        import ctypes, subprocess, sys
        ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)  # PR_SET_NAME
        sys.exit(subprocess.run([sys.executable, "-c", *sys.argv[2:]]).returncode)
    """
    return printed_by(parent, name, code, *arguments)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_below_an_ss_server_that_hides_what_it_holds_the_role_is_wrong() -> None:
    """FE-06: Debian's has file capabilities, so that nobody sees its sockets."""
    with listen(LOOPBACK) as sock:
        text = printed_below("ss-server", CODE_OF_A_CHILD, port_of(sock), "client")
    assert "held by ss-server (pid " in text
    assert "add 'server' to the plugin options" in text


def test_below_ss_local_server_is_what_is_wrong() -> None:
    """FE-06: with an address of this machine's own, where somebody serves already."""
    with listen(LOOPBACK) as sock:
        text = printed_below("ss-local", CODE_OF_A_CHILD, port_of(sock), "server")
    ours, of_the_pt = text.splitlines()
    assert ours == of_the_pt
    assert ours.endswith(
        "address already in use; ss-local has started pt-bridge, so this is the client "
        "side: leave 'server' out of the plugin options"
    )


def test_a_server_whose_port_is_held_is_not_told_to_be_one() -> None:
    """FE-06: it is one; a front listens itself."""
    with listen(LOOPBACK) as sock:
        text = printed_below("ss-server", CODE_OF_A_CHILD, port_of(sock), "server")
    assert "stop it, or choose another port" in text
    assert "add 'server'" not in text


def test_a_port_that_an_outgoing_connection_has_is_said_to_be_that() -> None:
    """Nobody listens there, and there is no program to stop."""
    with socket.create_server(("127.0.0.1", 0)) as peer, socket.socket() as outgoing:
        outgoing.bind(("127.0.0.1", 0))
        outgoing.connect(peer.getsockname())
        with pytest.raises(ListenError) as caught:
            listen(Address("127.0.0.1", port_of(outgoing)))
    text = str(caught.value)
    assert f"(pid {os.getpid()}), and nobody listens there" in text
    assert "choose a port below" in text
    assert "stop it" not in text


def test_an_address_of_another_machine_is_told_of() -> None:
    """ER-09: a client that was given the server's SS_REMOTE_HOST."""
    with pytest.raises(ListenError) as caught:
        bind(Address("192.0.2.1", 8388))
    assert "8388: cannot assign requested address" in str(caught.value)
    assert "not one of this machine's" in str(caught.value)
    assert "(option 'server')" in str(caught.value)


def test_a_privileged_port_comes_with_what_gives_the_right() -> None:
    """ER-09: what to do, whoever starts us."""
    text = str(bind_error(errno.EACCES, 443))
    assert text.startswith("cannot listen on port 443: permission denied")
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in text
    assert "net.ipv4.ip_unprivileged_port_start=443" in text


@pytest.mark.parametrize(
    ("number", "port"), [(errno.EACCES, 8388), (errno.ENOBUFS, 443)]
)
def test_other_trouble_is_told_in_the_systems_words(number: int, port: int) -> None:
    """ER-09."""
    why = os.strerror(number).lower()
    assert str(bind_error(number, port)) == f"cannot listen on port {port}: {why}"


@pytest.mark.parametrize("number", WORDS)
def test_the_words_of_go_are_understood(number: int) -> None:
    """SV-08: 'SMETHOD-ERROR obfs4 listen tcp 127.0.0.1:8388: bind: ...'."""
    found = bind_error_from(f"listen tcp 192.0.2.1:8388: {WORDS[number]}", 8388)
    assert found is not None
    assert os.strerror(number).lower() in str(found)


def test_other_words_are_left_as_they_are() -> None:
    """SV-08: a PT has many reasons."""
    assert bind_error_from("no such transport is supported", 8388) is None


def test_whoever_listens_on_a_port_has_an_id_and_a_name() -> None:
    with listen(LOOPBACK) as sock:
        port = port_of(sock)
        assert holder(port) == (os.getpid(), psutil.Process().name())
    assert holder(port) is None
