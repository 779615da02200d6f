"""The shadowsocks that started us: notice when it ends without a word.

Its stdin pipe closes (shadowsocks-libev), or its process ends (its pidfd tells). Only
where stdin is a pipe or a socket does its end mean anything (LC-06). In a container,
shadowsocks may be process 1.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from pt_bridge.system.linux import watch_process

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

STDIN = 0
DISCARDED = 4096  # bytes at once
POLL_INTERVAL = 1.0  # seconds, where the system has no pidfds


@contextlib.contextmanager
def watched(
    loop: asyncio.AbstractEventLoop,
    on_parent_exit: Callable[[], None],
    *,
    stdin: int = STDIN,
) -> Iterator[None]:
    """Call `on_parent_exit`, perhaps twice, when shadowsocks ends within the block."""
    with contextlib.ExitStack() as stack:
        _watch_stdin(loop, on_parent_exit, stdin, stack)
        _watch_parent(loop, on_parent_exit, stack)
        yield


def _watch_stdin(
    loop: asyncio.AbstractEventLoop,
    on_parent_exit: Callable[[], None],
    stdin: int,
    stack: contextlib.ExitStack,
) -> None:
    mode = os.fstat(stdin).st_mode
    if not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):
        return

    def read() -> None:
        try:
            data = os.read(stdin, DISCARDED)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            loop.remove_reader(stdin)
            on_parent_exit()

    loop.add_reader(stdin, read)
    stack.callback(loop.remove_reader, stdin)


def _is_in_our_group(process: int) -> bool:
    try:
        return os.getpgid(process) == os.getpgrp()
    except OSError:
        return False


def _watch_parent(
    loop: asyncio.AbstractEventLoop,
    on_parent_exit: Callable[[], None],
    stack: contextlib.ExitStack,
) -> None:
    parent = os.getppid()
    if parent == 0:  # we are in a PID namespace that it is not in
        return

    # A host starts us in its own process group, also where it is pid 1 in a container;
    # who has adopted an orphan (init, systemd --user) is in another one. Where we lead
    # a group of our own, as after a shell's or systemd's start, this says nothing.
    leads = os.getpgrp() == os.getpid()
    is_orphan = not leads and not _is_in_our_group(parent)

    def has_ended() -> bool:
        return is_orphan or os.getppid() != parent

    stop = watch_process(
        loop, parent, on_parent_exit, has_ended=has_ended, interval=POLL_INTERVAL
    )
    stack.callback(stop)
    if has_ended():  # before its pidfd was opened, perhaps
        loop.call_soon(on_parent_exit)
