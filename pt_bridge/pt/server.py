"""A PT server: its state folder and keys, its Extended ORPort, its process."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from pt_bridge.errors import PtProtocolViolation, TransportError
from pt_bridge.files import server_keys, state_dir, temporary_dir
from pt_bridge.net.bind import bind_error, bind_error_from
from pt_bridge.plugin.client_line import ClientLine
from pt_bridge.plugin.outer import LOOPBACK, free_port
from pt_bridge.protocol import pt_environment
from pt_bridge.protocol.address import Address
from pt_bridge.pt.ext_orport import OrPort
from pt_bridge.pt.running_pt import RunningPt
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Mapping

    from pt_bridge.files.program import FoundProgram
    from pt_bridge.protocol import ext_orport
    from pt_bridge.pt.running_pt import PtSetup

    OnAccepted = Callable[[socket.socket, ext_orport.Request], None]

# How often to look whether another pt-bridge has started its PT (seconds).
LOCK_INTERVAL = 0.05


class PtServer(RunningPt):
    """A PT server that runs.

    Attributes:
        folder: its state folder, once it is started.
        is_new: whether nothing was in there before.
        via_for_clients: the values of `via=` and `via-opts=` with which its clients
            reach it; None where there is no such plugin, or that is not known.
    """

    def __init__(
        self,
        setup: PtSetup,
        *,
        bind: Address,
        orport: Address | None,
        folder: str | None = None,
        keys: Mapping[str, bytes] | None = None,
        on_accepted: OnAccepted | None = None,
        extended: tuple[Address, str] | None = None,
    ) -> None:
        """Prepare one.

        Args:
            setup: what it is started with.
            bind: where it is to listen, an IP address and a port; 0 for any. With
                another plugin outside it, where that is to listen: the PT itself then
                listens on loopback.
            orport: where it passes connections on to, if it knows no Extended ORPort;
                None where it must not.
            folder: its state folder, instead of the one that the user asks for.
            keys: those of the PT before it; what somebody has deleted is written again.
            on_accepted: see `OrPort`; without it, there is no Extended ORPort.
            extended: somebody else's Extended ORPort, and the path of the file with its
                cookie; then there is none of ours.
        """
        super().__init__(setup)
        self._bind = bind
        self._orport = orport
        self._given_folder = folder
        self._on_accepted = on_accepted
        self._extended = extended
        self.folder = ""
        self.is_new = False
        self.via_for_clients: tuple[str, str] | None = None
        self._keys = keys or {}

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        find_outer = self._setup.find_outer
        program = None if find_outer is None else find_outer()
        self._make_folder()
        address, cookie = self._extended or (None, "")
        extended = self._listen(stack)
        if extended is not None:
            address, cookie = extended.address, extended.cookie_path
        variables = pt_environment.server(
            self._config.transport,
            state=os.fsencode(self.folder),
            bind=self._bind if program is None else Address(LOOPBACK, 0),
            orport=self._orport,
            extended=address,
            cookie=cookie,
            arguments=self._config.arguments,
        )
        descriptors = [extended.cookie_file] if extended is not None else []
        try:
            # A folder that was made for this one is locked by whoever made it.
            is_shared = self._given_folder is None
            async with _alone(self.folder) if is_shared else contextlib.nullcontext():
                await self._run(stack, variables, descriptors)
        except TransportError as error:
            raise bind_error_from(error.reason, self._bind.port) or error from error
        if program is not None:
            await self._start_outer(stack, program)

    async def _start_outer(
        self, stack: contextlib.AsyncExitStack, program: FoundProgram
    ) -> None:
        """Start the plugin outside, and learn what its clients need."""
        via = self._config.via
        assert via is not None  # else nobody would have found its program
        remote = self._bind if self._bind.port else free_port()
        line = ClientLine(via, program, remote)
        local = self._own_address()
        outer = await self._run_outer(stack, program, remote=remote, local=local)
        self.via_for_clients = await line.read(
            self._setup.limit, has_ended=outer.is_ending
        )

    def _own_address(self) -> Address:
        if self.launch.address is None:
            raise PtProtocolViolation(
                f"{self.launch.program} was told to listen on loopback, and says that "
                f"it does not: use another program, or leave front= and via= out"
            )
        return self.launch.address

    @property
    def entrance(self) -> Address:
        """Where a front sends clients: the PT's own address, or its plugin's.

        Raises:
            PtProtocolViolation: the PT does not listen on loopback.
        """
        return self._own_address() if self.outer is None else self.outer.listener

    def _make_folder(self) -> None:
        """Create its state folder, with the keys of the PT that was there before."""
        self.folder = self._given_folder or state_dir.persistent(
            self._config, self._variables
        )
        try:
            restored = server_keys.restore(self.folder, self._keys)
            if restored:
                logger.warning(
                    "somebody has deleted %s in the state directory: written again",
                    ", ".join(restored),
                )
            self.is_new = not os.listdir(self.folder)
        except OSError as error:
            raise state_dir.cannot_write(self.folder, error) from None

    def _listen(self, stack: contextlib.AsyncExitStack) -> OrPort | None:
        """Listen for the connections that the PT brings, if anybody wants them."""
        if self._on_accepted is None or self._extended is not None:
            return None
        loop = asyncio.get_running_loop()

        def make_folder() -> str:
            return stack.enter_context(temporary_dir.temporary(self._variables))

        try:
            port = OrPort(loop, self._on_accepted, make_folder=make_folder)
            return stack.enter_context(port)
        except OSError as error:
            raise bind_error(error.errno or 0, 0) from None


@contextlib.asynccontextmanager
async def _alone(folder: str) -> AsyncIterator[None]:
    """Start no PT while another pt-bridge starts one in the same folder."""
    lock = state_dir.Lock(folder)
    try:
        while not lock.try_to_take():  # noqa: ASYNC110 - nobody would tell us
            await asyncio.sleep(LOCK_INTERVAL)
        yield
    finally:
        lock.release()
