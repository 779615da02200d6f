"""A tunnel whose PT is replaced with nothing cut.

A new bridge is started beside the old one, takes over the ports once its PT is ready,
and the old one goes on until its last tunnel has ended. Until it is ready, the old one
is what it was, whatever becomes of the new one.

Where the PT itself listens for clients, the old one has to give up the port first. So
the new PT is started before that, on trial, on a port of loopback
(`process.trial_start`). Should it fail all the same, it is started again and again
while the old one carries what it has; clients with a session wait for that moment by
themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import PtBridgeError
from pt_bridge.files import operator_files
from pt_bridge.process.trial_start import try_start
from pt_bridge.process.tunnel import Tunnel
from pt_bridge.process.tunnel_spec import UdpAddress, has_to_wait, listen
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from pt_bridge.bridge.base import Bridge
    from pt_bridge.plans.plan import Plan
    from pt_bridge.process.tunnel import TunnelSetup
    from pt_bridge.process.tunnel_spec import Sockets, TunnelSpec
    from pt_bridge.protocol.address import Address

CANNOT_BE_REPLACED = (
    "the PT cannot be replaced without cutting what it carries, as it is not known to "
    "give up its port: add front=yes, or restart pt-bridge"
)


class _Next(NamedTuple):
    """A bridge that is to take over once it is ready, and what it is made of."""

    bridge: Bridge
    wanted: TunnelSpec
    sockets: Sockets


class _Queued(NamedTuple):
    """What is to come after that, and whether it had to wait for a port of ours."""

    wanted: TunnelSpec
    waits: bool


class ReplaceableTunnel(Tunnel):
    """A tunnel that may become another one, or have another PT, at any time."""

    def __init__(self, setup: TunnelSetup) -> None:
        """Create one without a bridge, as with `Tunnel`."""
        super().__init__(setup)
        self._next: _Next | None = None
        self._replacing: asyncio.Task[None] | None = None
        self._tried_out: TunnelSpec | None = None
        self._queued: _Queued | None = None

    @property
    def held(self) -> Sockets:
        """Where it listens itself, or will as soon as its next PT is ready."""
        return {**self._sockets, **(self._next.sockets if self._next else {})}

    @property
    def of_pt(self) -> Sequence[Address]:
        """Where its PT listens, or its next one."""
        coming = self._next.wanted.of_pt if self._next else ()
        return (*super().of_pt, *coming)

    @property
    def places(self) -> Sequence[Address]:
        """Where it or its PT listens, or will: no other tunnel may, until it leaves."""
        own = [each for each in self.held if not isinstance(each, UdpAddress)]
        return (*own, *self.of_pt)

    def stays(self, plan: Plan | None) -> bool:
        """Whether it is what the file says, and is not about to be something else."""
        coming = (
            self._tried_out,
            self._next and self._next.wanted,
            self._queued and self._queued.wanted,
        )
        return all(each.plan == plan for each in (self.wanted, *filter(None, coming)))

    def _end(self) -> None:
        super()._end()
        if self._replacing is not None:
            self._replacing.cancel()
        if self._next is not None:
            self._next.bridge.stop()

    def _on_other_ended(self, bridge: Bridge, failure: Exception | None) -> None:
        if self._next is not None and bridge is self._next.bridge:
            self._drop_next(failure)

    def _on_ended(self, failure: Exception | None) -> None:
        """See how it goes on without a present bridge."""
        if self._is_ending:
            return
        if self._next is not None:
            self._hand_over()
        elif self._queued is not None:
            self._close()
            self.wanted, self._queued = self._queued.wanted, None
            self._tasks.create_task(self._begin_once_free())
        else:
            super()._on_ended(failure)

    def renew(self) -> None:
        """Replace the PT if one that is started now would differ from it."""
        if self._present is None:
            self._another_try.now()
            return
        try:
            is_outdated = self._present.reload()
        except PtBridgeError as error:
            text = self.wanted.in_its_words(error)
            logger.warning("reloading: %s; going on as before", text)
            return
        named = " and ".join(operator_files.named(self.wanted.config))
        lists = self.wanted.in_its_words(f", and {named} read again") if named else ""
        logger.info("reloaded: PTs are started as pt-bridge.conf says now%s", lists)
        if is_outdated:
            self.replace()

    def replace(
        self, wanted: TunnelSpec | None = None, sockets: Sockets | None = None
    ) -> None:
        """Start a new PT, and give it everything that comes from now on.

        Args:
            wanted: what it is to be; by default, the same.
            sockets: where it listens then, which are owned; by default, where it
                listens now. None, with `wanted`, where it has to wait for a port.
        """
        is_new, wanted = wanted is not None, wanted or self.wanted
        waits = sockets is None and (
            is_new or has_to_wait(wanted, self._sockets, self.of_pt)
        )
        self._replace(wanted, sockets, is_new=is_new, waits=waits)

    def _replace(
        self, wanted: TunnelSpec, sockets: Sockets | None, *, is_new: bool, waits: bool
    ) -> None:
        if self._next is not None or self._tried_out is not None:
            _close(sockets)
            self._queue(_Queued(wanted, waits), is_new=is_new)
        elif self._present is None:
            _close(sockets)
            self.wanted = wanted
            self._another_try.now()
        elif is_new and not self._present.is_up:
            # It carries nothing new, and may never be ready.
            _close(sockets)
            self._queue(_Queued(wanted, waits), is_new=True)
            self._present.stop()
        elif not waits:
            self._replace_beside(wanted, sockets)
        elif self._present.has_port_of_pt and not self._present.can_release_port:
            logger.warning(CANNOT_BE_REPLACED)
        else:
            self._tried_out = wanted
            self._replacing = self._tasks.create_task(
                self._replace_in_place(self._present, wanted)
            )

    def _queue(self, queued: _Queued, *, is_new: bool) -> None:
        """Replace the PT once more, when the one that is being started is settled."""
        if is_new:
            self._queued = queued
            if self._next is not None:
                self._next.bridge.stop()
        else:
            logger.warning("a PT is being started already: nothing is replaced")

    def _replace_beside(self, wanted: TunnelSpec, sockets: Sockets | None) -> None:
        """Start a new bridge beside the present one, which goes on until then."""
        logger.info("replacing the PT")
        try:
            if sockets is None:
                sockets = listen(wanted, self._sockets)
            bridge = self._start(wanted, sockets, accepts_early=False)
        except (PtBridgeError, OSError) as error:
            _close(sockets)
            self._say_not_taken(error)
            return
        bridge.on_ready = self._hand_over
        self._next = _Next(bridge, wanted, sockets)

    def _hand_over(self) -> None:
        """Let the new bridge be the present one."""
        assert self._next is not None  # the only one who is ready
        old, self._present = self._present, self._next.bridge
        self._close()
        _, self.wanted, self._sockets = self._next
        self._next = None
        if old is None:  # it has died meanwhile, and this one is not ready yet
            self._present.on_ready = self._on_ready
        else:
            self._retire(old)
            self._on_ready()
        self._replace_queued()

    def _drop_next(self, failure: Exception | None) -> None:
        assert self._next is not None  # its bridge has ended
        _close(self._next.sockets)
        self._next = None
        if self._queued is None and not self._is_ending:
            self._say_not_taken(failure)
        self._replace_queued()

    def _say_not_taken(self, failure: Exception | None) -> None:
        is_bug = not isinstance(failure, PtBridgeError)
        logger.warning(
            "the new PT was not taken: %s; the old one goes on",
            "a bug" if is_bug else self.wanted.in_its_words(failure),
            exc_info=failure if is_bug else None,
        )

    def _replace_queued(self) -> None:
        queued, self._queued = self._queued, None
        if queued is None or self._is_ending:
            return
        wanted, waits = queued
        if wanted.plan == self.wanted.plan:
            return
        sockets = self._listen_if_free(wanted) if waits else None
        waits = waits and sockets is None
        self._replace(wanted, sockets, is_new=True, waits=waits)

    def _listen_if_free(self, wanted: TunnelSpec) -> Sockets | None:
        """Listen where one had to wait; None where another of ours has not left yet."""
        try:
            return listen(wanted, self._sockets, self.taken())
        except (PtBridgeError, OSError):
            return None

    async def _replace_in_place(self, old: Bridge, wanted: TunnelSpec) -> None:
        """Have the present bridge give up its port, and start the new one there."""
        before = self.wanted
        try:
            logger.info("replacing the PT: the new one is tried out first")
            try:
                await try_start(wanted.config, self._variables)
            finally:
                self._tried_out = None
            # Has it died meanwhile, or is it to be something else by now?
            if old is not self._present or self._queued is not None:
                if self.wanted is before:  # else it is something newer already
                    self._queued = self._queued or _Queued(wanted, waits=True)
            else:
                logger.info("replacing the PT, which has given up its port")
                self._present, self.wanted = None, wanted
                self._close()
                self._retire(old)
                await self._begin_once_free()
        except Exception as error:
            self._say_not_taken(error)
        finally:
            self._replacing = None
        self._replace_queued()


def _close(sockets: Sockets | None) -> None:
    for sock in (sockets or {}).values():
        sock.close()
