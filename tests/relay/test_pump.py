"""How bytes move from one socket to another, both ways, between real sockets."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import gc
import socket
import termios
from typing import TYPE_CHECKING

import pytest

from pt_bridge.net.sockets import reset
from pt_bridge.relay.pump import CHUNK, Drain, End
from tests.support.pumps import MOST_HELD, maker, way
from tests.support.tcp import (
    closing,
    is_free,
    noise,
    pair,
    read,
    read_to_end,
    readable,
    turn_until,
    wait_for_hangup,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.tcp import Pair

pytestmark = pytest.mark.usefixtures("every_pump")
both_directions = pytest.mark.parametrize("direction", ["up", "down"])


class Rig:
    """A pump and the peers of its two sockets: speaker, source, sink, hearer.

    ``up`` and ``down`` are the two directions of one tunnel: what is the source's
    connection for the one is the sink's for the other.
    """

    def __init__(self, direction: str, near: Pair, far: Pair) -> None:
        host, near_leg = near
        pt, far_leg = far
        self.loop = asyncio.get_running_loop()
        self.ends: list[End] = []
        self.end: asyncio.Future[End] = self.loop.create_future()
        if direction == "up":
            self.speaker, self.source, self.sink, self.hearer = (
                host, near_leg, far_leg, pt,
            )  # fmt: skip
        else:
            self.speaker, self.source, self.sink, self.hearer = (
                pt, far_leg, near_leg, host,
            )  # fmt: skip
        make = maker.get()
        self.pump = make(self.loop, self.source, self.sink, self._ended)
        # What the tunnel has on the same sockets.
        self.other = make(self.loop, self.sink, self.source, lambda _: None)

    def _ended(self, how: End) -> None:
        self.ends.append(how)
        self.end.set_result(how)

    @property
    def is_free(self) -> bool:
        """Whether the pump has left nothing on the loop."""
        return is_free(self.loop, self.source, self.sink)

    async def fill(self, data: bytes) -> int:
        """Speak until nothing moves any more; return the number of bytes spoken."""
        spoken = 0
        while True:
            try:
                spoken += self.speaker.send(memoryview(data)[spoken:])
            except BlockingIOError:
                if self.pump.is_blocked:
                    return spoken
            await asyncio.sleep(0)  # lets the pump take its turn


@contextlib.contextmanager
def rig(direction: str, *, tcp: bool = True) -> Iterator[Rig]:
    """Build a rig, and take it down again."""
    near, far = (pair(), pair()) if tcp else (_local_pair(), _local_pair())
    with closing(near, far):
        built = Rig(direction, near, far)
        try:
            yield built
        finally:
            built.pump.stop()
            built.other.stop()


def _local_pair() -> Pair:
    """Connect two sockets whose buffers change only when somebody reads or writes."""
    first, second = socket.socketpair()
    first.setblocking(False)
    second.setblocking(False)
    return first, second


def _unread(sock: socket.socket) -> int:
    number = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, number)
    return number[0]


@pytest.mark.parametrize("size", [1, 1000, 3_000_000])
@both_directions
async def test_what_was_read_before_goes_first(direction: str, size: int) -> None:
    """Whoever had to look at the first bytes hands them on."""
    first, rest = noise(size), noise(100_000)
    with rig(direction) as r:
        r.pump.start(first)
        assert r.pump.is_blocked

        async def speak() -> None:
            await write(r.speaker, rest)
            r.speaker.shutdown(socket.SHUT_WR)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(speak())
            heard = tasks.create_task(read(r.hearer, size + len(rest)))
        assert await r.end is End.EOF
        assert heard.result() == first + rest
        assert r.pump.moved == size + len(rest)
        assert r.is_free


@both_directions
async def test_a_pump_that_is_stopped_before_its_first_bytes_left_is_free(
    direction: str,
) -> None:
    with rig(direction) as r:
        r.pump.start(b"first")
        r.pump.stop()
        assert r.is_free
        assert r.pump.moved == 0


@pytest.mark.parametrize("size", [1, 1000, 10_000_000])
@both_directions
async def test_bytes_arrive_whole_and_in_order_both_ways_at_once(
    direction: str, size: int
) -> None:
    """RL-01: every byte, from the first one to the EOF."""
    data, answer = noise(size), noise(size + 1)
    with rig(direction) as r:
        r.pump.start()
        r.other.start()

        async def speak() -> None:
            await write(r.speaker, data)
            r.speaker.shutdown(socket.SHUT_WR)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(speak())
            tasks.create_task(write(r.hearer, answer))
            heard = tasks.create_task(read(r.hearer, size))
            back = tasks.create_task(read(r.speaker, size + 1))
        assert await r.end is End.EOF
        assert heard.result() == data
        assert back.result() == answer
        assert r.pump.moved == size
        assert r.ends == [End.EOF]


@both_directions
@pytest.mark.parametrize("before", [b"abc", b""])
async def test_an_urgent_byte_holds_nothing_up(direction: str, before: bytes) -> None:
    """SE-10: splice(2) stops in front of it, and says that there is nothing."""
    with rig(direction) as r:
        r.pump.start()
        if before:
            await write(r.speaker, before)
            assert await read(r.hearer, 3) == before
        r.speaker.send(b"!", socket.MSG_OOB)
        await write(r.speaker, b"def")
        assert await read(r.hearer, 3) == b"def"


@both_directions
async def test_a_trickle_is_passed_on_byte_by_byte(direction: str) -> None:
    """RL-01: nothing waits for more to come."""
    with rig(direction) as r:
        r.pump.start()
        for byte in noise(300):
            await write(r.speaker, bytes([byte]))
            assert await read(r.hearer, 1) == bytes([byte])
        assert r.pump.moved == 300
        assert not r.pump.is_blocked


@both_directions
async def test_a_slow_hearer_stops_the_speaker_and_loses_nothing(
    direction: str,
) -> None:
    """RL-01: a pump holds a chunk or a pipe at most, and reads no more meanwhile."""
    data = noise(10_000_000)
    with rig(direction, tcp=False) as r:
        r.pump.start()
        r.other.start()
        spoken = await r.fill(data)
        assert spoken < len(data)
        held = spoken - r.pump.moved - _unread(r.source)
        assert 0 < held <= MOST_HELD[way.get()]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(r.speaker, data[spoken:]))
            heard = tasks.create_task(read(r.hearer, len(data)))
        assert heard.result() == data
        assert not r.pump.is_blocked


@both_directions
async def test_the_end_is_told_only_when_everything_was_written(direction: str) -> None:
    """RL-02: what came before the EOF comes before the EOF."""
    with rig(direction, tcp=False) as r:
        r.pump.start()
        data = noise(10_000_000)
        spoken = await r.fill(data)
        r.speaker.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0)  # a turn in which the EOF could be heard
        assert not r.end.done()
        assert await read(r.hearer, spoken) == data[:spoken]
        assert await r.end is End.EOF
        assert r.pump.moved == spoken
        assert r.is_free


@pytest.mark.parametrize("when", ["before it starts", "idle", "blocked"])
@both_directions
async def test_a_pump_can_be_stopped_at_any_time_and_again(
    direction: str, when: str
) -> None:
    """RL-01: it is not heard of again, and nothing of it is left on the loop."""
    with rig(direction, tcp=False) as r:
        if when != "before it starts":
            r.pump.start()
        if when == "blocked":
            await r.fill(noise(10_000_000))
        r.pump.stop()
        r.pump.stop()
        assert r.is_free
        assert not r.pump.is_blocked
        r.speaker.close()
        r.hearer.close()
        await asyncio.sleep(0)  # a turn in which it could be heard of
        assert r.ends == []


@both_directions
async def test_an_idle_pump_is_neither_a_task_nor_a_buffer(direction: str) -> None:
    """An idle tunnel holds its sockets and nothing else."""
    with rig(direction) as r:
        r.pump.start()
        await write(r.speaker, noise(1000))
        await read(r.hearer, 1000)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        held = gc.get_referents(r.pump)
        assert not [h for h in held if isinstance(h, bytes | bytearray | memoryview)]
        assert not r.pump.is_blocked


@both_directions
async def test_a_pump_tells_when_bytes_last_moved(direction: str) -> None:
    """RL-04: silence is counted from the last byte."""
    with rig(direction) as r:
        r.pump.start()
        started = r.pump.last
        assert 0 < started <= r.loop.time()
        before = r.loop.time()
        await write(r.speaker, b"x")
        await read(r.hearer, 1)
        assert before <= r.pump.last <= r.loop.time()


@both_directions
async def test_a_source_that_is_reset_is_told_from_one_that_ends(
    direction: str,
) -> None:
    """SK-13: a reset is passed on as a reset, so it must be seen as one."""
    with rig(direction) as r:
        r.pump.start()
        reset(r.speaker)
        assert await r.end is End.SOURCE_RESET
        assert r.is_free


@both_directions
async def test_a_sink_that_is_reset_ends_the_pump_at_the_next_byte(
    direction: str,
) -> None:
    """RL-10: there is nobody to write to."""
    with rig(direction) as r:
        r.pump.start()
        reset(r.hearer)
        wait_for_hangup(r.sink)
        assert not r.end.done()
        await write(r.speaker, b"x")
        assert await r.end is End.SINK_RESET
        assert r.is_free


@both_directions
async def test_a_sink_that_is_reset_ends_a_pump_that_waits_for_it(
    direction: str,
) -> None:
    """RL-01: what it held is let go."""
    with rig(direction) as r:
        r.pump.start()
        await r.fill(noise(50_000_000))
        reset(r.hearer)
        assert await r.end is End.SINK_RESET
        assert not r.pump.is_blocked
        assert r.is_free


@both_directions
async def test_a_sink_that_ended_and_then_closed_is_told_from_one_that_is_reset(
    direction: str,
) -> None:
    """RL-04: the host read the answer's beginning, and wants no more."""
    with rig(direction) as r:
        r.pump.start()
        r.hearer.close()
        await readable(r.sink)  # its EOF, which the kernel cannot tell from half of one
        await write(r.speaker, b"refused")
        await turn_until(lambda: r.pump.moved)
        wait_for_hangup(r.sink)
        assert not r.end.done()
        await write(r.speaker, b"and told so")
        assert await r.end is End.SINK_CLOSED
        assert r.is_free


@both_directions
async def test_a_sink_that_ended_can_still_be_written_to(direction: str) -> None:
    """RL-03: half-closed is not closed."""
    with rig(direction) as r:
        r.pump.start()
        r.hearer.shutdown(socket.SHUT_WR)
        await readable(r.sink)
        for byte in b"late answer":
            await write(r.speaker, bytes([byte]))
            assert await read(r.hearer, 1) == bytes([byte])
        assert r.ends == []


@both_directions
async def test_a_wake_up_without_a_byte_is_harmless(direction: str) -> None:
    """RL-10: select(2) warns of sockets that seem readable and are not."""
    with rig(direction, tcp=False) as r, r.source.dup() as thief:
        stolen = []
        r.pump.start()
        r.loop.add_reader(thief.fileno(), lambda: stolen.append(thief.recv(CHUNK)))
        await write(r.speaker, b"whose?")
        await turn_until(lambda: stolen or r.pump.moved)
        r.loop.remove_reader(thief.fileno())
        await write(r.speaker, b"mine")
        expected = b"mine" if stolen else b"whose?mine"
        assert await read(r.hearer, len(expected)) == expected
        assert r.ends == []


async def test_a_drain_reads_everything_and_tells_of_the_end_once() -> None:
    """RL-02: what still comes must not make the kernel reset what we sent."""
    loop = asyncio.get_running_loop()
    outer, inner = pair()
    with closing((outer, inner)):
        ended = asyncio.Event()
        drain = Drain(loop, inner, ended.set)
        await write(outer, noise(1_000_000))
        assert not ended.is_set()
        outer.close()
        await ended.wait()
        drain.stop()
        assert is_free(loop, inner)


async def test_a_reset_is_an_end_for_a_drain() -> None:
    """RL-10: it is only there to come to an end."""
    loop = asyncio.get_running_loop()
    outer, inner = pair()
    with closing((outer, inner)):
        ended = asyncio.Event()
        Drain(loop, inner, ended.set)
        reset(outer)
        await ended.wait()
        assert is_free(loop, inner)


async def test_a_stopped_drain_is_not_heard_of_again() -> None:
    """RL-02: after `stop` the socket is somebody else's."""
    loop = asyncio.get_running_loop()
    outer, inner = pair()
    with closing((outer, inner)):
        ended = asyncio.Event()
        drain = Drain(loop, inner, ended.set)
        drain.stop()
        drain.stop()
        await write(outer, b"for somebody else")
        outer.close()
        assert await read_to_end(inner) == b"for somebody else"
        assert not ended.is_set()


async def test_a_drain_does_not_mind_a_wake_up_without_a_byte() -> None:
    """RL-10: as for a pump."""
    loop = asyncio.get_running_loop()
    outer, inner = _local_pair()
    with closing((outer, inner)), inner.dup() as thief:
        ended = asyncio.Event()
        told = asyncio.Event()
        Drain(loop, inner, ended.set)

        def steal() -> None:
            with contextlib.suppress(BlockingIOError):
                thief.recv(CHUNK)
            told.set()

        loop.add_reader(thief.fileno(), steal)
        await write(outer, b"whose?")
        await told.wait()
        loop.remove_reader(thief.fileno())
        assert not ended.is_set()
        outer.close()
        await ended.wait()
