"""One tunnel between a host and a PT, both played here over real TCP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from pt_bridge.net.sock_diag import SockDiag
from pt_bridge.net.sockets import reset
from pt_bridge.relay.draining_close import DrainingClose
from pt_bridge.relay.plain_tunnel import (
    BLIND_LINGER,
    FIRST_LOOK,
    LINGER,
    Tunnel,
)
from pt_bridge.relay.pump import CopyPump, Drain
from tests.support.clock import ClockedLoop
from tests.support.freed import instances, without_collector
from tests.support.pumps import maker
from tests.support.tcp import (
    CLOSE_WAIT,
    CLOSED,
    closing,
    is_reset,
    is_silent,
    noise,
    pair,
    read,
    read_to_end,
    state,
    turn_until,
    wait_for_hangup,
    write,
    write_on,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.tcp import Pair

pytestmark = pytest.mark.usefixtures("every_pump")

FOR_EVER = 3600.0
MOMENT = 0.05
LEFT = 150_000  # more than a slow PT takes unread
# What a tunnel is made with where a test says nothing else.
USUAL = {"linger": FOR_EVER, "idle": None, "drain_limit": FOR_EVER}
QUESTION, ANSWER = b"GET / HTTP/1.0\r\n\r\n", noise(100_000)


class Rig:
    """A tunnel, and the two ends that use it: ``host`` and ``pt``."""

    def __init__(
        self,
        local: Pair,
        plain: Pair,
        *,
        pt_dies: bool = False,
        clock: ClockedLoop | None = None,
        **given: Any,
    ) -> None:
        loop = asyncio.get_running_loop() if clock is None else clock.as_loop
        self.host, self.local = local
        self.pt, self.plain = plain
        self.endings: list[Tunnel] = []
        self._over = asyncio.Event()
        self.tunnel = Tunnel(
            loop,
            self.local,
            self.plain,
            pt_is_ending=lambda: pt_dies,
            on_ended=self._ended,
            pump=maker.get(),
            **{**USUAL, **given},
        )

    def _ended(self, tunnel: Tunnel) -> None:
        assert self.is_closed  # it says so only afterwards
        self.endings.append(tunnel)
        self._over.set()

    @property
    def is_closed(self) -> bool:
        """Whether both of the tunnel's sockets are closed."""
        return self.local.fileno() == self.plain.fileno() == -1

    async def over(self) -> None:
        """Wait for the tunnel's end, and see that it is told of once."""
        await self._over.wait()
        await asyncio.sleep(0)  # a turn in which it could be told of again
        assert self.endings == [self.tunnel]


@contextlib.contextmanager
def rig(
    *, local: Pair | None = None, plain: Pair | None = None, **given: Any
) -> Iterator[Rig]:
    """Build a rig, with what else a tunnel is given; see that it leaves nothing."""
    local, plain = local or pair(), plain or pair()
    with closing(local, plain):
        built = Rig(local, plain, **given)
        try:
            yield built
        finally:
            if not built.endings:
                built.tunnel.reset()
        assert built.is_closed
        assert built.endings == [built.tunnel]


def slow_pair(*, send_buffer: int) -> Pair:
    """Connect a host that takes little unless it reads, and a leg that holds more."""
    host, local = pair(receive_buffer=20_000)
    local.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    host.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
    return host, local


class Oracle:
    """What the kernel would tell of the host, if a test were the kernel.

    Attributes:
        answer: what it says.
        asked: how often it was asked.
    """

    def __init__(self, *, answer: bool | None) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self, sock: socket.socket) -> bool | None:
        """Return whether the host has closed for good."""
        self.asked += 1
        return self.answer


def roomy_pair() -> Pair:
    """Connect a host or a PT to a leg that holds a lot unread."""
    return pair(receive_buffer=200_000)


async def go_with_bytes_left(r: Rig, data: bytes = b"x" * LEFT) -> None:
    """Be a host that sends more than a slow PT takes, and is gone; and be noticed."""
    await write(r.host, data)
    r.host.close()
    await turn_until(lambda: state(r.local) == CLOSE_WAIT)
    await write(r.pt, b"refused")
    await turn_until(lambda: state(r.local) == CLOSED)
    await write(r.pt, b"and told so")
    await turn_until(lambda: is_silent(r.plain))


async def upload_some(sock: socket.socket) -> None:
    """Send a lot, which arrives only if somebody reads it."""
    await write(sock, noise(10_000_000))


async def test_bytes_go_both_ways_at_once() -> None:
    """RL-01: whole and in order; the tunnel counts them."""
    data = noise(10_000_000)
    with rig() as r:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(r.host, data))
            tasks.create_task(write(r.pt, data[::-1]))
            up = tasks.create_task(read(r.pt, len(data)))
            down = tasks.create_task(read(r.host, len(data)))
        assert up.result() == data
        assert down.result() == data[::-1]
        assert r.tunnel.moved == 2 * len(data)


async def test_the_answer_to_a_half_closed_question_arrives() -> None:
    """RL-03, RL-04: and the PT is not told of the half-close."""
    with rig() as r:
        await write(r.host, QUESTION)
        r.host.shutdown(socket.SHUT_WR)
        assert await read(r.pt, len(QUESTION)) == QUESTION
        for byte in ANSWER[:100]:
            await write(r.pt, bytes([byte]))
            assert await read(r.host, 1) == bytes([byte])
        assert is_silent(r.pt)
        await write(r.pt, ANSWER)
        r.pt.close()
        assert await read_to_end(r.host) == ANSWER
        await r.over()


async def test_what_comes_right_before_a_half_close_reaches_the_pt() -> None:
    """RL-03: an EOF right behind the data takes nothing of it away."""
    data = noise(5_000_000)
    with rig() as r:

        async def ask() -> None:
            await write(r.host, data)
            r.host.shutdown(socket.SHUT_WR)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask())
            asked = tasks.create_task(read(r.pt, len(data)))
        assert asked.result() == data
        await write(r.pt, ANSWER)
        r.pt.shutdown(socket.SHUT_WR)
        assert await read_to_end(r.host) == ANSWER
        assert await read_to_end(r.pt) == b""
        await r.over()


async def test_a_pt_that_never_answers_is_left_after_the_linger() -> None:
    """RL-04, SK-13: the host gets no EOF that looks like an answer, the PT gets one."""
    with rig(linger=MOMENT) as r:
        await write(r.host, QUESTION)
        r.host.shutdown(socket.SHUT_WR)
        assert await is_reset(r.host)
        assert await read_to_end(r.pt) == QUESTION
        await r.over()


async def test_the_linger_is_counted_from_the_last_byte() -> None:
    """RL-04: no downstream byte for so long, not since the half-close."""
    loop = asyncio.get_running_loop()
    with rig(linger=MOMENT) as r:
        r.host.shutdown(socket.SHUT_WR)
        before = loop.time()
        await write(r.pt, ANSWER)
        assert await read(r.host, len(ANSWER)) == ANSWER
        assert await is_reset(r.host)
        assert loop.time() - before >= MOMENT
        await r.over()


async def test_without_a_linger_a_half_close_ends_the_tunnel() -> None:
    """RL-04: 0 is what other plugins do."""
    with rig(linger=0) as r:
        await write(r.host, QUESTION)
        r.host.shutdown(socket.SHUT_WR)
        assert await read_to_end(r.pt) == QUESTION
        await r.over()


@pytest.mark.parametrize("size", [200_000, 5_000_000], ids=["sent", "waiting"])
async def test_a_slow_host_is_not_taken_for_a_silent_pt(size: int) -> None:
    """RL-04: the answer is there, be it still with us or with the kernel."""
    answer = noise(size)
    with rig(linger=MOMENT, local=slow_pair(send_buffer=400_000)) as r:
        r.host.shutdown(socket.SHUT_WR)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(r.pt, answer))
            await turn_until(lambda: r.tunnel.moved >= 200_000)
            # The clock: one that is silent, and then another one.
            for _ in range(2):
                with rig(linger=MOMENT) as silent:
                    silent.host.shutdown(socket.SHUT_WR)
                    await silent.over()
            heard = tasks.create_task(read(r.host, size))
        assert heard.result() == answer
        assert await is_reset(r.host)
        await r.over()


async def test_what_the_pt_says_last_reaches_the_host() -> None:
    """RL-02: everything received, and then the EOF."""
    with rig() as r:
        await write(r.pt, ANSWER)
        r.pt.close()
        assert await read_to_end(r.host) == ANSWER
        assert not r.endings  # the host may still be sending
        r.host.close()
        await r.over()


async def test_a_host_that_is_sending_gets_the_last_bytes_all_the_same() -> None:
    """RL-02: no reset of ours may overtake them."""
    answer = noise(10_000_000)
    with rig(local=slow_pair(send_buffer=4_000_000)) as r:

        async def answer_and_end() -> None:
            await write(r.pt, answer)
            r.pt.shutdown(socket.SHUT_WR)
            await read_to_end(r.pt)

        async with asyncio.TaskGroup() as tasks:
            uploads = tasks.create_task(write_on(r.host))
            tasks.create_task(answer_and_end())
            heard = await read_to_end(r.host)
            uploads.cancel()
            # Until then the PT may have what the host still sends.
            r.host.shutdown(socket.SHUT_WR)
        assert heard == answer
        await r.over()


async def test_a_pt_that_closes_under_a_host_that_is_sending_only_ends() -> None:
    """RL-02: it takes no more, and what it said before is whole all the same."""
    answer = noise(LEFT)
    with rig(local=slow_pair(send_buffer=4096), plain=roomy_pair()) as r:
        await write(r.pt, answer)
        r.pt.close()
        await turn_until(lambda: state(r.plain) == CLOSE_WAIT)
        # The slow host keeps us from reading so far; and this is refused.
        await write(r.host, QUESTION)
        await turn_until(lambda: state(r.plain) == CLOSED)
        await upload_some(r.host)
        r.host.shutdown(socket.SHUT_WR)
        await turn_until(lambda: state(r.local) == CLOSE_WAIT)
        assert r.tunnel.moved < len(QUESTION) + len(answer)
        assert await read_to_end(r.host) == answer
        await r.over()


async def test_what_a_host_sent_before_it_closed_reaches_the_pt() -> None:
    """RL-04: its EOF may mean that it is gone, or that it waits for the answer."""
    data = noise(3_000_000)
    with rig(linger=MOMENT) as r:

        async def say_and_go() -> None:
            await write(r.host, data)
            r.host.close()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(say_and_go())
            heard = tasks.create_task(read_to_end(r.pt))
        assert heard.result() == data
        await r.over()


async def test_a_host_that_is_gone_is_noticed_by_the_answer() -> None:
    """RL-04: a write to it fails; the PT gets the EOF, and time to pass all on."""
    with rig() as r:
        await write(r.host, QUESTION)
        r.host.close()
        assert await read(r.pt, len(QUESTION)) == QUESTION
        async with asyncio.TaskGroup() as tasks:
            uploads = tasks.create_task(write_on(r.pt))
            assert await read_to_end(r.pt) == b""
            assert not r.endings  # the PT still talks
            uploads.cancel()
        r.pt.close()
        await r.over()


async def test_a_host_that_is_gone_has_all_its_bytes_delivered_to_a_slow_pt() -> None:
    """RL-04: also where the PT had not taken them when it was noticed."""
    data = noise(LEFT)
    with rig(local=roomy_pair(), plain=slow_pair(send_buffer=4096)) as r:
        await go_with_bytes_left(r, data)
        async with asyncio.TaskGroup() as tasks:
            uploads = tasks.create_task(write_on(r.pt))
            assert await read_to_end(r.pt) == data
            uploads.cancel()
        r.pt.close()
        await r.over()


async def test_a_host_that_is_known_to_be_gone_ends_the_pt_at_once() -> None:
    """What it sent reaches a slow PT, and then the EOF; nothing lingers."""
    data = noise(LEFT)
    oracle = Oracle(answer=True)
    plain = slow_pair(send_buffer=4096)
    with rig(local=roomy_pair(), plain=plain, local_has_closed=oracle) as r:
        await write(r.host, data)
        r.host.close()
        await turn_until(lambda: state(r.local) == CLOSE_WAIT)
        assert r.tunnel.moved < len(data)
        before = oracle.asked
        assert await read_to_end(r.pt) == data
        assert (before, oracle.asked) == (0, 1)  # once the PT was given everything
        assert not r.endings  # the PT may still have to pass it on
        r.pt.close()
        await r.over()


async def test_what_a_pt_says_to_a_host_that_is_known_to_be_gone_hurts_nobody() -> None:
    """RL-04: it is read, so that no reset overtakes what the PT has not read."""
    with rig(local_has_closed=Oracle(answer=True)) as r:
        await write(r.host, QUESTION)
        r.host.close()
        await write(r.pt, noise(3_000_000))
        assert await read_to_end(r.pt) == QUESTION
        r.pt.close()
        await r.over()


async def test_a_host_that_is_known_to_be_there_is_waited_for() -> None:
    """RL-04: and looked at again and again, ever more seldom, until it is gone."""
    oracle = Oracle(answer=False)
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(local_has_closed=oracle, clock=clock) as r:
        await write(r.host, QUESTION)
        assert not oracle.asked  # it has not even half-closed
        r.host.shutdown(socket.SHUT_WR)
        assert await read(r.pt, len(QUESTION)) == QUESTION
        for turn in range(10):
            await turn_until(lambda: oracle.asked == 1 + turn)  # noqa: B023
            clock.pass_by(FIRST_LOOK * 2**turn)
            await write(r.pt, ANSWER)
            assert await read(r.host, len(ANSWER)) == ANSWER
            assert is_silent(r.pt)
        oracle.answer = True
        clock.pass_by(FIRST_LOOK * 2**10)
        assert await read_to_end(r.pt) == b""
        r.pt.close()
        await r.over()


async def test_the_linger_is_also_for_a_host_that_is_known_to_be_there() -> None:
    """RL-04: it may wait for an answer that never comes; nobody looks any more then."""
    oracle = Oracle(answer=False)
    with rig(linger=MOMENT, local_has_closed=oracle) as r:
        r.host.shutdown(socket.SHUT_WR)
        assert await is_reset(r.host)
        await r.over()
        assert r.tunnel._look is None
        assert oracle.asked > 1


async def test_a_host_of_which_nothing_is_known_is_not_looked_at_again() -> None:
    """It is waited for as long as `linger`."""
    oracle = Oracle(answer=None)
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(linger=1, local_has_closed=oracle, clock=clock) as r:
        r.host.shutdown(socket.SHUT_WR)
        await turn_until(lambda: oracle.asked)
        clock.pass_by(0.99)
        await write(r.pt, ANSWER)
        assert await read(r.host, len(ANSWER)) == ANSWER
        clock.pass_by(0.99)
        assert not r.endings
        clock.pass_by(1)
        await r.over()
        assert oracle.asked == 1


@pytest.mark.parametrize(("answer", "linger"), [(False, LINGER), (None, BLIND_LINGER)])
async def test_a_host_that_is_known_to_be_there_is_usually_waited_for_longer(
    answer: bool | None,  # noqa: FBT001 - what the kernel says
    linger: float,
) -> None:
    """60 s, and 10 where a host that waits looks like one that is gone."""
    oracle = Oracle(answer=answer)
    clock = ClockedLoop(asyncio.get_running_loop())
    with rig(linger=None, local_has_closed=oracle, clock=clock) as r:
        r.host.shutdown(socket.SHUT_WR)
        await turn_until(lambda: oracle.asked)
        while clock.now + 1 < linger:
            clock.pass_by(1)
            assert not r.endings
        await write(r.pt, ANSWER)
        assert await read(r.host, len(ANSWER)) == ANSWER
        last = clock.now
        while not r.endings:
            clock.pass_by(1)
        assert linger <= clock.now - last <= linger + 2
        await r.over()


async def test_the_kernel_tells_a_host_that_is_gone_from_one_that_waits() -> None:
    """At once, and a moment after a half-close; RL-04 for who waits."""
    with SockDiag() as diag, contextlib.ExitStack() as stack:
        gone, going, waiting = (
            stack.enter_context(rig(local_has_closed=diag.peer_has_closed))
            for _ in range(3)
        )
        for r in (gone, going, waiting):
            await write(r.host, QUESTION)
        gone.host.close()
        going.host.shutdown(socket.SHUT_WR)
        waiting.host.shutdown(socket.SHUT_WR)
        assert await read_to_end(gone.pt) == QUESTION
        assert await read(going.pt, len(QUESTION)) == QUESTION
        await turn_until(lambda: going.tunnel._look)
        going.host.close()
        assert await read_to_end(going.pt) == b""
        assert await read(waiting.pt, len(QUESTION)) == QUESTION
        assert is_silent(waiting.pt)
        await write(waiting.pt, ANSWER)
        for r in (gone, going, waiting):
            r.pt.close()
            await r.over()
        assert await read_to_end(waiting.host) == ANSWER


async def test_a_reset_after_the_half_close_is_found_by_looking() -> None:
    """RL-04: nobody reads from a half-closed host, and nothing else may ever tell."""
    local = slow_pair(send_buffer=400_000)
    with (
        SockDiag() as diag,
        rig(local=local, local_has_closed=diag.peer_has_closed) as r,
    ):
        r.host.shutdown(socket.SHUT_WR)
        await turn_until(lambda: r.tunnel._look)
        await write(r.pt, noise(200_000))
        await turn_until(lambda: r.tunnel.moved == 200_000)
        reset(r.host)
        assert await read_to_end(r.pt) == b""
        r.pt.close()
        await r.over()


async def test_a_pt_that_ends_before_it_took_all_of_a_host_that_is_gone() -> None:
    """RL-02: nobody is left to deliver to, nor to hear of it."""
    with rig() as r:
        await write(r.host, QUESTION)
        r.host.close()
        await read(r.pt, len(QUESTION))
        r.pt.close()
        await r.over()


async def test_a_host_that_never_ends_is_left_at_last() -> None:
    """RL-02: both are closed, and nothing leaks."""
    with rig(drain_limit=MOMENT) as r:
        await write(r.pt, ANSWER)
        r.pt.close()
        assert await read_to_end(r.host) == ANSWER
        await r.over()


async def test_a_pt_that_never_ends_after_its_host_is_left_at_last() -> None:
    """RL-04: lyrebird does not end by itself; nothing leaks."""
    with rig(drain_limit=MOMENT) as r:
        await write(r.host, QUESTION)
        r.host.close()
        assert await read(r.pt, len(QUESTION)) == QUESTION
        await write(r.pt, b"refused")
        await turn_until(lambda: state(r.local) == CLOSED)
        await write(r.pt, b"and told so")
        assert await read_to_end(r.pt) == b""
        await r.over()


async def test_a_pt_that_takes_nothing_of_a_host_that_is_gone_is_reset() -> None:
    """RL-04, SE-10: it has had its time, and nobody waits for it."""
    with rig(
        local=roomy_pair(), plain=slow_pair(send_buffer=4096), drain_limit=MOMENT
    ) as r:
        await go_with_bytes_left(r)
        await r.over()
        assert await is_reset(r.pt)


async def test_a_pt_that_resets_a_host_that_is_gone_ends_the_tunnel() -> None:
    """RL-10: while it still has bytes to take."""
    with rig(local=roomy_pair(), plain=slow_pair(send_buffer=4096)) as r:
        await go_with_bytes_left(r)
        reset(r.pt)
        await r.over()


async def test_a_reset_by_the_host_is_passed_on() -> None:
    """SK-13, RL-10: the PT sees it as one."""
    with rig() as r:
        await write(r.host, QUESTION)
        assert await read(r.pt, len(QUESTION)) == QUESTION
        reset(r.host)
        assert await is_reset(r.pt)
        await r.over()


async def test_a_reset_by_the_pt_is_passed_on() -> None:
    """SK-13: what came before it is no whole answer."""
    with rig() as r:
        await write(r.pt, ANSWER)
        assert await read(r.host, len(ANSWER)) == ANSWER
        reset(r.pt)
        assert await is_reset(r.host)
        await r.over()


async def test_a_host_that_resets_while_the_answer_comes_resets_the_pt() -> None:
    """RL-10: found by a write as well as by a read."""
    with rig() as r:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write_on(r.pt))
            await read(r.host, 1000)
            reset(r.host)
        await r.over()
        wait_for_hangup(r.pt)


async def test_a_pt_that_resets_while_the_host_sends_resets_the_host() -> None:
    """RL-10: found by a write as well as by a read."""
    with rig() as r:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write_on(r.host))
            await read(r.pt, 1000)
            reset(r.pt)
        await r.over()
        wait_for_hangup(r.host)


async def test_a_reset_after_a_half_close_is_passed_on() -> None:
    """SK-13: the answer was cut."""
    with rig() as r:
        r.host.shutdown(socket.SHUT_WR)
        await write(r.pt, ANSWER)
        assert await read(r.host, len(ANSWER)) == ANSWER
        reset(r.pt)
        assert await is_reset(r.host)
        await r.over()


async def test_the_end_of_a_pt_that_dies_is_a_reset_for_the_host() -> None:
    """RL-11: the kernel closes a killed PT's connections as if it had meant it."""
    with rig(pt_dies=True) as r:
        await write(r.pt, ANSWER)
        assert await read(r.host, len(ANSWER)) == ANSWER
        r.pt.close()
        assert await is_reset(r.host)
        await r.over()


async def test_the_death_of_the_pt_resets_the_host() -> None:
    """RL-11: a cut answer must not look whole."""
    with rig() as r:
        await write(r.pt, ANSWER)
        assert await read(r.host, len(ANSWER)) == ANSWER
        r.tunnel.pt_died()
        assert await is_reset(r.host)
        await r.over()


async def test_the_death_of_the_pt_spares_what_was_whole_before() -> None:
    """RL-11: the host may read it at its leisure."""
    with rig() as r:
        await write(r.pt, ANSWER)
        r.pt.close()
        await turn_until(lambda: state(r.host) == CLOSE_WAIT)
        r.tunnel.pt_died()
        assert await read_to_end(r.host) == ANSWER
        assert not r.endings
        r.host.close()
        await r.over()


async def test_a_tunnel_can_be_reset_from_outside() -> None:
    """RL-11: the PT is dead, and so are its tunnels."""
    with rig() as r:
        r.tunnel.reset()
        assert await is_reset(r.host)
        assert await is_reset(r.pt)
        await r.over()


async def test_a_tunnel_that_is_idle_for_too_long_is_reset() -> None:
    """RL-05: only where the user set a limit; counted from the last byte."""
    loop = asyncio.get_running_loop()
    with rig(idle=MOMENT) as r:
        await write(r.host, QUESTION)
        assert await read(r.pt, len(QUESTION)) == QUESTION
        spoke = loop.time()
        assert await is_reset(r.host)
        assert await is_reset(r.pt)
        assert loop.time() - spoke > MOMENT / 2
        await r.over()


async def test_a_half_closed_tunnel_is_not_idle_while_it_lingers() -> None:
    """RL-04: the shorter limit is for those who wait for nothing."""
    with rig(idle=MOMENT) as r:
        r.host.shutdown(socket.SHUT_WR)
        for _ in range(2):  # the clock
            with rig(idle=MOMENT) as idle:
                await idle.over()
        await write(r.pt, ANSWER)
        r.pt.close()
        assert await read_to_end(r.host) == ANSWER
        await r.over()


async def test_a_stalled_tunnel_does_not_slow_another() -> None:
    """RL-01, RL-10: a slow reader slows its own tunnel only."""
    data = noise(10_000_000)
    with rig() as stalled, rig() as other:
        async with asyncio.TaskGroup() as tasks:
            uploads = tasks.create_task(write_on(stalled.pt))
            await turn_until(lambda: stalled.tunnel.moved > 1_000_000)
            tasks.create_task(write(other.pt, data))
            heard = await read(other.host, len(data))
            uploads.cancel()
        assert heard == data
        assert not stalled.endings


async def test_many_tunnels_at_once_all_carry_their_own() -> None:
    """RL-10: each host gets its own answer, and each tunnel its end."""
    with contextlib.ExitStack() as stack:
        rigs = [stack.enter_context(rig()) for _ in range(200)]

        async def serve(r: Rig) -> None:
            question = await read(r.pt, 1000)
            await write(r.pt, question[::-1])
            r.pt.close()

        async def ask(r: Rig, question: bytes) -> None:
            await write(r.host, question)
            r.host.shutdown(socket.SHUT_WR)
            assert await read_to_end(r.host) == question[::-1]
            await r.over()

        async with asyncio.TaskGroup() as tasks:
            for number, r in enumerate(rigs):
                tasks.create_task(serve(r))
                tasks.create_task(ask(r, noise(1000 + number)[:1000]))


async def test_a_host_that_resets_with_its_answer_untaken_leaves_nothing() -> None:
    """RL-04: the kernel counts the bytes on, and nobody reads that leg any more."""
    with rig(linger=MOMENT, local=slow_pair(send_buffer=400_000)) as r:
        r.host.shutdown(socket.SHUT_WR)
        await turn_until(lambda: state(r.local) == CLOSE_WAIT)
        await write(r.pt, noise(200_000))
        await turn_until(lambda: r.tunnel.moved == 200_000)
        reset(r.host)
        await r.over()


async def test_a_pt_that_has_said_all_still_gets_what_the_host_says() -> None:
    """An upload that is cut must not look complete, nor be cut."""
    data = noise(5_000_000)
    with rig() as r:
        r.pt.shutdown(socket.SHUT_WR)
        assert await read_to_end(r.host) == b""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(r.host, data))
            assert await read(r.pt, len(data)) == data
        r.host.shutdown(socket.SHUT_WR)
        assert await read_to_end(r.pt) == b""
        await r.over()


async def test_an_upload_that_a_silent_pt_does_not_take_ends_with_a_reset() -> None:
    """SK-13, RL-04: it is not complete."""
    with rig(drain_limit=MOMENT) as r:
        async with asyncio.TaskGroup() as tasks:
            uploads = tasks.create_task(write_on(r.host))
            await turn_until(lambda: r.tunnel._outbound.is_blocked)
            r.pt.shutdown(socket.SHUT_WR)
            await r.over()
            uploads.cancel()
        assert await is_reset(r.pt)


async def test_a_host_that_goes_on_when_nobody_takes_it_any_more_is_reset() -> None:
    """RL-02: once it has the answer; what it sends is not swallowed for long."""
    with rig() as r:
        await write(r.pt, ANSWER)
        r.pt.close()
        assert await read_to_end(r.host) == ANSWER
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await _go_on(r.host)
        await r.over()


async def _go_on(host: socket.socket) -> None:
    while True:
        await write(host, QUESTION)
        await asyncio.sleep(0)


# -- what was read before, and the first answer ----------------------------------------


async def test_what_was_read_before_goes_first_in_both_directions() -> None:
    """RL-01: a server has read it to see what a client speaks."""
    with rig(first_outbound=QUESTION, first_inbound=ANSWER) as r:
        await write(r.host, b"more")
        await write(r.pt, b"more")
        async with asyncio.TaskGroup() as tasks:
            up = tasks.create_task(read(r.pt, len(QUESTION) + 4))
            down = tasks.create_task(read(r.host, len(ANSWER) + 4))
        assert up.result() == QUESTION + b"more"
        assert down.result() == ANSWER + b"more"
        assert r.tunnel.moved == len(QUESTION) + len(ANSWER) + 8


async def test_an_end_behind_what_was_read_before_is_seen_after_it() -> None:
    """RL-02."""
    plain = pair()
    plain[0].close()
    with rig(first_inbound=ANSWER, plain=plain) as r:
        assert await read_to_end(r.host) == ANSWER
        r.host.close()
        await r.over()


async def test_the_first_answer_is_told_of_and_passed_on() -> None:
    """A server that answers has read what it was asked."""
    told: list[str] = []
    with rig(first_outbound=QUESTION, on_answer=lambda: told.append("answer")) as r:
        await write(r.host, b"more")
        assert await read(r.pt, len(QUESTION) + 4) == QUESTION + b"more"
        assert told == []
        await write(r.pt, ANSWER)
        assert await read(r.host, len(ANSWER)) == ANSWER
        await write(r.pt, ANSWER)
        assert await read(r.host, len(ANSWER)) == ANSWER
        assert told == ["answer"]


@pytest.mark.parametrize("is_a_reset", [False, True])
async def test_an_end_is_no_answer(*, is_a_reset: bool) -> None:
    """And goes on to the host as it would have anyway."""
    told: list[str] = []
    with rig(on_answer=lambda: told.append("answer")) as r:
        if is_a_reset:
            reset(r.pt)
            assert await is_reset(r.host)
        else:
            r.pt.close()
            assert await read_to_end(r.host) == b""
            r.host.close()
        await r.over()
        assert told == []


@pytest.mark.parametrize("how", ["reset", "died", "closed", "reset by the host"])
async def test_a_tunnel_may_end_before_there_is_an_answer(how: str) -> None:
    """RL-11: and leaves nothing on the loop."""
    told: list[str] = []
    with rig(linger=MOMENT, on_answer=lambda: told.append("answer")) as r:
        if how == "reset":
            r.tunnel.reset()
        elif how == "died":
            r.tunnel.pt_died()
        elif how == "closed":
            r.host.close()
        else:
            reset(r.host)
        await r.over()
        assert told == []


# -- memory ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["local", "local half-closes", "PT", "reset"])
async def test_a_tunnel_that_has_ended_is_freed_at_once(how: str) -> None:
    """Or a burst of them would stay in memory until the garbage collector comes."""
    with without_collector():
        with rig(local_has_closed=lambda _: how == "local") as r:
            await write(r.host, QUESTION)
            assert await read(r.pt, len(QUESTION)) == QUESTION
            await write(r.pt, ANSWER)
            assert await read(r.host, len(ANSWER)) == ANSWER
            if how == "reset":
                reset(r.host)
            elif how == "PT":
                r.pt.close()
                await read_to_end(r.host)
                r.host.close()
            else:
                r.host.shutdown(socket.SHUT_WR)
                if how == "local":
                    await read_to_end(r.pt)
                r.pt.close()
                await read_to_end(r.host)
                r.host.close()
            await r.over()
        del r.endings, r.tunnel
        assert instances(Tunnel, CopyPump, Drain, DrainingClose) == []
