"""One way through a PT, which is played by hand: what shows that all is through."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from typing import TYPE_CHECKING, cast

import pytest

from pt_bridge.connection import unsent
from pt_bridge.passage import (
    BLIND_SETTLE,
    BUSY_SETTLE,
    BUSY_SETTLE_EACH,
    FIRST_LOOK,
    LAST_LOOK,
    Legs,
    Passage,
)
from pt_bridge.protocol.closing import Way
from pt_bridge.sock_diag import Missing, SockDiag
from tests.clock import ClockedLoop
from tests.played_pt import Process
from tests.pumps import maker
from tests.tcp import (
    CLOSE_WAIT,
    closing,
    is_free,
    is_silent,
    noise,
    pair,
    read,
    read_to_end,
    state,
    turn_until,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_bridge.pump import End

pytestmark = pytest.mark.usefixtures("every_pump")

SHORTLY = 1  # seconds: the least for which a kernel remembers a closed connection
WORDS, LARGE = noise(1000), noise(500_000)
A_LOT = noise(8_000_000)  # more than two connections hold unread
ENOUGH = 100  # looks: that many without a result say that there is a reason


class Rig:
    """A way, and whoever is at its ends, the PT's included.

    Attributes:
        speaker: writes into the way.
        pt_in: the PT's end of the entry.
        pt_out: the PT's end of the exit.
        hearer: reads from the way.
        told: grows by one when it says that the PT was told.
        through: grows by one when it says that all has come through.
    """

    def __init__(self, process: Process, sock_diag: SockDiag, *, is_slow: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self.sock_diag = sock_diag
        self.clock = ClockedLoop(self.loop)
        loop = cast("asyncio.AbstractEventLoop", self.clock)
        sink = pair(send_buffer=4096, receive_buffer=20_000) if is_slow else pair()
        self.pairs = pair(), pair(), pair(), sink
        sources, entries, exits, sinks = self.pairs
        self.speaker, self.source = sources
        self.entry, self.pt_in = entries
        self.exit, self.pt_out = exits
        self.sink, self.hearer = sinks
        self.fed: list[End] = []
        self.emptied: list[End] = []
        self.told: list[Passage] = []
        self.through: list[Passage] = []
        self.manners = process.manners()
        make = maker.get()
        self.passage = Passage(
            loop,
            Way.OUT,
            Legs(self.source, self.entry, self.exit, self.sink),
            make(loop, self.source, self.entry, self.fed.append),
            make(loop, self.exit, self.sink, self.emptied.append),
            sock_diag=sock_diag,
            pt=self.manners,
            told=self.told.append,
            came_through=self.through.append,
        )
        self.passage.feed.start()
        self.passage.empty.start()

    async def look(self, times: int = ENOUGH) -> None:
        """Let it look so many times, and let the loop turn in between."""
        for _ in range(times):
            self.clock.pass_by(LAST_LOOK)
            await asyncio.sleep(0)

    async def feed(self, data: bytes = WORDS) -> None:
        """Say all of it, and end; wait until the PT has it."""
        await write(self.speaker, data)
        self.speaker.shutdown(socket.SHUT_WR)
        await turn_until(lambda: self.fed)
        await turn_until(lambda: not unsent(self.entry))

    async def pass_on(self, data: bytes = WORDS) -> None:
        """Be a PT that reads all that there is, and writes it."""
        assert await read(self.pt_in, len(data)) == data
        await write(self.pt_out, data)
        assert await read(self.hearer, len(data)) == data
        await turn_until(lambda: not (unsent(self.pt_out) or unsent(self.sink)))

    @property
    def wait(self) -> float:
        """How long it waits before the next look."""
        return self.clock.appointments[-1].when - self.clock.now


@contextlib.contextmanager
def rig(
    process: Process | None = None, *, knows: bool = True, is_slow: bool = False
) -> Iterator[Rig]:
    """Build a rig and take it down; see that nothing is watched any more.

    Args:
        process: the PT's.
        knows: whether the kernel tells anything.
        is_slow: whether the hearer takes little unless it reads.
    """
    with contextlib.ExitStack() as stack:
        sock_diag = SockDiag()
        if knows:
            stack.enter_context(sock_diag)
        built = Rig(process or Process(), sock_diag, is_slow=is_slow)
        stack.enter_context(closing(*built.pairs))
        yield built
        built.passage.stop()
        built.passage.stop()
        before = len(built.told), len(built.through)
        built.clock.pass_by(3600)
        assert (len(built.told), len(built.through)) == before
        assert is_free(built.loop, *built.passage.legs)


# -- telling the PT --------------------------------------------------------------------


async def test_a_pt_is_told_once_it_has_read_all_of_the_way() -> None:
    """An EOF that meets bytes in the queue could not be seen to be read."""
    with rig() as r:
        await r.feed()
        r.passage.tell(at_once=True)
        await r.look()
        assert not r.told
        assert await read(r.pt_in, len(WORDS)) == WORDS
        await r.look()
        assert len(r.told) == 1
        assert r.passage.is_told
        assert await read_to_end(r.pt_in) == b""


async def test_a_pt_that_has_not_even_room_for_all_is_not_told() -> None:
    """What our own side still holds has to be read, too."""
    with rig() as r:
        async with asyncio.TaskGroup() as tasks:

            async def say() -> None:
                await write(r.speaker, A_LOT)
                r.speaker.shutdown(socket.SHUT_WR)

            tasks.create_task(say())
            heard = await read(r.pt_in, len(A_LOT) - 3_000_000)
            await turn_until(lambda: r.fed)
            r.passage.tell(at_once=True)
            await r.look()
            assert not r.told
            heard += await read(r.pt_in, 3_000_000)
        assert heard == A_LOT
        await turn_until(lambda: not unsent(r.entry))
        await r.look()
        assert len(r.told) == 1


async def test_one_look_is_not_enough_to_tell_a_pt() -> None:
    """The call that took the last bytes may not be over, and take the EOF as well."""
    with rig() as r:
        await r.feed(b"")
        r.passage.tell(at_once=True)
        assert not r.told
        assert is_silent(r.pt_in)
        r.clock.pass_by(FIRST_LOOK)
        assert len(r.told) == 1


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_pt_that_may_close_is_told_once_it_has_read_the_other_way(
    *, at_once: bool
) -> None:
    """What it left unread there would make a reset of what it wrote."""
    with rig() as r:
        await r.feed(b"")
        await write(r.exit, WORDS)  # the other way
        await turn_until(lambda: not is_silent(r.pt_out))
        r.passage.tell(at_once=at_once)
        await r.look()
        assert bool(r.told) is at_once
        assert await read(r.pt_out, len(WORDS)) == WORDS
        await r.look()
        assert len(r.told) == 1


async def test_a_pt_that_is_gone_can_be_told_all_the_same() -> None:
    """Nothing is to be waited for; its end is for the pumps to tell."""
    with rig() as r:
        await r.feed(b"")
        r.pt_in.close()
        r.pt_out.close()
        r.passage.tell(at_once=False)
        await r.look()
        assert len(r.told) == 1


async def test_where_the_kernel_tells_nothing_a_pt_is_told_of_what_it_took() -> None:
    """At least its side of the connection has everything."""
    with rig(knows=False) as r:
        await r.feed()
        r.passage.tell(at_once=False)
        await r.look(2)
        assert len(r.told) == 1
        assert await read_to_end(r.pt_in) == WORDS


# -- without telling it ----------------------------------------------------------------


async def test_all_is_through_when_the_queues_are_empty_and_the_pt_rests() -> None:
    """As soon as that, and it is said once."""
    with rig() as r:
        await r.feed()
        r.passage.watch()
        await r.pass_on()
        assert not r.through
        await r.look(2)
        assert len(r.through) == 1
        assert not r.told
        assert is_silent(r.pt_in)
        await r.look()
        assert len(r.through) == 1


async def test_an_empty_way_is_through_at_the_second_look() -> None:
    """The first one only shows how many bytes there have been."""
    with rig() as r:
        await r.feed(b"")
        r.passage.watch()
        assert not r.through
        r.clock.pass_by(FIRST_LOOK)
        assert len(r.through) == 1


async def test_bytes_that_the_pt_has_not_read_are_not_through() -> None:
    """However long it sleeps."""
    with rig() as r:
        await r.feed()
        r.passage.watch()
        await r.look()
        assert not r.through
        await r.pass_on()
        await r.look()
        assert len(r.through) == 1


async def test_bytes_that_do_not_fit_into_the_pts_queue_are_not_through() -> None:
    """It sleeps, and our own side still holds some of them."""
    with rig() as r:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(r.speaker, A_LOT))
            await turn_until(lambda: r.passage.feed.is_blocked)
            r.passage.watch()
            await r.look()
            assert not r.through
            await read(r.pt_in, len(A_LOT))


async def test_bytes_that_the_sink_does_not_take_are_not_through() -> None:
    """In our own hands, in the exit's queues, and in the PT's."""
    with rig(is_slow=True) as r:
        await r.feed(b"")
        r.passage.watch()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(r.pt_out, LARGE))
            await turn_until(lambda: r.passage.empty.is_blocked)
            await r.look()
            assert not r.through
            heard = b""
            while len(heard) < len(LARGE):
                heard += await read(r.hearer, 50_000)
                r.clock.pass_by(LAST_LOOK)
                assert not (r.through and len(heard) < len(LARGE) - 50_000)
        assert heard == LARGE
        await turn_until(lambda: not unsent(r.pt_out))
        await r.look()
        assert len(r.through) == 1


async def test_bytes_that_a_pt_works_on_are_waited_for() -> None:
    """It has read them, and not yet written; a thread of it runs, or could."""
    process = Process()
    process.is_asleep = False
    with rig(process) as r:
        await r.feed()
        r.passage.watch()
        assert await read(r.pt_in, len(WORDS)) == WORDS
        await r.look()
        assert r.clock.now > BLIND_SETTLE
        assert not r.through
        await write(r.pt_out, WORDS)
        assert await read(r.hearer, len(WORDS)) == WORDS
        await r.look()
        assert not r.through  # there may be more
        process.is_asleep = True
        await r.look()
        assert len(r.through) == 1


async def test_a_pt_that_ran_while_it_was_looked_at_was_not_asleep() -> None:
    """Work that passes from thread to thread may be in none that we look at."""
    process = Process()
    process.works_when_asked = True
    with rig(process) as r:
        await r.feed(b"")
        r.passage.watch()
        await r.look()
        assert not r.through
        process.works_when_asked = False
        await r.look(1)
        assert len(r.through) == 1


async def test_what_a_pt_writes_before_it_falls_asleep_is_still_to_come() -> None:
    """The exit was looked at before that; where much is to do, moments are long."""
    process = Process()
    with rig(process) as r:
        await r.feed()
        assert await read(r.pt_in, len(WORDS)) == WORDS
        r.passage.watch()
        process.says_last = functools.partial(r.pt_out.send, WORDS)
        r.clock.pass_by(LAST_LOOK)
        assert not r.through
        process.says_last = None
        assert await read(r.hearer, len(WORDS)) == WORDS
        await turn_until(lambda: not unsent(r.pt_out))
        await r.look()
        assert len(r.through) == 1


async def test_a_pt_that_never_rests_has_to_do_a_lot_of_work_first() -> None:
    """More where it has more tunnels, for each of them may come first."""
    process = Process()
    process.is_asleep = False
    with rig(process) as r:
        r.manners.tunnels = 50
        await r.feed(b"")
        r.passage.watch()
        await r.look()
        assert process.cpu_time is not None
        process.cpu_time += BUSY_SETTLE + 50 * BUSY_SETTLE_EACH - 0.01
        await r.look()
        assert not r.through
        process.cpu_time += 0.02
        await r.look(1)
        assert len(r.through) == 1


async def test_the_work_counts_from_the_last_byte_on() -> None:
    """It was about those bytes, perhaps."""
    process = Process()
    process.is_asleep = False
    with rig(process) as r:
        r.passage.watch()
        await r.look()
        assert process.cpu_time is not None
        process.cpu_time += BUSY_SETTLE - 0.01
        await write(r.pt_out, WORDS)
        assert await read(r.hearer, len(WORDS)) == WORDS
        await r.look()
        process.cpu_time += BUSY_SETTLE - 0.01
        await r.look()
        assert not r.through
        process.cpu_time += 0.02
        await r.look(1)
        assert len(r.through) == 1


@pytest.mark.parametrize("unknown", ["work", "rest", "queues"])
async def test_where_something_is_not_known_it_takes_a_while(unknown: str) -> None:
    """Another system, or a sandbox: then only time tells."""
    process = Process()
    if unknown == "work":
        process.cpu_time = None
    if unknown == "rest":
        process.is_asleep = None
    with rig(process, knows=unknown != "queues") as r:
        await r.feed(b"")
        r.passage.watch()
        await r.look(1)
        r.clock.pass_by(BLIND_SETTLE - FIRST_LOOK)
        assert not r.through
        r.clock.pass_by(LAST_LOOK)
        assert len(r.through) == 1


async def test_bytes_begin_the_while_anew_where_nothing_is_known() -> None:
    """It says only that nothing has come since."""
    with rig(knows=False) as r:
        r.passage.watch()
        for _ in range(5):
            await r.look(int(BLIND_SETTLE / LAST_LOOK) - 2)
            await write(r.pt_out, WORDS)
            assert await read(r.hearer, len(WORDS)) == WORDS
        assert not r.through
        await r.look()
        assert len(r.through) == 1


# -- after telling it ------------------------------------------------------------------


async def told(r: Rig) -> None:
    """Have the PT told of the end, and watch."""
    r.passage.tell(at_once=True)
    r.passage.watch()
    await turn_until_told(r)


async def turn_until_told(r: Rig) -> None:
    while not r.told:
        await r.look(1)


async def test_a_pt_that_has_read_the_end_has_written_all_before() -> None:
    """Whether it sleeps or works on others: that is how copying works."""
    process = Process()
    process.is_asleep = False
    with rig(process) as r:
        await r.feed()
        await r.pass_on()
        await told(r)
        await r.look()
        assert not r.through
        assert await read_to_end(r.pt_in) == b""
        await r.look(2)
        assert len(r.through) == 1


async def test_bytes_that_it_wrote_before_must_still_come_out() -> None:
    """They are in the queues of the exit."""
    with rig(is_slow=True) as r:
        await r.feed(b"")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(r.pt_out, LARGE))
            await turn_until(lambda: r.passage.empty.is_blocked)
            await told(r)
            assert await read_to_end(r.pt_in) == b""
            await r.look()
            assert not r.through
            assert await read(r.hearer, len(LARGE)) == LARGE
        await turn_until(lambda: not unsent(r.pt_out))
        await r.look()
        assert len(r.through) == 1


async def test_a_pt_that_is_told_is_given_its_time_where_nothing_is_known() -> None:
    """As one that is not told."""
    with rig(knows=False) as r:
        await r.feed(b"")
        await told(r)
        assert await read_to_end(r.pt_in) == b""
        await r.look(2)
        assert not r.through
        r.clock.pass_by(BLIND_SETTLE)
        assert len(r.through) == 1


@pytest.mark.parametrize("how", ["ends", "closes"])
@pytest.mark.parametrize("leg", ["entry", "exit"])
async def test_a_leg_that_the_pt_has_closed_is_for_its_pump_to_tell(
    leg: str, how: str
) -> None:
    """SK-13: it was not told; what it held is lost, and its queues are empty."""
    with rig() as r:
        await r.feed(b"")
        r.passage.watch()
        theirs = r.pt_in if leg == "entry" else r.pt_out
        if how == "ends":
            theirs.shutdown(socket.SHUT_WR)
        else:
            theirs.close()
        r.clock.pass_by(FIRST_LOOK)  # before the pump is told
        await r.look()
        assert not r.through
        assert bool(r.emptied) is (leg == "exit")


async def test_a_leg_that_the_kernel_has_forgotten_shows_nothing() -> None:
    """SK-13: likewise, a minute later; here, a second."""
    with rig() as r:
        await r.feed(b"")
        r.passage.watch()
        r.pt_in.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, SHORTLY)
        r.pt_in.close()
        await turn_until(lambda: r.sock_diag.peer(r.entry) is Missing.GONE)
        await r.look()
        assert not r.through


async def test_a_pt_that_was_told_of_the_other_way_keeps_this_one_open() -> None:
    """Its end of the exit then waits for it to close, which is as it should be."""
    with rig() as r:
        r.exit.shutdown(socket.SHUT_WR)
        await r.feed(b"")
        r.passage.watch()
        await r.look()
        assert len(r.through) == 1


# -- how often it looks ----------------------------------------------------------------


async def test_it_looks_ever_more_seldom_and_often_again_when_bytes_move() -> None:
    """Nothing is known to come, and a look is not free."""
    process = Process()
    process.is_asleep = False
    with rig(process) as r:
        r.passage.watch()
        assert r.wait == pytest.approx(FIRST_LOOK)
        await r.look(10)
        assert FIRST_LOOK < r.wait < LAST_LOOK
        await r.look()
        assert r.wait == pytest.approx(LAST_LOOK)
        await write(r.pt_out, WORDS)
        assert await read(r.hearer, len(WORDS)) == WORDS
        await r.look(1)
        assert r.wait == pytest.approx(FIRST_LOOK)


async def test_one_that_waits_for_nothing_does_not_look() -> None:
    """Design 7: an idle tunnel costs nothing."""
    with rig() as r:
        await r.feed(b"")
        assert not r.clock.appointments
        r.passage.tell(at_once=True)
        await r.look()
        assert r.told
        assert not r.clock.appointments


# -- its end ---------------------------------------------------------------------------


async def test_a_way_that_is_cut_feeds_nobody_and_hears_everybody_out() -> None:
    """Or the PT, and who speaks, would hang, and be reset in the end."""
    with rig() as r:
        await write(r.speaker, WORDS)
        assert await read(r.pt_in, len(WORDS)) == WORDS
        r.passage.cut()
        assert r.passage.is_cut
        await write(r.speaker, A_LOT)
        await write(r.pt_out, A_LOT)
        assert is_silent(r.pt_in)
        assert is_silent(r.hearer)
        assert not r.passage.source_has_ended
        r.speaker.shutdown(socket.SHUT_WR)
        await turn_until(lambda: r.passage.source_has_ended)
        r.pt_out.shutdown(socket.SHUT_WR)
        await turn_until(lambda: state(r.exit) == CLOSE_WAIT)
        await r.look()
        assert is_free(r.loop, r.exit, r.source)
        assert (r.fed, r.emptied) == ([], [])


async def test_a_way_that_is_cut_while_it_looks_looks_no_more() -> None:
    """And does not read again what has ended."""
    with rig() as r:
        await r.feed()
        r.passage.source_has_ended = True
        r.passage.tell(at_once=True)
        r.passage.watch()
        r.passage.cut()
        assert is_free(r.loop, r.source)
        assert await read(r.pt_in, len(WORDS)) == WORDS
        await r.look()
        assert (r.told, r.through) == ([], [])
        await write(r.pt_out, A_LOT)  # and nobody hangs


@pytest.mark.parametrize("slow", ["pt", "hearer"])
async def test_a_way_can_be_stopped_with_bytes_in_its_hands(slow: str) -> None:
    """Or cut before; nothing is watched any more."""
    with rig() as r:
        writes, pump = (
            (r.speaker, r.passage.feed) if slow == "pt" else (r.pt_out, r.passage.empty)
        )
        async with asyncio.TaskGroup() as tasks:
            talks = tasks.create_task(write(writes, A_LOT * 4))
            await turn_until(lambda: pump.is_blocked)
            if slow == "pt":
                r.passage.cut()
            r.passage.watch()
            r.passage.stop()
            assert is_free(r.loop, *r.passage.legs)
            talks.cancel()
