"""A server's checks: from its options to the shadowsocks server behind it.

A server that runs is not disturbed: its port is only tried, and its keys only read. The
PT that is started for the look listens on loopback, with a copy of the keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.doctor.checks import Checks
from pt_bridge.doctor.report import failed, ok, skipped, warning
from pt_bridge.errors import NO_ANSWER, OPTIONS, UNAVAILABLE, ListenError, ProtocolError
from pt_bridge.explain import reasons, remedies
from pt_bridge.files import server_keys, state_dir, temporary_dir
from pt_bridge.files.trust import ROOT
from pt_bridge.net import bind, resolve
from pt_bridge.net.connect import connect_local
from pt_bridge.options import client_options
from pt_bridge.options.outer_plugins import PT_BRIDGE
from pt_bridge.plugin.outer import free_port
from pt_bridge.protocol.address import Address, connectable, parse_host_port
from pt_bridge.pt.server import PtServer
from pt_bridge.system.log import logger
from pt_bridge.tor.behind import tor_behind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psutil

    from pt_bridge.doctor.checks import Check
    from pt_bridge.doctor.report import CheckResult
    from pt_bridge.options.config import Config

LOOPBACK = "127.0.0.1"
# How long a program of this machine may take to let us in (seconds).
SHADOWSOCKS_LIMIT = 5.0
# What stands in the command line of a pt-bridge, however it was started.
OURS = ("pt-bridge", "pt_bridge")
WORDS_LOOKED_AT = 3
# Between the program that listens and the pt-bridge that shadowsocks has started: the
# PT, and with via=pt-bridge another pt-bridge.
MOST_BETWEEN = 2


class RunningPtBridge(NamedTuple):
    """A pt-bridge that serves a port.

    Attributes:
        pid: its process id.
        user: whose it is.
        user_name: how people call that user.
        local: where its shadowsocks listens, if that can be told.
        variables: its environment.
    """

    pid: int
    user: int
    user_name: str
    local: Address | None
    variables: dict[bytes, bytes]


class ServerChecks(Checks):
    """Those of a server."""

    def __init__(
        self,
        config: Config,
        variables: Mapping[bytes, bytes],
        *,
        deadline: float,
        is_local_known: bool,
    ) -> None:
        """Create one; nothing is looked at before `results`.

        Args:
            config: what the user asks for.
            variables: our environment.
            deadline: the loop's time when all must be done.
            is_local_known: whether somebody has said where the shadowsocks server
                listens; it tells its plugin only, as a rule.
        """
        super().__init__(config, variables, deadline=deadline)
        self._local = config.local if is_local_known else None
        self._running: RunningPtBridge | None = None
        self._folder = ""
        self._line = ""

    def _checks(self) -> Sequence[tuple[str, Check, int]]:
        return (
            ("program", self._check_program, OPTIONS),
            ("plugin", self._check_plugin_program, OPTIONS),
            ("plugin", self._check_plugin, UNAVAILABLE),
            ("port", self._check_ports, OPTIONS),
            ("state", self._check_state, OPTIONS),
            ("start", self._check_start, UNAVAILABLE),
            ("tor", self._check_tor, NO_ANSWER)
            if self._config.has_tor_behind
            else ("shadowsocks", self._check_host, NO_ANSWER),
        )

    async def _check_plugin(self) -> Sequence[CheckResult]:
        # Not where clients connect: a server may be running.
        return await self._check_outer_plugin(free_port(), free_port())

    async def _check_ports(self) -> Sequence[CheckResult]:
        results = []
        for address in self._config.remotes:
            try:
                os.close(bind.bind(address, patience=0))
            except ListenError:
                running = await asyncio.to_thread(_pt_bridge_at, address.port)
                if running is None:
                    raise
                self._running = running
                self._local = self._local or running.local
                whose = "this user"
                if running.user != os.geteuid():
                    whose = f"another user ({running.user_name})"
                results.append(
                    warning(
                        f"a pt-bridge of {whose} serves {address} already (pid "
                        f"{running.pid}): the rest is looked at beside it"
                    )
                )
            else:
                results.append(ok(f"{address} is free"))
        return results

    async def _check_state(self) -> Sequence[CheckResult]:
        is_there = self._find_folder()
        if not is_there:
            return [ok(f"{self._folder} can be made: this will be a new server")]
        try:
            names = os.listdir(self._folder)
            paths = [self._folder, *(os.path.join(self._folder, n) for n in names)]
            for path in paths:
                if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            files = server_keys.read(self._folder)
            line = files.get(state_dir.CLIENT_OPTIONS, b"")
        except OSError as error:
            raise state_dir.cannot_write(self._folder, error) from None
        if not files:
            return [ok(f"{self._folder} is empty: this will be a new server")]
        self._line = line.decode("utf-8", "replace").strip()
        path = os.path.join(self._folder, state_dir.CLIENT_OPTIONS)
        first = self._line.partition(";")[0]
        if self._line and first != f"transport={self._config.transport}":
            self._line = ""
            return [
                warning(
                    f"keys are in {self._folder}, and {path} is for {first}: another "
                    f"server shares the folder, and each writes that file anew at its "
                    f"start",
                    "give each transport a state= of its own",
                )
            ]
        if not self._line:
            return [ok(f"keys are in {self._folder}; {path} is written at the start")]
        return [ok(f"keys are there, and its clients' line in {path}")]

    def _find_folder(self) -> bool:
        """Find where the server's keys are; tell whether that is there."""
        running, variables, user = self._running, self._variables, None
        is_service = self.is_service
        if running is not None:
            user, variables = running.user, running.variables
            is_service = user != os.geteuid()
        self._folder, is_there = state_dir.look(
            self._config, variables, is_service=is_service, user=user
        )
        return is_there

    async def _check_start(self) -> Sequence[CheckResult]:
        folder = self._stack.enter_context(temporary_dir.temporary(self._variables))
        with contextlib.suppress(OSError):  # it is not there yet
            server_keys.restore(folder, server_keys.read(self._folder))
        server = PtServer(
            self._pt_setup(),
            bind=Address(LOOPBACK, 0),
            orport=Address(LOOPBACK, self._config.local.port),
            folder=folder,
        )
        async with server:
            launch = server.launch
            via = server.via_for_clients
        results = [ok(f"{launch.name_and_version} offers {launch.transport}")]
        line = client_options.client_line(launch.transport, launch.arguments, via=via)
        # A pt-bridge outside has had no keys of a server that runs.
        is_known = via is not None and via[0] != PT_BRIDGE
        plugin = client_options.OF_THE_PLUGIN
        if self._line and not client_options.same_identity(
            self._line, line, ignored=() if is_known else plugin
        ):
            has_keys = client_options.same_identity(self._line, line, ignored=plugin)
            why = (
                f"does not fit: via= here was another when {self._folder} got it"
                if has_keys
                else f"is another server's: the keys in {self._folder} have changed "
                f"since it was written"
            )
            results.append(
                warning(
                    f"{state_dir.CLIENT_OPTIONS} {why}",
                    "start pt-bridge, which writes it anew, and give it to every "
                    "client",
                )
            )
        return results

    async def _check_tor(self) -> Sequence[CheckResult]:
        """See that the tor behind is there, and knows its cookie."""
        tor = tor_behind(self._config, logger.debug)
        assert tor is not None  # or this is not looked at
        await tor.find(patience=0)
        try:
            await tor.orport.prove()
        except OSError as error:
            why = error.strerror or "no answer in time"
            text = f"tor's Extended ORPort cannot be used: {why.lower()}"
            return [failed(text, NO_ANSWER, "see that tor runs, with that ExtORPort")]
        results = [ok("tor's Extended ORPort takes the cookie")]
        if not tor.fingerprint:
            results.append(warning("tor's fingerprint is not known: see docs/tor.rst"))
        return results

    async def _check_host(self) -> Sequence[CheckResult]:
        if self._local is None:
            return [
                skipped(
                    "shadowsocks tells its plugin only where it listens",
                    "add --local HOST:PORT, or ask while the server runs",
                )
            ]
        try:
            async with asyncio.timeout(self._limit(SHADOWSOCKS_LIMIT)):
                host = (await resolve.resolve(connectable(self._local)))[0]
                sock = await connect_local(host, patience=0, limit=SHADOWSOCKS_LIMIT)
        except OSError as error:
            text = reasons.explain_shadowsocks_down(error)
            return [failed(text, NO_ANSWER, remedies.ADVICE_IF_SHADOWSOCKS_IS_DOWN)]
        sock.close()
        return [ok(f"{self._local} takes connections")]


def _pt_bridge_at(number: int) -> RunningPtBridge | None:
    """Return the pt-bridge that serves a port, itself or through its PT; or None.

    An ordinary user knows his own alone.
    """
    import psutil  # slow, and only needed here

    found = bind.holder(number)
    if found is None:
        return None
    try:
        holder = psutil.Process(found[0])
        for process in (holder, *holder.parents()[:MOST_BETWEEN]):
            if _is_pt_bridge(process):
                return _described(process)
    except (psutil.Error, OSError):
        pass
    return None


def _is_pt_bridge(process: psutil.Process) -> bool:
    # A host has the name, too, but further on.
    first = process.cmdline()[:WORDS_LOOKED_AT]
    is_ours = any(os.path.basename(word) in OURS for word in first)
    return is_ours and os.geteuid() in (ROOT, process.uids().effective)


def _described(process: psutil.Process) -> RunningPtBridge:
    given = process.environ()
    return RunningPtBridge(
        pid=process.pid,
        user=process.uids().effective,
        user_name=process.username(),
        local=_local_of(process),
        variables={os.fsencode(key): os.fsencode(given[key]) for key in given},
    )


def _local_of(process: psutil.Process) -> Address | None:
    """Return where a pt-bridge passes its connections on to."""
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
