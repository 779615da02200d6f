"""The places at which the server may be reached: the ways, and the addresses of each.

Any may be blocked while another is not: a censor drops the IPv4 address, or one bridge,
or a network has no IPv6. No address is named in what this says, nor any argument.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.options.transports import DIALLING
from pt_bridge.system.log import logger
from pt_bridge.ways.race import PATIENCE, first_through
from pt_bridge.ways.selection import Selection

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Coroutine, Sequence

    from pt_bridge.formats.way import Way
    from pt_bridge.net.resolve import Resolver
    from pt_bridge.protocol.address import Address

    # Connects to a place, or raises an error.
    Dial = Callable[["Place"], Coroutine[None, None, socket.socket]]
    # Returns what a failure is in a few words, None for one that says nothing of the
    # place; the failure is None for no answer in time.
    Explain = Callable[["Place", Exception | None], str | None]
    # Returns why a transport cannot be used just now, in a few words, or "".
    WhyNot = Callable[[str], str]


class Place(NamedTuple):
    """Where the server may be reached, and what the PT has to be told for that.

    Attributes:
        way: the number of the way, from 1 on.
        transport: the PT method.
        address: an IP address, or a name.
        arguments: the PT's arguments, as SOCKS carries them; secret.
    """

    way: int
    transport: str
    address: Address
    arguments: bytes


class ServerAddresses:
    """Dials the server at the first of its places that gets through."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ways: Sequence[Way],
        resolver: Resolver | None,
        explain: Explain,
        *,
        why_not: WhyNot = lambda transport: "",
        patience: float = PATIENCE,
    ) -> None:
        """Begin with knowing nothing of any.

        Args:
            loop: the event loop.
            ways: what the user gave, with IP addresses and names.
            resolver: looks up the names of servers that a PT connects to itself; None
                where all are left to the PTs.
            explain: see `Explain`.
            why_not: see `WhyNot`; such ways are tried last.
            patience: how long one may be silent before the next is tried, in seconds.
        """
        self._loop = loop
        self._ways = ways
        self._resolver = resolver
        self._explain = explain
        self._why_not = why_not
        self._patience = patience
        self._known = self._as_given()
        self._selection = Selection()

    async def dial(
        self, dial: Dial, avoid: object = None, *, only: Place | None = None
    ) -> tuple[socket.socket, Place]:
        """Return a connection, and the place that it leads to.

        Args:
            dial: connects to one.
            avoid: one that is tried last, or None.
            only: one by whose way alone it is tried, or None.

        Raises:
            Exception: none gets through; the error of the last one.
        """
        found = await self._look_up()
        if found != self._known:
            self._known = found
            self._selection.keep_only(found)
        if only is not None:
            found = [each for each in found if each.way == only.way] or [only]
        ways = self._selection.order(found, self._loop.time(), avoid)
        ways.sort(key=lambda place: bool(self._why_not(place.transport)))
        sock, place = await first_through(
            ways, dial, self._on_failed, patience=self._patience
        )
        if self._selection.worked(place) and len(found) > 1:
            logger.info("the server is reached by %s", self._called(place))
        return sock, place

    def on_late(self, place: object) -> None:
        """Try a place later than others where the server accepts nothing."""
        if place in self._known:
            self._rest(place, "it accepts nothing")

    def lines(self) -> list[str]:
        """Describe the places, where there is more than one."""
        if len(self._known) == 1:
            return []
        return [f"{self._called(each)}: {self._state(each)}" for each in self._known]

    def _called(self, place: object) -> str:
        """Number a place: that is all that a log may say of it."""
        number = self._known.index(place) + 1  # type: ignore[arg-type]
        if len(self._ways) == 1:
            return f"address {number} of {len(self._known)}"
        way = self._known[number - 1].way
        same = [each for each in self._known if each.way == way]
        text = f"way {way} of {len(self._ways)} ({self._ways[way - 1].transport})"
        if len(same) > 1:
            text += f", address {same.index(self._known[number - 1]) + 1}"
        return text

    def _state(self, place: Place) -> str:
        if why_not := self._why_not(place.transport):
            return why_not
        record = self._selection.record(place)
        if record is None:
            is_last = place == self._selection.last
            return "worked last" if is_last else "not needed yet"
        left = max(0.0, record.rests_until - self._loop.time())
        rests = f"; it rests for {left:.0f} s" if left else ""
        return f"failed ({record.failures} in a row), {record.why}{rests}"

    def _as_given(self) -> list[Place]:
        """Return the places with the names that they have."""
        return [
            Place(number, way.transport, address, way.encoded_arguments)
            for number, way in enumerate(self._ways, 1)
            for address in way.addresses
        ]

    async def _look_up(self) -> list[Place]:
        """Return all places, without doubles; with a name where it has no two."""
        if self._resolver is None:
            return self._as_given()
        found: list[Place] = []
        for place in self._as_given():
            if place.transport not in DIALLING:
                found.append(place)
                continue
            try:
                hosts = await self._resolver.resolve(place.address)
            except OSError:  # the PT says so, in its own words, or does better
                hosts = []
            # Where there is no choice, the PT looks it up itself.
            places = [place._replace(address=each) for each in hosts]
            found += places if len(hosts) > 1 else [place]
        return list(dict.fromkeys(found))

    def _on_failed(self, place: Place, error: Exception | None) -> None:
        why = self._explain(place, error)
        if why is None:
            assert error is not None  # silence is always a place's
            raise error
        self._rest(place, why)

    def _rest(self, place: object, why: str) -> None:
        chance = random.random()  # noqa: S311 - no secret
        self._selection.failed(place, why, self._loop.time(), chance)
        if len(self._known) > 1:
            logger.debug("! %s: %s", self._called(place), why)
