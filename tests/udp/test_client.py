"""The client's side of UDP: a local port, and one stream for all that comes there."""

from __future__ import annotations

import pytest

from pt_bridge.protocol.frames import (
    PREFACE,
    Accepted,
    Cause,
    Datagram,
    Ended,
    Opened,
    datagram_frame,
)
from pt_bridge.udp.associations import SILENT_LIMIT
from pt_bridge.udp.client import FIRST_REST, LOOK_INTERVAL, UNSUPPORTED_REST
from tests.support.peer import Peer
from tests.support.rig import PATIENCE
from tests.support.tcp import pair, read, turn_until
from tests.support.udp_rig import UdpRig, receive, received, udp_rig


@pytest.mark.parametrize("size", [0, 1, 1200, 16_384, 65_507])
async def test_a_datagram_goes_and_its_answer_comes_whole(size: int) -> None:
    """SIP003u: whatever its size, none among them."""
    with udp_rig() as u:
        program = u.program()
        program.send(bytes(size))
        address = await u.hear(bytes(size))
        u.service.sendto(b"a" * size, address)
        assert await receive(program) == b"a" * size
        assert len(u.rig.lines) == 1


async def test_each_program_gets_its_own_answers() -> None:
    """All over one stream."""
    with udp_rig() as u:
        programs = [u.program() for _ in range(40)]
        addresses = []
        for number, program in enumerate(programs):
            program.send(b"%d" % number)
            addresses.append(await u.hear(b"%d" % number))
        for number, address in reversed(list(enumerate(addresses))):
            u.service.sendto(b"to %d" % number, address)
        for number, program in enumerate(programs):
            assert await receive(program) == b"to %d" % number
        assert len(set(addresses)) == len(u.client) == len(u.server) == 40
        assert (u.rig.client.opened, len(u.rig.lines)) == (1, 1)


async def test_all_its_ports_are_heard_and_answered_from() -> None:
    """A program takes an answer from where it has sent to, and from nowhere else."""
    with udp_rig() as u:
        programs = [u.program(), u.program(u.other_port)]
        for number, program in enumerate(programs):
            program.send(b"%d" % number)
            u.service.sendto(b"to %d" % number, await u.hear(b"%d" % number))
            assert await receive(program) == b"to %d" % number
        assert len(u.rig.lines) == 1


async def test_nothing_is_opened_before_the_first_datagram_comes() -> None:
    """And the stream ends when none has come for five minutes; then it opens anew."""
    with udp_rig() as u:
        program = u.program()
        await u.rig.pass_by(60.0)
        assert (u.rig.lines, u.rig.timers) == ([], 0)
        program.send(b"1")
        await u.hear(b"1")
        await u.settle()
        await u.rig.pass_by(SILENT_LIMIT - LOOK_INTERVAL, step=5.0)
        assert u.rig.client.streams
        await u.rig.pass_by(2 * LOOK_INTERVAL, step=5.0)
        await turn_until(lambda: not u.rig.server.streams)
        assert not u.rig.client.streams
        assert len(u.client) == len(u.server) == 0
        program.send(b"2")
        await u.hear(b"2")


async def test_an_answer_keeps_the_stream_open() -> None:
    """Datagrams in either direction count."""
    with udp_rig() as u:
        program = u.program()
        program.send(b"1")
        address = await u.hear(b"1")
        await u.settle()
        for _ in range(3):
            await u.rig.pass_by(SILENT_LIMIT / 2, step=5.0)
            u.service.sendto(b"x", address)
            assert await receive(program) == b"x"
        assert u.rig.client.opened == 1


async def test_the_connection_is_used_again_for_a_tunnel() -> None:
    """When the stream of datagrams has ended."""
    with udp_rig() as u:
        u.program().send(b"1")
        await u.hear(b"1")
        await u.settle()
        u.client.close()
        await turn_until(lambda: u.rig.client.idle and not u.rig.server.streams)
        await u.rig.both()
        assert (len(u.rig.lines), u.rig.client.reused) == (1, 1)
        u.rig.client.cut()


async def test_after_a_cut_the_next_datagram_opens_another_stream() -> None:
    """The program keeps its association."""
    with udp_rig() as u:
        program = u.program()
        program.send(b"1")
        await u.hear(b"1")
        await u.settle()
        u.rig.lines[0].cut()
        await turn_until(lambda: not u.rig.client.streams)
        await turn_until(lambda: not u.rig.server.streams)
        program.send(b"2")
        address = await u.hear(b"2")
        u.service.sendto(b"b", address)
        assert await receive(program) == b"b"
        assert len(u.rig.lines) == 2
        assert len(u.client) == 1


async def test_what_came_first_is_tried_again_on_another_connection() -> None:
    """Where the first one ends before the server has accepted the stream."""
    with udp_rig() as u:
        program = u.program()
        u.rig.holds_lines = True
        program.send(b"1")
        await turn_until(lambda: u.rig.lines)
        program.send(b"2")
        u.rig.holds_lines = False
        await turn_until(lambda: len(u.stream.kept or ()) == 2)
        u.rig.lines[0].cut()
        await u.hear(b"1")
        await u.hear(b"2")
        assert u.rig.client.tried_again == 1


async def test_datagrams_wait_for_the_next_pt_the_newest_of_them() -> None:
    """And not for ever, nor without limit."""
    with udp_rig() as u:
        program = u.program()
        u.rig.client.suspend()
        for number in range(3):
            program.send(bytes([number]) * 30_000)
        await turn_until(lambda: u.rig.client.streams)
        await turn_until(lambda: not received_anything_left(u))
        u.rig.client.open()
        await u.rig.pass_by(1.0)
        await u.hear(b"\1" * 30_000)
        await u.hear(b"\2" * 30_000)
        u.rig.client.suspend()
        u.rig.lines[0].cut()
        await turn_until(lambda: not u.rig.client.streams)
        program.send(b"in vain")
        await turn_until(lambda: u.rig.client.streams)
        await u.rig.pass_by(PATIENCE)
        assert not u.rig.client.streams
        program.send(b"too early")
        await turn_until(lambda: u.client.dropped >= 2)
        await u.rig.pass_by(FIRST_REST)
        u.rig.client.open()
        program.send(b"3")
        await u.hear(b"3")


def received_anything_left(u: UdpRig) -> bool:
    """Whether the three datagrams have not all been read."""
    (stream,) = u.rig.client.streams
    return stream.outbound < 3 * 30_000


async def a_server(u: UdpRig) -> Peer:
    """Be the server, which has yet to accept a stream that a program has begun."""
    sock, theirs = pair()
    u.rig.sockets.append(sock)
    u.rig.dials = False
    u.program().send(b"first")
    await turn_until(lambda: u.rig.dialled)
    u.rig.dialled.pop()(theirs)
    peer = Peer(sock, is_client=False)
    assert await read(sock, len(PREFACE)) == PREFACE
    await peer.hear(Datagram)
    return peer


async def test_a_server_without_udp_is_left_alone() -> None:
    """It is told of once, and the connection serves tunnels as ever."""
    with udp_rig() as u:
        program = u.program()
        peer = await a_server(u)
        assert peer.all(Opened)[0] == Opened(2, u.stream.id)
        await peer.say(peer.session.reset(Cause.UNSUPPORTED))
        await turn_until(lambda: u.rig.refusals)
        assert [u.client.on_unsupported() for _ in range(3)] == [True, False, False]
        assert not u.rig.client.streams
        assert u.rig.client.idle == 1
        await u.rig.pass_by(UNSUPPORTED_REST - 10, step=60.0)
        program.send(b"x")
        await turn_until(lambda: u.client.dropped)
        await u.rig.pass_by(10.0)
        u.rig.dials = True
        program.send(b"y")
        await u.hear(b"y")


async def test_a_server_that_says_the_end_gets_another_stream_with_the_next() -> None:
    """As one does that is about to stop."""
    with udp_rig() as u:
        program = u.program()
        program.send(b"1")
        await u.hear(b"1")
        await u.settle()
        u.server.end()
        await turn_until(lambda: not u.rig.client.streams and not u.rig.server.streams)
        program.send(b"2")
        await u.hear(b"2")
        assert (u.rig.client.opened, len(u.rig.lines)) == (2, 1)


async def test_an_answer_for_nobody_is_dropped() -> None:
    """A number that was never given out, or was forgotten."""
    with udp_rig() as u:
        peer = await a_server(u)
        await peer.say(peer.session.accept())
        answers = datagram_frame(Datagram(9999, b"x")) + datagram_frame(
            Datagram(peer.all(Datagram)[0].association, b"y")  # type: ignore[union-attr]
        )
        program = u.program()
        await peer.say(answers)
        await turn_until(lambda: u.stream.inbound == 2)
        assert received(program) == []
        assert peer.all(Accepted) == peer.all(Ended) == []


async def test_who_retires_leaves_the_port_to_another_and_takes_answers_still() -> None:
    """Until none have come for a while."""
    with udp_rig() as u:
        program = u.program()
        program.send(b"1")
        address = await u.hear(b"1")
        u.client.retire()
        u.client.open()  # a PT that is started again
        program.send(b"2")
        u.service.sendto(b"answer", address)
        assert await receive(program) == b"answer"
        assert received(u.service) == []
        await u.settle()
        await u.rig.pass_by(3 * LOOK_INTERVAL, step=5.0)
        await turn_until(lambda: not u.rig.client.streams)


async def test_what_is_dropped_is_counted_at_once() -> None:
    with udp_rig() as u:
        program = u.program()
        program.send(b"1")
        await u.hear(b"1")
        u.stream.dropped = 2
        u.server_stream.dropped = 3
        assert u.client.number_dropped == 2
        assert u.server.number_dropped == 3
