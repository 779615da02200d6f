"""UDP sockets: bound to one address, or the error that says why not."""

from __future__ import annotations

import pytest

from pt_bridge.errors import ListenError
from pt_bridge.protocol.address import Address
from pt_bridge.udp.sockets import bind, connect


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_bound_socket_hears_what_is_sent_to_it(host: str) -> None:
    """And a connected one only its own address."""
    with bind(Address(host, 0)) as bound:
        place = bound.getsockname()
        with connect(place[0], place[1]) as sock:
            sock.send(b"x")
            bound.setblocking(True)
            data, address = bound.recvfrom(10)
            assert (data, address) == (b"x", sock.getsockname())


def test_a_port_in_use_is_named() -> None:
    with bind(Address("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
        with pytest.raises(ListenError, match=f"UDP on port {port}: .*in use; stop"):
            bind(Address("127.0.0.1", port))


def test_a_name_that_does_not_resolve_is_an_error() -> None:
    with pytest.raises(ListenError, match="UDP on port 53"):
        bind(Address("no.such.name.invalid", 53))


def test_no_descriptor_is_left_where_there_is_no_way() -> None:
    with pytest.raises(OSError, match=r"."):
        connect("255.255.255.255", 9)
