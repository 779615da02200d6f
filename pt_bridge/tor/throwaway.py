"""A tor that is started for a moment, with one bridge and nothing else.

It has a folder and a configuration of its own, listens nowhere but for its control
port, which asks for a cookie, and reaches the bridge through a PT client that runs
already. Nothing of it is left when its block ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from typing import TYPE_CHECKING

from pt_bridge.errors import ProgramError
from pt_bridge.files import executable
from pt_bridge.files.whole_file import write_whole
from pt_bridge.protocol import pt_environment
from pt_bridge.protocol.address import parse_endpoint
from pt_bridge.system.child_process import Command
from pt_bridge.system.started import Started
from pt_bridge.tor import control
from pt_bridge.tor.bootstrap import Bootstrap, clock_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from stem.control import Controller
    from stem.response.events import StatusEvent

    from pt_bridge.protocol.address import Address

NAMES = ("tor",)
# Debian's is in a folder that users do not have in PATH.
MORE_FOLDERS = "/usr/sbin:/usr/local/sbin"
# How long it may take until it can be spoken to (seconds).
START_LIMIT = 20.0
LISTENS = re.compile(r"Opened Control listener connection .*on (127\.0\.0\.1:\d+)")
PROBLEM = ("[err]", "[warn]")
NOTHING = "/dev/null"
TORRC = """\
DataDirectory {folder}/data
ControlPort 127.0.0.1:auto
CookieAuthentication 1
SocksPort 0
DisableNetwork 1
AvoidDiskWrites 1
Log notice stdout
UseBridges 1
Bridge {bridge}
ClientTransportPlugin {transport} {protocol} {pt}
"""


def find(variables: Mapping[bytes, bytes]) -> str:
    """Return the path of the tor that is installed here.

    Raises:
        ProgramError: there is none.
    """
    path = os.fsdecode(variables.get(b"PATH", b""))
    folders = f"{path}:{MORE_FOLDERS}".encode()
    return executable.find(NAMES, {**variables, b"PATH": folders}, os.getcwd()).path


def quoted(text: str) -> str:
    """Write a value as torrc has it where anything may be in it."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


class ThrowawayTor(Started):
    """A tor that is there as long as the block lasts.

    ProgramError is raised where it does not start or cannot be spoken to, UsageError
    where stem is not installed.

    Attributes:
        bootstrap: how far it has come with its start.
    """

    def __init__(
        self,
        path: str,
        variables: Mapping[bytes, bytes],
        folder: str,
        *,
        bridge: str,
        transport: str,
        protocol: str,
        pt: Address,
        defaults: str | None = None,
    ) -> None:
        """Prepare one; entering the block starts it.

        Args:
            path: the program.
            variables: our environment.
            folder: a folder of its own, which nobody else may enter.
            bridge: the bridge line, without ``Bridge``; its address an IP address.
            transport: the transport's name.
            protocol: what the PT client speaks, socks5 or socks4.
            pt: where the PT client listens.
            defaults: a file with more of its configuration, like another network's
                authorities, or None.
        """
        super().__init__()
        self._folder = folder
        self._torrc = TORRC.format(
            folder=folder,
            bridge=quoted(bridge),
            transport=transport,
            protocol=protocol,
            pt=pt,
        )
        torrc = os.path.join(folder, "torrc")
        more = ["--defaults-torrc", defaults or NOTHING]
        self._command = Command(
            [path, "-f", torrc, *more], pt_environment.inherited(variables)
        )
        self.bootstrap = Bootstrap()
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._controller: Controller

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        write_whole(f"{self._folder}/torrc", self._torrc.encode("ascii"))
        try:
            await stack.enter_async_context(self._command)
        except OSError as error:
            raise ProgramError(f"tor does not start: {error.strerror}") from None
        try:
            async with asyncio.timeout(START_LIMIT):
                listens = await self._command.said(
                    lambda line: LISTENS.search(line) is not None
                )
        except TimeoutError:
            listens = False
        if not listens:
            raise ProgramError(f"tor does not start: {self._last_problem()}")
        async with asyncio.timeout(START_LIMIT):
            sock = await control.connect(self._control_port())
            stack.callback(sock.hang_up)
            await asyncio.to_thread(self._begin, stack, sock)

    def _begin(
        self, stack: contextlib.AsyncExitStack, sock: control.ControlSocket
    ) -> None:
        """Start its bootstrap, and follow it; blocks, so it runs in a thread."""
        self._controller = stack.enter_context(
            control.controller(sock, for_events=True)
        )
        self._controller.add_event_listener(
            self._on_event, "STATUS_CLIENT", "STATUS_GENERAL"
        )
        self._controller.set_conf("DisableNetwork", "0")

    def _control_port(self) -> Address:
        """Return where it can be spoken to, of which it has told."""
        found = [it for line in self._command.lines if (it := LISTENS.search(line))]
        return parse_endpoint(found[-1][1])

    def _last_problem(self) -> str:
        """Return what it wrote last of what is wrong."""
        problems = [
            line.partition("] ")[2]
            for line in self._command.lines
            if any(mark in line for mark in PROBLEM)
        ]
        return problems[-1] if problems else "it said nothing"

    def _on_event(self, event: StatusEvent) -> None:
        """Take an event, in stem's thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(
                self._on_status, event.action, dict(event.keyword_args)
            )

    def _on_status(self, action: str, arguments: Mapping[str, str]) -> None:
        self.bootstrap.on_status(action, arguments)
        self._news.set()

    async def wait(
        self, is_enough: Callable[[Bootstrap], bool], *, limit: float
    ) -> bool:
        """Wait until it has come so far; return whether it has.

        Args:
            is_enough: tells whether it has.
            limit: how long to wait, in seconds.
        """
        try:
            async with asyncio.timeout(limit):
                while not is_enough(self.bootstrap):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def clock_error(self, now: datetime) -> int:
        """Return how many seconds this machine's clock is wrong; 0 if it may be right.

        Args:
            now: what the clock says, with its time zone.
        """
        if self.bootstrap.skew:
            return self.bootstrap.skew
        keys = ("consensus/valid-after", "consensus/valid-until")
        async with asyncio.timeout(control.LIMIT):
            after, until = await asyncio.to_thread(
                lambda: [self._controller.get_info(key, "") for key in keys]
            )
        return clock_error(after, until, now)
