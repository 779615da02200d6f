"""The server's side: a real pt-bridge, a fake PT, and what clients must use."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pt_bridge.protocol import ext_orport
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.frames import Cause
from tests.support.bridges import target_of
from tests.support.processes import (
    SECRET,
    SERVER,
    SERVER_CLIENT_OPTIONS,
    SERVER_OPTIONS,
    as_ordinary_user,
    exchange,
    is_reset,
    mode,
    receive,
    until,
)
from tests.support.session_end import SessionEnd
from tests.support.tor_orport import GREETING, FakeTor

if TYPE_CHECKING:
    from tests.support.processes import Bench, End, Program

READY = "ready: obfs4proxy, serving port"
# What the client speaks through the PT: the session, or plain bytes.
WAYS = ["session", "plain"]


def play(bench: Bench, step: str) -> None:
    bench.pt.play("say VERSION 1", step, "say SMETHODS DONE")


def ready(bench: Bench, **keywords: Any) -> Program:
    program = bench.server(**keywords)
    program.said(READY)
    return program


def client_end(bench: Bench, way: str) -> End:
    """Act as a client of the server's."""
    sock = bench.connect(bench.port)
    return SessionEnd.as_client(sock) if way == "session" else sock


def state_of(bench: Bench) -> Path:
    return bench.folder / f"state/pt-bridge/obfs4-{bench.port}"


def client_options(bench: Bench) -> str:
    return (state_of(bench) / "client-options.txt").read_text()


# -- what it serves --------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_in_goes_to_the_host(bench: Bench, way: str) -> None:
    """FE-05, SV-09."""
    bench.pt.play(*SERVER)
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname())
    near = client_end(bench, way)
    bench.carried(near, listener)
    bench.stop(program)


@pytest.mark.parametrize(
    ("host", "bind"),
    [
        ("127.0.0.1", "127.0.0.1:{}"),
        ("::1", "[::1]:{}"),
        ("0.0.0.0", "0.0.0.0:{}"),
        ("::", "[::]:{}"),
        ("localhost", "127.0.0.1:{}"),
        ("127.0.0.1|0.0.0.0", "0.0.0.0:{}"),
        ("127.0.0.1|127.0.0.1", "127.0.0.1:{}"),
    ],
)
def test_the_pt_is_told_to_listen_on_one_ip_address(
    bench: Bench, host: str, bind: str
) -> None:
    """PE-09, SV-01, SV-02, FE-18."""
    bench.pt.play(*SERVER)
    bench.stop(ready(bench, host=host))
    expected = "obfs4-" + bind.format(bench.port)
    assert bench.pt.environment["TOR_PT_SERVER_BINDADDR"] == expected


@pytest.mark.parametrize(
    ("local", "orport"),
    [
        ("127.0.0.1", "127.0.0.1:9"),
        ("::1", "[::1]:9"),
        ("localhost", "127.0.0.1:9"),
        ("0.0.0.0", "127.0.0.1:9"),
        ("::", "[::1]:9"),
    ],
)
def test_the_pt_is_told_where_the_host_is(
    bench: Bench, local: str, orport: str
) -> None:
    """PE-10, PE-11: a wildcard is nothing to connect to."""
    bench.pt.play(*SERVER)
    bench.stop(ready(bench, target=(local, 9)))
    environment = bench.pt.environment
    assert environment["TOR_PT_ORPORT"] == orport
    assert environment["TOR_PT_EXTENDED_SERVER_PORT"] != ""
    assert "TOR_PT_AUTH_COOKIE_FILE" in environment


def test_the_arguments_reach_the_pt_escaped(bench: Bench) -> None:
    """PE-12, OG-08: in order, with duplicates."""
    play(bench, "server")
    options = (
        r"server;transport=obfs5;exec=obfs4proxy;url=https://e/p?a=b\;c;k\=1=2;k=3"
    )
    bench.stop(ready(bench, options=options))
    assert bench.pt.environment["TOR_PT_SERVER_TRANSPORT_OPTIONS"] == (
        r"obfs5:url=https\://e/p?a=b\;c;obfs5:k\=1=2;obfs5:k=3"
    )


def test_a_name_that_has_no_address_is_an_error(bench: Bench) -> None:
    """SV-01, ER-02, SE-06: the name is not shown."""
    code, sentence = bench.failure(bench.server(host="server.nobody.invalid"))
    assert code == 64
    assert "(shadowsocks calls it 'server') cannot be resolved: " in sentence
    assert "nobody" not in sentence
    assert bench.pt.named("started") == []


@pytest.mark.parametrize(
    ("local", "remote", "flag"),
    [
        ("127.0.0.1:9", "nobody.invalid:9", "--remote"),
        ("nobody.invalid:9", "127.0.0.1:9", "--local"),
    ],
)
def test_a_name_on_the_command_line_is_called_by_its_flag(
    bench: Bench, local: str, remote: str, flag: str
) -> None:
    """ER-02: nobody has written SS_REMOTE_HOST there."""
    code, sentence = bench.failure(
        bench.standalone(
            "server", "--local", local, "--remote", remote, "--transport=obfs4"
        )
    )
    assert code == 64
    assert f"{flag} cannot be resolved: " in sentence


# -- what its clients must use ---------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "ARGS:cert=abc+/DEF,iat-mode=0",
            "transport=obfs4;session=1;cert=abc+/DEF;iat-mode=0",
        ),
        ("ARGS:", "transport=obfs4;session=1"),
        ("ARGS:cert", "transport=obfs4;session=1"),
        (
            r"ARGS:url=https://e/p?a\=b\,c,ver=0.0.7",
            r"transport=obfs4;session=1;url=https://e/p?a\=b,c;ver=0.0.7",
        ),
        (r"ARGS:k\=1=a;b\\c", r"transport=obfs4;session=1;k\=1=a\;b\\c"),
        (
            "ARGS:server=1,state=2,arg-x=3,bridge=4",
            "transport=obfs4;session=1;arg-server=1;arg-state=2;arg-arg-x=3;arg-bridge=4",
        ),
        ("ARGS:a=2,a=1", "transport=obfs4;session=1;a=2;a=1"),
    ],
)
def test_the_clients_options_are_written_down(
    bench: Bench, words: str, line: str
) -> None:
    """SV-05, SV-06, OG-06, OG-12: escaped, and not mistaken for our own."""
    play(bench, f"server {words}")
    program = ready(bench)
    path = state_of(bench) / "client-options.txt"
    assert path.read_text() == f"{line}\n"
    assert mode(path) == 0o600
    assert f"its clients' plugin options are in {path}" in program.text
    bench.stop(program)


def test_the_address_that_the_pt_says_is_not_looked_at(bench: Bench) -> None:
    """SV-04: webtunnel-server invents one."""
    play(bench, "server-at [2001:db8::1]:443 ARGS:url=https://e/p")
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname())
    near = bench.connect(bench.port)
    bench.carried(near, listener)
    assert client_options(bench) == "transport=obfs4;session=1;url=https://e/p\n"
    bench.stop(program)


def test_what_the_pt_makes_for_its_clients_is_not_logged(bench: Bench) -> None:
    """SE-05: not even where the PT logs it itself, in the same breath."""
    bench.pt.play(
        "say VERSION 1",
        rf"raw SMETHOD obfs4 127.0.0.1:1 ARGS:something={SECRET}\n"
        rf"LOG SEVERITY=notice MESSAGE={SECRET}\nSMETHODS DONE\n",
    )
    program = ready(bench)
    program.said("obfs4proxy: [scrubbed]")
    bench.stop(program)


def test_what_the_pt_makes_for_its_clients_is_not_in_our_last_line(
    bench: Bench,
) -> None:
    """SE-05: the sentence of an error may hold what the PT wrote."""
    bench.pt.play(
        "say VERSION 1",
        f"server ARGS:something={SECRET},iat-mode=0",
        "say SMETHODS DONE",
        f"write panic: {SECRET}",
        "exit 3",
    )
    code, text = bench.failure(bench.server(options=f"{SERVER_OPTIONS};restarts=0"))
    assert code == 75
    assert "panic: [scrubbed]" in text


def test_a_server_says_whether_it_is_the_one_it_was(bench: Bench) -> None:
    """PE-04: the same state; and every client must learn of a new one."""
    play(bench, "server ARGS:cert=first,iat-mode=0")
    first = ready(bench)
    bench.stop(first)
    folder = bench.pt.state
    assert "a new server: its clients' plugin options are in" in first.text
    same = ready(bench)
    bench.stop(same)
    assert "pt-bridge[obfs4]: the clients' plugin options are in" in same.text
    play(bench, "server ARGS:cert=first,iat-mode=1")
    shaped = ready(bench)
    bench.stop(shaped)
    assert "pt-bridge[obfs4]: the clients' plugin options are in" in shaped.text
    play(bench, "server ARGS:cert=second,iat-mode=0")
    other = ready(bench)
    bench.stop(other)
    assert "warning: this server's identity has changed" in other.text
    assert bench.pt.state == folder == state_of(bench)
    assert client_options(bench) == "transport=obfs4;session=1;cert=second;iat-mode=0\n"


def test_a_pt_that_is_started_again_finds_its_keys(bench: Bench) -> None:
    """The same identity, even where somebody has deleted its folder."""
    bench.pt.play(*SERVER, "await", "die 9")
    keys = state_of(bench) / "obfs4_state.json"
    keys.parent.mkdir(parents=True, mode=0o700)
    for folder in (keys.parent, keys.parent.parent):
        folder.chmod(0o700)
    keys.write_text("the keys")
    program = ready(bench)
    shutil.rmtree(keys.parent)
    bench.pt.open_gate()
    bench.pt.event("started", count=2)
    assert keys.read_text() == "the keys"
    assert mode(keys) == 0o600
    until(lambda: program.heard().count(READY) == 2)
    bench.stop(program)
    assert "somebody has deleted" in program.text
    assert client_options(bench) == SERVER_CLIENT_OPTIONS


def test_a_terminal_is_shown_the_options(bench: Bench) -> None:
    """SV-06: a person sits there."""
    play(bench, f"server ARGS:cert={SECRET},iat-mode=0")
    terminal, slave = os.openpty()
    try:
        program = bench.server(stderr=slave)
        os.close(slave)
        said = b""
        while b"ready: " not in said:
            said += os.read(terminal, 1000)
        assert f"transport=obfs4;session=1;cert={SECRET};iat-mode=0".encode() in said
        bench.stop(program)
    finally:
        os.close(terminal)


# -- its state -------------------------------------------------------------------------


def test_its_state_is_private_and_stays(bench: Bench) -> None:
    """PE-03, PE-04, SE-01: whatever umask the host has."""
    bench.pt.play(*SERVER)
    bench.stop(ready(bench, umask=0))
    for folder in (state_of(bench), state_of(bench).parent):
        assert mode(folder) == 0o700
    assert bench.pt.state == state_of(bench)


def test_servers_may_share_a_state_and_start_one_after_another(bench: Bench) -> None:
    """Locked from spawn to READY, waited for, never an error."""
    bench.pt.play(
        "say VERSION 1", "await", "server ARGS:a=b", "tell served", "say SMETHODS DONE"
    )
    options = f"{SERVER_OPTIONS};state=shared"
    first = bench.server(options=options)
    bench.pt.event("started")
    second = bench.server(options=options, port=bench.free_port())
    shared = str(bench.folder / "state/pt-bridge/shared")
    # Nothing tells that it waits, but it must have opened what it waits for.
    descriptors = Path(f"/proc/{second.process.pid}/fd")
    until(lambda: shared in map(target_of, descriptors.iterdir()))
    assert bench.pt.named("started") == [str(bench.pt.pid)]
    bench.pt.open_gate()
    first.said(READY)
    bench.pt.event("started", count=2)
    bench.pt.open_gate()
    second.said(READY)
    bench.pt.event("served", count=2)
    words = [line.split()[0] for line in bench.pt.events]
    assert words == ["started", "served", "started", "served"]
    assert bench.pt.state == Path(shared)
    for program in (first, second):
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


def test_a_server_that_waits_for_another_can_be_stopped(bench: Bench) -> None:
    """LC-09."""
    bench.pt.play("await")
    options = f"{SERVER_OPTIONS};state=shared"
    first = bench.server(options=options)
    bench.pt.event("started")
    second = bench.server(options=options, port=bench.free_port())
    shared = str(bench.folder / "state/pt-bridge/shared")
    descriptors = Path(f"/proc/{second.process.pid}/fd")
    until(lambda: shared in map(target_of, descriptors.iterdir()))
    second.signal(signal.SIGTERM)
    assert second.wait() == 0
    assert len(bench.pt.named("started")) == 1
    bench.stop(first)


@pytest.mark.parametrize("kind", ["link", "open", "file"])
def test_a_state_that_others_could_have_made_is_refused(
    bench: Bench, kind: str
) -> None:
    """SE-02, ER-08."""
    folder = bench.folder / "state/pt-bridge"
    if kind == "link":
        folder.symlink_to(bench.folder)
    elif kind == "open":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        folder.write_text("")
    code, sentence = bench.failure(bench.server())
    assert code == 73
    assert str(folder) in sentence
    assert bench.pt.named("started") == []


@pytest.mark.parametrize("home", ["/", ""])
def test_a_user_without_a_home_is_told_what_helps(bench: Bench, home: str) -> None:
    """PE-04, ER-08: Debian's shadowsocks-libev.service has no StateDirectory."""
    del bench.variables["XDG_STATE_HOME"]
    bench.variables["HOME"] = home
    code, sentence = bench.failure(bench.server(before=as_ordinary_user()))
    assert code == 73
    assert "'StateDirectory=pt-bridge'" in sentence
    assert bench.pt.named("started") == []


# -- ports -----------------------------------------------------------------------------


def test_a_port_that_is_in_use_is_named_with_its_holder(bench: Bench) -> None:
    """SV-08, ER-09."""
    bench.pt.play(*SERVER)
    port = bench.listen().getsockname()[1]
    before = ["/bin/sh", "-c", '"$@"; exit $?', "host"]
    program = bench.server(port=port, before=before)
    code, sentence = bench.failure(program)
    assert code == 74
    assert sentence.startswith(f"cannot listen on port {port}: address already in use")
    assert f"(pid {os.getpid()}): stop it, or choose another port" in sentence


@pytest.mark.parametrize(
    "step",
    [
        # obfs4proxy and lyrebird; webtunnel-server
        "say SMETHOD-ERROR obfs4 listen tcp 192.0.2.1:443: bind: permission denied",
        "write listen tcp 192.0.2.1:443: bind: permission denied",
    ],
)
def test_what_the_pt_says_of_a_port_is_explained(bench: Bench, step: str) -> None:
    """SV-08, ER-09."""
    bench.pt.play("say VERSION 1", step, "exit 1")
    code, sentence = bench.failure(bench.server(port=443))
    assert code == 74
    assert "cannot listen on port 443: permission denied" in sentence
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in sentence


def test_a_low_port_needs_a_right(bench: Bench) -> None:
    """SV-08, ER-09: a real one, as an ordinary user."""
    first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if int(first.read_text()) <= 443:
        pytest.skip("every user may listen on port 443 here")
    bench.pt.play(*SERVER)
    before = bench.for_ordinary_user()
    program = bench.server(port=443, before=before)
    code, sentence = bench.failure(program)
    assert code == 74
    assert "cannot listen on port 443: permission denied" in sentence


def test_an_address_of_another_machine_is_an_error(bench: Bench) -> None:
    """SV-08, ER-09: a client's option string on the server, perhaps."""
    bench.pt.play(*SERVER)
    code, sentence = bench.failure(bench.server(host="192.0.2.1"))
    assert code == 74
    assert "cannot assign requested address" in sentence
    assert "a client listens where shadowsocks tells it" in sentence


@pytest.mark.parametrize(
    ("steps", "code", "text"),
    [
        # webtunnel-server without what it needs
        (
            ["say SMETHOD-ERROR obfs4 url is missing", "exit 0"],
            69,
            "obfs4proxy cannot offer obfs4: url is missing",
        ),
        (
            ["say SMETHODS DONE"],
            69,
            "obfs4proxy does not offer obfs4",
        ),
        (
            ["say ENV-ERROR no TOR_PT_CLIENT_TRANSPORTS environment variable"],
            76,
            "ENV-ERROR no TOR_PT_CLIENT_TRANSPORTS environment variable",
        ),
        (
            ["exit 255"],
            76,
            "obfs4proxy ended with exit code 255 before it was ready",
        ),
    ],
)
def test_a_pt_that_does_not_serve_ends_it(
    bench: Bench, steps: list[str], code: int, text: str
) -> None:
    """SV-07, ER-04, ER-11."""
    bench.pt.play("say VERSION 1", *steps)
    got, sentence = bench.failure(bench.server())
    assert (got, text in sentence) == (code, True), sentence
    assert not (state_of(bench) / "client-options.txt").exists()


# -- the Extended ORPort ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "closes"),
    [("session", "each"), ("session", "both"), ("session", "never"), ("plain", "each")],
)
def test_what_the_pt_brings_goes_to_the_host(
    bench: Bench, way: str, closes: str
) -> None:
    """EO-01 to EO-11, RL-08: the cookie has no name, and the ends go both ways.

    In a session, they do whatever the PT makes of an end.
    """
    bench.pt.play("say VERSION 1", f"closes {closes}", *SERVER[1:])
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname())
    near = client_end(bench, way)
    near.sendall(b"question")
    far = bench.accept(listener)
    near.shutdown(socket.SHUT_WR)
    assert receive(far, 9) == b"question"
    far.sendall(b"answer" * 100_000)
    far.close()
    assert len(receive(near, 600_001)) == 600_000
    cookie = bench.pt.environment["TOR_PT_AUTH_COOKIE_FILE"]
    assert cookie.startswith("/proc/self/fd/")
    assert "TOR_PT_ORPORT" in bench.pt.environment
    bench.stop(program)


@pytest.mark.parametrize("way", WAYS)
def test_a_host_that_listens_a_little_later_is_waited_for(
    bench: Bench, way: str
) -> None:
    """EO-09, demands 29: ss-server binds after it has started its plugin."""
    bench.pt.play(*SERVER)
    target = ("127.0.0.1", bench.free_port())
    program = ready(bench, target=target)
    near = client_end(bench, way)
    near.sendall(b"x")
    bench.pt.event("introduced")
    far = bench.accept(bench.listen(port=target[1]))
    assert far.recv(1) == b"x"
    exchange(near, far)
    bench.stop(program)


def test_a_host_that_does_not_listen_is_told_of(bench: Bench) -> None:
    """EO-09, demands 29: to the client, and here in one line."""
    bench.pt.play(*SERVER)
    program = ready(bench, target=("127.0.0.1", bench.free_port()))
    near = SessionEnd.as_client(bench.connect(bench.port))
    near.sendall(b"x")
    assert is_reset(near)
    assert near.refusal is not None
    assert near.refusal.cause is Cause.REFUSED
    program.said("shadowsocks's own server did not take it (connection refused)")
    bench.stop(program)


def test_a_client_without_a_session_gets_no_answer_where_the_host_does_not_listen(
    bench: Bench,
) -> None:
    """SK-13: what a PT alone makes of a reset is its own."""
    bench.pt.play(*SERVER)
    program = ready(bench, target=("127.0.0.1", bench.free_port()))
    near = bench.speak()
    assert receive_or_reset(near) == b""
    program.said("shadowsocks's own server did not take it (connection refused)")
    bench.stop(program)


def receive_or_reset(sock: socket.socket) -> bytes:
    try:
        return receive(sock, 1)
    except ConnectionResetError:
        return b""


def test_clients_without_a_session_may_be_turned_away(bench: Bench) -> None:
    """Their shadowsocks is not reached, not even by those that say nothing."""
    bench.pt.play(*SERVER)
    listener = bench.listen()
    options = f"{SERVER_OPTIONS};session=only"
    program = ready(bench, target=listener.getsockname(), options=options)
    stranger = bench.connect(bench.port)
    stranger.sendall(b"anything but a preface")
    assert receive_or_reset(stranger) == b""
    near = SessionEnd.as_client(bench.connect(bench.port))
    near.sendall(b"x")
    far = bench.accept(listener)  # the first that comes
    assert far.recv(1) == b"x"
    exchange(near, far)
    bench.stop(program)


def test_a_host_that_speaks_first_is_reached_for_a_silent_client(bench: Bench) -> None:
    """It may be a program that greets, behind a server that serves no session."""
    bench.pt.play(*SERVER)
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname())
    near = bench.connect(bench.port)
    far = bench.accept(listener)
    far.sendall(b"220 ready")
    assert receive(near, 9) == b"220 ready"
    exchange(near, far)
    bench.stop(program)


def test_a_connection_carries_one_stream_after_the_other(bench: Bench) -> None:
    """Each gets a connection to the host, and a reset ends no more than one."""
    bench.pt.play(*SERVER)
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname())
    near = SessionEnd.as_client(bench.connect(bench.port))
    for number in range(5):
        far = bench.carried(near, listener)
        if number % 2:
            near.reset()
            assert is_reset(far)
        else:
            near.shutdown(socket.SHUT_WR)
            assert far.recv(1) == b""
            far.close()
            assert near.recv(1) == b""
        near.next(bytes([number]) * 8)
    assert len(bench.pt.named("introduced")) == 1
    bench.stop(program)


def test_a_stream_that_was_accepted_once_is_not_taken_again(bench: Bench) -> None:
    """No host gets a request twice, whatever became of the connection."""
    bench.pt.play(*SERVER)
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname())
    sock = bench.connect(bench.port)
    near = SessionEnd.as_client(sock)
    far = bench.carried(near, listener)
    sock.close()
    assert is_reset(far)
    again = SessionEnd.as_client(bench.connect(bench.port))
    assert is_reset(again)
    assert again.refusal is not None
    assert again.refusal.cause is Cause.SEEN
    bench.stop(program)


@pytest.mark.parametrize("way", WAYS)
def test_the_death_of_the_pt_resets_what_it_brought(bench: Bench, way: str) -> None:
    """RL-11: and the next PT brings new ones, with a cookie of its own."""
    bench.pt.play(*SERVER, "await", "die 9")
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname())
    for count in (1, 2):
        # Not before: what the last PT listened on may go a moment after the rest.
        until(lambda: program.heard().count(READY) == count)  # noqa: B023
        sock = bench.connect(bench.port)
        near: End = sock
        if way == "session":
            near = SessionEnd.as_client(sock, bytes([count]) * 8)
        far = bench.carried(near, listener)
        bench.pt.open_gate()
        assert is_reset(far)
    until(lambda: program.heard().count(READY) == 3)
    bench.stop(program)


def test_who_is_not_the_pt_gets_nothing_through_its_port(bench: Bench) -> None:
    """EO-04, SE-10: other users of the machine can connect."""
    bench.pt.play(*SERVER)
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname())
    _, port = bench.pt.environment["TOR_PT_EXTENDED_SERVER_PORT"].split(":")
    stranger = bench.connect(int(port))
    assert receive(stranger, 2) == b"\1\0"
    stranger.sendall(b"\1" + bytes(32))
    receive(stranger, 64)
    stranger.sendall(bytes(32))
    assert receive(stranger, 2) == b"\0"
    bench.speak()
    assert bench.accept(listener).recv(1) == b"x"
    bench.stop(program)


# -- what its log and its status tell of clients ---------------------------------------


def test_it_says_that_clients_fail_and_how_and_counts_them(bench: Bench) -> None:
    """Demands 36, 43: without an address, and not for each."""
    bench.pt.play(*SERVER)
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname())
    with bench.connect(bench.port) as sock:
        near = SessionEnd.as_client(sock)
        near.sendall(b"x")
        far = bench.accept(listener)
        assert far.recv(1) == b"x"
        program.signal(signal.SIGUSR1)
        program.said("clients: 1 different addresses")
    program.said("clients that failed: a session broke off: the PT ")
    program.signal(signal.SIGUSR1)
    program.said("status: failed: a session broke off: the PT ")
    assert is_reset(far)
    bench.stop(program)
    assert program.text.count("clients that failed") == 1


def test_a_front_says_that_handshakes_do_not_complete(bench: Bench) -> None:
    """Demands 29: a client with a wrong cert, for one."""
    bench.pt.play("strangers hang-up", *SERVER)
    program = ready(bench, options=f"{SERVER_OPTIONS};front=yes")
    with bench.connect(bench.port) as sock:
        sock.sendall(b"not what the PT expects")
    program.said("clients that failed: the PT's handshake did not complete (1)")
    bench.stop(program)


def test_a_changed_port_that_means_new_keys_is_warned_of(bench: Bench) -> None:
    """Demands 30: no client of the old one gets through.

    Where a start has failed, there was no client.
    """
    old = bench.folder / "state/pt-bridge/obfs4-1"
    old.mkdir(parents=True, mode=0o700)
    (old / "client-options.txt").write_text(SERVER_CLIENT_OPTIONS)
    (bench.folder / "state/pt-bridge/obfs4-2").mkdir(mode=0o700)
    (bench.folder / "state/pt-bridge/obfs4-old").mkdir(mode=0o700)
    for folder in (bench.folder / "state", bench.folder / "state/pt-bridge"):
        folder.chmod(0o700)
    bench.pt.play(*SERVER)
    program = ready(bench)
    assert "has new keys, and there are others: obfs4-1;" in program.text
    bench.stop(program)


# -- a tor behind ----------------------------------------------------------------------


def before_tor(bench: Bench, tor: FakeTor, options: str) -> Program:
    program = bench.standalone(
        "server",
        f"--remote=127.0.0.1:{bench.port}",
        f"--ext-orport={tor.address}",
        f"--ext-orport-cookie={tor.path}",
        f"--plugin-opts={options};exec=obfs4proxy",
    )
    program.said(READY)
    return program


@pytest.mark.parametrize("front", ["", ";front=yes"])
def test_a_tor_behind_is_told_of_each_client(bench: Bench, front: str) -> None:
    """EO-07, EO-12: by the PT itself, or by us; and the plain port is never used."""
    bench.pt.play(*SERVER)
    with FakeTor(bench.folder).in_thread() as tor:
        program = before_tor(bench, tor, f"transport=obfs4{front}")
        is_tors = (
            str(tor.address) == (bench.pt.environment["TOR_PT_EXTENDED_SERVER_PORT"])
        )
        assert is_tors == (not front)
        assert "TOR_PT_ORPORT" not in bench.pt.environment
        sock = bench.connect(bench.port)
        sock.sendall(b"\x16\3\1")  # as TLS begins, which is no session
        client = Address(*sock.getsockname())
        assert receive(sock, len(GREETING)) == GREETING
        if front:
            assert tor.announced == [(client, "obfs4")]
        line = (state_of(bench) / "bridge-line.txt").read_text()
        assert line.startswith(f"Bridge obfs4 127.0.0.1:{bench.port} cert=")
        bench.stop(program)


def test_a_status_says_that_the_pt_hands_clients_on_to_tor(bench: Bench) -> None:
    """It has no numbers but the kernel's; and says so."""
    bench.pt.play(*SERVER)
    with FakeTor(bench.folder).in_thread() as tor:
        program = before_tor(bench, tor, "transport=obfs4")
        program.signal(signal.SIGUSR1)
        program.said("status: clients: the PT hands them on to tor itself, ")
        assert "tunnels:" not in program.text
        bench.stop(program)


def test_a_tor_that_takes_nobody_is_told_of_before_a_client_comes(bench: Bench) -> None:
    bench.pt.play(*SERVER)
    with FakeTor(bench.folder).in_thread() as tor:
        tor.cookie = bytes(32)
        program = before_tor(bench, tor, "transport=obfs4")
        program.said("tor does not know the cookie in")
        bench.stop(program)


def test_a_client_that_tor_denies_is_let_go(bench: Bench) -> None:
    """EO-09: with a reset of the PT's connection, which this PT passes on as an end."""
    bench.pt.play(*SERVER)
    with FakeTor(bench.folder, ext_orport.DENY).in_thread() as tor:
        program = before_tor(bench, tor, "transport=obfs4;front=yes")
        sock = bench.connect(bench.port)
        sock.sendall(b"\x16\3\1")
        is_reset(sock)  # or ended
        program.said("tor did not take the connection (DENY)")
        bench.stop(program)


# -- another plugin between the PT and the Internet ------------------------------------

VIA = ";via=obfs-server;via-opts=obfs\\=http"


def ready_via(bench: Bench, options: str = VIA) -> tuple[Program, socket.socket]:
    bench.pt.play(*SERVER)
    listener = bench.listen()
    target = listener.getsockname()
    return ready(bench, target=target, options=SERVER_OPTIONS + options), listener


@pytest.mark.parametrize("front", ["", ";front=yes"])
def test_another_plugin_listens_where_clients_come(bench: Bench, front: str) -> None:
    """The PT itself listens on loopback; a front stands before both."""
    plugin = bench.install_plugin("obfs-server", "plugin server")
    program, listener = ready_via(bench, VIA + front)
    near = SessionEnd.as_client(bench.connect(bench.port))
    bench.carried(near, listener)
    told = plugin.environment
    assert (told["SS_REMOTE_PORT"] == str(bench.port)) is not bool(front)
    assert told["SS_LOCAL_HOST"] == "127.0.0.1"
    assert bench.pt.environment["TOR_PT_SERVER_BINDADDR"] == "obfs4-127.0.0.1:0"
    bench.stop(program)
    line = SERVER_CLIENT_OPTIONS.rstrip("\n")
    assert client_options(bench) == f"{line};via=obfs-local;via-opts=obfs\\=http\n"


def test_where_clients_come_from_is_not_known_behind_a_plugin(bench: Bench) -> None:
    """What the PT names is the plugin's own address."""
    bench.install_plugin("obfs-server", "plugin server")
    program, listener = ready_via(bench)
    near = SessionEnd.as_client(bench.connect(bench.port))
    near.sendall(b"x")
    bench.accept(listener)
    program.signal(signal.SIGUSR1)
    program.said("status: obfs-server, pid ")
    assert "different addresses" not in program.heard()
    bench.stop(program)


def test_what_clients_need_of_a_plugin_that_we_do_not_know_is_asked_for(
    bench: Bench,
) -> None:
    bench.install_plugin("ck-server", "plugin server")
    program, _ = ready_via(bench, ";via=ck-server")
    program.said("clients need more than that file has: add via= with the client's")
    bench.stop(program)
    assert client_options(bench) == SERVER_CLIENT_OPTIONS


@pytest.mark.parametrize("dies", ["plugin", "pt"])
def test_the_death_of_either_on_a_server_starts_both_again(
    bench: Bench, dies: str
) -> None:
    """RL-11."""
    plugin = bench.install_plugin("obfs-server", "plugin server")
    program, listener = ready_via(bench)
    near = SessionEnd.as_client(bench.connect(bench.port))
    near.sendall(b"x")
    far = bench.accept(listener)
    assert receive(far, 1) == b"x"
    child = plugin if dies == "plugin" else bench.pt
    os.kill(child.pid, signal.SIGKILL)
    assert is_reset(far)
    until(lambda: program.heard().count(READY) == 2)
    near = SessionEnd.as_client(bench.connect(bench.port), b"another!")
    near.sendall(b"y")
    assert receive(bench.accept(listener), 1) == b"y"
    bench.stop(program)


def test_a_port_that_the_plugin_cannot_have_is_told_as_ours_would_be(
    bench: Bench,
) -> None:
    """SV-08."""
    bench.pt.play(*SERVER)
    bench.install_plugin("obfs-server", "plugin server")
    taken = bench.listen().getsockname()[1]
    program = bench.server(port=taken, options=SERVER_OPTIONS + VIA)
    code, text = bench.failure(program)
    assert code == 74
    assert text.startswith(f"cannot listen on port {taken}: address already in use")
    assert f"(pid {os.getpid()})" in text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (";via=obfs-local", "via=obfs-local is for the client side, and this is the"),
        (";via=v2ray-plugin", "via-opts= must have 'server', or v2ray-plugin would be"),
    ],
)
def test_a_plugin_for_the_other_side_ends_it_before_the_pt_is_started(
    bench: Bench, options: str, sentence: str
) -> None:
    bench.install_plugin("v2ray-plugin", "plugin")
    program = bench.server(options=SERVER_OPTIONS + options)
    code, text = bench.failure(program)
    assert (code, text[: len(sentence)]) == (65, sentence)
    assert not bench.pt.named("started")
