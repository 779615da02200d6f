"""Connections for datagrams; `tests.udp.test_client` has what they carry."""

from __future__ import annotations

from pt_bridge.pool.datagram_carrier import LOOK_INTERVAL, MAX_ATTEMPTS
from tests.support.rig import PATIENCE
from tests.support.tcp import turn_until
from tests.support.udp_rig import udp_rig


async def test_a_ready_connection_is_taken_first() -> None:
    """Datagrams need no handshake then."""
    with udp_rig() as u:
        host, service = await u.rig.both()
        host.close()
        service.close()
        await turn_until(lambda: u.rig.client.idle and not u.rig.server.streams)
        u.program().send(b"x")
        await u.hear(b"x")
        assert (len(u.rig.lines), u.rig.client.reused) == (1, 1)


async def test_a_server_that_cannot_be_reached_is_not_dialled_at_once_again() -> None:
    """Datagrams are dropped meanwhile."""
    with udp_rig() as u:
        u.rig.dials = ConnectionRefusedError()
        program = u.program()
        program.send(b"x")
        await turn_until(lambda: u.ended == 1)
        program.send(b"y")
        await turn_until(lambda: u.client.dropped)
        assert (u.ended, u.rig.client.opened) == (1, 1)


async def test_while_there_is_no_pt_a_stream_waits_but_not_for_ever() -> None:
    """What went with the old PT goes with the next one."""
    with udp_rig() as u:
        u.rig.dials = None
        program = u.program()
        program.send(b"x")
        await turn_until(lambda: u.rig.client.streams)
        await u.rig.pass_by(2 * LOOK_INTERVAL)
        u.rig.dials = True
        await u.rig.pass_by(LOOK_INTERVAL)
        await u.hear(b"x")
        u.rig.client.suspend()
        u.rig.lines[0].cut()
        await turn_until(lambda: u.ended == 1)
        program.send(b"y")
        await turn_until(lambda: u.rig.client.streams)
        await u.rig.pass_by(PATIENCE + 1)
        assert u.ended == 2


async def test_connections_that_end_before_accept_are_not_tried_for_ever() -> None:
    """Then the next datagram begins anew, after a rest."""
    with udp_rig() as u:
        u.rig.holds_lines = True
        u.program().send(b"x")
        for number in range(MAX_ATTEMPTS):
            await turn_until(lambda: len(u.rig.lines) > number)  # noqa: B023
            u.rig.lines[number].cut()
        await turn_until(lambda: u.ended == 1)
        assert len(u.rig.lines) == MAX_ATTEMPTS


async def test_a_connection_that_comes_too_late_is_reset() -> None:
    with udp_rig() as u:
        u.rig.dials = False
        u.program().send(b"x")
        await turn_until(lambda: u.rig.dialled)
        u.client.close()
        assert u.ended == 1
        u.rig.dialled.pop()(u.rig.line().client)
        assert not u.rig.client.connections
