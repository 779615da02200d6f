"""Take over from a pt-bridge of an older version, which has started this one.

It hands us its sockets as descriptors, whose numbers stand in our environment behind
the one of a pipe. On that we tell it our process id, and that we are ready; then it
takes nothing new, and ends with its last connection. If we end instead, it goes on.
"""

from __future__ import annotations

import os

from pt_bridge.options.ss_variables import TAKES_OVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READY = b"ready\n"


class _State:
    """What this process was told at its start."""

    pipe = -1
    descriptors: tuple[int, ...] = ()
    then: Callable[[], object] = staticmethod(lambda: None)


def is_going_on() -> bool:
    """Whether another pt-bridge waits until we are ready."""
    return _State.pipe >= 0


def sockets() -> tuple[int, ...]:
    """Return the descriptors of what the other one has listened on."""
    return _State.descriptors


def begin() -> None:
    """Learn whether we are to take over; call this before there are threads.

    Our parent must be the one that looks after services, and not the one that goes
    away: so it is a child of ours that goes on.
    """
    numbers = os.environb.get(TAKES_OVER, b"").split(b",")
    if not all(each.isdigit() for each in numbers):
        return
    if os.fork():
        os._exit(0)
    pipe, *descriptors = map(int, numbers)
    for each in (pipe, *descriptors):
        try:
            os.set_inheritable(each, False)
        except OSError:  # it is none
            pass
    _State.pipe, _State.descriptors = pipe, tuple(descriptors)
    _tell(b"%d\n" % os.getpid())


def afterwards(then: Callable[[], object]) -> None:
    """Have something called once the other one was told that we are ready."""
    _State.then = staticmethod(then)


def tell_ready() -> None:
    """Have the other one take nothing new; keep nothing that we were handed over."""
    _tell(READY)
    given = (_State.pipe, *_State.descriptors)
    _State.pipe, _State.descriptors = -1, ()
    os.environb.pop(TAKES_OVER, None)
    for each in given:
        try:
            os.close(each)
        except OSError:  # it is none
            pass
    _State.then()


def _tell(text: bytes) -> None:
    try:
        os.write(_State.pipe, text)
    except OSError:  # it has ended: all the more reason to go on
        pass
