"""The client's side: a real pt-bridge between a test and a fake PT."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.processes import (
    CLIENT,
    CLIENT_OPTIONS,
    SECRET,
    exchange,
    is_reset,
    mode,
    receive,
    until,
)

if TYPE_CHECKING:
    from tests.processes import Bench, Program

WHY = "the server may be down or blocked"
HOLDS = ["both", "plain"]
PLAIN = f"{CLIENT_OPTIONS};hold=plain"


def play(bench: Bench, behaviours: str = "relay", protocol: str = "socks5") -> None:
    bench.pt.play(
        "say VERSION 1", f"client {protocol} {behaviours}", "say CMETHODS DONE"
    )


def ready(bench: Bench, target: tuple[str, int], **keywords: Any) -> Program:
    program = bench.client(target, **keywords)
    program.said("ready: ")
    return program


def asked(bench: Bench) -> list[str]:
    """Give the hosts that the PT was asked for, in order."""
    return [line.split()[0] for line in bench.pt.named("asked")]


# -- what goes well --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hold", "closes"),
    [("both", "each"), ("both", "both"), ("both", "never"), ("plain", "each")],
)
def test_bytes_go_both_ways_and_so_do_ends(
    bench: Bench, hold: str, closes: str
) -> None:
    """FE-05, RL-02, RL-04, RL-08: the late answer to a half-closed question arrives.

    With both ends held, that is so whatever the PT makes of an end.
    """
    bench.pt.play("say VERSION 1", f"closes {closes}", *CLIENT[1:])
    listener = bench.listen()
    options = f"{CLIENT_OPTIONS};hold={hold}"
    program = ready(bench, listener.getsockname(), options=options)
    near = bench.connect(bench.port)
    near.sendall(b"question")
    far = bench.accept(listener)
    near.shutdown(socket.SHUT_WR)
    # Alone, a PT must not be told: it could end everything, the answer included.
    assert receive(far, 8 + (hold == "both")) == b"question"
    far.sendall(b"answer" * 100_000)
    far.close()
    assert len(receive(near, 600_001)) == 600_000
    bench.stop(program)


@pytest.mark.parametrize(
    ("hold", "closes"),
    [("both", "each"), ("both", "both"), ("both", "never"), ("plain", "each")],
)
def test_a_host_that_closes_ends_the_connection_at_the_server(
    bench: Bench, hold: str, closes: str
) -> None:
    """RL-04, RL-08."""
    bench.pt.play("say VERSION 1", f"closes {closes}", *CLIENT[1:])
    listener = bench.listen()
    options = f"{CLIENT_OPTIONS};hold={hold}"
    program = ready(bench, listener.getsockname(), options=options)
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


def test_the_port_is_open_before_the_pt_is_ready(bench: Bench) -> None:
    """FE-08: and what comes early is carried, in full."""
    bench.pt.play("await", *CLIENT)
    listener = bench.listen()
    program = bench.client(listener.getsockname())
    bench.pt.event("started")
    early = [bench.connect(bench.port) for _ in range(3)]
    for number, near in enumerate(early):
        near.sendall(bytes([number]) * 8)
    bench.pt.open_gate()
    got = set()
    for _ in early:
        far = bench.accept(listener)
        got.add(receive(far, 8))
        far.sendall(b"answer")
        far.close()
    assert got == {bytes([number]) * 8 for number in range(3)}
    assert [receive(near, 7) for near in early] == [b"answer"] * 3
    bench.stop(program)


def test_early_connections_are_reset_when_the_pt_fails(bench: Bench) -> None:
    """FE-08, SK-13: an empty answer would look like a valid one."""
    bench.pt.play("await", "exit 1")
    program = bench.client()
    bench.pt.event("started")
    near, silent = bench.connect(bench.port), bench.connect(bench.port)
    near.sendall(b"question")
    bench.pt.open_gate()
    assert is_reset(near)
    assert is_reset(silent)
    assert bench.failure(program)[0] == 76


def test_a_probe_is_not_dialled(bench: Bench) -> None:
    """FE-09: shadowsocks-rust makes thousands, and one would kill snowflake."""
    bench.pt.play("await", *CLIENT)
    listener = bench.listen()
    program = bench.client(listener.getsockname())
    bench.pt.event("started")
    for _ in range(20):
        bench.connect(bench.port).close()
    bench.pt.open_gate()
    program.said("ready")
    for _ in range(20):
        bench.connect(bench.port).close()
    near = bench.connect(bench.port)
    near.sendall(b"x")
    assert bench.accept(listener).recv(1) == b"x"
    assert len(bench.pt.named("accepted")) == 1
    bench.stop(program)


def test_a_server_may_speak_first(bench: Bench) -> None:
    """FE-09: after 250 ms the connection is taken to be meant."""
    play(bench)
    listener = bench.listen()
    program = ready(bench, listener.getsockname())
    near = bench.connect(bench.port)
    bench.accept(listener).sendall(b"220 ready")
    assert receive(near, 9) == b"220 ready"
    bench.stop(program)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (f"cert={SECRET};iat-mode=0", f"cert={SECRET};iat-mode=0".encode()),
        (
            "iat-mode=1;cert=first==;cert=second;iat-mode=2;state=x",
            rb"iat-mode=1;cert=first\=\=;cert=second;iat-mode=2",
        ),
        (r"cert=a\;b\\c;iat-mode=0;", rb"cert=a\;b\\c;iat-mode=0"),
        (
            "cert=c;iat-mode=0;arg-state=x;__android_vpn=",
            b"cert=c;iat-mode=0;state=x",
        ),
        (
            f"cert={'c' * 300};iat-mode=0",
            f"cert={'c' * 300};iat-mode=0".encode(),
        ),
    ],
)
def test_the_arguments_reach_the_pt_in_order(
    bench: Bench, options: str, arguments: bytes
) -> None:
    """SK-01 to SK-05, OG-06, OG-08, OG-10: with duplicates, and longer than a field."""
    play(bench)
    host, port = bench.listen().getsockname()
    for hold in HOLDS:
        options_ = f"transport=obfs4;exec=obfs4proxy;{options};hold={hold}"
        bench.port = bench.free_port()
        program = ready(bench, (host, port), options=options_)
        bench.connect(bench.port).sendall(b"x")
        bench.pt.event("asked", count=1 + HOLDS.index(hold))
        bench.stop(program)
    held, by_itself = bench.pt.named("asked")
    assert held.partition(" ")[2] == f"{port} {arguments!r}"
    assert by_itself == f"{host} {port} {arguments!r}"


@pytest.mark.parametrize("hold", HOLDS)
def test_a_transport_may_have_no_arguments(bench: Bench, hold: str) -> None:
    """SK-02, SK-04."""
    play(bench)
    target = bench.listen().getsockname()
    options = f"transport=obfs3;exec=obfs4proxy;hold={hold}"
    program = ready(bench, target, options=options)
    bench.connect(bench.port).sendall(b"x")
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
    """FE-03, SK-08: where it has the wire to itself, a name is the PT's to resolve."""
    play(bench)
    listener = bench.listen("::1" if ":" in host else "127.0.0.1")
    port = listener.getsockname()[1]
    program = ready(bench, (host, port), options=PLAIN)
    near = bench.connect(bench.port)
    near.sendall(b"x")
    exchange_after(near, bench.accept(listener))
    assert bench.pt.event("asked").startswith(f"{given} {port} ")
    bench.stop(program)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost"])
def test_a_pt_that_is_held_is_asked_for_a_name_that_is_ours(
    bench: Bench, host: str
) -> None:
    """Design 3, SE-07: it tells which tunnel it is, and nobody can guess it."""
    play(bench)
    listener = bench.listen("::1" if ":" in host else "127.0.0.1")
    port = listener.getsockname()[1]
    program = ready(bench, (host, port))
    for _ in range(2):
        near = bench.connect(bench.port)
        near.sendall(b"x")
        exchange_after(near, bench.accept(listener))
    names = asked(bench)
    assert len(set(names)) == 2
    for name in names:
        assert re.fullmatch(r"[0-9a-f]{32}\.invalid", name)
    bench.stop(program)


def exchange_after(near: socket.socket, far: socket.socket) -> None:
    assert far.recv(1) == b"x"
    exchange(near, far)


def test_a_pt_that_speaks_socks4_is_spoken_to(bench: Bench) -> None:
    """SK-15: names are resolved by us."""
    play(bench, protocol="socks4")
    listener = bench.listen()
    port = listener.getsockname()[1]
    program = ready(bench, ("localhost", port))
    near = bench.connect(bench.port)
    near.sendall(b"x")
    exchange_after(near, bench.accept(listener))
    assert bench.pt.event("asked") == (
        f"127.0.0.1 {port} {f'cert={SECRET};iat-mode=0'.encode()!r}"
    )
    bench.stop(program)
    # Names are what both ends are told apart by, and SOCKS4 has none.
    line = program.said("warning: ")
    assert "obfs4proxy speaks SOCKS4" in line
    assert line.endswith(AS_PLAIN)


@pytest.mark.parametrize("hold", HOLDS)
def test_it_listens_where_it_was_told_to_and_nowhere_else(
    bench: Bench, hold: str
) -> None:
    """FE-07, FE-14, SE-07: TCP on loopback, for the host and for the PT; and no UDP."""
    play(bench)
    options = f"{CLIENT_OPTIONS};hold={hold}"
    program = ready(bench, ("192.0.2.1", 443), options=options)
    expected = [("127.0.0.1", bench.port)]
    if hold == "both":
        _, _, place = bench.pt.environment["TOR_PT_PROXY"].rpartition("@")
        host, _, port = place.partition(":")
        expected.append((host, int(port)))
    sockets = psutil.Process(program.process.pid).net_connections("inet")
    assert {each.type for each in sockets} == {socket.SOCK_STREAM}
    assert {each.status for each in sockets} == {psutil.CONN_LISTEN}
    assert sorted(tuple(each.laddr) for each in sockets) == sorted(expected)
    bench.stop(program)


def test_it_listens_on_ipv6_when_it_is_told_to(bench: Bench) -> None:
    """FE-04, FE-07."""
    play(bench)
    port = bench.free_port("::1")
    program = bench.plugin(
        {
            "SS_REMOTE_HOST": "::1",
            "SS_REMOTE_PORT": "9",
            "SS_LOCAL_HOST": "::1",
            "SS_LOCAL_PORT": str(port),
            "SS_PLUGIN_OPTIONS": "transport=obfs3;exec=obfs4proxy",
        }
    )
    program.said("ready")
    bench.connect(port, "::1").close()
    with pytest.raises(ConnectionRefusedError):
        bench.connect(port)
    bench.stop(program)


# -- several servers -------------------------------------------------------------------


@pytest.mark.parametrize("hold", HOLDS)
def test_the_server_that_worked_is_tried_first_next_time(
    bench: Bench, hold: str
) -> None:
    """FE-17."""
    play(bench)
    listener = bench.listen("127.0.0.3")
    port = listener.getsockname()[1]
    options = f"{CLIENT_OPTIONS};hold={hold}"
    program = ready(bench, ("127.0.0.1|127.0.0.2|127.0.0.3", port), options=options)
    for _ in range(2):
        near = bench.connect(bench.port)
        near.sendall(b"x")
        exchange_after(near, bench.accept(listener))
    if hold == "plain":
        assert asked(bench) == ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.3"]
    else:
        assert len(set(asked(bench))) == 4
    assert "warning" not in program.text
    bench.stop(program)


@pytest.mark.parametrize("hold", HOLDS)
def test_a_connection_fails_when_all_servers_do(bench: Bench, hold: str) -> None:
    """FE-17, SK-13, ER-13."""
    play(bench, "refuse")
    options = f"{CLIENT_OPTIONS};hold={hold}"
    program = ready(bench, ("192.0.2.1|192.0.2.2", 443), options=options)
    near = bench.connect(bench.port)
    near.sendall(b"x")
    assert is_reset(near)
    if hold == "plain":
        assert asked(bench) == ["192.0.2.1", "192.0.2.2"]
    else:
        assert len(asked(bench)) == 2
    assert WHY in program.said("warning: a connection failed")
    bench.stop(program)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("127.0.0.1", "(the server cannot be reached: connection refused): the serv"),
        ("server.nobody.invalid", "(the server's name cannot be resolved: "),
    ],
)
def test_why_a_server_was_not_reached_is_seen_where_both_ends_are_held(
    bench: Bench, host: str, why: str
) -> None:
    """ER-13, demands 29, SE-06: for we dial it ourselves; the next one may work."""
    play(bench)
    port = bench.free_port()
    program = ready(bench, (host, port))
    near = bench.connect(bench.port)
    near.sendall(b"x")
    assert is_reset(near)
    line = program.said("warning: a connection failed")
    assert why in line
    assert "nobody" not in line
    if host == "127.0.0.1":
        listener = bench.listen(port=port)
        near = bench.connect(bench.port)
        near.sendall(b"x")
        exchange_after(near, bench.accept(listener))
    bench.stop(program)


# -- what goes wrong with one connection -----------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        ("refuse", f"a connection failed (the PT answered with SOCKS reply 1): {WHY}"),
        ("reject", "the PT did not understand the transport's arguments: copy the"),
        (
            "garbage",
            f"a connection failed (the PT did not take SOCKS5 method 2): {WHY}",
        ),
        ("cut", "a connection failed (the PT closed the connection during the handsha"),
    ],
)
@pytest.mark.parametrize("hold", HOLDS)
def test_a_connection_that_the_pt_refuses_is_reset(
    bench: Bench, behaviour: str, text: str, hold: str
) -> None:
    """ER-12, ER-13, RL-10, SK-05, SK-10, SK-13: a warning, and the next one works."""
    play(bench, f"{behaviour},relay")
    listener = bench.listen()
    options = f"{CLIENT_OPTIONS};hold={hold}"
    program = ready(bench, listener.getsockname(), options=options)
    near = bench.connect(bench.port)
    near.sendall(b"x")
    assert is_reset(near)
    assert program.said("warning").startswith(f"pt-bridge[obfs4]: warning: {text}")
    near = bench.connect(bench.port)
    near.sendall(b"x")
    exchange_after(near, bench.accept(listener))
    bench.stop(program)


def test_arguments_that_are_rejected_are_not_tried_with_the_next_server(
    bench: Bench,
) -> None:
    """ER-12: they are the same for all."""
    play(bench, "reject")
    program = ready(bench, ("192.0.2.1|192.0.2.2", 443))
    for _ in range(3):
        near = bench.connect(bench.port)
        near.sendall(b"x")
        assert is_reset(near)
    assert len(bench.pt.named("accepted")) == 3
    bench.stop(program)
    assert program.text.count("did not understand the transport's arguments") == 1


def test_a_connection_that_the_pt_never_answers_troubles_nobody(bench: Bench) -> None:
    """RL-10, SK-11: others go on; and it does not delay the stop."""
    play(bench, "silent,relay")
    listener = bench.listen()
    program = ready(bench, listener.getsockname())
    stuck = bench.connect(bench.port)
    stuck.sendall(b"x")
    bench.pt.event("accepted")
    near = bench.connect(bench.port)
    near.sendall(b"x")
    exchange_after(near, bench.accept(listener))
    bench.stop(program)
    assert is_reset(stuck)


def test_a_connection_that_is_being_dialled_is_reset_when_the_last_pt_dies(
    bench: Bench,
) -> None:
    """RL-11."""
    bench.pt.play(
        "say VERSION 1", "client socks5 silent", "say CMETHODS DONE", "await", "exit 1"
    )
    options = f"{CLIENT_OPTIONS};restarts=0"
    program = ready(bench, ("127.0.0.1", 9), options=options)
    stuck = bench.connect(bench.port)
    stuck.sendall(b"x")
    bench.pt.event("accepted")
    bench.pt.open_gate()
    assert is_reset(stuck)
    code, text = bench.failure(program)
    assert code == 75
    assert text.startswith("obfs4proxy ended with exit code 1; restarts=0")


# -- the user's proxy ------------------------------------------------------------------


def test_the_upstream_proxy_is_handed_to_the_pt(bench: Bench) -> None:
    """PE-07, SE-05: a name is resolved by us, and the password is not shown."""
    bench.pt.play("say VERSION 1", "say PROXY DONE", "client", "say CMETHODS DONE")
    program = bench.client(
        options="transport=obfs3;exec=obfs4proxy;hold=plain;"
        f"upstream-proxy=socks5://user:{SECRET}@localhost:1080"
    )
    program.said("ready")
    bench.stop(program)
    url = f"socks5://user:{SECRET}@127.0.0.1:1080"
    assert bench.pt.environment["TOR_PT_PROXY"] == url


def refusal_of_a_proxy(bench: Bench, hold: str) -> str:
    """Give the sentence with which a client ends that has a proxy of the user's."""
    options = (
        f"transport=obfs3;exec=obfs4proxy;hold={hold};"
        f"upstream-proxy=socks5://192.0.2.7:1080"
    )
    code, sentence = bench.failure(bench.client(options=options))
    assert code == 69
    assert len(bench.pt.named("started")) == 1
    return sentence


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("say PROXY-ERROR cannot use socks5://192.0.2.7:1080", "cannot use socks5://"),
        ("proxy-ignored", "so its connections could go around it"),
    ],
)
@pytest.mark.parametrize("hold", HOLDS)
def test_nothing_goes_around_the_upstream_proxy(
    bench: Bench, line: str, text: str, hold: str
) -> None:
    """PE-08, ER-05, SE-09: not even with a PT that has the wire to itself."""
    bench.pt.play("say VERSION 1", line, "client", "say CMETHODS DONE")
    assert text in refusal_of_a_proxy(bench, hold)


def test_a_pt_that_has_no_names_cannot_be_led_to_the_upstream_proxy(
    bench: Bench,
) -> None:
    """PE-08, SE-09, SK-15: alone, it would go around it if it did not know its kind."""
    play(bench, protocol="socks4")
    assert "obfs4proxy speaks SOCKS4" in refusal_of_a_proxy(bench, "both")


def test_an_upstream_proxy_that_has_no_address_ends_it(bench: Bench) -> None:
    """ER-05: before the PT is started."""
    code, sentence = bench.failure(
        bench.client(
            options="transport=obfs3;exec=obfs4proxy;hold=plain;"
            "upstream-proxy=http://nobody.invalid:1080"
        )
    )
    assert code == 69
    assert "the name of the upstream proxy cannot be resolved" in sentence
    assert "nobody" not in sentence
    assert bench.pt.named("started") == []


# -- a PT that cannot be held at both ends ---------------------------------------------

AS_PLAIN = ": it gets the wire to itself (as with hold=plain)"


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (
            "proxy-error socks5 is not for me",
            "cannot use the proxy that it was given: PROXY-ERROR socks5 is not for me",
        ),
        ("proxy-ignored", "so its connections could go around it"),
        ("client socks4", "obfs4proxy speaks SOCKS4, which has no names to tell one "),
    ],
)
@pytest.mark.parametrize("options", [CLIENT_OPTIONS, f"{CLIENT_OPTIONS};hold=both"])
def test_a_pt_that_cannot_be_held_at_both_ends_gets_the_wire_to_itself(
    bench: Bench, step: str, why: str, options: str
) -> None:
    """Design 3: one line says so, and from then on it stays so."""
    steps = [step] if step.startswith("client") else [step, "client"]
    bench.pt.play("say VERSION 1", *steps, "say CMETHODS DONE", "await", "die 9")
    listener = bench.listen()
    program = ready(bench, listener.getsockname(), options=options)
    for count in (2, 3):
        bench.pt.event("started", count=count)
        assert "TOR_PT_PROXY" not in bench.pt.environment
        near = bench.connect(bench.port)
        near.sendall(b"x")
        exchange_after(near, bench.accept(listener))
        assert asked(bench)[-1] == "127.0.0.1"
        if count == 2:
            bench.pt.open_gate()
            assert is_reset(near)
    bench.stop(program)
    assert len(bench.pt.named("started")) == 3
    assert program.text.count(AS_PLAIN) == 1
    line = program.said(AS_PLAIN)
    assert why in line
    assert line.startswith("pt-bridge[obfs4]: warning: obfs4proxy ")


def test_what_comes_while_it_is_found_out_is_carried_all_the_same(bench: Bench) -> None:
    """Design 2, design 3: behind the open port."""
    bench.pt.play("say VERSION 1", "await", "proxy-error no", *CLIENT[1:])
    listener = bench.listen()
    program = bench.client(listener.getsockname())
    bench.pt.event("started")
    near = bench.connect(bench.port)
    near.sendall(b"x")
    for count in (1, 2):
        bench.pt.event("started", count=count)
        bench.pt.open_gate()
    exchange_after(near, bench.accept(listener))
    bench.stop(program)


def test_the_proxy_that_is_ours_is_nobodys_business(bench: Bench) -> None:
    """SE-05: its name and password are new for each PT, and no log shows them."""
    steps = ("leak TOR_PT_PROXY", *CLIENT, "await", "die 9")
    bench.pt.play(*steps)
    program = ready(bench, ("127.0.0.1", 9))
    urls = [bench.pt.environment["TOR_PT_PROXY"]]
    bench.pt.open_gate()
    bench.pt.event("started", count=2)
    until(lambda: program.heard().count("ready: ") == 2)
    urls.append(bench.pt.environment["TOR_PT_PROXY"])
    bench.stop(program)
    assert program.text.count("obfs4proxy: socks5://") == 2
    logins = [re.split("[:/@]+", url)[1:3] for url in urls]
    assert len({word for login in logins for word in login}) == 4
    for login in logins:
        assert not any(word in program.text for word in login)


# -- its state -------------------------------------------------------------------------


def test_the_pts_folder_is_private_and_gone_afterwards(bench: Bench) -> None:
    """PE-03, SE-01, design 4."""
    play(bench)
    program = ready(bench, ("127.0.0.1", 9), umask=0)
    assert bench.pt.state.parent == bench.folder / "tmp"
    assert mode(bench.pt.state) == 0o700
    bench.stop(program)
    assert not bench.pt.state.exists()


def test_what_a_killed_client_left_is_removed_by_the_next(bench: Bench) -> None:
    """HQ-04, design 2 and 4: and what one that runs has is not."""
    play(bench)
    killed = ready(bench, ("127.0.0.1", 9))
    left = bench.pt.state
    killed.signal(signal.SIGKILL)
    killed.wait()
    assert left.exists()
    first = ready(bench, ("127.0.0.1", 9))
    assert not left.exists()
    bench.pt.event("started", count=2)
    kept = bench.pt.state
    bench.port = bench.free_port()
    second = ready(bench, ("127.0.0.1", 9))
    assert kept.exists()
    for program in (first, second):
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    assert os.listdir(bench.folder / "tmp") == []


def test_a_client_may_have_a_folder_for_good(bench: Bench) -> None:
    """Design 4: below the state directory."""
    play(bench)
    program = ready(
        bench, ("127.0.0.1", 9), options="transport=obfs3;exec=obfs4proxy;state=a/b"
    )
    bench.stop(program)
    assert bench.pt.state == bench.folder / "state/pt-bridge/a/b"
    assert mode(bench.pt.state) == 0o700


@pytest.mark.parametrize("hold", HOLDS)
def test_many_connections_leave_no_socket(bench: Bench, hold: str) -> None:
    """RL-10, SE-10: whether they worked or not."""
    play(bench, "relay,refuse,relay,cut,relay")
    listener = bench.listen()
    options = f"{CLIENT_OPTIONS};hold={hold}"
    program = ready(bench, listener.getsockname(), options=options)
    before = sockets_of(program)
    for fine in (True, False, True, False, True, True):
        near = bench.connect(bench.port)
        near.sendall(b"x")
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


def target_of(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # closed in the meantime
        return ""
