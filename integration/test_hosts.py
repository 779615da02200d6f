"""The hosts, and how they end: by every way there is, and nothing is left behind.

ss-local and ss-server are themselves. For shadowsocks-rust, and for shadowsocks-libev
with the libcork that it brings along, `integration/support/hosts.py` stands.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import psutil
import pytest

from integration.support.endpoints import (
    SocksProxy,
    connect,
    digest,
    free_port,
    payload,
    read,
)
from integration.support.programs import (
    DEADLINE,
    ROOT,
    STOP_DEADLINE,
    Program,
    exited,
    find,
    wait_until,
)
from tests.support.child_processes import children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.support.endpoints import Address, Service
    from integration.support.machine import Chain, Machine

    Stop = Callable[[int], None]

PT = "obfs4proxy"
SERVER = f"server;transport=obfs4;exec={PT}"
CLIENT_PREFIX = "pt-bridge-client-"
LOOPBACK = "127.0.0.1"
SIZE = 100_000
FAILED = 255  # what ss-local and ss-server end with
RUST_FAILED = 70
DIED = 75  # what pt-bridge ends with when its PT has (ER-10)
# A PT may outlive a pt-bridge that was killed for so long (seconds).
PT_DEADLINE = 30.0
HOSTS = os.path.join(ROOT, "integration/support/hosts.py")
REAPER = os.path.join(ROOT, "integration/support/reaper.py")
STDIN = 0


def _terminate(host: int) -> None:
    os.kill(host, signal.SIGTERM)


def _interrupt(host: int) -> None:
    os.kill(host, signal.SIGINT)


def _kill(host: int) -> None:
    os.kill(host, signal.SIGKILL)


def _control_c(host: int) -> None:
    os.killpg(os.getpgid(host), signal.SIGINT)


def _hang_up(host: int) -> None:
    os.killpg(os.getpgid(host), signal.SIGHUP)


# How a host is ended, and the code that it ends with.
STOPS = [
    pytest.param(_terminate, 0, id="SIGTERM"),
    pytest.param(_kill, -signal.SIGKILL, id="SIGKILL"),
    pytest.param(_control_c, 0, id="Ctrl-C"),
]
ALL_STOPS = [
    *STOPS,
    pytest.param(_interrupt, 0, id="SIGINT"),
    pytest.param(_hang_up, -signal.SIGHUP, id="hang-up"),
]


class Side:
    """One side of a machine: a host, its pt-bridge, and the PT.

    Attributes:
        host: the host's process id.
        bridge: pt-bridge.
        pt: the PT.
        folder: the PT's state directory.
    """

    def __init__(
        self, machine: Machine, role: str, stack: contextlib.ExitStack
    ) -> None:
        """Find a side that is ready.

        Args:
            machine: where it runs.
            role: client or server.
            stack: lets go of it.
        """
        (self.bridge,) = [
            process
            for process in machine.processes()["pt-bridge"]
            if _role(process.environ()) == role
        ]
        (self.pt,) = children(self.bridge.pid)
        self.host = self.bridge.ppid()
        self.folder = self.pt.environ()["TOR_PT_STATE_LOCATION"]
        variables = self.bridge.environ()
        self._ports = [int(variables["SS_LOCAL_PORT"])]
        if role == "server":
            self._ports.append(int(variables["SS_REMOTE_PORT"]))
        self._is_client = role == "client"
        self._pidfds = {}
        for pid in (self.host, self.bridge.pid, self.pt.pid):
            self._pidfds[pid] = os.pidfd_open(pid)
            stack.callback(os.close, self._pidfds[pid])

    def host_ends(self) -> None:
        """Wait until the host has ended."""
        assert exited(self._pidfds[self.host], STOP_DEADLINE), "the host goes on"

    def pt_ends(self, deadline: float = PT_DEADLINE) -> None:
        """Wait until the PT has ended."""
        assert exited(self._pidfds[self.pt.pid], deadline), "the PT goes on"

    def ends(self) -> None:
        """Wait until all have ended, and see that the ports are free."""
        self.host_ends()
        self.pt_ends(STOP_DEADLINE)
        assert exited(self._pidfds[self.bridge.pid], STOP_DEADLINE), "pt-bridge goes on"
        for port in self._ports:
            socket.create_server((LOOPBACK, port)).close()  # as the next host will

    def leaves_no_folder(self) -> None:
        """Check that a client has removed its temporary folder."""
        if self._is_client:
            assert os.path.basename(self.folder).startswith(CLIENT_PREFIX)
            assert not os.path.exists(self.folder)


def _role(variables: dict[str, str]) -> str:
    """Return which side a plugin is; none, where it is not one."""
    options = variables.get("SS_PLUGIN_OPTIONS")
    if options is None:
        return ""
    return "server" if options.startswith("server") else "client"


@pytest.fixture
def stack(machine: Machine) -> Iterator[contextlib.ExitStack]:
    """Return what closes all that a test has opened, before the machine ends."""
    with contextlib.ExitStack() as stack:
        yield stack


def _echo(sock: socket.socket) -> None:
    """Send something through a tunnel to somebody who sends it back."""
    sock.sendall(b"".join(payload(SIZE)))
    assert read(sock, SIZE) == digest(SIZE)


# ss-local and ss-server themselves.


def _chain(
    machine: Machine,
    service: Service,
    stack: contextlib.ExitStack,
    extra: str = "",
    variables: dict[str, str] | None = None,
) -> Chain:
    """Start both hosts, with a tunnel that is in use until the stack unwinds."""
    chain = machine.chain(
        server_options=SERVER + extra,
        client_options=f";exec={PT}{extra}",
        variables=variables,
    )
    sock = stack.enter_context(chain.connect(service.address))
    sock.sendall(b"ECHO\n")
    _echo(sock)
    return chain


def _hit(chain: Chain, role: str) -> Program:
    return chain.server if role == "server" else chain.client


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize(("stop", "code"), ALL_STOPS)
def test_a_host_that_is_ended_leaves_nothing(
    machine: Machine,
    service: Service,
    stack: contextlib.ExitStack,
    role: str,
    stop: Stop,
    code: int,
) -> None:
    """HQ-03, HQ-05, LC-05 to LC-08: with a tunnel open; the other side goes on."""
    chain = _chain(machine, service, stack)
    hit = _hit(chain, role)
    side = Side(machine, role, stack)
    stop(hit.pid)
    side.ends()
    side.leaves_no_folder()
    assert hit.wait() == code
    assert hit.last_of_pt_bridge().endswith("stopped")
    other = _hit(chain, "client" if role == "server" else "server")
    assert other.runs
    assert other.stop() == 0
    machine.nothing_is_left()
    assert os.listdir(machine.temporary) == []


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_plugin_that_is_killed_ends_its_host(
    machine: Machine, service: Service, stack: contextlib.ExitStack, role: str
) -> None:
    """SIP003, HQ-01, LC-03: the PT ends within a second, too."""
    hit = _hit(_chain(machine, service, stack), role)
    side = Side(machine, role, stack)
    side.bridge.kill()
    side.pt_ends()
    side.ends()
    assert hit.wait() == FAILED
    hit.wait_for("plugin service exit unexpectedly")


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_plugin_that_fails_ends_its_host(
    machine: Machine, service: Service, stack: contextlib.ExitStack, role: str
) -> None:
    """SIP003, HQ-01, LC-10: the PT has ended, and is not to be started again."""
    hit = _hit(_chain(machine, service, stack, ";restarts=0"), role)
    side = Side(machine, role, stack)
    side.pt.kill()
    side.ends()
    side.leaves_no_folder()
    assert hit.wait() == FAILED
    assert "obfs4proxy was killed by SIGKILL" in hit.last_of_pt_bridge()


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_plugin_that_fails_at_once_ends_its_host(machine: Machine, role: str) -> None:
    """SIP003, HQ-02: ss-local listens for its plugin's end only after a while."""
    if role == "server":
        host = machine.ss_server(free_port(), "server;transport=obfs4;session=nothing")
    else:
        host = machine.ss_local(
            free_port(), free_port(), "transport=obfs3;session=nothing"
        )
    assert host.wait() == FAILED
    assert "session" in host.last_of_pt_bridge()
    machine.nothing_is_left()


@pytest.mark.parametrize("role", ["server", "client"])
def test_nothing_of_the_host_reaches_the_pt(
    machine: Machine, service: Service, stack: contextlib.ExitStack, role: str
) -> None:
    """HQ-07, HQ-08, LC-04, LC-05: no pipe, no signal that it ignores, no group."""
    witness = Witness(machine)
    _chain(machine, service, stack, variables=witness.variables)
    _is_apart(Side(machine, role, stack), witness)


class Witness:
    """A PT that notes, before it starts, which signals it was told to ignore.

    Attributes:
        variables: an environment in which it is the PT.
    """

    def __init__(self, machine: Machine) -> None:
        """Create one in a folder of its own."""
        self._folder = machine.folder / "witness"
        self._folder.mkdir()
        script = self._folder / PT
        script.write_text(
            "#!/bin/sh\n"
            f"grep SigIgn /proc/$$/status >'{self._folder}'/$$\n"
            f"exec {find(PT)}\n"
        )
        script.chmod(0o755)
        self.variables = machine.variables()
        self.variables["PATH"] = f"{self._folder}:{self.variables['PATH']}"

    def ignored(self, pt: psutil.Process) -> str:
        """Return the signals that a PT was told to ignore, as a mask (proc(5))."""
        return (self._folder / str(pt.pid)).read_text().split()[1]


def _is_apart(side: Side, witness: Witness) -> None:
    """Check that a PT has nothing of its host's."""
    pipe = os.readlink(f"/proc/{side.bridge.pid}/fd/{STDIN}")
    assert pipe.startswith("pipe:")
    assert pipe not in _descriptors(side.pt)
    assert int(witness.ignored(side.pt), 16) == 0
    assert os.getpgid(side.bridge.pid) == os.getpgid(side.host)
    assert os.getpgid(side.pt.pid) == side.pt.pid


def _descriptors(process: psutil.Process) -> list[str]:
    """Return what a process has open; it may close some while we look."""
    folder, found = f"/proc/{process.pid}/fd", []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"{folder}/{name}"))
    return found


# The stand-ins.


class StandIn:
    """A host that stands for another, when its plugin is ready.

    Attributes:
        program: the host.
        local: SS_LOCAL.
    """

    def __init__(
        self,
        machine: Machine,
        *command: str,
        variables: dict[str, str] | None = None,
    ) -> None:
        """Start one, and wait until both it and its plugin are ready.

        Args:
            machine: where.
            command: which one, and what to run it with.
            variables: its environment, if not the usual one.
        """
        self.program = machine.start(*command, variables=variables)
        words = self.program.wait_for("host: started").split()
        self.program.wait_for("ready: ")
        self.local: Address = (LOOPBACK, int(words[3].rstrip(",")))


class Pair:
    """Two stand-ins, with a tunnel between them.

    Attributes:
        server: the server, which sends back what comes.
        client: the client.
        port: the server's.
    """

    def __init__(
        self,
        machine: Machine,
        kind: str,
        *command: str,
        extra: str = "",
        variables: dict[str, str] | None = None,
    ) -> None:
        """Start both.

        Args:
            machine: where.
            kind: which ones.
            command: what to run the client with.
            extra: added to the client's options.
            variables: their environment, if not the usual one.
        """
        self.port = free_port()
        self.server = StandIn(
            machine,
            *(HOSTS, kind, "server", str(self.port), f"{SERVER};restarts=0"),
            variables=variables,
        )
        options = machine.client_options(self.server.program)
        self.client = StandIn(
            machine,
            *(*command, HOSTS, kind, "client", str(self.port)),
            f"{options};exec={PT};restarts=0{extra}",
            variables=variables,
        )

    def hit(self, role: str) -> StandIn:
        """Return one of both."""
        return self.server if role == "server" else self.client

    def use(self, stack: contextlib.ExitStack) -> None:
        """Open a tunnel, and use it, and leave it open."""
        _echo(stack.enter_context(connect(self.client.local)))


KINDS = ["rust", "libcork"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize(("stop", "code"), STOPS)
def test_a_host_in_a_hurry_leaves_nothing(
    machine: Machine,
    stack: contextlib.ExitStack,
    kind: str,
    role: str,
    stop: Stop,
    code: int,
) -> None:
    """HQ-04, LC-03: SIGKILL comes 2 or 10 ms after SIGTERM, if that."""
    pair = Pair(machine, kind)
    pair.use(stack)
    hit = pair.hit(role)
    side = Side(machine, role, stack)
    stop(hit.program.pid)
    side.host_ends()
    side.pt_ends()
    side.ends()
    assert hit.program.wait() == code
    if hit.program.last_of_pt_bridge().endswith("stopped"):  # it was not killed
        side.leaves_no_folder()
    other = pair.hit("client" if role == "server" else "server")
    assert other.program.runs
    assert other.program.stop() == 0
    machine.nothing_is_left()
    for name in os.listdir(machine.temporary):
        assert name.startswith(CLIENT_PREFIX)  # the next client removes it


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize(
    ("victim", "code"), [("pt-bridge", -signal.SIGKILL), (PT, DIED)]
)
def test_a_plugin_that_ends_by_itself_is_no_success(
    machine: Machine,
    stack: contextlib.ExitStack,
    kind: str,
    role: str,
    victim: str,
    code: int,
) -> None:
    """SIP003, HQ-01, LC-03: what the host does then is its own affair."""
    pair = Pair(machine, kind)
    pair.use(stack)
    host = pair.hit(role).program
    side = Side(machine, role, stack)
    (side.pt if victim == PT else side.bridge).kill()
    side.pt_ends()
    host.wait_for(f"host: the plugin has ended with {code}")
    if kind == "rust" and role == "client":
        assert host.runs
        assert host.stop() == 0
    side.ends()
    assert host.wait() == {
        ("rust", "server"): RUST_FAILED,
        ("rust", "client"): 0,
    }.get((kind, role), FAILED)


def test_probes_reach_nobody(machine: Machine, stack: contextlib.ExitStack) -> None:
    """FE-09: the user's proxy hears of nobody but who stays."""
    proxy = SocksProxy("a-user", "a-proxy-password")
    stack.callback(proxy.close)
    machine.secrets.add("a-proxy-password")
    url = f"socks5://a-user:a-proxy-password@{LOOPBACK}:{proxy.port}"
    pair = Pair(machine, "rust", extra=f";upstream-proxy={url}")
    # One was connected, at least, and closed.
    assert "the plugin is not there" not in pair.client.program.text
    assert proxy.targets == []
    sock = stack.enter_context(connect(pair.client.local))
    # Nothing is sent: it is dialled for because it stays, longer than any probe did.
    wait_until(lambda: bool(proxy.targets), "a connection through the proxy")
    _echo(sock)
    # On a busy machine, perhaps by a second try.
    assert set(proxy.targets) == {(LOOPBACK, pair.port)}


@pytest.mark.parametrize("role", ["server", "client"])
def test_nothing_of_a_stand_in_reaches_the_pt(
    machine: Machine, stack: contextlib.ExitStack, role: str
) -> None:
    """HQ-07, HQ-08: as with shadowsocks-libev itself."""
    witness = Witness(machine)
    Pair(machine, "libcork", variables=witness.variables)
    _is_apart(Side(machine, role, stack), witness)


# Hosts in containers, and hosts that are gone.


@pytest.fixture
def container() -> list[str]:
    """Return what runs a command as pid 1 of a container."""
    command = [find("unshare"), "--pid", "--fork", "--mount-proc"]
    if os.geteuid() != 0:
        command.append("--map-root-user")
    done = subprocess.run(
        [*command, find("pt-bridge"), "--version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    if done.returncode != 0:
        pytest.skip(f"no container can be made here: {done.stderr.strip()}")
    return command


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("session", [["setsid"], []], ids=["own", "foreign"])
def test_a_host_that_is_pid_1_is_a_host(
    machine: Machine,
    stack: contextlib.ExitStack,
    container: list[str],
    kind: str,
    session: list[str],
) -> None:
    """LC-07: in a session of its own, as runc makes one, and in none."""
    pair = Pair(machine, kind, *container, *session)
    for _ in range(2):
        pair.use(stack)
    side = Side(machine, "client", stack)
    assert _pids(side.host)[-1] == 1
    assert "has ended" not in pair.client.program.text
    _terminate(side.host)
    side.ends()
    assert pair.client.program.wait() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_that_is_pid_1_takes_all_with_it_when_it_is_killed(
    machine: Machine, stack: contextlib.ExitStack, container: list[str], kind: str
) -> None:
    """HQ-04: the kernel empties its container; the folder goes at the next start."""
    pair = Pair(machine, kind, *container, "setsid")
    pair.use(stack)
    side = Side(machine, "client", stack)
    _kill(side.host)
    side.ends()


def _pids(pid: int) -> list[int]:
    """Return a process's ids, from ours to its own PID namespace's (proc(5))."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        (pids,) = [line.split()[1:] for line in file if line.startswith("NSpid:")]
    return [int(each) for each in pids]


def _around(where: str, request: pytest.FixtureRequest) -> list[str]:
    """Return what runs a command below another kind of init."""
    match where:
        case "reaper":
            return [REAPER]
        case "container":
            command: list[str] = request.getfixturevalue("container")
            return [*command, REAPER]
    return []


PLACES = ["machine", "reaper", "container"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_the_end_of_a_host_is_noticed_whoever_adopts_pt_bridge(
    machine: Machine,
    stack: contextlib.ExitStack,
    request: pytest.FixtureRequest,
    kind: str,
    place: str,
) -> None:
    """LC-06, LC-07: the machine's init, a subreaper, a container's init."""
    pair = Pair(machine, kind, *_around(place, request))
    pair.use(stack)
    side = Side(machine, "client", stack)
    _kill(side.host)
    side.ends()
    side.leaves_no_folder()
    pair.client.program.wait_for("shadowsocks, which started pt-bridge, has ended")
    pair.client.program.wait()
    assert pair.client.program.last_of_pt_bridge().endswith("stopped")


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("place", PLACES)
def test_a_host_that_was_gone_before_pt_bridge_looked_is_noticed(
    machine: Machine, request: pytest.FixtureRequest, role: str, place: str
) -> None:
    """LC-07."""
    options = SERVER if role == "server" else f"transport=obfs3;exec={PT}"
    host = machine.start(
        *(*_around(place, request), HOSTS, "gone"), role, str(free_port()), options
    )
    machine.nothing_is_left()
    assert host.wait() == 0
    assert "shadowsocks, which started pt-bridge, has ended" in host.text
    assert host.last_of_pt_bridge().endswith("stopped")
    assert os.listdir(machine.temporary) == []


# No host.


class Shell:
    """A shell that runs a standalone pt-bridge, and gives it a pipe for stdin.

    Attributes:
        program: the shell.
    """

    def __init__(self, machine: Machine, name: str, *arguments: str) -> None:
        """Start it; `name` is the pipe's."""
        pipe = machine.folder / name
        os.mkfifo(pipe)
        self._stdin = os.open(pipe, os.O_RDWR)
        self.program = machine.start(
            *("sh", "-c", '"$@" <"$0" & wait', str(pipe), "pt-bridge", *arguments)
        )
        self.program.wait_for("ready: ")

    def ends(self) -> None:
        """End it, and the pipe."""
        os.close(self._stdin)
        self.program.signal(signal.SIGKILL)
        wait_until(lambda: not self.program.runs, "the shell's end")


def test_standalone_pt_bridge_outlives_who_started_it(
    machine: Machine, service: Service, stack: contextlib.ExitStack
) -> None:
    """LC-06, LC-07: nor does the end of its stdin mean anything."""
    local, remote = (LOOPBACK, free_port()), (LOOPBACK, free_port())
    server = Shell(
        machine,
        *("server", "server", f"--local={LOOPBACK}:{service.address[1]}"),
        f"--remote={LOOPBACK}:{remote[1]}",
        f"--plugin-opts=transport=obfs4;exec={PT}",
    )
    options = machine.client_options(server.program)
    client = Shell(
        machine,
        *("client", "client", f"--local={LOOPBACK}:{local[1]}"),
        f"--remote={LOOPBACK}:{remote[1]}",
        f"--plugin-opts={options};exec={PT}",
    )
    with connect(local) as sock:
        sock.sendall(b"ECHO\n")
        _echo(sock)
        server.ends()
        client.ends()
        # They hear of both ends before they hear of anything that is sent now.
        _echo(sock)
    with connect(local) as sock:
        sock.sendall(b"ECHO\n")
        _echo(sock)
    bridges = machine.processes()["pt-bridge"]
    assert len(bridges) == 2
    for bridge in bridges:
        bridge.terminate()
    machine.nothing_is_left()
