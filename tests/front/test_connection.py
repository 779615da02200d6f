"""What a front relays, and how that ends: as it would without one."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from pt_bridge.front.connection import LEFT_LIMIT, FrontedConnection
from pt_bridge.listen.proxy_header import HeaderReader
from pt_bridge.net.sockets import reset, unsent
from pt_bridge.protocol.address import Address
from pt_bridge.relay.pump import CopyPump
from tests.support.freed import instances, without_collector
from tests.support.fronts import ANSWER, HELLO, MOMENT, Rig, hung_up, rig
from tests.support.tcp import (
    CLOSE_WAIT,
    CLOSED,
    Pair,
    is_reset,
    is_silent,
    noise,
    read,
    read_to_end,
    state,
    turn_until,
    unread,
    write,
    write_on,
)

pytestmark = pytest.mark.usefixtures("every_pump")

MORE = 12_000_000  # bytes: more than what two connections hold unread
BULK = noise(40_000_000)  # more than they ever hold
SETTLED = 5  # rounds in which nothing moved
KEEPALIVE = "02"  # the timer that runs, in /proc/net/tcp


EACH_SIDE = pytest.mark.parametrize("side", ["client", "PT"])


async def relayed(r: Rig, side: str) -> Pair:
    """Act as a client and the PT; return the end of this side, and the other one."""
    client, wire = await r.relayed()
    return (client, wire) if side == "client" else (wire, client)


async def test_what_is_said_goes_both_ways() -> None:
    """RL-01: whole and in order, from the first byte."""
    data = noise(MORE)
    with rig() as r:
        client, wire = await r.relayed()
        async with asyncio.TaskGroup() as tasks:
            for source in (client, wire):
                tasks.create_task(write(source, data))
            heard = [tasks.create_task(read(sink, MORE)) for sink in (client, wire)]
        assert [task.result() for task in heard] == [data, data]


async def test_a_client_is_known_as_long_as_its_connection_lasts() -> None:
    """EO-07: the PT names the address from which it was called."""
    with rig() as r:
        client, wire = await r.relayed()
        here = Address(*wire.getpeername())
        assert r.fronted.client_of(here) == Address(*client.getsockname())
        assert r.fronted.client_of(Address("127.0.0.2", here.port)) is None
        wire.close()
        client.close()
        await r.is_over()
        assert r.fronted.client_of(here) is None


async def test_a_client_that_has_just_gone_is_nobody() -> None:
    """RL-10: the kernel does not tell any more where it was."""
    with rig() as r:
        client, wire = await r.relayed()
        here = Address(*wire.getpeername())
        reset(client)  # the front has had no turn since
        assert r.fronted.client_of(here) is None


async def test_who_calls_the_pt_behind_our_back_is_nobody() -> None:
    """SE-12: other users of the machine can reach its loopback port."""
    with rig() as r:
        await r.relayed()
        with socket.create_connection((r.pt.address.host, r.pt.address.port)) as other:
            await r.pt.accept()
            assert r.fronted.client_of(Address(*other.getsockname())) is None


def keepalive_in(port: int, peer: int) -> float | None:
    """Return in how many seconds the kernel will ask a peer whether it is there.

    Args:
        port: our own.
        peer: the peer's.
    """
    with open("/proc/net/tcp") as rows:  # proc(5)
        for row in rows:
            _, here, there, _, _, timer, *_ = row.split()
            if [each.rpartition(":")[2] for each in (here, there)] == [
                f"{port:04X}",
                f"{peer:04X}",
            ]:
                kind, _, when = timer.partition(":")
                return int(when, 16) / 100 if kind == KEEPALIVE else None
    raise AssertionError("there is no such connection")


async def test_a_client_has_gos_keepalive() -> None:
    """Front: as on the PT's own port, where a socket that is closed sends none."""
    with rig() as r:
        client, wire = await r.relayed()
        connection = r.ports[0][1], client.getsockname()[1]
        wait = keepalive_in(*connection)
        assert wait is not None
        assert wait <= 15
        wire.close()
        assert await read_to_end(client) == b""
        assert keepalive_in(*connection) is None


async def test_a_half_close_by_the_client_is_one_for_the_pt() -> None:
    """Front: behind the bytes; and the PT goes on for as long as it likes."""
    with rig() as r:
        client = await r.connect(HELLO)
        client.shutdown(socket.SHUT_WR)
        wire = await r.pt.accept()
        assert await read_to_end(wire) == HELLO
        r.clock.pass_by(10 * LEFT_LIMIT)
        await write(wire, ANSWER)
        assert await read(client, len(ANSWER)) == ANSWER
        wire.close()
        assert await read_to_end(client) == b""
        await r.is_over()


async def test_a_half_close_by_the_pt_is_one_for_the_client() -> None:
    """Front: Go's HTTP server closes so, half a second before it closes for good."""
    with rig() as r:
        client, wire = await r.relayed()
        await write(wire, ANSWER)
        wire.shutdown(socket.SHUT_WR)
        assert await read_to_end(client) == ANSWER
        await write(client, HELLO)
        assert await read(wire, len(HELLO)) == HELLO
        client.close()
        assert await read_to_end(wire) == b""
        await r.is_over()


async def test_a_probe_that_only_connects_and_ends() -> None:
    """Front: the PT gets it, as it would."""
    with rig() as r:
        client = await r.connect()
        client.close()
        wire = await r.pt.accept()
        assert await read_to_end(wire) == b""
        wire.close()
        await r.is_over()


async def test_the_end_comes_behind_all_that_a_slow_side_was_sent() -> None:
    """RL-02: in both directions."""
    data = noise(MORE)
    with rig() as r:
        client, wire = await r.relayed()
        for source, sink in ((client, wire), (wire, client)):
            async with asyncio.TaskGroup() as tasks:
                sends = tasks.create_task(write(source, data))
                sends.add_done_callback(lambda _: source.shutdown(socket.SHUT_WR))  # noqa: B023
                assert await read_to_end(sink) == data
        await r.is_over()


async def test_a_reset_by_the_client_is_one_for_the_pt() -> None:
    """Front: behind the bytes that came before."""
    with rig() as r:
        client, wire = await r.relayed()
        await write(client, HELLO)
        assert await read(wire, len(HELLO)) == HELLO
        reset(client)
        assert await is_reset(wire)
        await r.is_over()


async def test_a_reset_by_the_pt_is_one_for_the_client() -> None:
    """Front: so a PT ends that has not read everything."""
    with rig() as r:
        client, wire = await r.relayed()
        await write(client, HELLO)
        await turn_until(lambda: not is_silent(wire))
        await write(wire, ANSWER)
        wire.close()
        assert await read(client, len(ANSWER)) == ANSWER
        assert await is_reset(client)
        await r.is_over()


async def test_a_reset_by_the_pt_behind_a_half_close_by_the_client() -> None:
    """Front: likewise, where nothing more comes from the client."""
    with rig() as r:
        client, wire = await r.relayed()
        client.shutdown(socket.SHUT_WR)
        assert await read_to_end(wire) == b""
        reset(wire)
        assert await is_reset(client)
        await r.is_over()


async def test_who_writes_to_a_pt_that_has_closed_is_reset_at_the_first_byte() -> None:
    """Front: by the PT's kernel; nobody reads from that connection any more."""
    with rig() as r:
        client, wire = await r.relayed()
        wire.close()
        assert await read_to_end(client) == b""
        await write(client, b"x")
        await hung_up(client)
        await r.is_over()


@EACH_SIDE
async def test_who_half_closes_and_then_resets(side: str) -> None:
    """Front: nobody reads from it any more, nor writes to it.

    So ends Go's HTTP server, once it has closed with something unread.
    """
    with rig() as r:
        gone, other = await relayed(r, side)
        gone.shutdown(socket.SHUT_WR)
        assert await read_to_end(other) == b""
        reset(gone)
        await hung_up(other)
        await r.is_over()


@EACH_SIDE
@pytest.mark.parametrize("has_half_closed", [False, True])
async def test_who_resets_while_the_other_side_speaks(
    side: str, *, has_half_closed: bool
) -> None:
    """Front: found by a write as well as by a read."""
    with rig() as r:
        gone, other = await relayed(r, side)
        if has_half_closed:
            gone.shutdown(socket.SHUT_WR)
            assert await read_to_end(other) == b""
        async with asyncio.TaskGroup() as tasks:
            speaks = tasks.create_task(write_on(other))
            await turn_until(lambda: not is_silent(gone))
            reset(gone)
            await speaks
        await hung_up(other)
        await r.is_over()


async def fill(r: Rig, source: socket.socket, sink: socket.socket) -> int:
    """Send as much as fits between two sides, one of which reads nothing.

    Gives the number of bytes.
    """
    client, wire = await r.relayed()
    sent = unchanged = 0
    while unchanged < SETTLED:
        before = sent, unread(sink)
        with contextlib.suppress(BlockingIOError):
            while piece := BULK[sent : sent + 100_000]:
                sent += source.send(piece)
        await write(client, b"x")  # whoever can move has moved once it is there
        await read(wire, 1)
        unchanged = unchanged + 1 if (sent, unread(sink)) == before else 0
    assert sent < len(BULK)
    wire.close()
    client.close()
    return sent


async def to_reset(sock: socket.socket) -> bytes:
    """Read what comes before a reset."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while more := await loop.sock_recv(sock, 1024 * 1024):
            data += more
        raise AssertionError(f"an end after {len(data)} bytes")
    return bytes(data)


async def waits_for_silence(r: Rig) -> None:
    """Wait until the front is about to end a connection that one side has left."""
    await turn_until(lambda: r.clock.timers)


@EACH_SIDE
async def test_what_a_side_sent_before_it_left_is_still_read(side: str) -> None:
    """SK-13: its reset was met by a write, and is told of only once.

    So ends any PT that closes with something unread.
    """
    with rig() as r:
        left, slow = await relayed(r, side)
        sent = await fill(r, left, slow)
        at_once = unread(slow)
        reset(left)
        await write(slow, ANSWER)
        await waits_for_silence(r)
        data = await to_reset(slow)
        assert at_once < len(data) <= sent
        assert BULK.startswith(data)
        await r.is_over()


@EACH_SIDE
async def test_who_does_not_read_what_the_other_side_has_left_is_reset(
    side: str,
) -> None:
    """SE-10: after a while in which nothing moves."""
    with rig() as r:
        slow, left = await relayed(r, side)
        await fill(r, left, slow)
        reset(left)
        await write(slow, HELLO)
        await waits_for_silence(r)
        r.clock.pass_by(LEFT_LIMIT - MOMENT)
        assert len(r.front) == 1
        r.clock.pass_by(MOMENT)
        # The last bytes may have moved after the first look.
        r.clock.pass_by(LEFT_LIMIT)
        assert len(r.front) == 0
        await to_reset(slow)


async def test_the_end_of_a_pt_reaches_a_slow_client_that_still_speaks() -> None:
    """Front: the PT's kernel has answered before its EOF could be read."""
    with rig() as r:
        client, wire = await r.relayed()
        await fill(r, wire, client)
        while unsent(wire):
            await read(client, 10_000)
        wire.close()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(3):
                await write(client, b"x")
                await r.settle()
        await to_reset_or_end(client)
        await hung_up(client)
        await r.is_over()


async def to_reset_or_end(sock: socket.socket) -> None:
    """Read whatever comes."""
    with contextlib.suppress(ConnectionResetError):
        await read_to_end(sock)


async def test_a_client_that_has_closed_for_good_while_the_pt_speaks() -> None:
    """Front: it half-closed first, and its upload is whole."""
    with rig() as r:
        client, wire = await r.relayed()
        await write(client, HELLO)
        client.close()
        await write(wire, ANSWER)
        await write(wire, ANSWER)
        heard = bytearray()
        with contextlib.suppress(ConnectionResetError):
            heard += await read(wire, len(HELLO))
            await read_to_end(wire)
        assert heard == HELLO
        await hung_up(wire) if state(wire) != CLOSED else None
        await r.is_over()


async def test_a_client_that_stays_when_the_pt_has_left_is_left_without_a_word() -> (
    None
):
    """Front: as the kernel forgets a connection that a program has closed."""
    with rig() as r:
        client, wire = await r.relayed()
        wire.close()
        assert await read_to_end(client) == b""
        r.clock.pass_by(LEFT_LIMIT - MOMENT)
        assert len(r.front) == 1
        r.clock.pass_by(MOMENT)
        assert len(r.front) == 0
        await r.settle()
        assert state(client) == CLOSE_WAIT  # no packet has come
        await write(client, b"x")
        await hung_up(client)  # nobody knows of it any more


async def test_a_client_that_still_speaks_to_a_pt_that_has_half_closed() -> None:
    """Front: it is not forgotten while anything moves."""
    with rig() as r:
        client, wire = await r.relayed()
        wire.shutdown(socket.SHUT_WR)
        assert await read_to_end(client) == b""
        r.clock.pass_by(LEFT_LIMIT - MOMENT)
        await write(client, HELLO)
        assert await read(wire, len(HELLO)) == HELLO
        r.clock.pass_by(MOMENT)
        assert len(r.front) == 1
        r.clock.pass_by(LEFT_LIMIT)
        assert len(r.front) == 0
        assert await is_reset(wire)


@pytest.mark.parametrize("said", ["by the client", "by the pt", "an end"])
async def test_a_connection_that_carried_something_dies_with_the_pt(
    said: str,
) -> None:
    """RL-11: the kernel closes a dead PT's sockets as if that were meant."""
    with rig() as r:
        client, wire = await r.connected()
        match said:
            case "by the client":
                await write(client, HELLO)
                assert await read(wire, len(HELLO)) == HELLO
            case "by the pt":
                await write(wire, ANSWER)
                assert await read(client, len(ANSWER)) == ANSWER
            case _:
                client.shutdown(socket.SHUT_WR)
                assert await read_to_end(wire) == b""
        r.pt.die()
        wire.close()
        assert await is_reset(client)
        await r.is_over()


@pytest.mark.parametrize("how", ["client", "PT", "reset"])
async def test_a_connection_that_has_ended_is_freed_at_once(how: str) -> None:
    """Or a crowd of probes would stay in memory until the garbage collector comes."""
    with rig() as r, without_collector():
        client, wire = await r.relayed()
        for sock in (wire, client) if how == "PT" else (client, wire):
            if how == "reset":
                reset(sock)
            else:
                sock.close()
        await r.is_over()
        assert instances(FrontedConnection, CopyPump) == []


async def test_one_that_has_ended_before_its_header_is_freed_as_well() -> None:
    with rig(reads_headers=True) as r, without_collector():
        await r.connect()
        await turn_until(lambda: r.fronted.connections)
        r.front.cut()
        assert instances(FrontedConnection, HeaderReader, CopyPump) == []
