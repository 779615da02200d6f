"""Whose a connection to the PT is; `tests.front.test_front` has the rest."""

from __future__ import annotations

import pytest

from pt_bridge.net.sockets import reset
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.proxy_protocol import serialize
from tests.support.fronts import HELLO, rig
from tests.support.tcp import read, turn_until, write

pytestmark = pytest.mark.usefixtures("every_pump")

CLIENT, SERVER = Address("192.0.2.1", 5000), Address("192.0.2.9", 443)
HEADER = serialize(CLIENT, SERVER)


async def test_a_connection_that_is_not_ours_is_nobodys() -> None:
    """Who calls the PT's own port is somebody of this machine."""
    with rig() as r:
        await r.relayed()
        stranger = Address("127.0.0.1", 1)
        assert r.fronted.client_of(stranger) is None
        assert r.fronted.let_in(stranger) is None


async def test_who_is_let_in_has_begun_at_some_time() -> None:
    """So the PT's handshake has a duration."""
    with rig(is_clocked=True) as r:
        _, wire = await r.connected()
        let_in = r.fronted.let_in(Address(*wire.getpeername()))
        assert let_in is not None
        assert let_in.began == r.clock.time()


async def test_behind_a_balancer_a_client_is_who_the_balancer_says() -> None:
    """And the PT gets the client's own bytes, not the header."""
    with rig(reads_headers=True) as r:
        await r.connect(HEADER + HELLO)
        wire = await r.pt.accept()
        assert await read(wire, len(HELLO)) == HELLO
        assert r.fronted.client_of(Address(*wire.getpeername())) == CLIENT


async def test_a_balancers_own_connection_is_its_own() -> None:
    """LOCAL: it looks whether we are there; the real addresses hold."""
    with rig(reads_headers=True) as r:
        client = await r.connect(serialize(None, SERVER) + HELLO)
        wire = await r.pt.accept()
        assert await read(wire, len(HELLO)) == HELLO
        here = Address(*client.getsockname())
        assert r.fronted.client_of(Address(*wire.getpeername())) == here


@pytest.mark.parametrize("size", [1, 20, 1000])
async def test_who_comes_past_the_balancer_meets_the_pt_and_is_nobody(
    size: int,
) -> None:
    """Every byte goes on; but the PT's word for him is not taken."""
    with rig(reads_headers=True) as r:
        client = await r.connect(HELLO[:size])
        wire = await r.pt.accept()
        assert await read(wire, size) == HELLO[:size]
        assert r.fronted.client_of(Address(*wire.getpeername())) is None
        await write(wire, b"an answer")
        assert await read(client, 9) == b"an answer"


async def test_half_a_header_and_an_end_are_passed_on() -> None:
    with rig(reads_headers=True) as r:
        client = await r.connect(HEADER[:20])
        wire = await r.pt.accept()
        client.close()
        assert await read(wire, 20) == HEADER[:20]


async def test_a_pt_that_hangs_up_before_the_header_ends_the_client() -> None:
    """As it ends one that says nothing to the bare PT."""
    with rig(reads_headers=True) as r:
        await r.connect(HEADER[:20])
        reset(await r.pt.accept())
        await r.is_over()


async def test_a_client_that_waits_for_the_next_pt_keeps_its_header() -> None:
    """The balancer says it once."""
    with rig(reads_headers=True) as r:
        await r.connect(HEADER)
        wire = await r.pt.accept()
        here = Address(*wire.getpeername())
        await turn_until(lambda: r.fronted.client_of(here))
        r.pt.die()
        wire.close()
        await turn_until(lambda: r.front.number_waiting)
        r.restart()
        wire = await r.pt.accept()
        here = Address(*wire.getpeername())
        await turn_until(lambda: r.fronted.client_of(here))
        assert r.fronted.client_of(here) == CLIENT
