"""Several tunnels in one process: what a file of tunnels asks for (``pt-bridge run``).

Each has bridges and PTs of its own. One that fails is started again, for ever, and
never ends the others. Where the file has changed, all that can be known before is
looked at before anything is given up: the file, the files that it names, the ports.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING

from pt_bridge.errors import ConfigError, PtBridgeError
from pt_bridge.net import takeover
from pt_bridge.process.replaceable_tunnel import ReplaceableTunnel
from pt_bridge.process.tunnel import TunnelSetup
from pt_bridge.process.tunnel_spec import has_to_wait, listen
from pt_bridge.protocol.address import overlap
from pt_bridge.system import log
from pt_bridge.system.log import logger
from pt_bridge.system.systemd import NOTIFY_SOCKET, notify

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pt_bridge.metrics.figures import Figures
    from pt_bridge.process.tunnel import MakeBridge
    from pt_bridge.process.tunnel_spec import Place, Sockets, TunnelSpec
    from pt_bridge.protocol.address import Address

    ReadAgain = tuple[Mapping[str, TunnelSpec], Sequence[str]]


class KeptTunnel:
    """A tunnel of the file, and the context in which the log calls it by its name.

    Attributes:
        replaceable: its bridges.
        context: where all that is done for it is to be done.
    """

    def __init__(
        self,
        name: str,
        replaceable: ReplaceableTunnel,
        on_settled: Callable[[KeptTunnel], None],
    ) -> None:
        """Create a tunnel that does not run yet.

        Args:
            name: what its owner calls it.
            replaceable: its bridges.
            on_settled: called once, when it is ready or has failed.
        """
        self.replaceable = replaceable
        self._name = name
        self._on_settled: Callable[[KeptTunnel], None] | None = on_settled
        replaceable.on_settled = self.settle
        self.context = contextvars.copy_context()
        self.context.run(log.TUNNEL.set, name)

    async def run(self) -> None:
        """Carry connections until it is told to end."""
        await self.replaceable.run()
        self.settle()

    def rename(self, name: str) -> None:
        """Call by another name what begins from now on."""
        self._name = name
        self.context.run(log.TUNNEL.set, name)

    def settle(self) -> None:
        """Know that it is ready, or has failed."""
        on_settled, self._on_settled = self._on_settled, None
        if on_settled is not None:
            on_settled(self)

    def figures(self) -> list[Figures]:
        """Return what it has counted, for operators."""
        return self.replaceable.figures(self._name)


class Run:
    """All tunnels of a file.

    Attributes:
        before_reload: asked at SIGHUP; whether there is nothing to read again.
    """

    def __init__(
        self,
        wanted: Mapping[str, TunnelSpec],
        make: MakeBridge,
        variables: Mapping[bytes, bytes],
        sockets: Mapping[str, Sockets],
        read: Callable[[], ReadAgain],
    ) -> None:
        """Create what `run` keeps.

        Args:
            wanted: the tunnels, by name.
            make: makes their bridges.
            variables: our environment.
            sockets: by a tunnel's name, where it listens already; they are owned.
            read: reads the file again; returns the tunnels, and sentences on what
                else has changed in it.
        """
        self._notify = variables
        self._make_bridge = make
        self._variables = without_systemd(variables)
        self._read = read
        self.before_reload: Callable[[], bool] = lambda: False
        self._is_stopping = self._was_interrupted = False
        self._over = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._number_unsettled = len(wanted)
        self._retired: set[KeptTunnel] = set()
        self._tunnels = {
            name: self._make(name, each, sockets[name]) for name, each in wanted.items()
        }

    def _make(
        self, name: str, wanted: TunnelSpec, sockets: Sockets | None
    ) -> KeptTunnel:
        setup = TunnelSetup(
            wanted, self._make_bridge, self._variables, sockets, is_kept=True
        )
        replaceable = ReplaceableTunnel(setup)
        replaceable.taken = lambda: self._places_beside(replaceable)
        return KeptTunnel(name, replaceable, self._on_settled)

    def _places_beside(self, one: ReplaceableTunnel) -> list[Address]:
        """Return where all tunnels but one listen."""
        all_ = [tunnel.replaceable for tunnel in self._tunnels.values()]
        return [place for each in all_ if each is not one for place in each.places]

    async def run(self) -> None:
        """Keep all tunnels going until `stop` is called."""
        async with asyncio.TaskGroup() as self._tasks:
            for tunnel in self._tunnels.values():
                self._start(tunnel)
            await self._over.wait()
        logger.info("stopped")

    def _start(self, tunnel: KeptTunnel) -> None:
        assert self._tasks is not None  # `run` has begun
        task = self._tasks.create_task(tunnel.run(), context=tunnel.context)
        task.add_done_callback(lambda _: self._retired.discard(tunnel))

    def _on_settled(self, tunnel: KeptTunnel) -> None:
        """Tell systemd that we are ready, once each tunnel is, or has failed.

        Where another pt-bridge goes on else, one that has failed is one too many.
        """
        if takeover.is_going_on() and not tunnel.replaceable.is_well:
            if not self._is_stopping:
                logger.error("this tunnel has failed: not taking over")
                asyncio.get_running_loop().call_soon(self.stop)
            return
        self._number_unsettled -= 1
        if self._number_unsettled == 0 and takeover.is_going_on():
            takeover.tell_ready()  # to who then tells systemd of us
        elif self._number_unsettled == 0:
            notify(self._notify, "READY=1")

    def _all(self) -> list[KeptTunnel]:
        return [*self._tunnels.values(), *self._retired]

    def stop(self) -> None:
        """End everything at once; a second call kills what has not ended."""
        if not self._is_stopping:
            self._is_stopping = True
            notify(self._notify, "STOPPING=1")
        for tunnel in self._all():
            tunnel.context.run(tunnel.replaceable.stop)
        self._over.set()

    def interrupt(self) -> None:
        """Answer Ctrl-C: what is open may finish, until the second one."""
        if self._was_interrupted:
            self.stop()
            return
        self._was_interrupted = self._is_stopping = True
        for tunnel in self._all():
            tunnel.context.run(tunnel.replaceable.interrupt)
        self._over.set()

    def all_sockets(self) -> list[socket.socket]:
        """Return where all listen."""
        found = [tunnel.replaceable.sockets for tunnel in self._tunnels.values()]
        return [sock for each in found for sock in each.values()]

    def retire(self) -> None:
        """Take nothing new, and end with the last connection."""
        self._is_stopping = True
        for tunnel in self._tunnels.values():
            tunnel.context.run(tunnel.replaceable.retire)
        self._over.set()

    def figures(self) -> list[Figures]:
        """Return what all have counted, for operators."""
        return [each for tunnel in self._tunnels.values() for each in tunnel.figures()]

    def replace_pts(self) -> None:
        """Start a new PT for each tunnel (SIGUSR2)."""
        for tunnel in self._tunnels.values():
            tunnel.context.run(tunnel.replaceable.replace)

    def report(self) -> None:
        """Write to the log how all are (SIGUSR1)."""
        for tunnel in self._all():
            tunnel.context.run(tunnel.replaceable.report)

    def reload(self) -> None:
        """Read the file again, and change what has changed (SIGHUP).

        Unless all of it can be had, nothing is changed.
        """
        if self._is_stopping or self.before_reload():
            return
        try:
            log.reopen_files()
            wanted, notes = self._read()
            renamed = self._renamed(wanted)
            changed = self._changed(wanted, renamed)
            staying = {renamed.get(name, name) for name in wanted}
            sockets = self._listen(changed, renamed, staying)
        except PtBridgeError as error:
            logger.warning("reloading: %s; going on as before", error)
            return
        for name, before in renamed.items():
            self._tunnels[name] = self._tunnels.pop(before)
            self._tunnels[name].rename(name)
        gone = self._gone(wanted)
        for name in gone:
            tunnel = self._tunnels.pop(name)
            self._retired.add(tunnel)
            tunnel.context.run(tunnel.replaceable.retire)
        for name, tunnel in self._tunnels.items():
            replace = tunnel.replaceable.replace
            if name in changed:
                tunnel.context.run(replace, changed[name], sockets[name])
            else:
                tunnel.context.run(tunnel.replaceable.renew)
        new = [name for name in wanted if name not in self._tunnels]
        for name in new:
            self._number_unsettled += 1
            self._tunnels[name] = self._make(name, wanted[name], sockets[name])
            self._start(self._tunnels[name])
        logger.info(
            "reloaded: of the tunnels in the file, %d are new, %d get another PT, %d "
            "stay as they are; %d end with their last connection",
            len(new),
            len(changed) - len(new),
            len(wanted) - len(changed),
            len(gone),
        )
        for note in notes:
            logger.warning("%s", note)

    def _gone(self, wanted: Mapping[str, TunnelSpec]) -> list[str]:
        return [name for name in self._tunnels if name not in wanted]

    def _renamed(self, wanted: Mapping[str, TunnelSpec]) -> dict[str, str]:
        """Return, by their new names, what those were called that have others now.

        Who listens where one did that is gone is that one. So it goes on until the one
        of the new name is ready, which may never be.
        """
        gone = {name: self._tunnels[name].replaceable for name in self._gone(wanted)}
        renamed = {}
        for name, each in wanted.items():
            if name in self._tunnels:
                continue
            for before, replaceable in gone.items():
                if _have_one_place(each, replaceable.wanted):
                    renamed[name] = before
                    del gone[before]
                    break
        return renamed

    def _changed(
        self, wanted: Mapping[str, TunnelSpec], renamed: Mapping[str, str]
    ) -> dict[str, TunnelSpec]:
        """Return those that are new, or to be something else."""
        present = {
            name: self._tunnels[renamed.get(name, name)].replaceable
            for name in (*self._tunnels, *renamed)
        }
        return {
            name: each
            for name, each in wanted.items()
            if name not in present or not present[name].stays(each.plan)
        }

    def _listen(
        self,
        changed: Mapping[str, TunnelSpec],
        renamed: Mapping[str, str],
        staying: Collection[str],
    ) -> dict[str, Sockets | None]:
        """Listen where these want to, or see that they can; all of them, or none.

        Args:
            changed: by name, what is to be.
            renamed: by their new names, what some are called until now.
            staying: the names, until now, of those that are not gone.

        Returns:
            By name, where each listens; None for who has to wait until a port is given
            up that is one of ours now.

        Raises:
            ListenError: somewhere that cannot be done.
        """
        made: dict[str, Sockets | None] = {}
        try:
            for name, wanted in changed.items():
                others = {each for each in staying if each != renamed.get(name, name)}
                held, taken = self._places(others)
                waits = has_to_wait(wanted, held, taken)
                made[name] = None if waits else listen(wanted, held)
        except ConfigError as error:
            for sockets in made.values():
                for sock in (sockets or {}).values():
                    sock.close()
            raise type(error)(f"{wanted.where}{error}") from None
        return made

    def _places(self, others: Collection[str]) -> tuple[Sockets, list[Address]]:
        """Return the sockets that a tunnel may share, and where it cannot listen yet.

        It shares its own, and those of who is gone. Others may go on where they are, if
        their new PTs fail; who shared a socket with them would get their connections.
        """
        held: dict[Place, socket.socket] = {}
        taken: list[Address] = []
        for name, tunnel in self._tunnels.items():
            if name in others:
                taken += tunnel.replaceable.places
            else:
                taken += tunnel.replaceable.of_pt
                held.update(tunnel.replaceable.held)
        return held, taken


def _have_one_place(one: TunnelSpec, other: TunnelSpec) -> bool:
    """Whether two are the same side of a tunnel, and listen at the same place."""
    return one.config.server == other.config.server and any(
        overlap(mine, theirs) for mine in one.listen for theirs in other.listen
    )


def without_systemd(variables: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return an environment in which nobody is told anything: one of us does."""
    return {key: each for key, each in variables.items() if key != NOTIFY_SOCKET}
