"""Who a front lets in, when, and to which PT."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.front.connection import DIAL_LIMIT
from pt_bridge.front.front import STRANGER_PATIENCE
from pt_bridge.net.sockets import reset
from pt_bridge.protocol.address import Address
from tests.support.fronts import ANSWER, HELLO, MOMENT, PATIENCE, Rig, hung_up, rig
from tests.support.tcp import (
    is_reset,
    is_silent,
    not_listening,
    read,
    read_to_end,
    turn_until,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("every_pump")

FEW_DESCRIPTORS = 256


async def test_the_pt_is_called_as_soon_as_a_client_is_accepted() -> None:
    """Front: not a byte is waited for, nor any time; the PT may speak first."""
    with rig() as r:
        client = await r.connect()
        wire = await r.pt.accept()
        await write(wire, ANSWER)
        assert await read(client, len(ANSWER)) == ANSWER
        assert len(r.front) == 1


async def test_several_ports_are_one_front() -> None:
    """SV-02: each address has its listener; the PT has one, and so does each client."""
    with rig("127.0.0.1", "::1", "127.0.0.2") as r:
        for port, (host, _) in enumerate(r.ports):
            client = await r.connect(HELLO, port=port)
            wire = await r.pt.accept()
            assert await read(wire, len(HELLO)) == HELLO
            found = r.fronted.client_of(Address(*wire.getpeername()))
            assert found == Address(*client.getsockname()[:2])
            assert found.host == ("::1" if ":" in host else "127.0.0.1")


async def test_a_client_waits_until_there_is_a_pt() -> None:
    """Front: the port is open whatever the PT does."""
    with rig(is_open=False) as r:
        talks, silent = await r.connect(HELLO), await r.connect()
        await r.bystander()
        r.open()
        first, second = await r.pt.accept(), await r.pt.accept()
        assert await read(first, len(HELLO)) == HELLO
        await write(second, ANSWER)
        assert await read(silent, len(ANSWER)) == ANSWER
        assert is_silent(talks)
        r.front.suspend()
        late = await r.connect(HELLO)
        await write(first, ANSWER)  # what is open goes on
        assert await read(talks, len(ANSWER)) == ANSWER
        await r.bystander()
        r.restart()
        wire = await r.pt.accept()
        assert await read(wire, len(HELLO)) == HELLO
        assert r.fronted.client_of(Address(*wire.getpeername())) == Address(
            *late.getsockname()
        )


async def test_no_client_waits_for_ever() -> None:
    """Front: no longer than a PT may take to be ready."""
    with rig(is_open=False) as r:
        client = await r.connect(HELLO)
        silent = await r.connect()
        await r.bystander()
        r.clock.pass_by(PATIENCE)
        assert await is_reset(client)
        assert await is_reset(silent)


async def test_a_client_that_comes_when_the_pt_has_died_waits_for_the_next() -> None:
    """Front: nobody was told of the death yet, and the port is closed."""
    with rig() as r:
        r.pt.die()
        client = await r.connect(HELLO)
        await r.bystander()
        assert is_silent(client)
        r.restart()
        wire = await r.pt.accept()
        assert await read(wire, len(HELLO)) == HELLO
        assert r.complaints == []


async def test_who_has_taken_a_dead_pts_port_hears_nothing() -> None:
    """SE-12: another user of the machine; the client waits for the next PT."""
    with rig() as r:
        r.pt.is_dead = True
        client = await r.connect(HELLO)
        other = await r.pt.accept()
        assert await read_to_end(other) == b""
        assert is_silent(client)
        r.restart()
        wire = await r.pt.accept()
        assert await read(wire, len(HELLO)) == HELLO


async def test_a_client_that_said_nothing_before_the_pt_died_has_the_next() -> None:
    """Front: it cannot tell the difference."""
    with rig() as r:
        client, wire = await r.connected()
        r.pt.die()
        wire.close()
        await r.bystander()
        assert is_silent(client)
        r.restart()
        await write(client, HELLO)
        wire = await r.pt.accept()
        assert await read(wire, len(HELLO)) == HELLO


async def test_a_client_whose_pt_dies_beside_another_has_that_at_once() -> None:
    """Front: where a PT is replaced, both run for a while."""
    with rig() as r:
        client, wire = await r.connected()
        old = r.pt
        r.restart()
        old.die()
        wire.close()
        await write(client, HELLO)
        wire = await r.pt.accept()
        assert await read(wire, len(HELLO)) == HELLO


async def test_a_pt_that_lives_and_takes_nobody_is_complained_of() -> None:
    """ER-13: as the PT's own port, it answers with a reset."""
    with rig() as r:
        with not_listening(r.pt.sock):
            assert await is_reset(await r.connect())
        await r.is_over()
        (complaint,) = r.complaints
        assert complaint == (
            "a client was turned away, for the PT cannot be reached: "
            + os.strerror(errno.ECONNREFUSED).lower()
        )


async def test_a_pt_that_cannot_be_reached_at_all_is_complained_of() -> None:
    """ER-13: where the kernel says so at once; nobody is at this address."""
    with rig() as r:
        r.front.open(Address("255.255.255.255", 1), r.pt.has_died)
        client = await r.connect()
        assert await is_reset(client)
        await turn_until(lambda: r.complaints)
        assert len(r.front) == 0


async def test_a_client_that_a_replaced_pt_takes_no_more_has_the_new_one() -> None:
    """Front: it was on its way to the old one's port when that was closed."""
    with rig() as r, full(r):
        client = await r.connect(HELLO)
        await turn_until(lambda: len(r.front))
        r.restart()
        r.clock.pass_by(DIAL_LIMIT)
        wire = await r.pt.accept()
        assert await read(wire, len(HELLO)) == HELLO
        assert r.fronted.client_of(Address(*wire.getpeername())) == Address(
            *client.getsockname()
        )
        assert r.complaints == []


@contextlib.contextmanager
def full(r: Rig) -> Iterator[None]:
    """Have a PT that accepts nobody, and whose kernel takes nobody more for it."""
    r.pt.sock.listen(0)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex((r.pt.address.host, r.pt.address.port))
        yield


async def test_a_pt_that_accepts_nobody_is_waited_for_and_not_for_ever() -> None:
    """SE-10: and meanwhile nobody is known."""
    with rig() as r, full(r):
        client = await r.connect(HELLO)
        await turn_until(lambda: len(r.front))
        r.clock.pass_by(DIAL_LIMIT - MOMENT)
        assert is_silent(client)
        r.clock.pass_by(MOMENT)
        assert await is_reset(client)
        (complaint,) = r.complaints
        assert "timed out" in complaint


async def test_who_is_not_connected_yet_is_cut_too() -> None:
    """LC-09: nothing is left that the loop would call."""
    with rig() as r, full(r):
        client = await r.connect(HELLO)
        await turn_until(lambda: len(r.front))
        r.front.cut()
        assert len(r.front) == 0
        assert await is_reset(client)


async def test_a_client_that_is_gone_before_it_is_accepted_reaches_the_pt() -> None:
    """Front: as it would without one."""
    with rig(budget=2) as r:
        for _ in range(3):
            reset(await r.connect())
            assert await is_reset(await r.pt.accept())
        await r.relayed()
        assert len(r.front) == 1
        await r.relayed()  # the others' places were given back


@contextlib.contextmanager
def one_descriptor_left() -> Iterator[None]:
    """Have no more descriptors than one while the block lasts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as taken:
        taken.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_DESCRIPTORS, hard))
        last = os.open("/dev/null", os.O_RDONLY)
        with contextlib.suppress(OSError):
            while True:
                taken.callback(os.close, os.open("/dev/null", os.O_RDONLY))
        os.close(last)
        yield


async def test_without_a_descriptor_a_client_is_turned_away() -> None:
    """RL-06: it is told of, and the next one comes in."""
    with rig() as r:
        with socket.socket() as client, one_descriptor_left():
            client.connect(r.ports[0])
            client.setblocking(False)
            assert await is_reset(client)
        (complaint,) = r.complaints
        assert os.strerror(errno.EMFILE).lower() in complaint
        assert len(r.front) == 0
        await r.relayed()


async def test_at_the_budget_clients_wait_outside() -> None:
    """RL-06, SE-10: until a place is given back."""
    with rig(budget=1) as r:
        client, wire = await r.relayed()
        late = await r.connect(HELLO)
        await turn_until(lambda: r.complaints)
        assert is_silent(late)
        wire.close()
        client.close()
        wire = await r.pt.accept()
        assert await read(wire, len(HELLO)) == HELLO


async def test_a_crowd_of_silent_strangers_keeps_no_client_out() -> None:
    """SE-10: at the budget the one who has been silent for longest goes."""
    with rig(budget=3, is_clocked=True) as r:
        talking, _ = await r.relayed()
        first, _ = await r.connected()
        r.clock.pass_by(MOMENT)
        second, _ = await r.connected()
        late = await r.connect(HELLO)
        await turn_until(lambda: r.complaints)  # they may be slow, and no strangers
        assert is_silent(first)
        r.clock.pass_by(STRANGER_PATIENCE)
        wire = await r.pt.accept()
        assert await read(wire, len(HELLO)) == HELLO
        assert await is_reset(first)
        for sock in (talking, second, late):
            assert is_silent(sock)


@pytest.mark.parametrize("is_let_in", [True, False])
async def test_who_says_something_wrong_is_a_stranger(*, is_let_in: bool) -> None:
    """SE-10: where the PT names those whom it lets in."""
    with rig(budget=1, is_open=False, is_clocked=True) as r:
        r.names_clients = True
        r.open()
        client, wire = await r.relayed()
        if is_let_in:
            r.fronted.let_in(Address(*wire.getpeername()))
        await r.connect(HELLO)
        await turn_until(lambda: r.complaints)
        r.clock.pass_by(60)
        if is_let_in:
            client.close()  # it is never ended for others
            wire.close()
        other = await r.pt.accept()
        assert await read(other, len(HELLO)) == HELLO
        assert is_let_in or await is_reset(client)


async def test_of_those_who_were_let_in_the_session_knows_who_can_go() -> None:
    """SE-10: they hold the cert, and one of them may carry something."""
    with rig(budget=2, is_open=False) as r:
        r.names_clients = True
        r.open()
        busy, busy_wire = await r.relayed()
        idle, idle_wire = await r.relayed()
        r.fronted.let_in(Address(*busy_wire.getpeername()))
        let_in = r.fronted.let_in(Address(*idle_wire.getpeername()))
        assert let_in is not None
        r.silent.append(let_in)
        await r.connect(HELLO)
        wire = await r.pt.accept()
        assert await read(wire, len(HELLO)) == HELLO
        assert await is_reset(idle)
        assert is_silent(busy)
        let_in.drop()  # once it is over that changes nothing
        assert len(r.front) == 2


async def test_a_cut_resets_whatever_is_open_and_the_port_stays() -> None:
    """RL-11: a cut transfer must not look complete."""
    with rig() as r:
        client, wire = await r.relayed()
        half_closed, its_wire = await r.relayed()
        half_closed.shutdown(socket.SHUT_WR)
        assert await read_to_end(its_wire) == b""
        left, gone = await r.relayed()
        gone.close()
        assert await read_to_end(left) == b""
        r.front.cut()
        assert len(r.front) == 0
        assert await is_reset(client)
        assert await is_reset(wire)
        for sock in (half_closed, its_wire, left):
            await hung_up(sock)
        await r.relayed()


async def test_a_front_that_accepts_nobody_carries_on_what_is_open() -> None:
    """Ctrl-C lets it finish."""
    with rig() as r:
        client, wire = await r.relayed()
        r.front.suspend()
        waits = await r.connect(HELLO)
        await r.bystander()
        r.front.stop_accepting()
        assert await is_reset(waits)
        with pytest.raises(ConnectionRefusedError):
            await r.connect()
        await write(client, HELLO)
        assert await read(wire, len(HELLO)) == HELLO
        wire.close()
        client.close()
        await r.is_over()


async def test_leaving_the_block_resets_everything() -> None:
    """LC-09: those that wait, too."""
    with contextlib.ExitStack() as stack:
        with rig() as r:
            client, wire = await r.relayed()
            r.front.suspend()
            waits = await r.connect(HELLO)
            await r.bystander()
            kept = [
                stack.enter_context(socket.socket(fileno=os.dup(sock.fileno())))
                for sock in (client, wire, waits)
            ]
        for sock in kept:
            sock.setblocking(False)
            assert await is_reset(sock)
