"""The server's side: a real pt-bridge, a fake PT, and what clients must use."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.processes import (
    SECRET,
    SERVER,
    SERVER_OPTIONS,
    as_ordinary_user,
    exchange,
    is_reset,
    mode,
    receive,
    until,
)

if TYPE_CHECKING:
    from tests.processes import Bench, Program

READY = "ready: obfs4proxy, serving port"
HOLDS = ["both", "plain", "none"]
PLAIN = f"{SERVER_OPTIONS};hold=plain"


def play(bench: Bench, step: str) -> None:
    bench.pt.play("say VERSION 1", step, "say SMETHODS DONE")


def ready(bench: Bench, **keywords: Any) -> Program:
    program = bench.server(**keywords)
    program.said(READY)
    return program


def state_of(bench: Bench) -> Path:
    return bench.folder / f"state/pt-bridge/obfs4-{bench.port}"


def client_options(bench: Bench) -> str:
    return (state_of(bench) / "client-options.txt").read_text()


# -- what it serves --------------------------------------------------------------------


@pytest.mark.parametrize("hold", HOLDS)
def test_what_comes_in_goes_to_the_host(bench: Bench, hold: str) -> None:
    """FE-05, SV-09."""
    bench.pt.play(*SERVER)
    listener = bench.listen()
    options = f"{SERVER_OPTIONS};hold={hold}"
    program = ready(bench, target=listener.getsockname(), options=options)
    near = bench.connect(bench.port)
    exchange(near, bench.accept(listener))
    bench.stop(program)


@pytest.mark.parametrize(
    ("host", "bind"),
    [
        ("127.0.0.1", "127.0.0.1:{}"),
        ("::1", "[::1]:{}"),
        ("0.0.0.0", "0.0.0.0:{}"),
        ("::", "[::]:{}"),
        ("localhost", "127.0.0.1:{}"),
        ("::|0.0.0.0", "[::]:{}"),
        ("127.0.0.1|0.0.0.0", "0.0.0.0:{}"),
        ("127.0.0.1|127.0.0.1", "127.0.0.1:{}"),
    ],
)
def test_the_pt_is_told_to_listen_on_one_ip_address(
    bench: Bench, host: str, bind: str
) -> None:
    """PE-09, SV-01, SV-02, FE-18: where it has the wire to itself."""
    bench.pt.play(*SERVER)
    bench.stop(ready(bench, host=host, options=PLAIN))
    expected = "obfs4-" + bind.format(bench.port)
    assert bench.pt.environment["TOR_PT_SERVER_BINDADDR"] == expected


@pytest.mark.parametrize(
    ("host", "places"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("::1", ["::1"]),
        ("0.0.0.0", ["0.0.0.0"]),
        ("::", ["::"]),
        ("localhost", ["127.0.0.1"]),
        ("::|0.0.0.0", ["0.0.0.0", "::"]),
        ("127.0.0.1|127.0.0.2|::1", ["127.0.0.1", "127.0.0.2", "::1"]),
        ("127.0.0.1|0.0.0.0|::1", ["0.0.0.0", "::1"]),
        ("127.0.0.1|127.0.0.1", ["127.0.0.1"]),
    ],
)
def test_we_listen_on_every_address_for_a_pt_that_is_held(
    bench: Bench, host: str, places: list[str]
) -> None:
    """Design 1, SV-02: on these and no others; the PT itself stays on loopback."""
    bench.pt.play(*SERVER)
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname(), host=host)
    sockets = psutil.Process(program.process.pid).net_connections("tcp")
    ours = [each.laddr.ip for each in sockets if each.laddr.port == bench.port]
    assert sorted(ours) == places
    for place in places:
        to = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(place, place)
        exchange(bench.connect(bench.port, to), bench.accept(listener))
    assert bench.pt.environment["TOR_PT_SERVER_BINDADDR"] == "obfs4-127.0.0.1:0"
    bench.stop(program)


def test_who_comes_before_the_pt_is_ready_is_carried_when_it_is(bench: Bench) -> None:
    """Design 2: the port is the server's first, as it is the client's."""
    bench.pt.play("await", *SERVER)
    listener = bench.listen()
    program = bench.server(listener.getsockname())
    bench.pt.event("started")
    near = bench.connect(bench.port)
    near.sendall(b"x")
    bench.pt.open_gate()
    far = bench.accept(listener)
    assert far.recv(1) == b"x"
    exchange(near, far)
    bench.stop(program)


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
@pytest.mark.parametrize("hold", ["plain", "none"])
def test_the_pt_is_told_where_the_host_is(
    bench: Bench, local: str, orport: str, hold: str
) -> None:
    """PE-10, PE-11: a wildcard is nothing to connect to."""
    bench.pt.play(*SERVER)
    options = f"{SERVER_OPTIONS};hold={hold}"
    bench.stop(ready(bench, target=(local, 9), options=options))
    environment = bench.pt.environment
    assert environment["TOR_PT_ORPORT"] == orport
    is_extended = environment["TOR_PT_EXTENDED_SERVER_PORT"] != ""
    assert is_extended == (hold == "plain")
    assert is_extended == ("TOR_PT_AUTH_COOKIE_FILE" in environment)


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


@pytest.mark.parametrize(
    ("hold", "expected", "text"),
    [
        ("both", 74, "the host cannot be resolved: "),
        ("plain", 64, "SS_REMOTE_HOST cannot be resolved: "),
        ("none", 64, "SS_REMOTE_HOST cannot be resolved: "),
    ],
)
def test_a_name_that_has_no_address_is_an_error(
    bench: Bench, hold: str, expected: int, text: str
) -> None:
    """SV-01, ER-09, SE-06: the name is not shown."""
    options = f"{SERVER_OPTIONS};hold={hold}"
    program = bench.server(host="server.nobody.invalid", options=options)
    code, sentence = bench.failure(program)
    assert code == expected
    assert text in sentence
    assert "nobody" not in sentence
    assert bench.pt.named("started") == []


# -- what its clients must use ---------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "ARGS:cert=abc+/DEF,iat-mode=0",
            "transport=obfs4;cert=abc+/DEF;iat-mode=0",
        ),
        ("ARGS:", "transport=obfs4"),
        ("ARGS:cert", "transport=obfs4"),
        (
            r"ARGS:url=https://e/p?a\=b\,c,ver=0.0.7",
            r"transport=obfs4;url=https://e/p?a\=b,c;ver=0.0.7",
        ),
        (r"ARGS:k\=1=a;b\\c", r"transport=obfs4;k\=1=a\;b\\c"),
        (
            "ARGS:server=1,state=2,arg-x=3,bridge=4",
            "transport=obfs4;arg-server=1;arg-state=2;arg-arg-x=3;arg-bridge=4",
        ),
        ("ARGS:a=2,a=1", "transport=obfs4;a=2;a=1"),
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
    program = ready(bench, target=listener.getsockname(), options=PLAIN)
    exchange(bench.connect(bench.port), bench.accept(listener))
    assert client_options(bench) == "transport=obfs4;url=https://e/p\n"
    bench.stop(program)


@pytest.mark.parametrize("place", ["[2001:db8::1]:443", "0.0.0.0:443", "127.0.0.1:0"])
def test_a_pt_that_does_not_say_where_we_find_it_cannot_be_held(
    bench: Bench, place: str
) -> None:
    """Design 3, SV-03: it was told to listen on loopback."""
    play(bench, f"server-at {place} ARGS:url=https://e/p")
    code, sentence = bench.failure(bench.server())
    assert code == 76
    assert sentence == (
        "obfs4proxy was told to listen on loopback, and says that it does not: use "
        "another program, or hold=plain"
    )


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
    """PE-04, design 4: the same state; and every client must learn of a new one."""
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
    assert client_options(bench) == "transport=obfs4;cert=second;iat-mode=0\n"


def test_a_pt_that_is_started_again_finds_its_keys(bench: Bench) -> None:
    """Design 2: the same identity, even where somebody has deleted its folder."""
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
    assert client_options(bench) == "transport=obfs4;cert=AAAA;iat-mode=0\n"


def test_a_terminal_is_shown_the_options(bench: Bench) -> None:
    """SV-06, design 4: a person sits there."""
    play(bench, f"server ARGS:cert={SECRET},iat-mode=0")
    terminal, slave = os.openpty()
    try:
        program = bench.server(stderr=slave)
        os.close(slave)
        said = b""
        while b"ready: " not in said:
            said += os.read(terminal, 1000)
        assert f"transport=obfs4;cert={SECRET};iat-mode=0".encode() in said
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
    """Design 4: locked from spawn to READY, waited for, never an error."""
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


def target_of(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # closed in the meantime
        return ""


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


@pytest.mark.parametrize("hold", HOLDS)
def test_a_port_that_is_in_use_is_named_with_its_holder(
    bench: Bench, hold: str
) -> None:
    """SV-08, ER-09."""
    bench.pt.play(*SERVER)
    port = bench.listen().getsockname()[1]
    before = ["/bin/sh", "-c", '"$@"; exit $?', "host"]
    options = f"{SERVER_OPTIONS};hold={hold}"
    program = bench.server(port=port, before=before, options=options)
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
    code, sentence = bench.failure(bench.server(port=443, options=PLAIN))
    assert code == 74
    assert "cannot listen on port 443: permission denied" in sentence
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in sentence


@pytest.mark.parametrize("hold", HOLDS)
def test_a_low_port_needs_a_right(bench: Bench, hold: str) -> None:
    """SV-08, ER-09: a real one, as an ordinary user."""
    first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if int(first.read_text()) <= 443:
        pytest.skip("every user may listen on port 443 here")
    bench.pt.play(*SERVER)
    before = bench.for_ordinary_user()
    options = f"{SERVER_OPTIONS};hold={hold}"
    program = bench.server(port=443, before=before, options=options)
    code, sentence = bench.failure(program)
    assert code == 74
    assert "cannot listen on port 443: permission denied" in sentence


@pytest.mark.parametrize("hold", HOLDS)
def test_an_address_of_another_machine_is_an_error(bench: Bench, hold: str) -> None:
    """SV-08, ER-09: a client's option string on the server, perhaps."""
    bench.pt.play(*SERVER)
    options = f"{SERVER_OPTIONS};hold={hold}"
    code, sentence = bench.failure(bench.server(host="192.0.2.1", options=options))
    assert code == 74
    assert "cannot assign requested address" in sentence
    assert "a client listens on SS_LOCAL_HOST" in sentence


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
@pytest.mark.parametrize("hold", HOLDS)
def test_a_pt_that_does_not_serve_ends_it(
    bench: Bench, steps: list[str], code: int, text: str, hold: str
) -> None:
    """SV-07, ER-04, ER-11."""
    bench.pt.play("say VERSION 1", *steps)
    options = f"{SERVER_OPTIONS};hold={hold}"
    got, sentence = bench.failure(bench.server(options=options))
    assert (got, text in sentence) == (code, True), sentence
    assert not (state_of(bench) / "client-options.txt").exists()


# -- the Extended ORPort, with hold=plain and hold=both --------------------------------

HELD = ["both", "plain"]


def held(hold: str) -> str:
    """Give the options of a server that holds its PT so."""
    return f"{SERVER_OPTIONS};hold={hold}"


@pytest.mark.parametrize(
    ("hold", "closes"),
    [("both", "each"), ("both", "both"), ("both", "never"), ("plain", "each")],
)
def test_what_the_pt_brings_goes_to_the_host(
    bench: Bench, hold: str, closes: str
) -> None:
    """EO-01 to EO-11, RL-08: the cookie has no name, and the ends go both ways.

    With both ends held, they do whatever the PT makes of an end.
    """
    bench.pt.play("say VERSION 1", f"closes {closes}", *SERVER[1:])
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname(), options=held(hold))
    near = bench.connect(bench.port)
    near.sendall(b"question")
    far = bench.accept(listener)
    near.shutdown(socket.SHUT_WR)
    assert receive(far, 9) == b"question"
    far.sendall(b"answer" * 100_000)
    far.close()
    assert len(receive(near, 600_001)) == 600_000
    cookie = bench.pt.environment["TOR_PT_AUTH_COOKIE_FILE"]
    assert cookie.startswith("/proc/self/fd/")
    assert ("TOR_PT_ORPORT" in bench.pt.environment) == (hold == "plain")
    bench.stop(program)


@pytest.mark.parametrize("hold", HELD)
def test_a_host_that_listens_a_little_later_is_waited_for(
    bench: Bench, hold: str
) -> None:
    """EO-09, demands 29: ss-server binds after it has started its plugin."""
    bench.pt.play(*SERVER)
    target = ("127.0.0.1", bench.free_port())
    program = ready(bench, target=target, options=held(hold))
    near = bench.connect(bench.port)
    near.sendall(b"x")
    bench.pt.event("introduced")
    far = bench.accept(bench.listen(port=target[1]))
    assert far.recv(1) == b"x"
    exchange(near, far)
    bench.stop(program)


@pytest.mark.parametrize("hold", HELD)
def test_a_host_that_does_not_listen_is_told_of(bench: Bench, hold: str) -> None:
    """EO-09, demands 29: DENY, and one line that says which side refused.

    An empty answer would look like a valid one; what a PT alone makes of it is its own.
    """
    bench.pt.play(*SERVER)
    program = ready(bench, options=held(hold))
    near = bench.connect(bench.port)
    near.sendall(b"x")
    assert is_reset(near) or hold == "plain"
    program.said("shadowsocks's own server did not take it (connection refused)")
    assert bench.pt.event("answered") == "10010000"
    bench.stop(program)


@pytest.mark.parametrize("hold", HELD)
def test_the_death_of_the_pt_resets_what_it_brought(bench: Bench, hold: str) -> None:
    """RL-11: and the next PT brings new ones, with a cookie of its own."""
    bench.pt.play(*SERVER, "await", "die 9")
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname(), options=held(hold))
    for count in (1, 2):
        # Not before: what the last PT listened on may go a moment after the rest.
        until(lambda: program.heard().count(READY) == count)  # noqa: B023
        near = bench.connect(bench.port)
        near.sendall(b"x")
        far = bench.accept(listener)
        assert far.recv(1) == b"x"
        exchange(near, far)
        bench.pt.open_gate()
        assert is_reset(far)
        assert hold == "plain" or is_reset(near)
    until(lambda: program.heard().count(READY) == 3)
    bench.stop(program)


def test_a_client_that_has_no_host_yet_is_reset_when_the_pt_dies(bench: Bench) -> None:
    """RL-11, SK-13: it has come in already, and an end would be an empty answer."""
    bench.pt.play(*SERVER, "await", "exit 0")
    program = ready(bench, target=("127.0.0.1", bench.free_port()))
    near = bench.connect(bench.port)
    near.sendall(b"x")
    bench.pt.event("introduced")
    bench.pt.open_gate()
    assert is_reset(near)
    until(lambda: program.heard().count(READY) == 2)
    bench.stop(program)


@pytest.mark.parametrize("hold", HELD)
def test_who_is_not_the_pt_gets_nothing_through_its_port(
    bench: Bench, hold: str
) -> None:
    """EO-04, SE-10: other users of the machine can connect."""
    bench.pt.play(*SERVER)
    listener = bench.listen()
    program = ready(bench, target=listener.getsockname(), options=held(hold))
    _, port = bench.pt.environment["TOR_PT_EXTENDED_SERVER_PORT"].split(":")
    stranger = bench.connect(int(port))
    assert receive(stranger, 2) == b"\1\0"
    stranger.sendall(b"\1" + bytes(32))
    receive(stranger, 64)
    stranger.sendall(bytes(32))
    assert receive(stranger, 2) == b"\0"
    near = bench.connect(bench.port)
    near.sendall(b"x")
    assert bench.accept(listener).recv(1) == b"x"
    bench.stop(program)
