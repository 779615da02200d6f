"""shadowsocks's own client, run in private to send one request through everything.

It gets a folder of its own, with its configuration and a pt-bridge that is this one,
and is gone with it when the block ends.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pt_bridge
from pt_bridge.errors import DidNotStart, ProgramError
from pt_bridge.explain import reasons
from pt_bridge.files import executable, temporary_dir
from pt_bridge.formats import ss_config
from pt_bridge.net.connect import connect_and_handshake, connect_local
from pt_bridge.profiles.forms import PLUGIN
from pt_bridge.protocol import socks_client
from pt_bridge.protocol.address import Address
from pt_bridge.system.child_process import Command
from pt_bridge.system.started import Started

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Mapping, Sequence

    from pt_bridge.formats.profile import Profile

# shadowsocks-libev's, shadowsocks-rust's.
NAMES = ("ss-local", "sslocal")
LOOPBACK = "127.0.0.1"
# How long it may take to listen, and to answer our handshake (seconds).
START_LIMIT = 30.0
READY = ": ready: "  # pt-bridge's own word
# How long to wait for that word; the port of pt-bridge is open much earlier (seconds).
READY_LIMIT = 5.0
ANSWER_SIZE = 4096
OURS = re.compile(r"pt-bridge(?:\[\w+\])?: ")
COMPLAINT = re.compile(rf"{OURS.pattern}(?:warning|error): ")
# Of shadowsocks-libev's and -rust's lines, with the time before it.
OWN_ERROR = re.compile(r"\bERROR\b:?\s+(.*)")
# What they say when their plugin has ended, which says why itself.
PLUGIN_ENDED = "plugin service exit unexpectedly"
# pt-bridge's answer to SIGUSR1, with how many connections it has carried; how long that
# may take (seconds).
CARRIED = re.compile(rf"{OURS.pattern}.*?\b(\d+) in all\b")
STATUS_LIMIT = 5.0
PID_FILE = "pid"
# What a configuration says of the program alone: how else it takes connections, whom it
# becomes and where its log goes, which we read.
NOT_FOR_US = frozenset(
    {"locals", "local_socket", "protocol", "user", "use_syslog", "log", "daemonize"}
)
# Run by this Python, so that it is this very pt-bridge. In a file, for others can read
# command lines.
CODE = """\
import os, sys
with open({pid_file!r}, "w") as file:
    file.write(str(os.getpid()))
sys.path.insert(0, {folder!r})
given = {given!r}
if given:
    local = "{{SS_LOCAL_HOST}}:{{SS_LOCAL_PORT}}".format_map(os.environ)
    sys.argv[1:] = ["client", "--local", local, *given]
from pt_bridge.main import main
sys.exit(main())
"""


def find(variables: Mapping[bytes, bytes]) -> str | None:
    """Return the path of the one that is installed, or None."""
    try:
        return executable.find(NAMES, variables, os.getcwd()).path
    except (ProgramError, OSError):
        return None


class SsLocal(Started):
    """One that runs while its block lasts.

    DidNotStart is raised where it ends instead, OSError where it cannot be started or
    reached.
    """

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
        super().__init__()
        self._path = path
        self._profile = profile
        self._flags = flags
        self._variables = variables
        self._command: Command | None = None
        self._folder = ""

    @property
    def _lines(self) -> Sequence[str]:
        return [] if self._command is None else list(self._command.lines)

    @property
    def complaint(self) -> str:
        """What its pt-bridge has complained of last, or ""."""
        found = [line for line in self._lines if COMPLAINT.match(line)]
        return found[-1] if found else ""

    @property
    def own_error(self) -> str:
        """What shadowsocks itself has complained of first, or ""."""
        for line in self._lines:
            found = None if OURS.match(line) else OWN_ERROR.search(line)
            if found and PLUGIN_ENDED not in line:
                return found[1]
        return ""

    async def went_around(self) -> bool:
        """Return whether `acl` has kept every connection from the server so far."""
        if not self._profile.others.get("acl"):
            return False
        assert self._command is not None  # it runs
        try:
            os.kill(self._pid_of_plugin(), signal.SIGUSR1)
            async with asyncio.timeout(STATUS_LIMIT):
                await self._command.said(lambda line: CARRIED.match(line) is not None)
        except (OSError, ValueError):  # no answer in time among them
            return True
        found = [match for line in self._lines if (match := CARRIED.match(line))]
        return not found or int(found[-1][1]) == 0

    def _pid_of_plugin(self) -> int:
        with open(os.path.join(self._folder, PID_FILE), encoding="utf-8") as file:
            return int(file.read())

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        folder = stack.enter_context(
            temporary_dir.temporary(self._variables, for_programs=True)
        )
        port = _port(self._profile.local_port)
        self._folder = folder
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
            words = "; ".join(filter(None, (self.own_error, self.complaint)))
            words = words or last
            raise DidNotStart(reasons.explain_no_start(name, words), words)
        self._address = Address(LOOPBACK, port)
        sock = await connect_local(
            self._address, patience=START_LIMIT, limit=START_LIMIT
        )
        sock.close()

    async def _is_ready(self, command: Command) -> bool:
        """Wait until its pt-bridge is ready; False where it has ended instead."""
        try:
            async with asyncio.timeout(READY_LIMIT):
                return await command.said(lambda line: READY in line)
        except TimeoutError:  # it logs less than that, or takes its time
            return True

    def _write(self, folder: str, port: int) -> None:
        others = {
            key: value
            for key, value in self._profile.others.items()
            if key not in NOT_FOR_US
        }
        if isinstance(acl := others.get("acl"), str):
            others["acl"] = os.path.abspath(acl)
        profile = replace(
            self._profile,
            local_host=LOOPBACK,
            local_port=port,
            plugin=PLUGIN,
            others=others,
        )
        root = os.path.dirname(os.path.dirname(os.path.abspath(pt_bridge.__file__)))
        code = os.path.join(folder, "pt-bridge.py")
        pid = os.path.join(folder, PID_FILE)
        command = shlex.join([sys.executable, "-I", code])
        for name, text, mode in (
            ("config.json", ss_config.serialize(profile), 0o600),
            (PLUGIN, f"#!/bin/sh\nexec {command}\n", 0o700),
            (
                code,
                CODE.format(folder=root, given=list(self._flags), pid_file=pid),
                0o600,
            ),
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
        """Send a request for nothing to a web server; return what comes first.

        Returns:
            The first bytes of the answer, or b"" where there is none.

        Raises:
            ProtocolError, OSError: shadowsocks did not take it, or it broke off.
        """
        loop = asyncio.get_running_loop()
        request = f"HEAD / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"
        sock = await connect_and_handshake(
            self._address,
            socks_client.connect(target, b""),
            limit=START_LIMIT,
            peer="ss-local",
        )
        with sock:
            await loop.sock_sendall(sock, request.encode("ascii", "replace"))
            return await loop.sock_recv(sock, ANSWER_SIZE)


def _port(wanted: int | None) -> int:
    """Return the port that is wanted, or any, where somebody has that already."""
    try:
        with socket.create_server((LOOPBACK, wanted or 0)) as sock:
            port: int = sock.getsockname()[1]
            return port
    except OSError:
        if wanted is None:
            raise
        return _port(None)
