"""Nothing paces what stays on this machine, and what leaves it is the system's own."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from pt_bridge.net.bind import bind
from pt_bridge.net.connect import connect_local
from pt_bridge.net.loopback import UNPACED, is_loopback, leave_unpaced
from pt_bridge.protocol.address import Address
from tests.support.tcp import closing

# The longest name of a congestion control, with its zero (TCP_CA_NAME_MAX).
NAME_SIZE = 16


def congestion_control(sock: socket.socket) -> bytes:
    """Return the name of what decides how fast a connection sends."""
    name = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, NAME_SIZE)
    return name.partition(b"\0")[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1"])
def test_loopback_is_known_by_its_addresses(host: str) -> None:
    """RFC 1122 3.2.1.3, RFC 4291 2.5.3."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "12.7.0.1", "192.0.2.1", "::127.1"])
def test_what_may_leave_the_machine_is_left_as_it_is(host: str) -> None:
    """A lossy path needs the congestion control that its user has chosen."""
    with socket.socket() as sock:
        before = congestion_control(sock)
        leave_unpaced(sock, host)
        assert congestion_control(sock) == before


async def test_both_legs_on_loopback_are_unpaced() -> None:
    """What the port accepts, and what is connected to a program of this machine."""
    with socket.socket(fileno=bind(Address("127.0.0.1", 0))) as port:
        place = Address(*port.getsockname())
        outer = await connect_local(place, patience=0, limit=10)
        inner, _ = await asyncio.to_thread(port.accept)
        with closing((outer, inner)):
            assert congestion_control(outer) == congestion_control(inner) == UNPACED


def test_a_refusal_is_no_error() -> None:
    """A sandbox may forbid it; then it is only slower."""
    left, right = socket.socketpair()
    with contextlib.closing(left), contextlib.closing(right):
        leave_unpaced(left, "127.0.0.1")
