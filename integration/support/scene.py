"""A client's machine and a server's, what happens there, and what is said of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import socketserver
import struct
import threading
from typing import TYPE_CHECKING, Any

import psutil

from integration.support import internet
from integration.support.endpoints import Service, connect, free_port, read_until_reset
from integration.support.in_thread import InThread
from integration.support.machine import PASSWORD, Machine
from integration.support.needles import Needles
from integration.support.programs import DEADLINE, LYREBIRD_FOLDER, wait_until
from pt_bridge.options.own_options import CLIENT, SERVER
from pt_bridge.protocol.address import Address
from tests.support.child_processes import children
from tests.support.processes import FakePt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from integration.support.endpoints import Address as HostPort
    from integration.support.internet import Internet, Site
    from integration.support.programs import Program

    # Files, and the numbers that the system gives them.
    Written = tuple[tuple[Path, int], ...]

    Answer = Callable[[socket.socket], None]

# A word of each name that is used anywhere here.
NAMES = ("heron", "ibis", "plover", "kranich", "wryneck", "stork")
NO_LINGER = struct.pack("ii", 1, 0)  # struct linger, socket(7)
SHADOWSOCKSS_OWN = re.compile(r"(?m)^ ?[\d-]{10} [\d:]{8} (?:INFO|ERROR): .*$")
COOKIE_START = 32  # behind the header (ext-orport-spec 2.1.2)


class How:
    """How pt-bridge is started, and what it is asked to tell.

    Attributes:
        level: ``loglevel=``.
        plugin: as a plugin, without a host around it; else by hand.
        unsafe: with ``--unsafe-logging``, which only exists by hand.
    """

    def __init__(
        self, level: str, *, plugin: bool = False, unsafe: bool = False
    ) -> None:
        """Create one."""
        self.level = level
        self.plugin = plugin
        self.unsafe = unsafe

    def __str__(self) -> str:
        kind = "plugin" if self.plugin else "unsafe" if self.unsafe else "by hand"
        return f"{kind}, {self.level}"


class Scene:
    """Both machines, and everything that is started there.

    Attributes:
        how: how pt-bridge is started.
        client: the client's machine.
        server: the server's machine.
        needles: what must not be in what is said.
    """

    def __init__(
        self, world: Internet, folder: Path, how: How, role: str, setting: str
    ) -> None:
        """Set the scene.

        Args:
            world: where the machines are.
            folder: an empty one.
            how: how pt-bridge is started.
            role: the role that `setting` is for; the other one has none.
            setting: an option that the role has beside its others, or "".
        """
        self.how = how
        self.needles = Needles(names=NAMES, secrets=[PASSWORD])
        self._settings = {role: setting}
        self._world = world
        self._folder = folder
        self._fakes = 0
        self._stack = contextlib.ExitStack()
        self.client = self._machine(CLIENT, world.client)
        self.server = self._machine(SERVER, world.server)

    def _machine(self, name: str, site: Site) -> Machine:
        (self._folder / name).mkdir()
        return Machine(self._folder / name, site)

    def variables(self, machine: Machine, *folders: str) -> dict[str, str]:
        """Return the environment for a machine, with these folders in front of PATH."""
        variables = machine.variables()
        path = [*folders, LYREBIRD_FOLDER, variables["PATH"]]
        return {**variables, "PATH": os.pathsep.join(path)}

    # -- pt-bridge ---------------------------------------------------------------------

    def start_client(
        self,
        options: str,
        remote: str = internet.SERVER,
        port: int = 9,
        *,
        local: HostPort | None = None,
        variables: dict[str, str] | None = None,
    ) -> Client:
        """Start a client.

        Args:
            options: its plugin options, without those that the scene adds.
            remote: SS_REMOTE_HOST.
            port: SS_REMOTE_PORT.
            local: SS_LOCAL_HOST and SS_LOCAL_PORT.
            variables: the environment, if not the usual one.
        """
        local = local or ("127.0.0.1", free_port())
        program = self._start(CLIENT, options, local, (remote, port), variables)
        return Client(program, self._world.client, local)

    def start_server(
        self,
        options: str,
        remote: str = internet.SERVER,
        port: int | None = None,
        *,
        local: HostPort = ("127.0.0.1", 9),
        variables: dict[str, str] | None = None,
    ) -> Server:
        """Start a server; `local` is where its host listens, the rest is the same."""
        port = port or free_port()
        before = _written(self.server.folder, port)
        program = self._start(SERVER, options, local, (remote, port), variables)
        return self.server_of(program, remote, port, before)

    def server_of(
        self, program: Program, remote: str, port: int, before: Written = ()
    ) -> Server:
        """Take for a server what was started otherwise.

        Args:
            program: what was started.
            remote: the address that it listens on.
            port: the port there.
            before: the files with clients' options that were there before.
        """
        address = (remote, port)
        return Server(program, self.server.folder, self._world.server, address, before)

    def _start(
        self,
        role: str,
        options: str,
        local: HostPort,
        remote: HostPort,
        variables: dict[str, str] | None,
    ) -> Program:
        machine = self.client if role == CLIENT else self.server
        variables = variables or self.variables(machine)
        if self.how.plugin:
            settings = {
                **variables,
                "SS_REMOTE_HOST": remote[0],
                "SS_REMOTE_PORT": str(remote[1]),
                "SS_LOCAL_HOST": local[0],
                "SS_LOCAL_PORT": str(local[1]),
                "SS_PLUGIN_OPTIONS": self.plugin_options(role, options),
            }
            return machine.start("pt-bridge", variables=settings)
        several = "|" in remote[0]
        return machine.start(
            "pt-bridge",
            role,
            f"--local={Address(*local)}",
            f"--remote={'{}:{}'.format(*remote) if several else Address(*remote)}",
            f"--plugin-opts={self._with_setting(role, options)}",
            f"--loglevel={self.how.level}",
            f"--logfile={machine.folder / 'by-hand.log'}",
            *(["--unsafe-logging"] if self.how.unsafe else []),
            variables=variables,
        )

    def plugin_options(self, role: str, options: str) -> str:
        """Return the plugin options with those that every plugin here has."""
        options = self._with_setting(role, options)
        options = f"loglevel={self.how.level};logfile=plugin.log;{options}"
        return f"server;{options}" if role == SERVER else options

    def _with_setting(self, role: str, options: str) -> str:
        # In front: some scenes are about how options end.
        setting = self._settings.get(role)
        if not setting:
            return options
        # A server's line says session=1.
        return f"{setting};{options}".replace(";session=1", "")

    # -- what is around it -------------------------------------------------------------

    def service(self) -> Service:
        """Start a service behind the server."""
        with self.at(self.server):
            return self._stack.enter_context(contextlib.closing(Service()))

    def far_end(self, answer: Answer, host: str = internet.SERVER) -> FarEnd:
        """Listen on the server's machine, and answer each connection so."""
        with self.at(self.server):
            far_end = FarEnd(host, answer)
        self._stack.callback(far_end.close)
        return far_end

    def at(self, machine: Machine) -> contextlib.AbstractContextManager[None]:
        """Move this thread to a machine for the block."""
        world = self._world
        return (world.client if machine is self.client else world.server).inside()

    def fake_pt(self, machine: Machine, *steps: str) -> tuple[FakePt, dict[str, str]]:
        """Install a fake obfs4proxy on a machine; return it, and its environment."""
        self._fakes += 1
        fake = FakePt(machine.folder / f"fake-{self._fakes}")
        self._stack.callback(fake.close)
        fake.play(*steps)
        return fake, self.variables(machine, str(fake.folder))

    # -- the end -----------------------------------------------------------------------

    def learn(self, program: Program, role: str) -> None:
        """Search for what pt-bridge has made up for its PT, too."""
        pt = pt_of(program)
        variables = pt.environ()
        userinfo, _, _ = variables.get("TOR_PT_PROXY", "").rpartition("@")
        for secret in userinfo.rpartition("/")[2].split(":"):
            self.needles.add(secret)
        cookie = variables.get("TOR_PT_AUTH_COOKIE_FILE", "")
        if cookie:
            with open(cookie.replace("self", str(pt.pid)), "rb") as file:
                self.needles.add_bytes(file.read()[COOKIE_START:])
        assert cookie or role == CLIENT

    def learn_identities(self) -> None:
        """Search for what PTs have made up for themselves."""
        for path in self._folder.rglob("obfs4_state.json"):
            with contextlib.suppress(ValueError):  # broken on purpose
                values = json.loads(path.read_text()).values()
                for value in values:
                    self.needles.add(value if isinstance(value, str) else "")

    def end(self) -> list[str]:
        """Stop everything; give what was said by each program and in each log file."""
        with self._stack:
            for machine in (self.client, self.server):
                machine.end()
        self.learn_identities()
        said = [*self.client.said(), *self.server.said()]
        return [SHADOWSOCKSS_OWN.sub("", text) for text in said]


class Client:
    """A pt-bridge client.

    Attributes:
        program: what runs.
    """

    def __init__(self, program: Program, site: Site, local: HostPort) -> None:
        """Take one that was started."""
        self.program = program
        self._site = site
        self._local = local

    def connect(self) -> socket.socket:
        """Connect to it, as its host does."""
        with self._site.inside():
            return connect(self._local)

    def fails(self) -> None:
        """Check that a connection through it fails, or that it ends by itself."""
        sock: list[socket.socket] = []

        def has_answered() -> bool:
            with contextlib.suppress(OSError), self._site.inside():
                sock.append(socket.create_connection(self._local, DEADLINE))
            return bool(sock) or not self.program.runs

        wait_until(has_answered, "the port")
        for each in sock:
            with each, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                each.sendall(b"GIVE 1\n")
                read_until_reset(each)


class Server:
    """A pt-bridge server.

    Attributes:
        program: what runs, pt-bridge or its host.
        port: where its PT listens.
    """

    def __init__(
        self,
        program: Program,
        folder: Path,
        site: Site,
        address: HostPort,
        before: Written,
    ) -> None:
        """Take one that was started, and what files there were before that."""
        self.program = program
        self.port = address[1]
        self._site = site
        self._address = address
        self._folder = folder
        self._before = before

    def _written(self) -> Written:
        return _written(self._folder, self.port)

    def options(self) -> str:
        """Wait until it is ready; return what its clients must use."""
        with self._site.inside():
            connect(self._address).close()
        wait_until(lambda: self._written() != self._before, "client-options.txt")
        return self._written()[0][0].read_text().strip()


def _written(folder: Path, port: int) -> Written:
    """Return the files with the options for a server's clients, and their numbers."""
    name = f"*-{port}/client-options.txt"
    return tuple((each, each.stat().st_ino) for each in folder.rglob(name))


def pt_of(program: Program) -> psutil.Process:
    """Return the PT of a pt-bridge that has one."""
    found: list[psutil.Process] = []

    def is_there() -> bool:
        found[:] = children(program.pid)
        return bool(found)

    wait_until(is_there, "a PT")
    return found[0]


def ask_status(program: Program) -> None:
    """Ask a pt-bridge that is ready how it is, and wait for the answer."""
    program.signal(signal.SIGUSR1)
    program.wait_for("status: pt-bridge")


class FarEnd(InThread):
    """Answers every connection in one way.

    Attributes:
        port: where it listens.
        called: set once somebody has called.
    """

    def __init__(self, host: str, answer: Answer) -> None:
        """Listen."""
        super().__init__(socketserver.BaseRequestHandler, host)
        self.called = threading.Event()
        self._answer = answer
        self.start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer one."""
        del client_address
        request.settimeout(DEADLINE)
        self.called.set()
        with contextlib.suppress(OSError):
            self._answer(request)

    def shutdown_request(self, request: Any) -> None:
        """Close it, with a reset if the answer has asked for that."""
        request.close()


def resets(sock: socket.socket) -> None:
    """Reset a connection at once."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)


def closes(sock: socket.socket) -> None:
    """Close a connection once something was said."""
    sock.recv(1)


def holds_on(sock: socket.socket) -> None:
    """Say nothing, whatever is said."""
    while sock.recv(65536):
        pass


def says(*answers: bytes) -> Answer:
    """Create an answer: each of these for what is said next."""

    def answer(sock: socket.socket) -> None:
        for each in answers:
            sock.recv(65536)
            sock.sendall(each)
        sock.shutdown(socket.SHUT_WR)
        holds_on(sock)

    return answer
