"""The places at which the server may be reached: the ways, and the addresses of each.

Any may be blocked while another is not: a censor drops the IPv4 address, or one bridge,
or a network has no IPv6. No address is named in what this says, nor any argument.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.net.dialling import TaskDialling
from pt_bridge.options.transports import DIALLING
from pt_bridge.system.log import logger
from pt_bridge.ways.race import PATIENCE, Race
from pt_bridge.ways.selection import Selection

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Coroutine, Sequence

    from pt_bridge.formats.way import Way
    from pt_bridge.net.dialling import Dialling, OnConnected
    from pt_bridge.net.resolve import Resolver
    from pt_bridge.protocol.address import Address

    # Begins to connect to a place.
    Dial = Callable[["Place", OnConnected], Dialling]
    # Gets a connection, and the place that it leads to; or the error of the last one
    # that was tried.
    OnReached = Callable[[socket.socket | Exception, "Place"], None]
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
        self._given = [
            Place(number, way.transport, address, way.encoded_arguments)
            for number, way in enumerate(ways, 1)
            for address in way.addresses
        ]
        self._has_names = any(_is_name(each) for each in self._given)
        self._known = self._given
        self._selection = Selection()

    def dial(
        self,
        dial: Dial,
        on_reached: OnReached,
        avoid: object = None,
        *,
        only: Place | None = None,
    ) -> Dialling:
        """Begin to make a connection.

        Args:
            dial: connects to one place.
            on_reached: called once, as `OnConnected` is.
            avoid: one that is tried last, or None.
            only: one by whose way alone it is tried, or None.
        """
        found = self._look_up_at_once()
        if found is not None:
            return self._dial_first(found, dial, on_reached, avoid, only)
        return _AfterLookUp(
            self._loop,
            self._look_up(),
            lambda found: self._dial_first(found, dial, on_reached, avoid, only),
            lambda bug: on_reached(bug, self._given[0]),
        )

    def _dial_first(
        self,
        found: list[Place],
        dial: Dial,
        on_reached: OnReached,
        avoid: object,
        only: Place | None,
    ) -> Dialling:
        """Dial the first of these places that gets through."""
        if found is not self._known and found != self._known:
            self._selection.keep_only(found)
        self._known = found
        if only is not None:
            found = [each for each in found if each.way == only.way] or [only]
        if len(found) == 1:  # nothing to race with
            return dial(found[0], partial(self._on_only_one, on_reached, found[0]))
        on_done = partial(self._on_reached, on_reached)
        ways = self._selection.order(found, self._loop.time(), avoid)
        ways.sort(key=lambda place: bool(self._why_not(place.transport)))
        return Race(
            self._loop, ways, dial, self._on_failed, on_done, patience=self._patience
        )

    def _on_only_one(
        self, on_reached: OnReached, place: Place, got: socket.socket | Exception
    ) -> None:
        if not isinstance(got, Exception):
            self._selection.worked(place)
        on_reached(got, place)

    def _on_reached(
        self, on_reached: OnReached, got: socket.socket | Exception, place: Place
    ) -> None:
        if not isinstance(got, Exception):
            is_new = self._selection.worked(place)
            if is_new and place in self._known:
                logger.info("the server is reached by %s", self._called(place))
        on_reached(got, place)

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

    def _look_up_at_once(self) -> list[Place] | None:
        """Return all places, or None where a name has to be looked up first."""
        resolver = self._resolver
        if resolver is None or not self._has_names:
            return self._given
        found: list[Place] = []
        for place in self._given:
            known = resolver.known(place.address) if _is_name(place) else []
            if known is None:
                return None
            found += _choices(place, known)
        return list(dict.fromkeys(found))

    async def _look_up(self) -> list[Place]:
        """Return all places, without doubles; with a name where it has no two."""
        assert self._resolver is not None  # else there would be nothing to look up
        found: list[Place] = []
        for place in self._given:
            hosts: list[Address] = []
            if _is_name(place):
                try:
                    hosts = await self._resolver.resolve(place.address)
                except OSError:  # the PT says so, in its own words, or does better
                    pass
            found += _choices(place, hosts)
        return list(dict.fromkeys(found))

    def _on_failed(self, place: Place, error: Exception | None) -> bool:
        """Let a place rest; return whether another may do better."""
        why = self._explain(place, error)
        if why is not None:
            self._rest(place, why)
        return why is not None

    def _rest(self, place: object, why: str) -> None:
        chance = random.random()  # noqa: S311 - no secret
        self._selection.failed(place, why, self._loop.time(), chance)
        if len(self._known) > 1 and place in self._known:
            logger.debug("! %s: %s", self._called(place), why)


class _AfterLookUp:
    """A dialling that begins as soon as the names are looked up."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        look_up: Coroutine[None, None, list[Place]],
        begin: Callable[[list[Place]], Dialling],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self._begin = begin
        self._on_failed = on_failed
        self._dialling: Dialling = TaskDialling(loop, look_up, self._on_found)

    def cancel(self) -> None:
        """Give it up."""
        self._dialling.cancel()

    def _on_found(self, found: list[Place] | Exception) -> None:
        if isinstance(found, Exception):
            self._on_failed(found)
        else:
            self._dialling = self._begin(found)


def _is_name(place: Place) -> bool:
    """Whether we may look up a place's address: not where the PT does not dial it."""
    return place.address.ip is None and place.transport in DIALLING


def _choices(place: Place, hosts: Sequence[Address]) -> list[Place]:
    """Return a place for each of a name's addresses."""
    # Where there is no choice, the PT looks it up itself.
    if len(hosts) < 2:
        return [place]
    return [place._replace(address=each) for each in hosts]
