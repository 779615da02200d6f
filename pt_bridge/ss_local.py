"""shadowsocks's own client, run in private to send one request through everything.

It gets a folder of its own, with its configuration and a pt-bridge that is this one,
and is gone with it when the block ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from pt_bridge import causes, program, state
from pt_bridge.command import Command
from pt_bridge.dial import connect, dial
from pt_bridge.errors import DidNotStart, ProgramError
from pt_bridge.forms import PLUGIN
from pt_bridge.protocol import socks5, ss_config
from pt_bridge.protocol.address import Address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from pt_bridge.protocol.profile import Profile

# shadowsocks-libev's, shadowsocks-rust's.
NAMES = ("ss-local", "sslocal")
LOOPBACK = "127.0.0.1"
# How long it may take to listen, and to answer our handshake (seconds).
START_LIMIT = 30.0
READY = ": ready: "  # pt-bridge's own word
# How long to wait for that word; the port of pt-bridge is open much earlier (seconds).
READY_LIMIT = 5.0
ANSWER_SIZE = 4096
COMPLAINT = re.compile(r"pt-bridge(?:\[\w+\])?: (?:warning|error): ")
# Run by this Python, so that it is this very pt-bridge. In a file, for others can read
# command lines.
CODE = """\
import os, sys
sys.path.insert(0, {folder!r})
given = {given!r}
if given:
    local = "{{SS_LOCAL_HOST}}:{{SS_LOCAL_PORT}}".format_map(os.environ)
    sys.argv[1:] = ["client", "--local", local, *given]
from pt_bridge.cli import main
sys.exit(main())
"""


def find(variables: Mapping[bytes, bytes]) -> str | None:
    """Give the path of the one that is installed, or None."""
    try:
        return program.find(NAMES, variables, os.getcwd())
    except (ProgramError, OSError):
        return None


class SsLocal:
    """One that runs while its block lasts."""

    def __init__(
        self,
        path: str,
        profile: Profile,
        flags: Sequence[str],
        variables: Mapping[bytes, bytes],
    ) -> None:
        """Prepare it.

        Args:
            path: the program.
            profile: all that it must know of the server.
            flags: what pt-bridge gets on its command line, where that is needed,
                ``--remote`` among them; or ().
            variables: our environment.
        """
        self._path = path
        self._profile = profile
        self._flags = flags
        self._variables = variables
        self._stack = contextlib.AsyncExitStack()
        self._command: Command | None = None

    @property
    def complaint(self) -> str:
        """What its pt-bridge has complained of last, or ""."""
        lines = self._command.lines if self._command is not None else ()
        found = [line for line in lines if COMPLAINT.match(line)]
        return found[-1] if found else ""

    async def __aenter__(self) -> SsLocal:
        """Start it, and wait until it can be asked.

        Raises:
            DidNotStart: it ended instead.
            OSError: it cannot be started or reached.
        """
        async with contextlib.AsyncExitStack() as stack:
            folder = stack.enter_context(state.temporary(self._variables))
            port = _free_port()
            self._write(folder, port)
            self._command = Command(
                [self._path, "-c", os.path.join(folder, "config.json")],
                self._environment(folder),
                folder=folder,
            )
            await stack.enter_async_context(self._command)
            if not await self._is_ready(self._command):
                name = os.path.basename(self._path)
                last = self._command.lines[-1] if self._command.lines else ""
                words = self.complaint or last
                raise DidNotStart(causes.explain_no_start(name, words))
            self._address = Address(LOOPBACK, port)
            sock = await connect(self._address, patience=START_LIMIT, limit=START_LIMIT)
            sock.close()
            self._stack = stack.pop_all()
        return self

    async def _is_ready(self, command: Command) -> bool:
        """Wait until its pt-bridge is ready; False where it has ended instead."""
        try:
            async with asyncio.timeout(READY_LIMIT):
                return await command.said(lambda line: READY in line)
        except TimeoutError:  # it logs less than that, or takes its time
            return True

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it, with its pt-bridge, and remove the folder."""
        await self._stack.aclose()

    def _write(self, folder: str, port: int) -> None:
        profile = replace(
            self._profile,
            local_host=LOOPBACK,
            local_port=port,
            plugin=PLUGIN,
            others={},
        )
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        code = os.path.join(folder, "pt-bridge.py")
        command = shlex.join([sys.executable, "-I", code])
        for name, text, mode in (
            ("config.json", ss_config.serialize(profile), 0o600),
            (PLUGIN, f"#!/bin/sh\nexec {command}\n", 0o700),
            (code, CODE.format(folder=root, given=list(self._flags)), 0o600),
        ):
            path = os.path.join(folder, name)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with open(os.open(path, flags, mode), "w", encoding="utf-8") as file:
                file.write(text)

    def _environment(self, folder: str) -> dict[bytes, bytes]:
        given = {
            name: value
            for name, value in self._variables.items()
            if not name.startswith((b"SS_", b"TOR_PT_")) and name != b"NOTIFY_SOCKET"
        }
        ours = os.fsencode(folder)
        path = given.get(b"PATH", b"/usr/bin:/bin")
        # Programs with file capabilities get no TMPDIR.
        return {**given, b"PATH": ours + b":" + path, b"RUNTIME_DIRECTORY": ours}

    async def ask(self, target: Address) -> bytes:
        """Send a request for nothing to a web server; give what comes first.

        Returns:
            The first bytes of the answer, or b"" where there is none.

        Raises:
            ProtocolError, OSError: shadowsocks did not take it, or it broke off.
        """
        loop = asyncio.get_running_loop()
        request = f"HEAD / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"
        sock = await dial(
            self._address,
            socks5.connect(target, b""),
            limit=START_LIMIT,
            peer="ss-local",
        )
        with sock:
            await loop.sock_sendall(sock, request.encode("ascii", "replace"))
            return await loop.sock_recv(sock, ANSWER_SIZE)


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as sock:
        port: int = sock.getsockname()[1]
        return port
