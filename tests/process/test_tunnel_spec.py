"""Where a tunnel's clients connect: sockets of our own, shared, or a PT's port."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ListenError
from pt_bridge.options.config import Config
from pt_bridge.plans import tunnels_file
from pt_bridge.process.tunnel_spec import (
    TunnelSpec,
    UdpAddress,
    become_free,
    has_to_wait,
    listen,
)
from pt_bridge.protocol.address import Address
from tests.support.processes import PLAIN_OPTIONS

if TYPE_CHECKING:
    from pt_bridge.process.tunnel_spec import Place
    from tests.support.processes import Bench

CLIENT = f"""\
[[client]]
name = "one"
listen = {{}}
server = "192.0.2.1:443"
plugin-opts = "{PLAIN_OPTIONS}"
"""
SERVER = """\
[[server]]
name = "one"
listen = {}
service = "127.0.0.1:8388"
transport = "obfs4"
front = {}
"""


def wanted(text: str, *values: object) -> TunnelSpec:
    (plan,) = tunnels_file.read(text.format(*values).encode(), "the.toml").plans
    config = Config(plan.variables, plugin=False, flags=plan.flags)
    return TunnelSpec(config, plan.listen, plan)


def client(*ports: int) -> TunnelSpec:
    return wanted(CLIENT, [f"127.0.0.1:{port}" for port in ports])


def server(port: int, front: str = "false") -> TunnelSpec:
    return wanted(SERVER, [f"127.0.0.1:{port}"], front)


def at(port: int) -> Address:
    return Address("127.0.0.1", port)


def test_who_listens_is_the_front_or_the_pt() -> None:
    assert list(client(1984, 1985).outer) == [at(1984), at(1985)]
    assert not client(1984).of_pt
    assert list(server(443).of_pt) == [at(443)]
    assert not server(443).outer
    assert list(server(443, "true").outer) == [at(443)]


def test_it_listens_on_all_or_on_none(bench: Bench) -> None:
    taken = bench.listen().getsockname()[1]
    with pytest.raises(ListenError, match=f"port {taken}: address already in use"):
        listen(client(bench.port, taken))
    made = listen(client(bench.port))
    assert not any(os.get_blocking(sock.fileno()) for sock in made.values())
    bench.connect(bench.port)
    for sock in made.values():
        sock.close()


def test_a_socket_that_fits_is_shared(bench: Bench) -> None:
    """So nobody is refused, and nobody who waits in it is lost."""
    held: dict[Place, socket.socket] = {at(bench.port): bench.listen(port=bench.port)}
    bench.connect(bench.port)
    held[at(bench.port)].setblocking(False)
    made = listen(client(bench.port), held)
    assert not os.get_blocking(held[at(bench.port)].fileno())
    held[at(bench.port)].close()
    (sock,) = made.values()
    with sock:
        sock.settimeout(30)
        sock.accept()[0].close()


def test_datagrams_come_to_a_socket_that_is_shared_too(bench: Bench) -> None:
    text = CLIENT.replace(";session=0", "") + "udp = true"
    with_udp = wanted(text, [f"127.0.0.1:{bench.port}"])
    held = listen(with_udp)
    made = listen(with_udp, held)
    assert list(made) == [at(bench.port), UdpAddress(at(bench.port))]
    with pytest.raises(ListenError, match="cannot receive UDP on port"):
        listen(with_udp, {at(bench.port): held[at(bench.port)]})
    for sock in (*held.values(), *made.values()):
        sock.close()


def test_datagrams_come_to_each_address_that_is_listened_on(bench: Bench) -> None:
    text = CLIENT.replace(";session=0", "") + "udp = true"
    ports = [bench.port, bench.free_port()]
    made = listen(wanted(text, [f"127.0.0.1:{port}" for port in ports]))
    assert [at(port) for port in ports] == list(made)[:2]
    assert [UdpAddress(at(port)) for port in ports] == list(made)[2:]
    for sock in made.values():
        sock.close()


def test_where_a_pt_is_to_listen_must_be_free(bench: Bench) -> None:
    assert listen(server(bench.port)) == {}
    taken = bench.listen().getsockname()[1]
    with pytest.raises(ListenError, match="address already in use"):
        listen(server(taken))


@pytest.mark.parametrize(
    ("new", "held", "of_pts", "waits"),
    [
        (client(1984), [], [], False),
        (client(1984), ["127.0.0.1:1984"], [], False),
        (client(1984), ["127.0.0.1:1985"], [], False),
        (client(1984), ["0.0.0.0:1984"], [], True),
        (client(1984), [], ["127.0.0.1:1984"], True),
        (server(443), ["127.0.0.1:443"], [], True),
        (server(443, "true"), ["127.0.0.1:443"], [], False),
        (server(443, "true"), [], ["0.0.0.0:443"], True),
        (server(443), [], ["[::]:443"], False),
    ],
)
def test_it_waits_where_one_of_ours_has_the_port_and_cannot_share_it(
    new: TunnelSpec, held: list[str], of_pts: list[str], *, waits: bool
) -> None:
    sockets: dict[Place, socket.socket] = {
        parsed(each): socket.socket() for each in held
    }
    try:
        assert has_to_wait(new, sockets, map(parsed, of_pts)) is waits
    finally:
        for sock in sockets.values():
            sock.close()


def parsed(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]"), int(port))


async def test_it_waits_until_a_port_is_free(bench: Bench) -> None:
    sock = bench.listen(port=bench.port)
    asked = []

    def ask() -> TunnelSpec:
        asked.append(1)
        if len(asked) == 3:
            sock.close()
        return server(bench.port)

    await become_free(ask)
    assert len(asked) == 3


async def test_it_waits_until_another_tunnel_has_left(bench: Bench) -> None:
    """Which the kernel would not say of a socket that systemd gives to each."""
    asked: list[Address] = []

    def taken() -> list[Address]:
        asked.append(at(bench.port))
        return asked if len(asked) < 3 else []

    await become_free(lambda: client(bench.port), taken)
    assert len(asked) == 3
    with pytest.raises(ListenError, match="another tunnel still does"):
        listen(client(bench.port), taken=[at(bench.port)])


async def test_it_does_not_wait_for_nothing(bench: Bench) -> None:
    bench.listen(port=bench.port)
    await become_free(lambda: None)


def test_its_sentences_name_it_and_the_keys_of_its_file() -> None:
    one = client(1984)
    assert one.where == "[[client]] 'one': "
    assert one.in_its_words("--local or --remote") == "listen or server"
    by_hand = TunnelSpec(one.config, one.listen)
    assert by_hand.where == ""
    assert by_hand.in_its_words("--local") == "--local"
