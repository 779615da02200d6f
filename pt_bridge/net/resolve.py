"""Names into addresses, off the event loop.

A resolver that hangs is the usual way in which a DNS fails. So each name is looked up
once at a time, whoever waits for it, in one thread; an answer is good for a minute, and
the last one for longer where there is no other.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import SHORTAGES
from pt_bridge.protocol.address import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    LookUp = Callable[[str], Sequence[str]]

# How long an answer is good (seconds); so soon a dynamic name's change is followed.
FRESH = 60.0
# How long the last good answer is used where the DNS fails (seconds).
USABLE = 6 * 3600.0
# How long a DNS may take before the last good answer is used (seconds).
STALE_AFTER = 2.0
# How long anybody waits for an answer (seconds); glibc asks for 10 to 30.
LIMIT = 30.0
# How many names' answers are kept; hardly anybody has more than two.
MOST = 64
# Between two questions to a DNS that is not there yet (seconds).
RETRY = 0.25


class _Answer(NamedTuple):
    hosts: list[str]
    at: float


class Resolver:
    """Looks names up, and remembers what it found."""

    def __init__(
        self,
        look_up: LookUp | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create one that knows nothing yet.

        Args:
            look_up: returns the IP addresses of a name, or raises OSError; called in a
                thread. The system's resolver by default.
            clock: returns the time, in seconds.
        """
        self._look_up = look_up or _ask_system
        self._clock = clock
        self._answers: dict[str, _Answer] = {}
        self._asking: dict[str, asyncio.Future[list[str]]] = {}

    async def resolve(self, address: Address, *, patience: float = 0) -> list[Address]:
        """Return the IP addresses of a name, IPv4 first.

        The thread that asks is not waited for when we are cancelled: a resolver that
        hangs must not keep the program from ending.

        Args:
            address: the name; an IP address is returned as it is.
            patience: how long to ask again where the DNS is not there, in seconds.

        Returns:
            At least one address.

        Raises:
            OSError: the name cannot be resolved; TimeoutError is one of these.
        """
        deadline = self._clock() + patience
        while True:
            known = self.known(address)
            if known is not None:
                return known
            try:
                hosts = await self._hosts(address.host)
            except OSError as error:
                if not is_temporary(error) or self._clock() >= deadline:
                    raise
                await asyncio.sleep(RETRY)
            else:
                return [Address(host, address.port) for host in hosts]

    def known(self, address: Address) -> list[Address] | None:
        """Return the IP addresses of a name, or None where it has to be looked up."""
        if address.ip is not None:
            return [address]
        known = self._answers.get(address.host)
        if known is None or self._clock() - known.at >= FRESH:
            return None
        return [Address(host, address.port) for host in known.hosts]

    async def _hosts(self, name: str) -> list[str]:
        known = self._answers.get(name)
        age = USABLE if known is None else self._clock() - known.at
        is_usable = known is not None and age < USABLE
        try:
            async with asyncio.timeout(STALE_AFTER if is_usable else LIMIT):
                return await asyncio.shield(self._ask(name))
        except OSError as error:
            if known is not None and is_usable:
                return known.hosts
            if isinstance(error, TimeoutError):
                number = errno.ETIMEDOUT
                raise TimeoutError(number, os.strerror(number).lower()) from None
            raise

    def _ask(self, name: str) -> asyncio.Future[list[str]]:
        """Ask for a name, unless somebody does; return what will be the answer."""
        if name in self._asking:
            return self._asking[name]
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def ask() -> None:
            try:
                found = sorted(dict.fromkeys(self._look_up(name)), key=_ipv4_first)
            except OSError as error:
                tell(error, [])
            else:
                tell(None, found)

        def tell(error: OSError | None, found: list[str]) -> None:
            try:
                loop.call_soon_threadsafe(finish, error, found)
            except RuntimeError:  # the loop has ended, nobody waits any more
                pass

        def finish(error: OSError | None, found: list[str]) -> None:
            self._asking.pop(name, None)
            if error is None:
                self._remember(name, found)
                answer.set_result(found)
            else:
                answer.set_exception(error)
                answer.exception()  # seen: all who asked may have gone

        try:
            threading.Thread(target=ask, name="resolver", daemon=True).start()
        except RuntimeError:  # no more threads, or no memory for one
            number = errno.EAGAIN
            raise OSError(number, os.strerror(number)) from None
        self._asking[name] = answer
        return answer

    def _remember(self, name: str, hosts: list[str]) -> None:
        self._answers.pop(name, None)
        if len(self._answers) >= MOST:
            del self._answers[next(iter(self._answers))]  # the oldest
        self._answers[name] = _Answer(hosts, self._clock())


async def resolve(address: Address) -> list[Address]:
    """Ask the system once; see `Resolver.resolve`."""
    return await Resolver().resolve(address)


def is_temporary(error: OSError) -> bool:
    """Whether a name may be resolved a little later: the DNS is not there yet."""
    late = (TimeoutError, InterruptedError)
    return isinstance(error, late) or error.errno in {socket.EAI_AGAIN, *SHORTAGES}


def _ask_system(name: str) -> list[str]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


def _ipv4_first(host: str) -> bool:
    return ":" in host
