"""Walk a server's chain: from its options to the shadowsocks server behind it.

A server that runs is not disturbed: its port is only tried, and its keys only read. The
PT that is started for the look listens on loopback, with a copy of the keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from typing import TYPE_CHECKING

from pt_bridge import arguments, causes, identity, port, resolver, state
from pt_bridge.diagnosis import (
    NO_ANSWER,
    OPTIONS,
    UNAVAILABLE,
    failed,
    ok,
    skipped,
    warning,
)
from pt_bridge.dial import connect
from pt_bridge.errors import ListenError, ProtocolError
from pt_bridge.examination import Examination
from pt_bridge.protocol import environment
from pt_bridge.protocol.address import Address, connectable, parse_host_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psutil

    from pt_bridge.config import Config
    from pt_bridge.diagnosis import Step
    from pt_bridge.examination import Look

LOOPBACK = "127.0.0.1"
# How long a program of this machine may take to let us in (seconds).
HOST_LIMIT = 5.0
# What stands in the command line of a pt-bridge, however it was started.
OURS = ("pt-bridge", "pt_bridge")
WORDS_LOOKED_AT = 3


class ServerExamination(Examination):
    """Looks at the links of a server's chain."""

    def __init__(
        self,
        config: Config,
        variables: Mapping[bytes, bytes],
        *,
        deadline: float,
        is_local_known: bool,
    ) -> None:
        """Make one; nothing is looked at before `steps`.

        Args:
            config: what the user asks for.
            variables: our environment.
            deadline: the loop's time when all must be done.
            is_local_known: whether somebody has said where the shadowsocks server
                listens; it tells its plugin only, as a rule.
        """
        super().__init__(config, variables, deadline=deadline)
        self._local = config.local if is_local_known else None
        self._folder = ""
        self._line = ""

    def _links(self) -> Sequence[tuple[str, Look, int]]:
        return (
            ("program", self._look_for_program, OPTIONS),
            ("port", self._look_at_ports, OPTIONS),
            ("state", self._look_at_state, OPTIONS),
            ("start", self._look_at_start, UNAVAILABLE),
            ("shadowsocks", self._look_at_host, NO_ANSWER),
        )

    async def _look_at_ports(self) -> Sequence[Step]:
        steps = []
        for address in self._config.remotes:
            try:
                os.close(port.bind(address, patience=0))
            except ListenError:
                running = await asyncio.to_thread(_pt_bridge_at, address.port)
                if running is None:
                    raise
                pid, local = running
                self._local = self._local or local
                steps.append(
                    warning(
                        f"a pt-bridge of this user serves {address} already (pid "
                        f"{pid}): the rest is looked at beside it"
                    )
                )
            else:
                steps.append(ok(f"{address} is free"))
        return steps

    async def _look_at_state(self) -> Sequence[Step]:
        self._folder, is_there = state.look(self._config, self._variables)
        if not is_there:
            return [ok(f"{self._folder} can be made: this will be a new server")]
        try:
            names = os.listdir(self._folder)
            paths = [self._folder, *(os.path.join(self._folder, n) for n in names)]
            for path in paths:
                if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            files = identity.read(self._folder)
            line = files.get(state.CLIENT_OPTIONS, b"")
        except OSError as error:
            raise state.cannot_write(self._folder, error) from None
        if not files:
            return [ok(f"{self._folder} is empty: this will be a new server")]
        self._line = line.decode("utf-8", "replace").strip()
        path = os.path.join(self._folder, state.CLIENT_OPTIONS)
        if not self._line:
            return [ok(f"keys are in {self._folder}; {path} is written at the start")]
        return [ok(f"keys are there, and its clients' line in {path}")]

    async def _look_at_start(self) -> Sequence[Step]:
        folder = self._stack.enter_context(state.temporary(self._variables))
        with contextlib.suppress(OSError):  # it is not there yet
            identity.restore(folder, identity.read(self._folder))
        variables = environment.server(
            self._config.transport,
            state=os.fsencode(folder),
            bind=Address(LOOPBACK, 0),
            orport=Address(LOOPBACK, self._config.local.port),
            arguments=self._config.arguments,
        )
        child = self._pt.child(self._config, variables)
        async with child:
            await child.ready(self._limit(self._config.start_timeout))
        launch = child.launch
        steps = [ok(f"{launch.name_and_version} offers {launch.transport}")]
        line = arguments.client_line(launch.transport, launch.arguments)
        if self._line and not arguments.same_identity(self._line, line):
            steps.append(
                warning(
                    f"{state.CLIENT_OPTIONS} is another server's: the keys in "
                    f"{self._folder} have changed since it was written",
                    "start pt-bridge, which writes it anew, and give it to every "
                    "client",
                )
            )
        return steps

    async def _look_at_host(self) -> Sequence[Step]:
        if self._local is None:
            return [
                skipped(
                    "shadowsocks tells its plugin only where it listens",
                    "add --local HOST:PORT, or ask while the server runs",
                )
            ]
        try:
            async with asyncio.timeout(self._limit(HOST_LIMIT)):
                host = (await resolver.resolve(connectable(self._local)))[0]
                sock = await connect(host, patience=0, limit=HOST_LIMIT)
        except OSError as error:
            text = causes.explain_host_down(error)
            return [failed(text, NO_ANSWER, causes.ADVICE_IF_HOST_IS_DOWN)]
        sock.close()
        return [ok(f"{self._local} takes connections")]


def _pt_bridge_at(number: int) -> tuple[int, Address | None] | None:
    """Find a pt-bridge of this user that serves a port, itself or through its PT.

    Returns:
        Its process id, and where its shadowsocks listens, if that can be told; or None.
    """
    import psutil  # slow, and only needed here

    found = port.holder(number)
    if found is None:
        return None
    try:
        holder = psutil.Process(found[0])
        for process in (holder, holder.parent()):
            if process is not None and _is_pt_bridge(process):
                return process.pid, _local_of(process)
    except (psutil.Error, OSError):
        pass
    return None


def _is_pt_bridge(process: psutil.Process) -> bool:
    # A host has the name, too, but further on.
    first = process.cmdline()[:WORDS_LOOKED_AT]
    is_ours = any(os.path.basename(word) in OURS for word in first)
    return is_ours and process.uids().effective == os.geteuid()


def _local_of(process: psutil.Process) -> Address | None:
    """Tell where a pt-bridge passes its connections on to."""
    given = process.environ()
    words = process.cmdline()
    text = f"{given.get('SS_LOCAL_HOST')}:{given.get('SS_LOCAL_PORT')}"
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--local":
            text = following
        elif word.startswith("--local="):
            text = word.removeprefix("--local=")
    try:
        return parse_host_port(text)
    except ProtocolError:
        return None
