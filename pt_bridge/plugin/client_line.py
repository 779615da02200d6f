"""What a server's clients need so that they come through its outer plugin, too."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from pt_bridge.errors import PtBridgeError
from pt_bridge.files import state_dir
from pt_bridge.options import outer_plugins
from pt_bridge.options.config import Config
from pt_bridge.options.outer_plugins import PT_BRIDGE
from pt_bridge.options.ss_variables import variables_from_flags

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.files.program import FoundProgram
    from pt_bridge.options.plugin_options import Via
    from pt_bridge.protocol.address import Address

# What a pt-bridge must be told besides, and what is no matter here.
ANY_LOCAL = "127.0.0.1:1"
# How often to look whether the pt-bridge outside has written its line (seconds).
INTERVAL = 0.05


class ClientLine:
    """The clients' `via=` and `via-opts=`, known once the server's plugin listens."""

    def __init__(self, via: Via, program: FoundProgram, remote: Address) -> None:
        """Create one; a pt-bridge must not be started before.

        Args:
            via: the server's plugin.
            program: its program.
            remote: where it is to listen.
        """
        self._via = via
        self._path = ""
        if via.name == PT_BRIDGE:
            with contextlib.suppress(PtBridgeError):  # which it says itself
                self._path = _path(via, program, remote)
        self._before = self._written()

    async def read(
        self, limit: float, *, has_ended: Callable[[], bool]
    ) -> tuple[str, str] | None:
        """Return the values of `via=` and `via-opts=`, or None where nobody knows.

        Args:
            limit: how long a pt-bridge may take to write its line, in seconds.
            has_ended: tells whether it has ended, and writes nothing any more.
        """
        if self._via.name != PT_BRIDGE:
            return outer_plugins.for_clients(self._via.name, self._via.options)
        if not self._path:
            return None
        # It listens a moment before it has written, and what lies there may be old.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                # Nothing tells of it but the file.
                while self._written() in (None, self._before):
                    if has_ended():
                        return None
                    await asyncio.sleep(INTERVAL)
        line = _read(self._path)
        return None if line is None else (PT_BRIDGE, line)

    def _written(self) -> tuple[int, int] | None:
        """Return what changes whenever the file is written anew; None without one."""
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except OSError:
        return None


def _path(via: Via, program: FoundProgram, remote: Address) -> str:
    variables = variables_from_flags(
        local=ANY_LOCAL, remote=str(remote), plugin_options=via.options
    )
    config = Config(variables, is_allowed=lambda _: True)
    folder, _ = state_dir.look(config, program.inherited)
    return os.path.join(folder, state_dir.CLIENT_OPTIONS)
