"""Several tunnels in one process: a real pt-bridge, fake PTs."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import (
    CLIENT,
    PLAIN_OPTIONS,
    SERVER,
    exchange,
    receive,
    until,
)
from tests.support.session_end import SessionEnd

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Bench, Program


def client_table(name: str, listen: int, server: int, more: str = "") -> str:
    return f"""\
[[client]]
name = "{name}"
listen = "127.0.0.1:{listen}"
server = "127.0.0.1:{server}"
plugin-opts = "{PLAIN_OPTIONS}"
{more}
"""


def write(bench: Bench, *tables: str) -> Path:
    path = bench.folder / "the.toml"
    path.write_text("\n".join(tables))
    return path


def start(bench: Bench, *tables: str) -> Program:
    return bench.standalone("run", str(write(bench, *tables)))


def carries(bench: Bench, port: int, far: socket.socket) -> None:
    near = bench.connect(port)
    near.sendall(b"x")
    end = bench.accept(far)
    assert receive(end, 1) == b"x"
    exchange(near, end)


@pytest.fixture
def far(bench: Bench) -> socket.socket:
    return bench.listen()


def test_each_tunnel_has_its_port_its_pt_and_its_name(
    bench: Bench, far: socket.socket
) -> None:
    bench.pt.play(*CLIENT)
    ports = [bench.free_port(), bench.free_port()]
    server = far.getsockname()[1]
    program = start(
        bench,
        client_table("one", ports[0], server),
        client_table("two", ports[1], server),
    )
    for name, port in zip(("one", "two"), ports, strict=True):
        program.said(f"pt-bridge[{name}]: ready: obfs4proxy, listening on port {port}")
        carries(bench, port, far)
    program.signal(signal.SIGUSR1)
    for name in ("one", "two"):
        program.said(f"pt-bridge[{name}]: status: up ")
    bench.stop(program)
    assert "pt-bridge: stopped" in program.text


def test_a_client_listens_on_all_its_addresses(
    bench: Bench, far: socket.socket
) -> None:
    bench.pt.play(*CLIENT)
    ports = [bench.free_port(), bench.free_port()]
    table = client_table("one", ports[0], far.getsockname()[1]).replace(
        f'"127.0.0.1:{ports[0]}"', str([f"127.0.0.1:{port}" for port in ports])
    )
    program = start(bench, table)
    program.said("ready: ")
    for port in ports:
        carries(bench, port, far)
    bench.stop(program)


def test_one_that_fails_starts_again_and_never_ends_the_others(
    bench: Bench, far: socket.socket
) -> None:
    """Its port is closed meanwhile, so that nobody waits in vain."""
    bench.pt.play(*CLIENT)
    bad = bench.install("lyrebird")
    bad.play("exit 1")
    ports = [bench.free_port(), bench.free_port()]
    server = far.getsockname()[1]
    broken = client_table("bad", ports[1], server).replace(
        "exec=obfs4proxy", "exec=lyrebird"
    )
    bench.variables["PATH"] = f"{bad.folder}:{bench.variables['PATH']}"
    program = start(bench, client_table("good", ports[0], server), broken)
    program.said("pt-bridge[good]: ready: ")
    program.said("pt-bridge[bad]: error: ")
    carries(bench, ports[0], far)
    program.signal(signal.SIGUSR1)
    program.said("pt-bridge[bad]: status: ")
    bad.play(*CLIENT)
    program.said("pt-bridge[bad]: ready: ")
    carries(bench, ports[1], far)
    bench.stop(program)


def test_what_a_pt_says_is_told_of_its_tunnel(bench: Bench, far: socket.socket) -> None:
    """And what comes of a connection, long after the start."""
    bench.pt.play(*CLIENT, "await", "say LOG SEVERITY=warning MESSAGE=some-words")
    program = start(
        bench, client_table("one", bench.port, far.getsockname()[1], "restarts = 0")
    )
    program.said("]: ready: ")
    carries(bench, bench.port, far)
    bench.pt.open_gate()
    assert program.said("some-words").startswith("pt-bridge[one]: warning: ")
    bench.pt.play("exit 1")
    os.kill(bench.pt.pid, signal.SIGKILL)
    assert program.said("killed by SIGKILL").startswith("pt-bridge[one]: error: ")
    bench.stop(program)
    assert not [
        line for line in program.lines if not line.startswith("pt-bridge[one]")
    ][:-1]


def test_systemd_is_told_once_all_are_ready_or_have_failed(
    bench: Bench, far: socket.socket
) -> None:
    bench.pt.play("await", *CLIENT)
    path = bench.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(30)
        bench.variables["NOTIFY_SOCKET"] = str(path)
        program = start(
            bench,
            client_table("one", bench.free_port(), far.getsockname()[1]),
            client_table("two", bench.free_port(), far.getsockname()[1]),
        )
        bench.pt.event("started", count=2)
        bench.pt.open_gate()
        program.said("ready: ")
        systemd.setblocking(False)
        with pytest.raises(BlockingIOError):
            systemd.recv(100)
        systemd.settimeout(30)
        bench.pt.open_gate()
        assert systemd.recv(100) == b"READY=1"
        bench.stop(program)
        assert systemd.recv(100) == b"STOPPING=1"


def test_a_wrong_file_ends_all_before_anything_listens(
    bench: Bench, far: socket.socket
) -> None:
    good = client_table("good", bench.port, far.getsockname()[1])
    wrong = client_table("bad", bench.free_port(), 9, "exec = '/nowhere/pt'")
    path = write(bench, good, wrong)
    code, sentence = bench.failure(bench.standalone("run", str(path)))
    assert code == 71
    assert f"{path}: [[client]] 'bad': there is no PT program /nowhere/pt" in sentence
    with pytest.raises(ConnectionRefusedError):
        bench.connect(bench.port)


def test_a_port_in_use_ends_all_at_the_start(bench: Bench) -> None:
    taken = bench.listen()
    port = taken.getsockname()[1]
    path = write(bench, client_table("one", port, 9))
    code, sentence = bench.failure(bench.standalone("run", str(path)))
    assert code == 74
    assert f"cannot listen on port {port}" in sentence


# -- SIGHUP ----------------------------------------------------------------------------


def test_a_reload_changes_what_has_changed_and_nothing_else(
    bench: Bench, far: socket.socket
) -> None:
    """One is left alone, one goes with its last tunnel, one comes."""
    bench.pt.play(*CLIENT)
    ports = [bench.free_port() for _ in range(3)]
    server = far.getsockname()[1]
    stays, goes, comes = (
        client_table(name, port, server)
        for name, port in zip(("stays", "goes", "comes"), ports, strict=True)
    )
    program = start(bench, stays, goes)
    for name in ("stays", "goes"):
        program.said(f"pt-bridge[{name}]: ready: ")
    near = bench.connect(ports[1])
    near.sendall(b"x")
    end = bench.accept(far)
    assert receive(end, 1) == b"x"
    write(bench, stays, comes)
    program.signal(signal.SIGHUP)
    program.said("pt-bridge[comes]: ready: ")
    carries(bench, ports[2], far)
    carries(bench, ports[0], far)
    with pytest.raises(ConnectionRefusedError):
        bench.connect(ports[1])
    exchange(near, end)
    near.close()
    end.close()
    program.said("pt-bridge[goes]: the PT that was replaced has ended")
    bench.stop(program)
    assert program.text.count("pt-bridge[stays]: starting ") == 1


def test_a_wrong_file_changes_nothing(bench: Bench, far: socket.socket) -> None:
    bench.pt.play(*CLIENT)
    program = start(bench, client_table("one", bench.port, far.getsockname()[1]))
    program.said("ready: ")
    write(bench, "[[client")
    program.signal(signal.SIGHUP)
    program.said("warning: reloading: ")
    carries(bench, bench.port, far)
    bench.stop(program)


def test_a_changed_tunnel_has_a_new_pt_and_keeps_what_is_open(
    bench: Bench, far: socket.socket
) -> None:
    bench.pt.play(*CLIENT)
    server = far.getsockname()[1]
    program = start(bench, client_table("one", bench.port, server))
    program.said("ready: ")
    near = bench.connect(bench.port)
    near.sendall(b"x")
    end = bench.accept(far)
    assert receive(end, 1) == b"x"
    write(bench, client_table("one", bench.port, server, "restarts = 1"))
    program.signal(signal.SIGHUP)
    program.said("pt-bridge[one]: replacing the PT")
    bench.pt.event("started", count=2)
    until(lambda: program.heard().count("]: ready: ") == 2)
    carries(bench, bench.port, far)
    exchange(near, end)
    near.close()
    end.close()
    program.said("the PT that was replaced has ended")
    bench.stop(program)


def test_a_new_pt_that_fails_leaves_the_old_one(
    bench: Bench, far: socket.socket
) -> None:
    bench.pt.play(*CLIENT)
    program = start(bench, client_table("one", bench.port, far.getsockname()[1]))
    program.said("ready: ")
    bench.pt.play("exit 1")
    program.signal(signal.SIGUSR2)
    program.said("the new PT was not taken: ")
    carries(bench, bench.port, far)
    bench.stop(program)


def reloaded(program: Program, *words: str) -> None:
    """Have the file read again, and wait until it says so much."""
    program.signal(signal.SIGHUP)
    for each in words:
        program.said(each)


def test_a_changed_transport_that_is_misspelt_costs_nothing(
    bench: Bench, far: socket.socket
) -> None:
    """The PT is the first to know; what is right a second time is taken."""
    bench.pt.play(*CLIENT)
    table = client_table("one", bench.port, far.getsockname()[1])
    program = start(bench, table)
    program.said("ready: ")
    bench.pt.play("say VERSION 1", "say CMETHOD-ERROR obsf4 what", "say CMETHODS DONE")
    write(bench, table.replace("transport=obfs4", "transport=obsf4"))
    reloaded(
        program,
        "pt-bridge[one]: warning: pt-bridge knows no 'obsf4': did you mean 'obfs4'?",
        "pt-bridge[one]: warning: the new PT was not taken: ",
    )
    carries(bench, bench.port, far)
    bench.pt.play(*CLIENT)
    write(bench, table + "restarts = 1")
    program.signal(signal.SIGHUP)
    until(lambda: program.heard().count("]: ready: ") == 2)
    carries(bench, bench.port, far)
    bench.stop(program)


def test_a_change_that_cannot_be_had_changes_nothing(
    bench: Bench, far: socket.socket
) -> None:
    """A port that somebody has, a file that is missing: not even what could be."""
    bench.pt.play(*CLIENT)
    other, taken = bench.free_port(), bench.listen().getsockname()[1]
    server = far.getsockname()[1]
    one = client_table("one", bench.port, server)
    program = start(bench, one)
    program.said("ready: ")
    write(bench, one.replace(str(bench.port), str(taken)))
    reloaded(
        program,
        f"reloading: [[client]] 'one': cannot listen on port {taken}: address already",
    )
    server_table = f"""\
[[server]]
name = "home"
listen = "127.0.0.1:{other}"
service = "127.0.0.1:{server}"
transport = "obfs4"
deny = "/nowhere/deny"
"""
    write(bench, server_table, client_table("two", other, server))
    reloaded(program, "both listen on port")
    write(bench, server_table)
    reloaded(program, "[[server]] 'home': deny: /nowhere/deny cannot be read")
    write(bench, one + "restarts = 1", client_table("two", taken, server))
    program.signal(signal.SIGHUP)
    until(lambda: program.heard().count("going on as before") == 4)
    carries(bench, bench.port, far)
    bench.stop(program)
    assert "replac" not in program.text


def test_a_port_that_somebody_else_holds_is_no_obstacle_once_it_is_free(
    bench: Bench, far: socket.socket
) -> None:
    """The tunnel moves there, and what is open goes on."""
    bench.pt.play(*CLIENT)
    other, server = bench.free_port(), far.getsockname()[1]
    program = start(bench, client_table("one", bench.port, server))
    program.said("ready: ")
    near = bench.connect(bench.port)
    near.sendall(b"x")
    end = bench.accept(far)
    assert receive(end, 1) == b"x"
    write(bench, client_table("one", other, server))
    program.signal(signal.SIGHUP)
    until(lambda: program.heard().count("]: ready: ") == 2)
    carries(bench, other, far)
    exchange(near, end)
    until(lambda: is_closed(bench, bench.port))
    bench.stop(program)


def is_closed(bench: Bench, port: int) -> bool:
    try:
        bench.connect(port)
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("back", [False, True])
def test_a_tunnel_listens_on_all_addresses_instead_of_one(
    bench: Bench, far: socket.socket, *, back: bool
) -> None:
    """Its own port is in its way, and is given up for that."""
    bench.pt.play(*CLIENT)
    one = client_table("one", bench.port, far.getsockname()[1])
    every = one.replace(f"127.0.0.1:{bench.port}", f"0.0.0.0:{bench.port}")
    before, after = (every, one) if back else (one, every)
    program = start(bench, before)
    program.said("ready: ")
    carries(bench, bench.port, far)
    write(bench, after)
    program.signal(signal.SIGHUP)
    until(lambda: program.heard().count("]: ready: ") == 2)
    carries(bench, bench.port, far)
    bench.stop(program)


def test_a_tunnel_with_another_name_keeps_its_port(
    bench: Bench, far: socket.socket
) -> None:
    """Who comes between waits in it."""
    bench.pt.play(*CLIENT)
    table = client_table("one", bench.port, far.getsockname()[1])
    program = start(bench, table)
    program.said("ready: ")
    bench.pt.play("tell waits", "await", *CLIENT)
    write(bench, table.replace('"one"', '"two"'))
    program.signal(signal.SIGHUP)
    bench.pt.event("waits")
    near = bench.connect(bench.port)
    near.sendall(b"x")
    bench.pt.open_gate()
    end = bench.accept(far)
    assert receive(end, 1) == b"x"
    exchange(near, end)
    program.said("pt-bridge[two]: ready: ")
    bench.stop(program)


def test_a_change_comes_before_one_that_hangs(bench: Bench, far: socket.socket) -> None:
    bench.pt.play(*CLIENT)
    table = client_table("one", bench.port, far.getsockname()[1])
    program = start(bench, table)
    program.said("ready: ")
    bench.pt.play("tell waits", "await")
    write(bench, table + "restarts = 1")
    program.signal(signal.SIGHUP)
    bench.pt.event("waits")
    bench.pt.play(*CLIENT)
    write(bench, table + "restarts = 2")
    program.signal(signal.SIGHUP)
    until(lambda: program.heard().count("]: ready: ") == 2)
    carries(bench, bench.port, far)
    bench.stop(program)


def test_a_change_comes_before_one_that_never_was_ready(
    bench: Bench, far: socket.socket
) -> None:
    bench.pt.play("tell waits", "await")
    table = client_table("one", bench.port, far.getsockname()[1])
    program = start(bench, table)
    bench.pt.event("waits")
    bench.pt.play(*CLIENT)
    write(bench, table + "restarts = 1")
    program.signal(signal.SIGHUP)
    program.said("ready: ")
    carries(bench, bench.port, far)
    bench.stop(program)


def test_one_that_failed_does_not_wait_once_it_is_mended(
    bench: Bench, far: socket.socket
) -> None:
    bench.pt.play("exit 1")
    table = client_table("one", bench.port, far.getsockname()[1])
    program = start(bench, table)
    program.said("; trying again in 1 s")
    program.said("; trying again in 2 s")
    program.said("; trying again in 4 s")
    bench.pt.play(*CLIENT)
    write(bench, table + "restarts = 1")
    program.signal(signal.SIGHUP)
    program.said("ready: ")
    assert "in 8 s" not in program.text
    carries(bench, bench.port, far)
    bench.stop(program)


SERVER_TABLE = """\
[[server]]
name = "home"
listen = "127.0.0.1:{}"
service = "127.0.0.1:{}"
transport = "obfs4"
exec = "{}"
"""


def test_a_server_without_a_front_goes_on_where_the_new_one_would_fail(
    bench: Bench, far: socket.socket
) -> None:
    """It has not given up its port for a transport that the PT does not offer."""
    bench.pt.play(*SERVER)
    table = SERVER_TABLE.format(bench.port, far.getsockname()[1], bench.pt.path)
    program = start(bench, table)
    program.said("ready: ")
    near = SessionEnd.as_client(bench.connect(bench.port), b"the old.")
    near.sendall(b"x")
    end = bench.accept(far)
    assert receive(end, 1) == b"x"
    bench.pt.play("say VERSION 1", "say SMETHOD-ERROR obsf4 what", "say SMETHODS DONE")
    write(bench, table.replace("obfs4", "obsf4", 1))
    reloaded(program, "pt-bridge[home]: warning: the new PT was not taken: ")
    exchange(near, end)
    other = SessionEnd.as_client(bench.connect(bench.port), b"the new.")
    other.sendall(b"x")
    assert receive(bench.accept(far), 1) == b"x"
    bench.stop(program)


def test_a_server_without_a_front_moves_to_another_port(
    bench: Bench, far: socket.socket
) -> None:
    """The old PT gives up its own."""
    bench.pt.play("gives-up-port", *SERVER)
    table = SERVER_TABLE.format(bench.port, far.getsockname()[1], bench.pt.path)
    program = start(bench, table)
    program.said("ready: ")
    near = SessionEnd.as_client(bench.connect(bench.port), b"the old.")
    near.sendall(b"x")
    end = bench.accept(far)
    assert receive(end, 1) == b"x"
    other = bench.free_port()
    write(bench, table.replace(str(bench.port), str(other)))
    reloaded(program, f"ready: obfs4proxy, serving port {other}")
    bench.pt.event("gave-up-port")
    assert is_closed(bench, bench.port)
    exchange(near, end)
    near = SessionEnd.as_client(bench.connect(other), b"the new.")
    near.sendall(b"x")
    assert receive(bench.accept(far), 1) == b"x"
    bench.stop(program)


def test_what_needs_a_restart_is_said(bench: Bench, far: socket.socket) -> None:
    bench.pt.play(*CLIENT)
    table = client_table("one", bench.port, far.getsockname()[1])
    program = start(bench, table)
    program.said("ready: ")
    write(bench, table, '[log]\nlevel = "debug"', '[metrics]\nlisten = "127.0.0.1:1"')
    reloaded(
        program,
        "0 are new, 0 get another PT, 1 stay as they are; 0 end with",
        "warning: [log] has changed: restart pt-bridge for that",
        "warning: [metrics] has changed: restart pt-bridge for that",
    )
    bench.stop(program)


def test_a_port_that_a_table_cannot_have_at_the_start_is_told_of_it(
    bench: Bench,
) -> None:
    path = write(
        bench, client_table("one", bench.port, 9).replace("127.0.0.1:", "192.0.2.1:", 1)
    )
    code, sentence = bench.failure(bench.standalone("run", str(path)))
    assert code == 74
    assert sentence.startswith("[[client]] 'one': cannot listen on port ")


def test_ctrl_c_lets_tunnels_finish(bench: Bench, far: socket.socket) -> None:
    bench.pt.play(*CLIENT)
    program = start(bench, client_table("one", bench.port, far.getsockname()[1]))
    program.said("ready: ")
    near = bench.connect(bench.port)
    near.sendall(b"x")
    end = bench.accept(far)
    assert receive(end, 1) == b"x"
    program.signal(signal.SIGINT)
    program.said("finishing 1 tunnel")
    exchange(near, end)
    near.close()
    end.close()
    assert bench.end(program) == 0


def test_ctrl_c_twice_stops_at_once(bench: Bench, far: socket.socket) -> None:
    bench.pt.play(*CLIENT)
    program = start(bench, client_table("one", bench.port, far.getsockname()[1]))
    program.said("ready: ")
    near = bench.connect(bench.port)
    near.sendall(b"x")
    bench.accept(far)
    program.signal(signal.SIGINT)
    program.said("finishing 1 tunnel")
    program.signal(signal.SIGINT)
    assert bench.end(program) == 0


def test_the_log_is_where_the_file_says(bench: Bench, far: socket.socket) -> None:
    bench.pt.play(*CLIENT)
    log = bench.folder / "the.log"
    table = client_table("one", bench.port, far.getsockname()[1])
    program = start(bench, table, f'[log]\nlevel = "debug"\nfile = "{log}"')
    program.said("ready: ")
    os.rename(log, bench.folder / "old.log")
    program.signal(signal.SIGHUP)
    program.said("pt-bridge: reloaded: ")
    bench.stop(program)
    assert "pt-bridge: stopped" in log.read_text()
    assert "pt-bridge[one]: ready: " in (bench.folder / "old.log").read_text()


def test_a_server_and_its_client_are_carried_by_one_process(
    bench: Bench, far: socket.socket
) -> None:
    bench.pt.play(*SERVER)
    other = bench.install("lyrebird")
    other.play(*CLIENT)
    bench.variables["PATH"] = f"{other.folder}:{bench.variables['PATH']}"
    remote = bench.free_port()
    server = f"""\
[[server]]
name = "home"
listen = ["127.0.0.1:{remote}"]
service = "127.0.0.1:{far.getsockname()[1]}"
transport = "obfs4"
exec = "{bench.pt.path}"
front = true
"""
    client = client_table("away", bench.port, remote).replace(
        "exec=obfs4proxy", "exec=lyrebird"
    )
    program = start(bench, server, client.replace("session=0", "session=1"))
    program.said("pt-bridge[home]: ready: ")
    program.said("pt-bridge[away]: ready: ")
    carries(bench, bench.port, far)
    program.signal(signal.SIGUSR2)
    until(lambda: program.heard().count("]: ready: ") == 4)
    carries(bench, bench.port, far)
    bench.stop(program)
