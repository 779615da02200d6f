"""Hand over to a pt-bridge of another version, which was installed meanwhile.

A new process gets our sockets (`net.takeover`), and says when it is ready. Then we
take nothing new, and end with our last connection. If it is not ready in time, or ends,
we go on as before. systemd is told which of us is the service now; who else looks after
a process would take our end for the service's, so it is done under systemd alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pt_bridge
from pt_bridge.net import takeover
from pt_bridge.options.ss_variables import TAKES_OVER
from pt_bridge.system.log import logger
from pt_bridge.system.systemd import NOTIFY_SOCKET, notify

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping

# How long the new one may take to be ready: its PTs have 30 s by themselves (seconds).
LIMIT = 180.0
READ_SIZE = 4096  # bytes


class Handover:
    """Looks whether pt-bridge was upgraded, and hands over to it."""

    def __init__(
        self,
        variables: Mapping[bytes, bytes],
        sockets: Callable[[], Iterable[socket.socket]],
        retire: Callable[[], None],
        end_numbers: Callable[[], Awaitable[None]],
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
    ) -> None:
        """Remember what pt-bridge is now.

        Args:
            variables: our environment.
            sockets: returns where we listen.
            retire: takes nothing new, and ends with the last connection.
            end_numbers: closes the page of numbers, which is the new one's then.
            spawn: starts a task.
        """
        self._variables = variables
        self._sockets = sockets
        self._retire = retire
        self._end_numbers = end_numbers
        self._identity = identity()
        self._spawn = spawn
        self._task: asyncio.Task[None] | None = None

    def begin_if_due(self) -> bool:
        """Begin to hand over, if pt-bridge is another one now.

        Returns:
            Whether that is so, or goes on: then there is nothing else to do.
        """
        if self._task is not None:
            return True
        if identity() == self._identity:
            return False
        if NOTIFY_SOCKET not in self._variables:
            logger.warning("pt-bridge was upgraded: restart it for that")
            return False
        self._task = self._spawn(self._hand_over())
        return True

    def stop(self) -> None:
        """End what goes on."""
        if self._task is not None:
            self._task.cancel()

    async def _hand_over(self) -> None:
        logger.info("pt-bridge was upgraded: starting the new one beside this one")
        pid, why = None, "it has ended, and said why"
        try:
            pid = await self._start()
        except TimeoutError:
            why = "it was not ready in time"
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
        if pid is None:
            logger.warning("the new pt-bridge was not taken: %s; this one goes on", why)
            self._task = None
            return
        notify(self._variables, f"MAINPID={pid}")
        logger.info("the new pt-bridge is ready: ending with the last connection")
        await self._end_numbers()
        self._retire()

    async def _start(self) -> int | None:
        """Start it; return its process id once it is ready, None if it ends before.

        Raises:
            OSError: it cannot be started.
            TimeoutError: it was not ready in time, and was ended.
        """
        with contextlib.ExitStack() as stack:
            read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, read)
            given = [sock.dup() for sock in self._sockets()]
            for sock in given:
                stack.enter_context(sock)
            passed = [write, *(sock.fileno() for sock in given)]
            try:
                started = _spawn(passed)
            finally:
                os.close(write)
            lines = _Lines(read)
            try:
                async with asyncio.timeout(LIMIT):
                    await lines.end()
            except BaseException:
                if lines.pid is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(lines.pid, signal.SIGTERM)
                raise
            finally:
                started.wait()  # it has ended right after its start
            return lines.pid if lines.is_ready else None


class _Lines:
    """What the new one tells on its pipe.

    Attributes:
        pid: its process id, once that was told.
        is_ready: whether it has said so.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._text = b""
        self.pid: int | None = None
        self.is_ready = False

    async def end(self) -> None:
        """Wait until it is ready, or has ended."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._pipe, readable.set)
        try:
            while not self.is_ready:
                await readable.wait()
                readable.clear()
                with contextlib.suppress(BlockingIOError):
                    more = os.read(self._pipe, READ_SIZE)
                    if not more:
                        return
                    self._hear(more)
        finally:
            loop.remove_reader(self._pipe)

    def _hear(self, more: bytes) -> None:
        self._text += more
        first, found, rest = self._text.partition(b"\n")
        if found and first.isdigit():
            self.pid = int(first)
            self.is_ready = rest.startswith(takeover.READY)


def _spawn(passed: list[int]) -> subprocess.Popen[bytes]:
    numbers = b",".join(b"%d" % each for each in passed)
    return subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        stdin=subprocess.DEVNULL,
        env={**os.environb, TAKES_OVER: numbers},
        pass_fds=passed,
    )


def identity() -> tuple[object, ...]:
    """Return what tells one pt-bridge on the disk from another."""
    try:
        found = os.stat(pt_bridge.__file__)
    except OSError:  # between two of them
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
