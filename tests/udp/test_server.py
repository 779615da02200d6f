"""The server's side of UDP: a socket for each association, and bounds for all."""

from __future__ import annotations

import errno
import resource
import select

import pytest

from pt_bridge.protocol.frames import (
    BEAT_FRAME,
    DATAGRAMS,
    PREFACE,
    Accepted,
    Cause,
    Datagram,
    WasReset,
    datagram_frame,
)
from pt_bridge.udp.associations import MAX_NEW, MOST, SILENT_LIMIT
from tests.support.peer import Peer
from tests.support.tcp import pair, read, turn_until, write
from tests.support.udp_rig import UdpRig, received, udp_rig

ID = b"12345678"


async def a_client(u: UdpRig, id: bytes = ID) -> Peer:
    """Act as a client of the rig's server, with a stream of datagrams."""
    sock, theirs = pair()
    u.rig.sockets.append(sock)
    u.rig.server.take(theirs)
    peer = Peer(sock, is_client=True)
    await peer.say(PREFACE + peer.session.open(id, DATAGRAMS))
    return peer


def say(association: int, data: bytes = b"x") -> bytes:
    """Return a frame with a datagram."""
    return datagram_frame(Datagram(association, data))


async def test_an_association_keeps_its_socket() -> None:
    """So that the service knows whose each is."""
    with udp_rig() as u:
        peer = await a_client(u)
        await peer.say(say(7, b"1") + say(9, b"2") + say(7, b"3"))
        await peer.hear(Accepted)
        first, second = await u.hear(b"1"), await u.hear(b"2")
        assert first != second
        assert await u.hear(b"3") == first
        u.service.sendto(b"an answer", second)
        assert await peer.hear(Datagram) == Datagram(9, b"an answer")


async def test_a_silent_association_is_forgotten() -> None:
    """Its socket is closed; the next datagram has another."""
    with udp_rig() as u:
        peer = await a_client(u)
        await peer.say(say(7, b"1"))
        await u.hear(b"1")
        for _ in range(6):
            await u.rig.pass_by(SILENT_LIMIT / 10, step=5.0)
            await peer.say(BEAT_FRAME)
        await peer.say(say(8, b"2"))
        await u.hear(b"2")
        for _ in range(5):
            await u.rig.pass_by(SILENT_LIMIT / 10, step=5.0)
            await peer.say(BEAT_FRAME)
        assert len(u.server) == 1
        await peer.say(say(7, b"3"))
        await u.hear(b"3")
        assert len(u.server) == 2


async def test_the_oldest_association_goes_where_there_are_too_many() -> None:
    """Of one client."""
    with udp_rig(most=MOST + 500) as u:
        peer = await a_client(u)
        for number in range(MOST):
            await peer.say(say(number, b"%d" % number))
            await u.hear(b"%d" % number)
        await u.rig.pass_by(2.0)
        for number in range(MOST, MOST + 10):
            await peer.say(say(number, b"%d" % number))
            await u.hear(b"%d" % number)
        assert len(u.server) == MOST


async def test_a_client_with_many_keeps_no_other_out() -> None:
    """Of all, the one with most loses one."""
    with udp_rig(most=12) as u:
        greedy, modest = await a_client(u, b"greedy  "), await a_client(u, b"modest  ")
        await modest.say(say(1, b"m"))
        address = await u.hear(b"m")
        for number in range(40):
            await greedy.say(say(number, b"g"))
            await u.hear(b"g")
        assert len(u.server) == 12
        await modest.say(say(1, b"m"))
        assert await u.hear(b"m") == address


async def test_new_associations_are_rationed() -> None:
    """Each costs a socket, and whoever floods us waits for the next second."""
    with udp_rig(most=5000) as u:
        peer = await a_client(u)
        await peer.hear(Accepted)
        for start in range(0, 2 * MAX_NEW, 64):
            await peer.say(b"".join(map(say, range(start, start + 64))))
            await turn_until(
                lambda: u.server_stream.inbound >= start + 64  # noqa: B023
            )
            received(u.service)
        assert len(u.server) == MAX_NEW
        await u.rig.pass_by(1.0)
        await peer.say(say(5000, b"later"))
        await u.hear(b"later")


async def test_a_shortage_of_descriptors_costs_the_oldest() -> None:
    """And never more than the datagram."""
    with udp_rig() as u:
        peer = await a_client(u)
        for number in range(3):
            await peer.say(say(number, b"%d" % number))
            await u.hear(b"%d" % number)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
        try:
            await peer.say(say(9, b"refused"))
            await turn_until(lambda: u.failures)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert u.failures[0].errno == errno.EMFILE
        assert len(u.server) == 2
        await peer.say(say(9, b"now"))
        await u.hear(b"now")


async def test_a_service_that_does_not_listen_is_told_of() -> None:
    """The kernel says so, with the next datagram or before."""
    with udp_rig(listens=False) as u:
        peer = await a_client(u)
        await peer.say(say(7))
        await turn_until(lambda: u.failures)
        assert u.failures[0].errno == errno.ECONNREFUSED
        await peer.say(say(7) * 3)
        await turn_until(lambda: len(u.failures) > 1)
        assert u.rig.server.streams


async def test_a_stream_that_was_accepted_before_is_refused() -> None:
    """As one of bytes is."""
    with udp_rig() as u:
        await (await a_client(u)).hear(Accepted)
        again = await a_client(u)
        event = await again.hear(WasReset)
        assert isinstance(event, WasReset)
        assert event.cause is Cause.SEEN
        # What was under way is thrown away.
        await again.say(say(7) + again.session.reset(Cause.CUT))
        await turn_until(lambda: len(u.rig.server.streams) == 1)
        assert len(u.server) == 0


async def test_a_client_that_resets_its_stream_is_answered() -> None:
    """And its sockets are closed."""
    with udp_rig() as u:
        peer = await a_client(u)
        await peer.say(say(7))
        await u.hear(b"x")
        await peer.say(peer.session.reset(Cause.CUT))
        await peer.hear(WasReset)
        await turn_until(lambda: not u.rig.server.streams)
        assert len(u.server) == 0


@pytest.mark.parametrize("length", [1, 65_510])
async def test_what_is_no_datagram_ends_the_connection(length: int) -> None:
    """And nothing else."""
    with udp_rig() as u:
        other, peer = await a_client(u), await a_client(u, b"another.")
        await peer.hear(Accepted)
        await peer.say(b"\3" + length.to_bytes(3, "big"))
        with pytest.raises((EOFError, ConnectionResetError)):
            await peer.hear(WasReset)
        await other.say(say(1, b"still served"))
        await u.hear(b"still served")


async def test_what_the_client_does_not_take_is_dropped() -> None:
    """Nothing is kept, and a tunnel beside is not delayed."""
    with udp_rig() as u:
        peer = await a_client(u)
        await peer.say(say(7))
        address = await u.hear(b"x")
        stream = u.server_stream

        def floods() -> bool:
            u.service.sendto(bytes(60_000), address)
            return stream.dropped > 100

        await turn_until(floods)
        host, service = await u.rig.both_beside()
        await write(host, b"beside")
        assert await read(service, 6) == b"beside"
        before = stream.outbound
        await turn_until(lambda: floods() and stream.dropped > 200)
        assert stream.outbound == before  # nothing of it waits anywhere
        while peer.sock in select.select([peer.sock], [], [], 0)[0]:
            peer.hear_now()
        u.service.sendto(b"the last", address)
        while peer.all(Datagram)[-1] != Datagram(7, b"the last"):
            await peer.hear(Datagram, len(peer.all(Datagram)) + 1)
        u.rig.client.cut()
