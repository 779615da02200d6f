"""One thing at a time is to be done for a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.pool.stream_timers import StreamTimers
from tests.support.clock import Clock
from tests.support.rig import rig

if TYPE_CHECKING:
    pass


async def test_a_stream_has_one_timer_at_most() -> None:
    clock = Clock()
    done: list[str] = []
    timers = StreamTimers(clock.as_loop)
    with rig() as r:
        r.dials = False
        r.carry(b"x")
        stream = r.stream
        timers.start(stream, 1.0, lambda _: done.append("first"))
        timers.start(stream, 2.0, lambda _: done.append("second"))
        assert (len(timers), list(timers)) == (1, [stream])
        clock.pass_by(3.0)
        assert (done, len(timers)) == (["second"], 0)
        timers.start(stream, 1.0, lambda _: done.append("third"))
        timers.stop(stream)
        timers.stop(stream)
        timers.start(stream, 1.0, lambda _: done.append("fourth"))
        timers.clear()
        clock.pass_by(3.0)
        assert (done, len(timers)) == (["second"], 0)
