"""Real programs for the tests: the fake PT where it is found, and pt-bridge itself.

Nothing here sleeps: whatever a test waits for is told by a pipe or a pidfd, and a
deadline ends the wait.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import functools
import marshal
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import fake_pt, fake_ss_local

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.support.session_end import SessionEnd

    End = socket.socket | SessionEnd

DEADLINE = 120.0  # seconds; only a broken test needs them
READ_SIZE = 64 * 1024

# What a well-behaved PT does, for `FakePt.play`.
CLIENT = ("say VERSION 1", "client", "say CMETHODS DONE")
SERVER_CERT = "A" * 70
SERVER_LINE = f"server ARGS:cert={SERVER_CERT},iat-mode=0"
# What its clients must use, as the server writes it down.
SERVER_CLIENT_OPTIONS = f"transport=obfs4;session=1;cert={SERVER_CERT};iat-mode=0\n"
SERVER = ("say VERSION 1", SERVER_LINE, "say SMETHODS DONE")

# The value of cert= in all tests here, and hosts that nobody has: neither may show.
SECRET = "SECRET" * 11 + "CERT"
CLIENT_OPTIONS = f"transport=obfs4;exec=obfs4proxy;cert={SECRET};iat-mode=0"
# For a test whose own end of the tunnel speaks no session (`SessionEnd` does).
PLAIN_OPTIONS = f"{CLIENT_OPTIONS};session=0"
SERVER_OPTIONS = "server;transport=obfs4;exec=obfs4proxy"
IPV4 = re.compile(r"(?<![\d.])(?!127\.|0\.0\.0\.0)(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")

# A program that runs another as an ordinary user, who may read everything: the Python
# that runs the tests may be in a home of root's.
NOBODY = 65534
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
    "--bounding-set=-all,+dac_read_search",
)


def as_ordinary_user() -> tuple[str, ...]:
    """Return what to put before a command so that it does not run as root."""
    return AS_NOBODY if os.geteuid() == 0 else ()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what nothing tells of."""
    deadline = time.monotonic() + DEADLINE
    poll = select.poll()
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        poll.poll(5)


def _wait_readable(descriptors: Sequence[int], deadline: float) -> list[int]:
    left = max(0.0, deadline - time.monotonic())
    return select.select(descriptors, [], [], left)[0]


@functools.cache
def _compiled_fake_pt() -> str:
    """Return a program that is the fake PT, without its compiling at each start."""
    path = fake_pt.__file__
    source = Path(path).read_text(encoding="utf-8")
    code = marshal.dumps(compile(source, path, "exec", dont_inherit=True))
    return f"import marshal\nexec(marshal.loads({code!r}))\n"


class FakePt:
    """The fake PT under a PT's name, in a folder of its own.

    Attributes:
        folder: what PATH must name.
        path: the program.
        events: what it told so far, a line each.
    """

    def __init__(self, folder: Path, name: str = "obfs4proxy") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.folder = folder
        self.path = folder / name
        # -S: it needs nothing from site-packages, and starts in half the time.
        self.path.write_text(f"#!{sys.executable} -IS\n{_compiled_fake_pt()}")
        self.path.chmod(0o755)
        self.events: list[str] = []
        self._rest = b""
        self._pidfds: dict[int, int] = {}
        self._events = self._fifo("events")
        self._gate = self._fifo("gate")
        self.play()

    def _fifo(self, kind: str) -> int:
        path = self._beside(kind)
        os.mkfifo(path)
        path.chmod(0o666)
        # For both, so that opening neither waits nor fails, whoever comes first.
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def _beside(self, kind: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{kind}")

    def play(self, *steps: str) -> None:
        """Choose the scenario for the next runs."""
        self._beside("scenario").write_text("\n".join(steps), encoding="utf-8")

    def report(self) -> dict[str, Any]:
        """Return how it was started: the last run that has told so."""
        self.event("started")
        report: dict[str, Any] = ast.literal_eval(self._beside("report").read_text())
        return report

    @property
    def environment(self) -> dict[str, str]:
        """What it got for an environment."""
        return {
            os.fsdecode(key): os.fsdecode(value)
            for key, value in self.report()["environment"].items()
        }

    @property
    def state(self) -> Path:
        """The state directory that it was given."""
        return Path(self.environment["TOR_PT_STATE_LOCATION"])

    def open_gate(self) -> None:
        """Release the run that waits in `await`, or the first that will."""
        os.write(self._gate, b"x")

    def named(self, name: str) -> list[str]:
        """Return what was told so far under a name: the rest of each line."""
        self._read()
        lines = [line.partition(" ") for line in self.events]
        return [rest for word, _, rest in lines if word == name]

    def event(self, name: str, *, count: int = 1) -> str:
        """Wait for the event of that name, or for the count-th; return its rest."""
        deadline = time.monotonic() + DEADLINE
        while len(self.named(name)) < count:
            assert _wait_readable([self._events], deadline), f"no {name} in time"
        return self.named(name)[count - 1]

    def becomes(self, name: str, rest: str) -> None:
        """Wait until the newest event of that name has that rest: a count, mostly."""
        deadline = time.monotonic() + DEADLINE
        while self.named(name)[-1:] != [rest]:
            assert _wait_readable([self._events], deadline), (
                f"{name} is {self.named(name)[-1:]}, and not {rest}"
            )

    async def heard(self, name: str, *, count: int = 1) -> str:
        """Do as `event` does, in a coroutine."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        async with asyncio.timeout(DEADLINE):
            while len(self.named(name)) < count:
                readable.clear()
                loop.add_reader(self._events, readable.set)
                try:
                    await readable.wait()
                finally:
                    loop.remove_reader(self._events)
        return self.named(name)[count - 1]

    def _read(self) -> None:
        try:
            self._rest += os.read(self._events, READ_SIZE)
        except BlockingIOError:
            return
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self.events.append(line.decode())
            name, _, rest = self.events[-1].partition(" ")
            if name in ("started", "forked"):
                with contextlib.suppress(ProcessLookupError):
                    self._pidfds[int(rest)] = os.pidfd_open(int(rest))

    @property
    def pid(self) -> int:
        """The first run's process id."""
        return int(self.event("started"))

    def is_gone(self, *, within: float = DEADLINE) -> bool:
        """Wait until all of its processes have ended; return whether they did."""
        self._read()
        deadline = time.monotonic() + within
        return all(_wait_readable([fd], deadline) for fd in self._pidfds.values())

    def close(self) -> None:
        """End what still runs."""
        self._read()
        for pidfd in self._pidfds.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        os.close(self._events)
        os.close(self._gate)


def _default_signals() -> None:
    """Undo what a shell does that runs the tests in the background."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


class Program:
    """A program that runs, and what it says.

    Attributes:
        process: the process.
        lines: the lines on stderr that were read so far.
        output: what it wrote to stdout, complete after `end`.
    """

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str] | Mapping[bytes, bytes],
        *,
        stdin: int = subprocess.DEVNULL,
        folder: str | Path | None = None,
        umask: int = -1,
        stderr: int = subprocess.PIPE,
        stdout: int = subprocess.PIPE,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.lines: list[str] = []
        self.output = b""
        self._rest = b""
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command,
            env=variables,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            umask=umask,
            pass_fds=pass_fds,
            process_group=0,
            preexec_fn=_default_signals,  # noqa: PLW1509 - there are no threads
        )
        self._pidfd = os.pidfd_open(self.process.pid)
        pipes = (self.process.stdout, self.process.stderr)
        self._pipes = [pipe.fileno() for pipe in pipes if pipe is not None]

    @property
    def text(self) -> str:
        """All that it has said on stderr."""
        return "\n".join(self.lines)

    def heard(self) -> str:
        """Return all that it has said on stderr by now."""
        while self._hear(time.monotonic()):
            pass
        return self.text

    def said(self, text: str) -> str:
        """Wait for a line on stderr that holds a text; return the line."""
        deadline = time.monotonic() + DEADLINE
        while not (found := [line for line in self.lines if text in line]):
            more = self._hear(deadline)
            assert more, f"it did not say {text!r} but:\n{self.text}"
        return found[0]

    def printed(self, text: bytes) -> None:
        """Wait until it has written a text to stdout."""
        deadline = time.monotonic() + DEADLINE
        while text not in self.output:
            assert self._hear(deadline), f"it did not print {text!r}: {self.output!r}"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        signal.pidfd_send_signal(self._pidfd, number)

    def wait(self) -> int:
        """Wait for its end, and hear it out; return the exit code."""
        deadline = time.monotonic() + DEADLINE
        while self._pipes:
            assert self._hear(deadline), f"it goes on:\n{self.text}"
        assert _wait_readable([self._pidfd], deadline), f"it goes on:\n{self.text}"
        return self.process.wait()

    def _hear(self, deadline: float) -> bool:
        """Read once from each pipe that has something; return whether one had."""
        readable = _wait_readable(self._pipes, deadline) if self._pipes else []
        for descriptor in readable:
            data = os.read(descriptor, READ_SIZE)
            if not data:
                self._pipes.remove(descriptor)
            if self.process.stdout and descriptor == self.process.stdout.fileno():
                self.output += data
                continue
            *lines, self._rest = (self._rest + data).split(b"\n")
            self.lines += [line.decode("utf-8", "replace") for line in lines]
        return bool(readable)

    def close(self) -> None:
        """End it and all that is in its process group, and reap it."""
        if self.process.returncode is None or self._pipes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        os.close(self._pidfd)


def secrets_in(text: str) -> list[str]:
    """Return what must not be in any log: the secret, and addresses."""
    found = IPV4.findall(text)
    return [*found, SECRET] if SECRET in text else found


class Bench:
    """What a test of the whole program needs: places, ports, the PT, pt-bridge.

    Attributes:
        folder: a temporary one.
        pt: the fake, under the name of obfs4proxy.
        variables: the environment for pt-bridge; tests change it.
        port: a free port for SS_LOCAL (a client's) or SS_REMOTE (a server's).
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._pts: list[FakePt] = []
        self.pt = self.install("obfs4proxy")
        self.port = self.free_port()
        self.variables: dict[str, str] = {
            "LANG": "C.UTF-8",
            "PATH": f"{self.pt.folder}:/usr/bin:/bin",
            "TMPDIR": str(folder / "tmp"),
            "XDG_STATE_HOME": str(folder / "state"),
        }
        for key, value in os.environ.items():
            if key.startswith("COVERAGE_"):
                self.variables[key] = value
        for name in ("tmp", "state"):
            (folder / name).mkdir()

    def install(self, name: str, *, folder: str = "") -> FakePt:
        """Install a fake PT into a folder of its own, by its name or another one."""
        pt = FakePt(self.folder / (folder or name), name)
        self._stack.callback(pt.close)
        self._pts.append(pt)
        return pt

    def install_plugin(self, name: str, *steps: str) -> FakePt:
        """Install a fake SIP003 plugin where it is found first."""
        plugin = self.install(name)
        plugin.play(*steps)
        self.variables["PATH"] = f"{plugin.folder}:{self.variables['PATH']}"
        return plugin

    def install_ss_local(self, name: str = "ss-local") -> str:
        """Install the stand-in for ss-local beside the PT; return its path."""
        source = Path(fake_ss_local.__file__).read_text(encoding="utf-8")
        _, _, program = source.partition("\n")
        path = self.pt.folder / name
        path.write_text(f"#!{sys.executable} -I\n{program}", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    def for_ordinary_user(self) -> tuple[str, ...]:
        """Return an ordinary user all of this; return what to put before a command."""
        if os.geteuid() == 0:
            folders = [self.folder / "tmp", self.folder / "state"]
            for folder in [*folders, *(pt.folder for pt in self._pts)]:
                for path in (folder, *folder.iterdir()):
                    os.chown(path, NOBODY, NOBODY)
        return as_ordinary_user()

    def free_port(self, host: str = "127.0.0.1") -> int:
        """Return a port that nobody else takes while the test lasts."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = self._stack.enter_context(socket.socket(family))
        # Bound, not listening, and willing to share: so will pt-bridge be.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port

    def listen(self, host: str = "127.0.0.1", port: int = 0) -> socket.socket:
        """Listen as the far end, with a deadline."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = self._stack.enter_context(socket.socket(family))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen()
        sock.settimeout(DEADLINE)
        return sock

    def connect(self, port: int, host: str = "127.0.0.1") -> socket.socket:
        """Connect to a port, with a deadline for all that follows."""
        sock = socket.create_connection((host, port), DEADLINE)
        return self._stack.enter_context(sock)

    def connect_when_open(self, port: int) -> socket.socket:
        """The same for a port that nothing tells us is open."""
        found: list[socket.socket] = []

        def is_open() -> bool:
            with contextlib.suppress(ConnectionRefusedError):
                found.append(self.connect(port))
            return bool(found)

        until(is_open)
        return found[0]

    def speak(self) -> socket.socket:
        """Connect, and say a first byte: only then does pt-bridge dial (FE-09)."""
        near = self.connect(self.port)
        near.sendall(b"x")
        return near

    def carried(self, near: End, listener: socket.socket) -> socket.socket:
        """Say a first byte, and see that bytes go both ways; return the far end."""
        near.sendall(b"x")
        far = self.accept(listener)
        assert receive(far, 1) == b"x"
        exchange(near, far)
        return far

    def accept(self, listener: socket.socket) -> socket.socket:
        """Take the next connection, with a deadline for all that follows."""
        sock, _ = listener.accept()
        sock.settimeout(DEADLINE)
        return self._stack.enter_context(sock)

    def systemd(self) -> socket.socket:
        """Return the socket that pt-bridge tells of its start and stop, as systemd."""
        path = str(self.folder / "notify")
        sock = self._stack.enter_context(
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        )
        sock.bind(path)
        sock.settimeout(DEADLINE)
        self.variables["NOTIFY_SOCKET"] = path
        return sock

    def client(
        self,
        target: tuple[str, int] = ("127.0.0.1", 9),
        *,
        options: str = PLAIN_OPTIONS,
        before: Sequence[str] = (),
        **keywords: Any,
    ) -> Program:
        """Start pt-bridge as a shadowsocks client does."""
        host, port = target
        return self.plugin(
            {
                "SS_REMOTE_HOST": host,
                "SS_REMOTE_PORT": str(port),
                "SS_LOCAL_HOST": "127.0.0.1",
                "SS_LOCAL_PORT": str(self.port),
                "SS_PLUGIN_OPTIONS": options,
            },
            before=before,
            **keywords,
        )

    def server(
        self,
        target: tuple[str, int] = ("127.0.0.1", 9),
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        options: str = SERVER_OPTIONS,
        before: Sequence[str] = (),
        **keywords: Any,
    ) -> Program:
        """Start pt-bridge as a shadowsocks server does."""
        return self.plugin(
            {
                "SS_REMOTE_HOST": host,
                "SS_REMOTE_PORT": str(self.port if port is None else port),
                "SS_LOCAL_HOST": target[0],
                "SS_LOCAL_PORT": str(target[1]),
                "SS_PLUGIN_OPTIONS": options,
            },
            before=before,
            **keywords,
        )

    def plugin(
        self, variables: Mapping[str, str], *, before: Sequence[str] = (), **more: Any
    ) -> Program:
        """Start pt-bridge with these variables and `self.variables`."""
        return self.run(
            [*before, sys.executable, "-m", "pt_bridge"],
            {**variables, **self.variables},
            **more,
        )

    def standalone(self, *arguments: str, **more: Any) -> Program:
        """Start pt-bridge by hand."""
        command = [sys.executable, "-m", "pt_bridge", *arguments]
        return self.run(command, self.variables, **more)

    def run(
        self,
        command: Sequence[str],
        variables: Mapping[str, str] | Mapping[bytes, bytes],
        **more: Any,
    ) -> Program:
        """Start any program."""
        program = Program(command, variables, **more)
        self._stack.callback(program.close)
        return program

    def end(self, program: Program) -> int:
        """Wait for the end of pt-bridge, and see that nothing is left; return its code.

        No PT, no file, no secret and no address, no traceback, nothing on stdout.
        """
        code = program.wait()
        assert all(pt.is_gone() for pt in self._pts), (
            f"a PT goes on after:\n{program.text}"
        )
        assert not list((self.folder / "tmp").iterdir())
        assert "Traceback" not in program.text, program.text
        assert not secrets_in(program.text)
        assert program.output == b""
        return code

    def stop(self, program: Program) -> None:
        """Ask pt-bridge to end, and see that it does."""
        program.signal(signal.SIGTERM)
        assert self.end(program) == 0, program.text

    def failure(self, program: Program) -> tuple[int, str]:
        """Wait for an error exit; return its code and its sentence.

        It is the last line on stderr: ``pt-bridge[NAME]: error: SENTENCE``.
        """
        code = self.end(program)
        assert program.lines, f"it said nothing, and ended with {code}"
        match = re.fullmatch(
            r"pt-bridge(?:\[[\w,]+\])?: error: (.+)", program.lines[-1]
        )
        assert match is not None, program.text
        return code, match[1]


def is_reset(sock: End) -> bool:
    """Read to the end of a connection; return whether it was a reset."""
    try:
        while sock.recv(READ_SIZE):
            pass
    except ConnectionResetError:
        return True
    return False


def exchange(near: End, far: End) -> None:
    """Check that bytes go both ways."""
    for source, sink in ((near, far), (far, near)):
        source.sendall(b"12345678")
        assert receive(sink, 8) == b"12345678"


def receive(sock: End, number: int) -> bytes:
    """Read so many bytes."""
    data = b""
    while len(data) < number and (more := sock.recv(number - len(data))):
        data += more
    return data


def mode(path: Path) -> int:
    """Return a file's permission bits."""
    return stat.S_IMODE(path.stat().st_mode)
