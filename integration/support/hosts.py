#!/usr/bin/env python3
"""Stand-ins for two hosts: what shadowsocks does to its plugin, without shadowsocks.

    hosts.py rust|libcork|gone client|server PORT OPTIONS

``rust`` stands for shadowsocks-rust, ``libcork`` for shadowsocks-libev with the libcork
that it brings along (Debian's has the system's, and waits for its plugin):

==================  =================================  ================================
..                  rust                               libcork
==================  =================================  ================================
the plugin's stdin  /dev/null                          a pipe that the host never writes
                                                       to, and a second copy of it
started by          a thread that then ends            ``sh -c "exec pt-bridge"``
a client            connects, over and over, until it  does not look whether the plugin
                    can, for 3 s at most               is there
to stop it          SIGTERM, 10 ms, SIGKILL            SIGTERM, 2 ms, SIGKILL
it ends by itself   the server ends (70), the client   the host ends (255)
                    lives on
==================  =================================  ================================

Both choose SS_LOCAL_PORT by binding it and letting it go again. A server listens on it
only after it has started its plugin, and sends back what comes. SIGTERM and SIGINT end
a host, which stops its plugin first; it does not wait for one that it has killed.

``gone`` is shadowsocks-rust again, but has ended before its plugin can look.

Read from the sources (conformance 2): shadowsocks-rust's crates/shadowsocks/src/plugin,
shadowsocks-libev's src/plugin.c, libcork's src/libcork/posix/subprocess.c.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import socketserver
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

LOOPBACK = "127.0.0.1"
PLUGIN = "pt-bridge"
CHUNK = 65536
STOPS = {signal.SIGTERM, signal.SIGINT}

# shadowsocks-rust's numbers, in seconds, and its exit code.
PROBE_LIMIT = 3.0
TERM_LIMIT = 0.01
ABORTED = 70

# libcork's, of cork_subprocess_abort and cork_subprocess_yield.
ROUNDS = 50
SPINS = 20
YIELDS = 22
EMPTY_PAUSES = 24
PAUSE = 1e-6  # seconds; with the kernel's slack, some 60 microseconds
# Where the host's copy of the pipe lands, for no other reason than what it has open.
COPY = {"client": 3, "server": 5}
FAILED = 255


class Host:
    """What both do."""

    def __init__(self, role: str, port: int, options: str) -> None:
        """Create one; `run` does all the work."""
        self.role = role
        self.port = port
        self.options = options
        self.local = (LOOPBACK, 0)
        self.plugin = 0
        self.code = 0  # the plugin's
        self.probes = 0

    def run(self) -> int:
        """Start the plugin, and end when told to or when it does; return the code."""
        # For sigwait; no thread may take them instead.
        signal.pthread_sigmask(signal.SIG_BLOCK, {*STOPS, signal.SIGCHLD})
        self.local = self.free_address()
        self.spawn(self.variables())
        if self.role == "server":
            server = EchoServer(self.local, Echo)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        else:
            self.await_plugin()
        say(f"started: port {self.local[1]}, {self.probes} probes")
        while True:
            if signal.sigwait({*STOPS, signal.SIGCHLD}) in STOPS:
                self.stop_plugin()
                return 0
            if self.has_ended():
                say(f"the plugin has ended with {self.code}")
                code = self.plugin_ended()
                if code is not None:
                    return code

    def variables(self) -> dict[str, str]:
        """Return the plugin's environment."""
        return {
            **os.environ,
            "SS_REMOTE_HOST": LOOPBACK,
            "SS_REMOTE_PORT": str(self.port),
            "SS_LOCAL_HOST": LOOPBACK,
            "SS_LOCAL_PORT": str(self.local[1]),
            "SS_PLUGIN_OPTIONS": self.options,
        }

    def free_address(self) -> tuple[str, int]:
        """Choose SS_LOCAL_HOST and SS_LOCAL_PORT."""
        raise NotImplementedError

    def spawn(self, variables: dict[str, str]) -> None:
        """Start the plugin."""
        raise NotImplementedError

    def await_plugin(self) -> None:
        """Wait until the plugin listens, or do not."""

    def stop_plugin(self) -> None:
        """End the plugin."""
        raise NotImplementedError

    def plugin_ended(self) -> int | None:
        """Return the code to end with, now that the plugin has; None to live on."""
        raise NotImplementedError

    def has_ended(self) -> bool:
        """Whether the plugin has ended, without waiting."""
        if self.plugin:
            pid, status = os.waitpid(self.plugin, os.WNOHANG)
            if pid:
                self.plugin, self.code = 0, os.waitstatus_to_exitcode(status)
        return not self.plugin


class RustHost(Host):
    """shadowsocks-rust."""

    def free_address(self) -> tuple[str, int]:
        with socket.create_server((LOOPBACK, 0)) as sock:
            return LOOPBACK, sock.getsockname()[1]

    def spawn(self, variables: dict[str, str]) -> None:
        def spawn() -> None:
            self.plugin = os.posix_spawnp(
                PLUGIN,
                [PLUGIN],
                variables,
                file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # Python ignores them
            )

        # Not the main thread: a plugin that asks for SIGKILL when its parent ends
        # (PR_SET_PDEATHSIG) gets it when this thread does.
        thread = threading.Thread(target=spawn)
        thread.start()
        thread.join()

    def await_plugin(self) -> None:
        until = time.monotonic() + PROBE_LIMIT
        while (left := until - time.monotonic()) > 0:
            self.probes += 1
            try:
                socket.create_connection(self.local, left).close()
            except OSError:
                os.sched_yield()
            else:
                return
        say("the plugin is not there")

    def stop_plugin(self) -> None:
        if self.has_ended():
            return
        os.kill(self.plugin, signal.SIGTERM)
        begin = time.monotonic()
        while not self.has_ended():
            if time.monotonic() - begin > TERM_LIMIT:
                os.kill(self.plugin, signal.SIGKILL)
                return
            os.sched_yield()

    def plugin_ended(self) -> int | None:
        return ABORTED if self.role == "server" else None


class LibcorkHost(Host):
    """shadowsocks-libev, built with its own libcork."""

    def free_address(self) -> tuple[str, int]:
        with socket.socket() as sock:
            sock.bind(("", 0))
            return LOOPBACK, sock.getsockname()[1]

    def spawn(self, variables: dict[str, str]) -> None:
        reader, self.stdin = os.pipe()
        self.plugin = os.fork()
        if self.plugin == 0:
            self.be_plugin(reader, variables)
        os.close(reader)

    def be_plugin(self, stdin: int, variables: dict[str, str]) -> NoReturn:
        """Become the plugin, in a process of its own."""
        for number in (0, COPY[self.role]):
            os.dup2(stdin, number)
            os.set_inheritable(number, True)  # it may have been this one before
        is_server = self.role == "server"
        for each in (signal.SIGPIPE, signal.SIGABRT):
            signal.signal(each, signal.SIG_IGN if is_server else signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        variables["PATH"] = f"{os.getcwd()}:{variables['PATH']}"
        os.execve("/bin/sh", ["sh", "-c", f"exec {PLUGIN}"], variables)  # noqa: S606

    def stop_plugin(self) -> None:
        if self.has_ended():
            return
        os.kill(self.plugin, signal.SIGTERM)
        for number in range(ROUNDS):
            if self.has_ended():
                return
            if SPINS <= number < YIELDS:
                os.sched_yield()
            elif number >= YIELDS:
                pause = 0 if number < EMPTY_PAUSES else PAUSE
                select.select((), (), (), pause)
        os.kill(self.plugin, signal.SIGKILL)

    def plugin_ended(self) -> int:
        return FAILED


class GoneHost(RustHost):
    """shadowsocks-rust, killed while its plugin begins."""

    def run(self) -> int:
        self.local = self.free_address()
        self.spawn(self.variables())
        return 0

    def spawn(self, variables: dict[str, str]) -> None:
        host = os.pidfd_open(os.getpid())
        if os.fork() == 0:
            # Readable once the host has ended, and we have another parent.
            select.select([host], (), ())
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.execvpe(PLUGIN, [PLUGIN], variables)  # noqa: S606 - so do they


class EchoServer(socketserver.ThreadingTCPServer):
    """What shadowsocks would be, behind the server's plugin."""

    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Be silent: the tests cut connections."""


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes."""

    def handle(self) -> None:
        while data := self.request.recv(CHUNK):
            self.request.sendall(data)


def say(text: str) -> None:
    """Tell the test what has happened."""
    print(f"host: {text}", flush=True)  # noqa: T201


def main() -> NoReturn:
    """Act as a host."""
    kind, role, port, options = sys.argv[1:]
    kinds = {"rust": RustHost, "libcork": LibcorkHost, "gone": GoneHost}
    # At once: Python would take longer for its own end than its plugin gets.
    os._exit(kinds[kind](role, int(port), options).run())


if __name__ == "__main__":
    main()
