"""The programs of both routes, and which process is which."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psutil

import bench.watched
from chaos.schedule import Route, cast
from chaos.verdict import AFTER, AFTER_LYREBIRD
from integration.support.endpoints import free_port
from integration.support.machine import OPTIONS_PATH, Machine, await_ss_server
from integration.support.programs import VENV_FOLDER, kill_marked
from tests.support.child_processes import children

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.schedule import Cast
    from chaos.service import Address
    from integration.support.programs import Program

# So that no number of kills ends the run; the waits between the starts stay.
OURS = "restarts=1000"
SERVER = f"transport=obfs4;{OURS}"
# What a server tells its clients of the session.
SPEAKS = "session=1"
BRIDGE = "pt-bridge"
READY = "ready: "


class Ends:
    """The two ends of a route.

    Attributes:
        client: ss-local, or pt-bridge itself.
        server: ss-server, or pt-bridge itself.
        options: what the server told clients to use, at first.
        cast: which PTs are below them.
    """

    def __init__(
        self, client: Program, server: Program, port: int, options: str, cast: Cast
    ) -> None:
        """Take both, which are ready.

        Args:
            client: ss-local, or pt-bridge itself.
            server: ss-server, or pt-bridge itself.
            port: where the client listens.
            options: what the server told clients to use.
            cast: which PTs are below them.
        """
        self.client = client
        self.server = server
        self.port = port
        self.options = options
        self.cast = cast

    @property
    def after(self) -> float:
        """How long after a misdeed its last victim may hear of it (seconds)."""
        return AFTER_LYREBIRD if self.cast.is_lyrebird else AFTER


class Stage:
    """Both routes, up and running, until `kill`.

    Attributes:
        machine: where they run.
        ends: of each route.
    """

    def __init__(
        self, seed: int, folder: Path, service: Address, *, is_debugged: bool = False
    ) -> None:
        """Start everything, and wait until it is ready.

        Args:
            seed: says which PTs run.
            folder: an empty one.
            service: what stands behind.
            is_debugged: whether the ends of the standalone route tell everything.
        """
        self._flags = ("--loglevel", "debug") if is_debugged else ()
        self.machine = Machine(folder)
        self._casts = {route: cast(seed, route) for route in Route}
        self._variables = self.machine.with_lyrebird()
        self._ss_port = free_port()
        self._is_closed = False
        self.ends: dict[Route, Ends] = {}
        try:
            self.ends[Route.SHADOWSOCKS] = self._shadowsocks()
            self.ends[Route.STANDALONE] = self._standalone(service)
        except BaseException:
            self.kill()
            raise

    def _shadowsocks(self) -> Ends:
        port = free_port()
        server = self.start_ss_server()
        options = self.machine.client_options(server)
        casting = self._casts[Route.SHADOWSOCKS]
        client = self.machine.ss_local(
            self._ss_port,
            port,
            _of_client(options, casting),
            variables=self._variables,
        )
        client.wait_for("listening at ")
        client.wait_for(READY)
        return Ends(client, server, port, options, casting)

    def start_ss_server(self) -> Program:
        """Start ss-server, for the first time or again, and wait until it is ready."""
        program = self._casts[Route.SHADOWSOCKS].server
        server = self.machine.ss_server(
            self._ss_port,
            f"server;{SERVER};exec={program}",
            variables=self._variables,
        )
        server.wait_for(READY)
        await_ss_server(server)
        return server

    def _standalone(self, service: Address) -> Ends:
        local, remote = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
        casting = self._casts[Route.STANDALONE]
        server = self.machine.pt_bridge(
            "server",
            f"{SERVER};exec={casting.server}",
            *self._flags,
            local=service,
            remote=remote,
            variables=self._variables,
        )
        options = self.machine.client_options(server)
        client = self.machine.start(
            f"{VENV_FOLDER}/python",
            *("-I", bench.watched.__file__, "client"),
            *("--local", f"{local[0]}:{local[1]}"),
            *("--remote", f"{remote[0]}:{remote[1]}"),
            *("--plugin-opts", _of_client(options, casting)),
            *self._flags,
            variables=self._variables,
        )
        client.wait_for(READY)
        return Ends(client, server, local[1], options, casting)

    @property
    def ports(self) -> dict[Route, int]:
        """Where each route begins."""
        return {route: ends.port for route, ends in self.ends.items()}

    def client_options(self, route: Route) -> str:
        """Read what a server tells its clients to use now."""
        with open(self._options_path(route), encoding="utf-8") as file:
            return file.read().strip()

    def state(self, route: Route) -> Path:
        """Return the folder in which a server keeps its keys."""
        return self.machine.folder / self._options_path(route).rpartition("/")[0]

    def _options_path(self, route: Route) -> str:
        return str(OPTIONS_PATH.findall(self.ends[route].server.text)[-1])

    def ended(self) -> list[str]:
        """List the programs that have ended, and the last line of each."""
        return [
            f"{route.value}: the {side} has ended; its last line: {program.output[-1]}"
            for route, ends in self.ends.items()
            for side, program in (("client", ends.client), ("server", ends.server))
            if not program.runs
        ]

    def close(self) -> None:
        """Close what has ended; check what was said."""
        self._is_closed = True
        self.machine.close()

    def kill(self) -> None:
        """End everything at once, unless it was closed."""
        kill_marked(str(self.machine.folder))
        if not self._is_closed:
            with contextlib.suppress(AssertionError):
                self.close()


def _of_client(options: str, casting: Cast) -> str:
    """Create a client's options out of those that the server wrote for it."""
    assert SPEAKS in options.split(";")
    session = f"session={casting.session}"
    return f"{options.replace(SPEAKS, session)};exec={casting.client};{OURS}"


# How much of what a program said is shown where its PT is missing.
LAST_LINES = 40


def bridge(program: Program) -> psutil.Process:
    """Return the pt-bridge of a host, or the one that has no host."""
    process = psutil.Process(program.pid)
    for child in children(process.pid):
        if child.name() == BRIDGE:
            return child
    return process


def pt(program: Program) -> psutil.Process:
    """Return the PT below a host or a pt-bridge, which is ready."""
    above = bridge(program)
    found = children(above.pid)
    if len(found) != 1:
        said = "\n".join(program.output[-LAST_LINES:])
        raise AssertionError(f"{above} has the children {found}; it said:\n{said}")
    return found[0]
