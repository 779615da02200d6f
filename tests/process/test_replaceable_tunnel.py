"""A PT that is replaced with nothing cut: a real pt-bridge by hand, fake PTs."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.support.processes import CLIENT, SERVER, exchange, is_reset, until
from tests.support.session_end import SessionEnd
from tests.support.tunnel_rig import REPLACED_HAS_ENDED

if TYPE_CHECKING:
    from tests.support.tunnel_rig import Ends, TunnelRig

BROKEN_CLIENT = ("say VERSION 1", "say CMETHOD-ERROR obfs4 broken", "say CMETHODS DONE")
BROKEN_SERVER = ("say VERSION 1", "say SMETHOD-ERROR obfs4 broken", "say SMETHODS DONE")


def close(ends: Ends) -> None:
    for end in ends:
        end.close()


def test_a_clients_pt_is_replaced_and_tunnels_go_on(rig: TunnelRig) -> None:
    """The old one ends with its last tunnel."""
    program = rig.start_client()
    old = rig.open()
    rig.replace()
    new = rig.open()
    for tunnel in (old, new):
        exchange(*tunnel)
    assert REPLACED_HAS_ENDED not in program.heard()
    close(old)
    program.said(REPLACED_HAS_ENDED)
    exchange(*new)
    rig.stop()


def test_a_stop_ends_the_old_pt_too(rig: TunnelRig) -> None:
    rig.start_client()
    near, _ = rig.open()
    rig.replace()
    rig.stop()
    assert is_reset(near)


def test_a_connection_that_waits_is_not_lost(rig: TunnelRig) -> None:
    """It was accepted, and has said nothing yet."""
    rig.start_client()
    near = rig.bench.connect(rig.port)
    rig.replace()
    exchange(*rig.carried(near))
    rig.stop()


def test_a_new_pt_that_is_not_ready_in_time_is_not_taken(rig: TunnelRig) -> None:
    program = rig.start_client()
    rig.pt.play(*BROKEN_CLIENT)
    rig.signal(signal.SIGUSR2, "the new PT was not taken: ")
    tunnel = rig.open()
    exchange(*tunnel)
    close(tunnel)
    rig.pt.play(*CLIENT)
    rig.signal(signal.SIGUSR2)
    rig.pt.event("started", count=3)
    program.said(REPLACED_HAS_ENDED)
    rig.carries()
    rig.stop()


def start_replacing(rig: TunnelRig) -> None:
    """Have a client's PT replaced, by one that waits until the gate is opened."""
    rig.start_client()
    rig.pt.play("await", *CLIENT)
    rig.signal(signal.SIGUSR2)
    rig.pt.event("started", count=2)


def test_a_second_request_waits_for_the_first(rig: TunnelRig) -> None:
    start_replacing(rig)
    rig.signal(signal.SIGUSR2, "a PT is being started already")
    rig.pt.open_gate()
    rig.program.said(REPLACED_HAS_ENDED)
    rig.stop()


def test_the_next_pt_takes_over_where_the_present_one_dies(rig: TunnelRig) -> None:
    start_replacing(rig)
    os.kill(rig.pt.pid, signal.SIGKILL)
    rig.program.said("starting the PT again")
    rig.pt.open_gate()
    rig.pt.open_gate()
    rig.carries()
    rig.stop()


def test_ctrl_c_ends_a_pt_that_is_being_started(rig: TunnelRig) -> None:
    start_replacing(rig)
    rig.signal(signal.SIGINT)
    assert rig.bench.end(rig.program) == 0


def test_a_front_hands_its_port_over(rig: TunnelRig) -> None:
    """So nobody is refused, and what is open goes on."""
    program = rig.start_server("--front=yes")
    sock = rig.bench.connect(rig.port)
    old = rig.carried(sock, id=b"the old.")
    rig.replace()
    new = rig.open(id=b"the new.")
    exchange(*old)
    exchange(*new)
    sock.close()
    program.said(REPLACED_HAS_ENDED)
    exchange(*new)
    rig.stop()


def test_no_stream_is_accepted_by_both(rig: TunnelRig) -> None:
    """So a client that tries one again meets no second service."""
    rig.start_server("--front=yes")
    rig.open(id=b"the same")
    rig.replace()
    again = SessionEnd.as_client(rig.bench.connect(rig.port), b"the same")
    assert is_reset(again)
    rig.stop()


def test_without_a_front_the_old_pt_gives_up_its_port(rig: TunnelRig) -> None:
    """Once the new one was tried out; the fake ends at SIGINT, as obfs4proxy does."""
    rig.start_server()
    rig.signal(signal.SIGUSR2, "replacing the PT, which has given up its port")
    rig.is_replaced(starts=3)
    rig.carries(id=b"the new.")
    rig.stop()


def test_without_a_front_a_new_pt_that_fails_costs_nothing(rig: TunnelRig) -> None:
    """It is tried out before the old one gives up its port."""
    rig.start_server()
    old = rig.open(id=b"the old.")
    rig.pt.play(*BROKEN_SERVER)
    rig.signal(signal.SIGUSR2, "the new PT was not taken: ")
    exchange(*old)
    rig.carries(id=b"the next")
    rig.stop()


def fail_at_the_port(rig: TunnelRig) -> Ends:
    """Let the old PT give up its port, and the new one fail there.

    Returns:
        A tunnel that the old one carries.
    """
    rig.start_server(plays=("gives-up-port", *SERVER))
    old = rig.open(id=b"the old.")
    rig.pt.play("tell waits", "await", *SERVER)
    rig.signal(signal.SIGUSR2)
    rig.pt.event("waits")
    rig.pt.play(*BROKEN_SERVER)
    rig.pt.open_gate()  # the trial start is well, and the next one is not
    rig.pt.event("gave-up-port")
    rig.program.said("; trying again in 1 s")
    return old


def test_a_successor_that_fails_at_the_port_is_tried_again(rig: TunnelRig) -> None:
    """Meanwhile the old PT carries what it has."""
    old = fail_at_the_port(rig)
    exchange(*old)
    rig.pt.play(*SERVER)
    rig.is_replaced()
    rig.carries(id=b"the new.")
    exchange(*old)
    close(old)
    rig.program.said(REPLACED_HAS_ENDED)
    rig.stop()


def test_a_successor_that_fails_ends_it_once_nothing_is_carried(rig: TunnelRig) -> None:
    """So that whoever started it knows."""
    close(fail_at_the_port(rig))
    rig.program.said(REPLACED_HAS_ENDED)
    code, sentence = rig.bench.failure(rig.program)
    assert code == 69, sentence


def test_a_stop_ends_a_trial_start(rig: TunnelRig) -> None:
    rig.start_server()
    rig.pt.play("await", *SERVER)
    rig.signal(signal.SIGUSR2)
    rig.pt.event("started", count=2)
    rig.stop()


def test_a_pt_that_does_not_give_up_its_port_is_left(rig: TunnelRig) -> None:
    rig.pt = rig.bench.install("some-pt")
    rig.start_server()
    rig.signal(signal.SIGUSR2, "add front=yes, or restart pt-bridge")
    rig.carries(id=b"some one")
    rig.stop()


def test_the_status_is_told_of_each_pt(rig: TunnelRig) -> None:
    program = rig.start_client()
    rig.open()
    rig.replace()
    rig.signal(signal.SIGUSR1)
    until(lambda: program.heard().count("status: up ") == 2)
    rig.stop()
