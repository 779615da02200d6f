"""The client's side: a real pt-bridge between a test and a fake PT."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.net.sockets import NO_LINGER
from pt_bridge.protocol.frames import Cause
from tests.support.bridges import play_client, ready_client, server_end, target_of
from tests.support.processes import (
    CLIENT,
    CLIENT_OPTIONS,
    PLAIN_OPTIONS,
    SECRET,
    exchange,
    is_reset,
    receive,
    until,
)
from tests.support.session_end import SessionEnd

if TYPE_CHECKING:
    from tests.support.processes import Bench, End, Program

WHY = "the server may be down or blocked"
# What the server behind the PT speaks: the session, or plain bytes.
WAYS = ["session", "plain"]
# Without connections that come unasked: each test knows which one it gets.
SESSION_OPTIONS = f"{CLIENT_OPTIONS};session=1;preconnect=0"
OPTIONS = {"session": SESSION_OPTIONS, "plain": PLAIN_OPTIONS}


def asked(bench: Bench) -> list[str]:
    """Return the hosts that the PT was asked for, in order."""
    return [line.split()[0] for line in bench.pt.named("asked")]


# -- what goes well --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "closes"),
    [("session", "each"), ("session", "both"), ("session", "never"), ("plain", "each")],
)
def test_bytes_go_both_ways_and_so_do_ends(bench: Bench, way: str, closes: str) -> None:
    """FE-05, RL-02, RL-04, RL-08: the late answer to a half-closed question arrives.

    In a session, that is so whatever the PT makes of an end.
    """
    bench.pt.play("say VERSION 1", f"closes {closes}", *CLIENT[1:])
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname(), options=OPTIONS[way])
    near = bench.connect(bench.port)
    near.sendall(b"question")
    far = server_end(bench, listener, way)
    near.shutdown(socket.SHUT_WR)
    # A PT must not be told: it could end everything, the answer included.
    assert receive(far, 8 + (way == "session")) == b"question"
    far.sendall(b"answer" * 100_000)
    far.close()
    assert len(receive(near, 600_001)) == 600_000
    bench.stop(program)


def test_a_host_that_closes_ends_the_connection_at_the_server(bench: Bench) -> None:
    """RL-04."""
    play_client(bench)
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname())
    near = bench.connect(bench.port)
    near.sendall(b"last words")
    far = bench.accept(listener)
    assert receive(far, 10) == b"last words"
    near.close()
    far.setblocking(False)

    def is_told() -> bool:
        # It can be seen only when the server writes.
        with contextlib.suppress(BlockingIOError):
            far.send(b"x")
        with contextlib.suppress(BlockingIOError):
            return far.recv(1) == b""
        return False

    until(is_told)
    bench.stop(program)


@pytest.mark.parametrize("closes", ["each", "both", "never"])
def test_a_session_tells_the_server_that_a_host_has_closed(
    bench: Bench, closes: str
) -> None:
    """RL-08: EOF, and RESET when the server goes on."""
    bench.pt.play("say VERSION 1", f"closes {closes}", *CLIENT[1:])
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname(), options=OPTIONS["session"])
    near = bench.connect(bench.port)
    near.sendall(b"last words")
    far = SessionEnd.as_server(bench.accept(listener))
    assert receive(far, 10) == b"last words"
    near.close()
    assert receive(far, 1) == b""
    # It can be seen only when the server writes, and then writes once more.
    until(lambda: far.is_reset_by(b"x"))
    bench.stop(program)


@pytest.mark.parametrize("closes", ["each", "both", "never"])
def test_resets_go_both_ways_in_a_session(bench: Bench, closes: str) -> None:
    """RL-03, RL-08: whatever the PT makes of one."""
    bench.pt.play("say VERSION 1", f"closes {closes}", *CLIENT[1:])
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname(), options=OPTIONS["session"])
    near = bench.speak()
    far = SessionEnd.as_server(bench.accept(listener))
    assert far.recv(1) == b"x"
    far.reset()
    assert is_reset(near)
    near = bench.connect(bench.port)
    near.sendall(b"y")
    far.next()
    assert far.recv(1) == b"y"
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    near.close()
    assert is_reset(far)
    assert len(bench.pt.named("accepted")) == 1
    bench.stop(program)


def test_a_server_may_speak_first(bench: Bench) -> None:
    """FE-09: after 250 ms the connection is taken to be meant."""
    play_client(bench)
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname())
    near = bench.connect(bench.port)
    bench.accept(listener).sendall(b"220 ready")
    assert receive(near, 9) == b"220 ready"
    bench.stop(program)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (f"cert={SECRET};iat-mode=0", f"cert={SECRET};iat-mode=0".encode()),
        (
            f"iat-mode=1;cert={SECRET};cert=second==;iat-mode=2;state=x",
            rf"iat-mode=1;cert={SECRET};cert=second\=\=;iat-mode=2".encode(),
        ),
        (
            rf"cert={SECRET};a=a\;b\\c; iat-mode=0 ;",
            rf"cert={SECRET};a=a\;b\\c;iat-mode=0".encode(),
        ),
        (
            f"cert={SECRET};iat-mode=0;arg-state=x;__android_vpn=",
            f"cert={SECRET};iat-mode=0;state=x".encode(),
        ),
        (
            f"cert={SECRET};a={'c' * 300};iat-mode=0",
            f"cert={SECRET};a={'c' * 300};iat-mode=0".encode(),
        ),
    ],
)
def test_the_arguments_reach_the_pt_in_order(
    bench: Bench, options: str, arguments: bytes
) -> None:
    """SK-01 to SK-05, OG-06, OG-08, OG-10: with duplicates, and longer than a field."""
    play_client(bench)
    host, port = bench.listen().getsockname()
    options_ = f"transport=obfs4;exec=obfs4proxy;{options}"
    program = ready_client(bench, (host, port), options=options_)
    bench.speak()
    assert bench.pt.event("asked") == f"{host} {port} {arguments!r}"
    bench.stop(program)


def test_a_transport_may_have_no_arguments(bench: Bench) -> None:
    """SK-02, SK-04."""
    play_client(bench)
    target = bench.listen().getsockname()
    program = ready_client(bench, target, options="transport=obfs3;exec=obfs4proxy")
    bench.speak()
    assert bench.pt.event("asked").split()[1:] == [str(target[1]), "b''"]
    bench.stop(program)


@pytest.mark.parametrize(
    ("host", "given"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("localhost", "localhost"),
    ],
)
def test_the_servers_address_reaches_the_pt(
    bench: Bench, host: str, given: str
) -> None:
    """FE-03, SK-08: a name is the PT's to resolve, where it has one address."""
    play_client(bench)
    listener = bench.listen("::1" if ":" in host else "127.0.0.1")
    port = listener.getsockname()[1]
    program = ready_client(bench, (host, port), options=PLAIN_OPTIONS)
    near = bench.speak()
    exchange_after(near, bench.accept(listener))
    asked = bench.pt.event("asked")
    # Some systems have two addresses for this name.
    assert asked.split()[0] in {given, "127.0.0.1" if host == "localhost" else given}
    assert asked.split()[1] == str(port)
    bench.stop(program)


def exchange_after(near: End, far: End) -> None:
    assert far.recv(1) == b"x"
    exchange(near, far)


def test_a_pt_that_speaks_socks4_is_spoken_to(bench: Bench) -> None:
    """SK-15: names are resolved by us."""
    play_client(bench, protocol="socks4")
    listener = bench.listen()
    port = listener.getsockname()[1]
    program = ready_client(bench, ("localhost", port))
    near = bench.speak()
    exchange_after(near, bench.accept(listener))
    assert bench.pt.event("asked") == (
        f"127.0.0.1 {port} {f'cert={SECRET};iat-mode=0'.encode()!r}"
    )
    bench.stop(program)


# -- several servers -------------------------------------------------------------------


def test_the_server_that_worked_is_tried_first_next_time(bench: Bench) -> None:
    """FE-17."""
    play_client(bench)
    listener = bench.listen("127.0.0.3")
    port = listener.getsockname()[1]
    program = ready_client(bench, ("127.0.0.1|127.0.0.2|127.0.0.3", port))
    for _ in range(2):
        near = bench.speak()
        exchange_after(near, bench.accept(listener))
    assert asked(bench) == ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.3"]
    assert "warning" not in program.text
    bench.stop(program)


def test_a_connection_fails_when_all_servers_do(bench: Bench) -> None:
    """FE-17, SK-13, ER-13."""
    play_client(bench, "refuse")
    program = ready_client(bench, ("192.0.2.1|192.0.2.2", 443))
    near = bench.speak()
    assert is_reset(near)
    assert asked(bench) == ["192.0.2.1", "192.0.2.2"]
    assert WHY in program.said("warning: a connection failed")
    bench.stop(program)


# -- several transports ----------------------------------------------------------------


class Two:
    """Two ways, each by a program of its own, which play the same.

    Attributes:
        listeners: the servers of the two.
        pts: the programs: obfs3's and conjure's, which hardly any machine has.
        options: the plugin options.
    """

    def __init__(self, bench: Bench, *, is_second_there: bool = True) -> None:
        self.bench = bench
        self.listeners = [bench.listen(), bench.listen("127.0.0.2")]
        steps = (*CLIENT, "await", "die 9")
        self.pts = [bench.install_plugin("lyrebird", *steps)]
        if is_second_there:
            self.pts.append(bench.install_plugin("conjure-client", *steps))
        first, second = (
            ":".join(map(str, each.getsockname())) for each in self.listeners
        )
        lines = (
            f"obfs3 {first}",
            f"conjure {second} url\\=https://c.example/{SECRET}",
        )
        ways = ";".join(f"bridge={line}" for line in lines)
        self.options = f"{ways};session=1;preconnect=0"

    def carry(self, number: int) -> tuple[socket.socket, SessionEnd]:
        """Carry a connection, which has to come to one of the servers."""
        near = self.bench.connect(self.bench.port)
        near.sendall(b"x")
        far = SessionEnd.as_server(self.bench.accept(self.listeners[number]))
        exchange_after(near, far)
        return near, far


def test_each_transport_has_its_own_program(bench: Bench) -> None:
    """When one dies, what it carried is reset, and the other goes on."""
    two = Two(bench)
    program = bench.client(options=two.options)
    program.said("for obfs3")
    program.said("for conjure")
    assert program.text.count("pt-bridge[obfs3,conjure]: ready: ") == 2
    kept = [pt.environment["TOR_PT_CLIENT_TRANSPORTS"] for pt in two.pts]
    assert kept == ["obfs3", "conjure"]
    near, _ = two.carry(0)
    two.listeners[0].close()
    other, far = two.carry(1)
    program.signal(signal.SIGUSR1)
    program.said("way 1 of 2 (obfs3): failed (1 in a row)")
    program.said("way 2 of 2 (conjure): worked last")
    two.pts[0].open_gate()
    program.said("lyrebird was killed by SIGKILL; starting the PT again")
    assert is_reset(near)
    exchange(other, far)
    two.pts[1].open_gate()
    assert is_reset(other)
    two.pts[1].event("started", count=2)
    bench.stop(program)
    assert SECRET not in program.text
    assert all(pt.is_gone() for pt in two.pts)


def test_one_program_serves_all_that_it_offers(bench: Bench) -> None:
    two = Two(bench)
    options = two.options.replace("conjure", "obfs2").replace("url", "any")
    program = bench.client(options=options)
    program.said("ready: lyrebird, listening on port")
    assert two.pts[0].environment["TOR_PT_CLIENT_TRANSPORTS"] == "obfs3,obfs2"
    two.carry(0)
    bench.stop(program)
    assert len(two.pts[0].named("started")) == 1


def test_a_program_that_is_missing_is_missed_by_its_own_ways_alone(
    bench: Bench,
) -> None:
    two = Two(bench, is_second_there=False)
    first, second, *rest = two.options.split(";")
    program = bench.client(options=";".join([second, first, *rest]))
    program.said("ready: lyrebird, listening on port")
    missing = program.said("without it, the way by conjure rests for")
    assert "no PT program was found: install conjure-client" in missing
    two.carry(0)
    program.signal(signal.SIGUSR1)
    program.said("status: the PT for conjure does not run: no PT program was found")
    program.said("status: way 1 of 2 (conjure): no PT for conjure runs")
    program.said("status: way 2 of 2 (obfs3): worked last")
    bench.stop(program)


def test_without_any_program_it_ends(bench: Bench) -> None:
    two = Two(bench, is_second_there=False)
    _, line, *_ = two.options.split(";")
    lines = f"{line};{line.replace('conjure', 'meek')}"
    code, text = bench.failure(bench.client(options=lines))
    assert code == 71
    assert "no PT program was found: install" in text


def test_ways_by_several_programs_leave_nothing_when_it_is_killed(
    bench: Bench,
) -> None:
    """LC-06."""
    two = Two(bench)
    program = bench.client(options=two.options)
    program.said("for obfs3")
    program.said("for conjure")
    program.signal(signal.SIGKILL)
    assert all(pt.is_gone() for pt in two.pts)


# -- what goes wrong with one connection -----------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        ("refuse", "a connection failed (the PT answered with SOCKS reply 1): "),
        ("reject", "the PT did not understand the transport's arguments: copy the"),
        (
            "garbage",
            f"a connection failed (the PT did not take SOCKS5 method 2): {WHY}",
        ),
        ("cut", "a connection failed (the PT closed the connection during the handsha"),
    ],
)
def test_a_connection_that_the_pt_refuses_is_reset(
    bench: Bench, behaviour: str, text: str
) -> None:
    """ER-12, ER-13, RL-10, SK-05, SK-10, SK-13: a warning, and the next one works."""
    play_client(bench, f"{behaviour},relay")
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname())
    near = bench.speak()
    assert is_reset(near)
    assert program.said("warning").startswith(f"pt-bridge[obfs4]: warning: {text}")
    near = bench.speak()
    exchange_after(near, bench.accept(listener))
    bench.stop(program)


def test_arguments_that_are_rejected_are_not_tried_with_the_next_server(
    bench: Bench,
) -> None:
    """ER-12: they are the same for all."""
    play_client(bench, "reject")
    program = ready_client(bench, ("192.0.2.1|192.0.2.2", 443))
    for _ in range(3):
        near = bench.speak()
        assert is_reset(near)
    assert len(bench.pt.named("accepted")) == 3
    bench.stop(program)
    assert program.text.count("did not understand the transport's arguments") == 1


def test_a_connection_that_the_pt_never_answers_troubles_nobody(bench: Bench) -> None:
    """RL-10, SK-11: others go on; and it does not delay the stop."""
    play_client(bench, "silent,relay")
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname())
    stuck = bench.connect(bench.port)
    stuck.sendall(b"x")
    bench.pt.event("accepted")
    near = bench.speak()
    exchange_after(near, bench.accept(listener))
    bench.stop(program)
    assert is_reset(stuck)


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_that_is_being_dialled_is_reset_when_the_last_pt_dies(
    bench: Bench, way: str
) -> None:
    """RL-11."""
    bench.pt.play(
        "say VERSION 1", "client socks5 silent", "say CMETHODS DONE", "await", "exit 1"
    )
    options = f"{OPTIONS[way]};restarts=0"
    program = ready_client(bench, ("127.0.0.1", 9), options=options)
    stuck = bench.connect(bench.port)
    stuck.sendall(b"x")
    bench.pt.event("accepted")
    bench.pt.open_gate()
    assert is_reset(stuck)
    code, text = bench.failure(program)
    assert code == 75
    assert text.startswith("obfs4proxy ended with exit code 1; restarts=0")


# -- another plugin between the PT and the Internet ------------------------------------

VIA = ";via=obfs-local;via-opts=obfs\\=http\\;obfs-host\\=hidden-name.example"


@pytest.mark.parametrize("way", WAYS)
def test_another_plugin_carries_what_the_pt_sends(bench: Bench, way: str) -> None:
    """The PT is sent to the plugin, and that to the server, by SIP003."""
    play_client(bench)
    plugin = bench.install_plugin(
        "obfs-local", "write to hidden-name.example", "plugin"
    )
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname(), options=OPTIONS[way] + VIA)
    assert "through obfs-local" in program.said("ready: ")
    assert "hidden-name" not in program.text
    near = bench.connect(bench.port)
    near.sendall(b"question")
    far = server_end(bench, listener, way)
    assert receive(far, 8) == b"question"
    exchange(near, far)
    told = plugin.environment
    assert told["SS_REMOTE_PORT"] == str(listener.getsockname()[1])
    assert told["SS_PLUGIN_OPTIONS"] == "obfs=http;obfs-host=hidden-name.example"
    (asked,) = bench.pt.named("asked")
    assert asked.split()[:2] == ["127.0.0.1", told["SS_LOCAL_PORT"]]
    bench.stop(program)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dies", ["plugin", "pt"])
def test_the_death_of_either_resets_what_it_carried_and_both_are_started_again(
    bench: Bench, way: str, dies: str
) -> None:
    """RL-11: behind the open port connections wait meanwhile."""
    play_client(bench)
    plugin = bench.install_plugin("obfs-local", "plugin")
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname(), options=OPTIONS[way] + VIA)
    near = bench.speak()
    far = server_end(bench, listener, way)
    assert receive(far, 1) == b"x"
    exchange(near, far)
    child = plugin if dies == "plugin" else bench.pt
    os.kill(child.pid, signal.SIGKILL)
    assert is_reset(near)
    late = bench.connect(bench.port)
    late.sendall(b"y")
    far = server_end(bench, listener, way)
    assert receive(far, 1) == b"y"
    exchange(late, far)
    name = "obfs-local" if dies == "plugin" else "obfs4proxy"
    program.said(f"{name} was killed by SIGKILL; starting the PT again in ")
    program.signal(signal.SIGUSR1)
    program.said("status: obfs-local, pid ")
    program.said("the PT was started again once")
    bench.stop(program)


def test_a_plugin_that_keeps_dying_ends_it(bench: Bench) -> None:
    play_client(bench)
    bench.install_plugin("obfs-local", "plugin", "await", "write panic: no", "exit 3")
    options = f"{PLAIN_OPTIONS}{VIA};restarts=0"
    program = ready_client(bench, ("127.0.0.1", 9), options=options)
    (bench.folder / "obfs-local/obfs-local.gate").write_bytes(b"x")
    code, text = bench.failure(program)
    assert code == 75
    assert text.startswith(
        "obfs-local ended with exit code 3; it wrote: panic: no; restarts=0"
    )


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (
            ";via=/bin/sh",
            65,
            "via= in plugin options, which links can carry, may be one of obfs-local,",
        ),
        (";via=obfs-server", 65, "via=obfs-server is for the server side, and this"),
        (";via=obfs-local", 65, "via=obfs-local needs one of these: via-opts=obfs"),
        (
            ";via=xray-plugin",
            71,
            "no plugin was found: install xray-plugin (Debian has none); looked in ",
        ),
        (VIA, 76, "obfs-local ended with exit code 1 before it listened: no ("),
    ],
)
def test_a_plugin_that_cannot_be_used_ends_it_with_a_sentence(
    bench: Bench, options: str, code: int, sentence: str
) -> None:
    play_client(bench)
    bench.install_plugin("obfs-local", "write no", "exit 1")
    program = bench.client(options=PLAIN_OPTIONS + options)
    ended, text = bench.failure(program)
    assert (ended, text[: len(sentence)]) == (code, sentence)
    assert not bench.pt.named("started")


# -- the session -----------------------------------------------------------------------


def test_a_connection_is_used_again_for_the_next_stream(bench: Bench) -> None:
    """A handshake less, and nothing that a watcher sees."""
    play_client(bench)
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname(), options=OPTIONS["session"])
    near = bench.speak()
    far = SessionEnd.as_server(bench.accept(listener))
    for _ in range(3):
        exchange_after(near, far)
        near.shutdown(socket.SHUT_WR)
        assert far.recv(1) == b""
        far.close()
        assert receive(near, 1) == b""
        near = bench.speak()
        far.next()
    bench.stop(program)
    assert is_reset(near)
    assert len(bench.pt.named("accepted")) == 1


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (Cause.REFUSED, "the server's shadowsocks is down"),
        (Cause.UNREACHABLE, "does not reach the shadowsocks behind it"),
        (Cause.BUSY, "the server is short of something"),
    ],
)
def test_a_server_says_why_it_did_not_take_a_connection(
    bench: Bench, cause: Cause, text: str
) -> None:
    """ER-13, demands 29: in our words, not in those of the peer."""
    play_client(bench)
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname(), options=OPTIONS["session"])
    near = bench.speak()
    SessionEnd.before_accept(bench.accept(listener)).refuse(cause, b"192.0.2.7")
    assert is_reset(near)
    assert text in program.said("warning: ")
    bench.stop(program)


def test_a_stream_that_was_not_accepted_is_tried_on_another_connection(
    bench: Bench,
) -> None:
    """Under the same id, and with the bytes that were kept."""
    play_client(bench)
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname(), options=OPTIONS["session"])
    near = bench.connect(bench.port)
    near.sendall(b"question")
    sock = bench.accept(listener)
    first = SessionEnd.before_accept(sock)
    sock.close()
    far = SessionEnd.as_server(bench.accept(listener))
    assert far.opened == first.opened
    assert receive(far, 8) == b"question"
    exchange(near, far)
    bench.stop(program)


def test_a_server_that_speaks_no_session_is_found_out_once_a_run(bench: Bench) -> None:
    """Two connections that it cannot read, and a third with the same bytes, plain."""
    play_client(bench)
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname(), options=CLIENT_OPTIONS)
    near = bench.speak()
    opened = []
    for _ in range(2):
        sock = bench.accept(listener)
        opened.append(SessionEnd.before_accept(sock).opened)
        sock.close()  # what else is it to do with bytes that it cannot decrypt
    assert opened[0] == opened[1]
    exchange_after(near, bench.accept(listener))
    program.said("the server speaks no session: connections are carried plain")
    near = bench.speak()
    exchange_after(near, bench.accept(listener))
    bench.stop(program)
    assert program.text.count("speaks no session") == 1


def test_a_server_that_speaks_the_session_is_found_out_with_the_first_stream(
    bench: Bench,
) -> None:
    play_client(bench)
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname(), options=CLIENT_OPTIONS)
    near = bench.speak()
    exchange_after(near, SessionEnd.as_server(bench.accept(listener)))
    other = bench.connect(bench.port)
    other.sendall(b"x")
    exchange_after(other, SessionEnd.as_server(bench.accept(listener)))
    bench.stop(program)
    assert "session" not in program.text


def test_many_connections_leave_no_socket(bench: Bench) -> None:
    """RL-10, SE-10: whether they worked or not."""
    play_client(bench, "relay,refuse,relay,cut,relay")
    listener = bench.listen()
    program = ready_client(bench, listener.getsockname())
    before = sockets_of(program)
    for fine in (True, False, True, False, True, True):
        near = bench.speak()
        if fine:
            far = bench.accept(listener)
            exchange_after(near, far)
            far.close()
            assert near.recv(1) == b""
            near.close()
        else:
            assert is_reset(near)
    until(lambda: sockets_of(program) == before)
    bench.stop(program)


def sockets_of(program: Program) -> int:
    """Count a program's sockets; its pipes are a pool's, which keeps some."""
    folder = f"/proc/{program.process.pid}/fd"
    links = [target_of(f"{folder}/{name}") for name in os.listdir(folder)]
    return sum(link.startswith("socket:") for link in links)
