"""A PT that is replaced with nothing cut: a real pt-bridge by hand, fake PTs."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import (
    CLIENT,
    PLAIN_OPTIONS,
    SERVER,
    exchange,
    is_reset,
    receive,
    until,
)
from tests.support.session_end import SessionEnd

if TYPE_CHECKING:
    import socket

    from tests.support.processes import Bench, End, Program

ENDED = "the PT that was replaced has ended"
NUMBER_READY = "]: ready: "


@pytest.fixture
def far(bench: Bench) -> socket.socket:
    return bench.listen()


def client(bench: Bench, far: socket.socket) -> Program:
    bench.pt.play(*CLIENT)
    program = bench.standalone(
        "client",
        f"--local=127.0.0.1:{bench.port}",
        f"--remote=127.0.0.1:{far.getsockname()[1]}",
        f"--plugin-opts={PLAIN_OPTIONS}",
    )
    program.said(NUMBER_READY)
    return program


def server(bench: Bench, far: socket.socket, *flags: str) -> Program:
    bench.pt.play(*SERVER)
    return start_server(bench, far, *flags)


def start_server(bench: Bench, far: socket.socket, *flags: str) -> Program:
    program = bench.standalone(
        "server",
        f"--local=127.0.0.1:{far.getsockname()[1]}",
        f"--remote=127.0.0.1:{bench.port}",
        "--transport=obfs4",
        f"--exec={bench.pt.path}",
        *flags,
    )
    program.said(NUMBER_READY)
    return program


def open_tunnel(
    bench: Bench, far: socket.socket, *, id: bytes = b""
) -> tuple[End, socket.socket]:
    """Open a tunnel; with an id, as a stream of a session."""
    sock = bench.connect(bench.port)
    near: End = SessionEnd.as_client(sock, id) if id else sock
    near.sendall(b"x")
    end = bench.accept(far)
    assert receive(end, 1) == b"x"
    return near, end


def replaced(bench: Bench, program: Program, *, starts: int = 2) -> None:
    """Wait until the second PT is ready, of so many that were started."""
    bench.pt.event("started", count=starts)
    until(lambda: program.heard().count(NUMBER_READY) == 2)


def test_a_clients_pt_is_replaced_and_tunnels_go_on(
    bench: Bench, far: socket.socket
) -> None:
    """The old one ends with its last tunnel."""
    program = client(bench, far)
    old = open_tunnel(bench, far)
    program.signal(signal.SIGUSR2)
    replaced(bench, program)
    new = open_tunnel(bench, far)
    for tunnel in (old, new):
        exchange(*tunnel)
    assert ENDED not in program.heard()
    for end in old:
        end.close()
    program.said(ENDED)
    exchange(*new)
    bench.stop(program)


def test_a_stop_ends_the_old_pt_too(bench: Bench, far: socket.socket) -> None:
    program = client(bench, far)
    near, _ = open_tunnel(bench, far)
    program.signal(signal.SIGUSR2)
    replaced(bench, program)
    bench.stop(program)
    assert is_reset(near)


def test_a_connection_that_waits_is_not_lost(bench: Bench, far: socket.socket) -> None:
    """It was accepted, and has said nothing yet."""
    program = client(bench, far)
    near = bench.connect(bench.port)
    program.signal(signal.SIGUSR2)
    replaced(bench, program)
    near.sendall(b"x")
    end = bench.accept(far)
    assert receive(end, 1) == b"x"
    exchange(near, end)
    bench.stop(program)


def test_a_new_pt_that_is_not_ready_in_time_is_not_taken(
    bench: Bench, far: socket.socket
) -> None:
    program = client(bench, far)
    bench.pt.play(
        "say VERSION 1", "say CMETHOD-ERROR obfs4 broken", "say CMETHODS DONE"
    )
    program.signal(signal.SIGUSR2)
    program.said("the new PT was not taken: ")
    tunnel = open_tunnel(bench, far)
    exchange(*tunnel)
    for end in tunnel:
        end.close()
    bench.pt.play(*CLIENT)
    program.signal(signal.SIGUSR2)
    bench.pt.event("started", count=3)
    program.said(ENDED)
    exchange(*open_tunnel(bench, far))
    bench.stop(program)


def test_a_second_request_waits_for_the_first(bench: Bench, far: socket.socket) -> None:
    program = client(bench, far)
    bench.pt.play("await", *CLIENT)
    program.signal(signal.SIGUSR2)
    bench.pt.event("started", count=2)
    program.signal(signal.SIGUSR2)
    program.said("a PT is being started already")
    bench.pt.open_gate()
    program.said(ENDED)
    bench.stop(program)


def test_the_next_pt_takes_over_where_the_present_one_dies(
    bench: Bench, far: socket.socket
) -> None:
    program = client(bench, far)
    bench.pt.play("await", *CLIENT)
    program.signal(signal.SIGUSR2)
    bench.pt.event("started", count=2)
    os.kill(bench.pt.pid, signal.SIGKILL)
    program.said("starting the PT again")
    bench.pt.open_gate()
    bench.pt.open_gate()
    exchange(*open_tunnel(bench, far))
    bench.stop(program)


def test_ctrl_c_ends_a_pt_that_is_being_started(
    bench: Bench, far: socket.socket
) -> None:
    program = client(bench, far)
    bench.pt.play("await", *CLIENT)
    program.signal(signal.SIGUSR2)
    bench.pt.event("started", count=2)
    program.signal(signal.SIGINT)
    assert bench.end(program) == 0


def test_a_front_hands_its_port_over(bench: Bench, far: socket.socket) -> None:
    """So nobody is refused, and what is open goes on."""
    program = server(bench, far, "--front=yes")
    sock = bench.connect(bench.port)
    near = SessionEnd.as_client(sock, b"the old.")
    near.sendall(b"x")
    end = bench.accept(far)
    assert receive(end, 1) == b"x"
    program.signal(signal.SIGUSR2)
    replaced(bench, program)
    new = open_tunnel(bench, far, id=b"the new.")
    exchange(near, end)
    exchange(*new)
    sock.close()
    program.said(ENDED)
    exchange(*new)
    bench.stop(program)


def test_no_stream_is_accepted_by_both(bench: Bench, far: socket.socket) -> None:
    """So a client that tries one again meets no second service."""
    program = server(bench, far, "--front=yes")
    open_tunnel(bench, far, id=b"the same")
    program.signal(signal.SIGUSR2)
    replaced(bench, program)
    again = SessionEnd.as_client(bench.connect(bench.port), b"the same")
    assert is_reset(again)
    bench.stop(program)


def test_without_a_front_the_old_pt_gives_up_its_port(
    bench: Bench, far: socket.socket
) -> None:
    """Once the new one was tried out; the fake ends at SIGINT, as obfs4proxy does."""
    program = server(bench, far)
    program.signal(signal.SIGUSR2)
    program.said("replacing the PT, which has given up its port")
    replaced(bench, program, starts=3)
    exchange(*open_tunnel(bench, far, id=b"the new."))
    bench.stop(program)


FAILING = ("say VERSION 1", "say SMETHOD-ERROR obfs4 broken", "say SMETHODS DONE")


def test_without_a_front_a_new_pt_that_fails_costs_nothing(
    bench: Bench, far: socket.socket
) -> None:
    """It is tried out before the old one gives up its port."""
    program = server(bench, far)
    old = open_tunnel(bench, far, id=b"the old.")
    bench.pt.play(*FAILING)
    program.signal(signal.SIGUSR2)
    program.said("the new PT was not taken: ")
    exchange(*old)
    exchange(*open_tunnel(bench, far, id=b"the next"))
    bench.stop(program)


def test_a_successor_that_fails_at_the_port_is_tried_again(
    bench: Bench, far: socket.socket
) -> None:
    """Meanwhile the old PT carries what it has."""
    bench.pt.play("gives-up-port", *SERVER)
    program = start_server(bench, far)
    old = open_tunnel(bench, far, id=b"the old.")
    bench.pt.play("tell waits", "await", *SERVER)
    program.signal(signal.SIGUSR2)
    bench.pt.event("waits")
    bench.pt.play(*FAILING)
    bench.pt.open_gate()  # the rehearsal is well, and the next one is not
    bench.pt.event("gave-up-port")
    program.said("; trying again in 1 s")
    exchange(*old)
    bench.pt.play(*SERVER)
    until(lambda: program.heard().count(NUMBER_READY) == 2)
    exchange(*open_tunnel(bench, far, id=b"the new."))
    exchange(*old)
    for end in old:
        end.close()
    program.said(ENDED)
    bench.stop(program)


def test_a_successor_that_fails_ends_it_once_nothing_is_carried(
    bench: Bench, far: socket.socket
) -> None:
    """So that whoever started it knows."""
    bench.pt.play("gives-up-port", *SERVER)
    program = start_server(bench, far)
    old = open_tunnel(bench, far, id=b"the old.")
    bench.pt.play("tell waits", "await", *SERVER)
    program.signal(signal.SIGUSR2)
    bench.pt.event("waits")
    bench.pt.play(*FAILING)
    bench.pt.open_gate()
    program.said("; trying again in 1 s")
    for end in old:
        end.close()
    program.said(ENDED)
    code, sentence = bench.failure(program)
    assert code == 69, sentence


def test_a_stop_ends_a_rehearsal(bench: Bench, far: socket.socket) -> None:
    program = server(bench, far)
    bench.pt.play("await", *SERVER)
    program.signal(signal.SIGUSR2)
    bench.pt.event("started", count=2)
    bench.stop(program)


def test_a_pt_that_does_not_give_up_its_port_is_left(
    bench: Bench, far: socket.socket
) -> None:
    pt = bench.install("some-pt")
    pt.play(*SERVER)
    program = bench.standalone(
        "server",
        f"--local=127.0.0.1:{far.getsockname()[1]}",
        f"--remote=127.0.0.1:{bench.port}",
        "--transport=obfs4",
        f"--exec={pt.path}",
    )
    program.said(NUMBER_READY)
    program.signal(signal.SIGUSR2)
    program.said("add front=yes, or restart pt-bridge")
    exchange(*open_tunnel(bench, far, id=b"some one"))
    bench.stop(program)


def test_the_status_is_told_of_each_pt(bench: Bench, far: socket.socket) -> None:
    program = client(bench, far)
    open_tunnel(bench, far)
    program.signal(signal.SIGUSR2)
    replaced(bench, program)
    program.signal(signal.SIGUSR1)
    until(lambda: program.heard().count("status: up ") == 2)
    bench.stop(program)
