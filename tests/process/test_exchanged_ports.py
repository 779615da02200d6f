"""Tunnels that want each other's ports, or one that is being taken: real, fake PTs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.processes import CLIENT, exchange, receive, until
from tests.support.tunnel_rig import TunnelRig

if TYPE_CHECKING:
    import socket

    from tests.support.processes import Bench

READY_AT = "pt-bridge[{}]: ready: {}, listening on port {}"
# For one PT's run: it is heard of, and is never ready.
HANGS = ("tell waits", "await")
BROKEN = ("say VERSION 1", "say CMETHOD-ERROR obfs4 broken", "say CMETHODS DONE")


class Two:
    """Two clients, each with a PT and a server of its own.

    Attributes:
        a, b: where the first and the second listen at first.
        n: where nobody listens.
        first, second: where connections of the first and the second lead to.
    """

    def __init__(self, rig: TunnelRig) -> None:
        self.rig = rig
        other = rig.bench.install("lyrebird")
        path = rig.bench.variables["PATH"]
        rig.bench.variables["PATH"] = f"{other.folder}:{path}"
        for pt in (rig.pt, other):
            pt.play(*CLIENT)
        self.a, self.b, self.n = (rig.bench.free_port() for _ in range(3))
        self.first, self.second = rig.far, rig.bench.listen()
        rig.run(*self.at(self.a, self.b))
        self.are_ready(self.a, self.b)

    def at(self, first: int, second: int) -> tuple[str, str]:
        """Return the tables where both listen there."""
        to_second = self.rig.client("c1", port=second)
        for old, new in (
            (f":{self.rig.far_port}", f":{self.second.getsockname()[1]}"),
            ("exec=obfs4proxy", "exec=lyrebird"),
        ):
            to_second = to_second.replace(old, new)
        return self.rig.client("c0", port=first), to_second

    def are_ready(self, first: int, second: int) -> None:
        """Wait until both listen there."""
        self.rig.program.said(READY_AT.format("c0", "obfs4proxy", first))
        self.rig.program.said(READY_AT.format("c1", "lyrebird", second))

    def leads_to(self, port: int, far: socket.socket) -> None:
        """Check where connections to a port lead, each of several."""
        for _ in range(10):
            near = self.rig.bench.connect(port)
            near.sendall(b"x")
            end = self.rig.bench.accept(far)
            assert receive(end, 1) == b"x"
            exchange(near, end)

    def are_at(self, first: int, second: int) -> None:
        """Wait until both are ready at these ports, and lead to their own servers."""
        self.are_ready(first, second)
        self.leads_to(first, self.first)
        self.leads_to(second, self.second)


@pytest.fixture
def two(bench: Bench) -> Two:
    return Two(TunnelRig(bench))


def test_two_exchange_their_ports(two: Two) -> None:
    two.rig.reload(*two.at(two.b, two.a))
    two.are_at(two.b, two.a)
    two.rig.stop()


def test_two_exchange_their_ports_while_one_is_being_moved(two: Two) -> None:
    """It waits for the other's port then, as it would have at once."""
    two.rig.pt.play(*HANGS)
    two.rig.reload(*two.at(two.n, two.b))
    two.rig.pt.event("waits")
    two.rig.pt.play(*CLIENT)
    two.rig.reload(*two.at(two.b, two.a))
    two.are_at(two.b, two.a)
    two.rig.stop()
    assert "was not taken" not in two.rig.program.text


def test_who_wants_a_port_waits_where_its_owner_cannot_leave(two: Two) -> None:
    """No connection reaches the other's server, until the owner can, nor after."""
    two.rig.pt.play(*BROKEN)
    two.rig.reload(
        *two.at(two.b, two.a),
        says=[
            "pt-bridge[c0]: warning: the new PT was not taken: ",
            "pt-bridge[c1]: replacing the PT, which has given up its port",
        ],
    )
    two.leads_to(two.a, two.first)
    two.rig.pt.play(*CLIENT)
    two.rig.reload(*two.at(two.b, two.a))
    two.are_at(two.b, two.a)
    two.rig.stop()


def test_an_exchange_that_is_taken_back_is_not_made(two: Two) -> None:
    """Not even by who has given up its port already, nor by whose PT is ready late."""
    two.rig.pt.play(*HANGS, *CLIENT)
    two.rig.reload(
        *two.at(two.b, two.a),
        says=["pt-bridge[c1]: replacing the PT, which has given up its port"],
    )
    two.rig.pt.event("waits")
    two.rig.reload(*two.at(two.a, two.b), says=["0 are new, 2 get another PT"])
    again = READY_AT.format("c1", "lyrebird", two.b)
    until(lambda: two.rig.program.heard().count(again) == 2)
    two.rig.pt.open_gate()
    two.leads_to(two.a, two.first)
    two.leads_to(two.b, two.second)
    two.rig.stop()


def test_what_is_mended_is_taken_while_the_mistake_is_tried(two: Two) -> None:
    """The port of both is ours already."""
    two.rig.pt.play(*HANGS)
    _, second = two.at(two.n, two.b)
    two.rig.reload(two.rig.client("c0", port=two.n), second)
    two.rig.pt.event("waits")
    two.rig.pt.play(*CLIENT)
    mended = two.rig.client("c0", port=two.n, more="restarts = 1")
    two.rig.reload(mended, second)
    two.are_ready(two.n, two.b)
    two.leads_to(two.n, two.first)
    assert two.rig.is_closed(two.a)
    two.rig.stop()


def test_another_gets_the_port_of_a_move_that_is_taken_back(two: Two) -> None:
    two.rig.pt.play(*HANGS)
    two.rig.reload(*two.at(two.n, two.b))
    two.rig.pt.event("waits")
    two.rig.pt.play(*CLIENT)
    two.rig.reload(*two.at(two.a, two.n))
    two.are_at(two.a, two.n)
    two.rig.stop()
