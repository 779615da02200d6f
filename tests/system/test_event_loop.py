"""The event loop that calls readers and writers itself, as asyncio would call them."""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import socket
from typing import TYPE_CHECKING, Any

import pytest

from pt_bridge.system import event_loop
from pt_bridge.system.event_loop import MOST_TIMERS_SET, EpollSelector, EventLoop
from pt_bridge.system.linux import create_alarm
from tests.support.tcp import closing, pair, turn_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.system.linux import Alarm


def own_loop() -> EventLoop:
    """Return the loop that runs the test, which is ours."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EventLoop)
    return loop


def reading(sock: socket.socket, heard: list[bytes]) -> Callable[[], None]:
    """Return a reader that keeps what it reads."""
    return lambda: heard.append(sock.recv(100))


async def test_what_comes_is_told_of_until_the_reader_is_removed() -> None:
    """Level-triggered, as asyncio's: who reads a part is called again."""
    loop, heard = own_loop(), list[bytes]()
    left, right = pair()
    with closing((left, right)):
        loop.add_reader(right, lambda: heard.append(right.recv(1)))
        left.send(b"ab")
        await turn_until(lambda: heard == [b"a", b"b"])
        assert loop.remove_reader(right)
        assert not loop.remove_reader(right)
        left.send(b"c")
        await turn_until(lambda: bool(select.select([right], [], [], 0)[0]))
        await asyncio.sleep(0)
        assert heard == [b"a", b"b"]


async def test_a_writer_is_called_with_its_arguments_beside_a_reader() -> None:
    """Each is removed for itself."""
    loop, called, heard = own_loop(), list[Any](), list[bytes]()
    left, right = pair()
    with closing((left, right)):
        loop.add_reader(right.fileno(), reading(right, heard))
        loop.add_writer(right.fileno(), called.append, "can be written")
        await turn_until(lambda: bool(called))
        assert loop.remove_writer(right.fileno())
        number = len(called)
        left.send(b"x")
        await turn_until(lambda: heard == [b"x"])
        assert len(called) == number
        loop.remove_reader(right.fileno())


async def test_asyncio_may_use_a_socket_that_has_a_reader_of_ours() -> None:
    """One mask is asked for: asyncio's own writing leaves our reading as it is."""
    loop, heard = own_loop(), list[bytes]()
    left, right = pair(send_buffer=4096, receive_buffer=4096)
    with closing((left, right)):
        loop.add_reader(left, reading(left, heard))
        sending = loop.create_task(loop.sock_sendall(left, bytes(1_000_000)))
        right.send(b"x")
        await turn_until(lambda: heard == [b"x"])
        got = 0
        while got < 1_000_000:
            got += len(await loop.sock_recv(right, 65536))
        await sending
        right.send(b"y")
        await turn_until(lambda: heard == [b"x", b"y"])
        assert loop.remove_reader(left)


async def test_a_descriptor_that_is_another_by_now_is_not_told_of() -> None:
    """Of two that are ready at once, one closes the other, whose number is reused."""
    loop, called = own_loop(), list[str]()
    first, second, third = pair(), pair(), pair()
    with closing(first, second, third):
        numbers = [first[1].fileno(), second[1].fileno()]

        def replace(number: int) -> None:
            for each in numbers:
                loop.remove_reader(each)
            os.dup2(third[1].fileno(), number)
            loop.add_reader(number, called.append, "read")
            loop.add_writer(number, called.append, "written")

        loop.add_reader(numbers[0], replace, numbers[1])
        loop.add_reader(numbers[1], replace, numbers[0])
        first[0].send(b"x")
        second[0].send(b"x")
        await turn_until(lambda: "written" in called)
        for number in numbers:
            loop.remove_reader(number)
            loop.remove_writer(number)
    assert "read" not in called


async def test_a_bug_in_a_callback_ends_no_other() -> None:
    """It is told of as asyncio tells of its own."""
    loop, told, heard = own_loop(), list[dict[str, Any]](), list[bytes]()
    loop.set_exception_handler(lambda _, context: told.append(context))
    left, right = pair()
    with closing((left, right)):

        def fail() -> None:
            loop.remove_writer(right.fileno())
            raise ZeroDivisionError

        loop.add_reader(right.fileno(), reading(right, heard))
        loop.add_writer(right.fileno(), fail)
        left.send(b"x")
        await turn_until(lambda: bool(told) and heard == [b"x"])
        loop.remove_reader(right.fileno())
    assert isinstance(told[0]["exception"], ZeroDivisionError)
    assert "Exception in callback" in told[0]["message"]


async def test_an_interrupt_in_a_callback_is_no_bug() -> None:
    """As in asyncio: it ends the loop."""
    loop = event_loop.create()
    left, right = pair()
    with closing((left, right)):

        def interrupt() -> None:
            raise KeyboardInterrupt

        loop.add_reader(right.fileno(), interrupt)
        left.send(b"x")
        with pytest.raises(KeyboardInterrupt):
            await asyncio.to_thread(loop.run_forever)
        loop.remove_reader(right.fileno())
        loop.close()


@pytest.mark.parametrize("scheduled", ["soon", "later", "stop", "thread"])
async def test_what_a_callback_schedules_is_done(scheduled: str) -> None:
    """The loop goes through its turn then, though more and more is ready."""
    loop = event_loop.create()
    left, right = pair()

    def schedule() -> None:  # it reads nothing, so it is always called again
        match scheduled:
            case "soon":
                loop.call_soon(loop.stop)
            case "later":
                loop.call_later(0.001, loop.stop)
            case "stop":
                loop.stop()
            case "thread":
                loop.call_soon_threadsafe(loop.stop)

    with closing((left, right)):
        loop.add_writer(right.fileno(), schedule)
        await asyncio.to_thread(loop.run_forever)
        loop.remove_writer(right.fileno())
        loop.close()


@pytest.mark.parametrize("alarm", [create_alarm, lambda: None])
async def test_timers_are_due_while_much_is_ready(
    alarm: Callable[[], Alarm | None],
) -> None:
    """Who is always ready holds up none, be there an alarm of the system's or none.

    One that is earlier than another comes first, and one that was cancelled does not.
    """
    loop, due = EventLoop(alarm), list[str]()
    left, right = pair()

    def first() -> None:
        due.append("first")
        loop.call_later(0.01, due.append, "second")
        loop.call_later(0.02, loop.stop)

    with closing((left, right)):
        loop.add_writer(right.fileno(), bool)
        loop.call_later(1000, due.append, "too late")
        loop.call_later(0.005, due.append, "cancelled").cancel()
        loop.call_later(0.01, first)
        await asyncio.to_thread(loop.run_forever)
        loop.remove_writer(right.fileno())
        loop.close()
    assert due == ["first", "second"]


async def test_an_alarm_that_rings_for_nothing_harms_no_timer() -> None:
    """It was set for one that is cancelled; those behind it are due all the same."""
    loop, due, heard = EventLoop(), list[str](), list[bytes]()
    left, right = pair()
    early = loop.call_later(0.1, int)

    def on_event() -> None:
        if due and heard[-1:] == [b"y"]:
            loop.stop()

    def read() -> None:
        heard.append(right.recv(100))
        if len(heard) < 5:
            left.send(b"x")
        elif len(heard) == 5:  # for the loop has waited more than once
            early.cancel()
            loop.call_soon(left.send, b"y")
        on_event()

    def on_due() -> None:
        due.append("in time")
        on_event()

    with closing((left, right)):
        loop.add_reader(right.fileno(), read)
        loop.call_later(0.2, on_due)
        left.send(b"x")
        await asyncio.to_thread(loop.run_forever)
        loop.remove_reader(right.fileno())
        loop.close()
    assert heard == [b"x"] * 5 + [b"y"]
    assert due == ["in time"]


@pytest.mark.parametrize("first", [0.001, 1000.0])
async def test_a_timer_that_is_set_while_another_is_waited_for_is_due(
    first: float,
) -> None:
    """Be it the next one, or not."""
    loop = own_loop()
    left, right = pair()
    due = asyncio.Event()

    def set_timer() -> None:
        loop.remove_writer(right.fileno())
        loop.call_later(0.01, due.set)
        loop.add_writer(left.fileno(), bool)  # and always something is ready

    with closing((left, right)):
        other = loop.call_later(first, bool)
        loop.add_writer(right.fileno(), set_timer)
        await due.wait()
        loop.remove_writer(left.fileno())
        other.cancel()


async def test_timers_that_are_cancelled_while_much_is_ready_are_forgotten() -> None:
    """Which a loop does in its turn: it has one now and then."""
    loop = own_loop()
    left, right = pair()
    done = asyncio.Event()
    number = 20 * MOST_TIMERS_SET

    def set_timer() -> None:
        nonlocal number
        loop.call_later(2000.0, bool).cancel()
        number -= 1
        if not number:
            done.set()

    with closing((left, right)):
        first = loop.call_later(1000.0, bool)
        loop.add_writer(right.fileno(), set_timer)
        await done.wait()
        loop.remove_writer(right.fileno())
        first.cancel()
    assert len(loop._scheduled) <= 2 * MOST_TIMERS_SET  # type: ignore[attr-defined]


def test_what_cannot_be_waited_for_is_an_error_at_once() -> None:
    """A file is always ready: epoll refuses it, and nothing is left of the try."""
    loop = event_loop.create()
    with open(__file__, "rb") as file:
        with pytest.raises(PermissionError):
            loop.add_reader(file, print)
        assert not loop.remove_reader(file)
    loop.close()


async def test_a_descriptor_that_was_closed_before_can_be_removed() -> None:
    """As with asyncio's own; epoll has forgotten it."""
    loop = own_loop()
    left, right = pair()
    loop.add_reader(right.fileno(), print)
    number = right.fileno()
    for sock in (left, right):
        sock.close()
    assert loop.remove_reader(number)


async def test_a_loop_that_is_closed_takes_no_callback() -> None:
    """As asyncio's own."""
    loop = event_loop.create()
    loop.close()
    left, right = pair()
    with closing((left, right)):
        with pytest.raises(RuntimeError):
            loop.add_reader(right.fileno(), print)
        assert not loop.remove_reader(right.fileno())


def test_the_selector_is_one_as_the_standard_librarys() -> None:
    """What asyncio may ask of it: keys, and errors for what is not registered."""
    selector = EpollSelector()
    left, right = pair()
    with closing((left, right)):
        with pytest.raises(KeyError):
            selector.modify(left, selectors.EVENT_READ)
        key = selector.register(left, selectors.EVENT_READ, "data")
        assert selector.get_key(left) == key
        assert list(selector.get_map()) == [left.fileno()]
        with pytest.raises(KeyError):
            selector.register(left, selectors.EVENT_WRITE)
        assert selector.select(0) == []
        selector.modify(left, selectors.EVENT_WRITE, "more")
        [(found, events)] = selector.select(None)
        assert (found.data, events) == ("more", selectors.EVENT_WRITE)
        right.close()
        assert selector.unregister(left).data == "more"
        selector.close()
