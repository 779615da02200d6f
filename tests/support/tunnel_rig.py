"""A real pt-bridge with one tunnel or several, fake PTs, and where all of them lead."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.support.processes import (
    CLIENT,
    PLAIN_OPTIONS,
    SERVER,
    exchange,
    receive,
    until,
)
from tests.support.session_end import SessionEnd

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.processes import Bench, End, Program

    Ends = tuple[End, socket.socket]

READY = "]: ready: "
REPLACED_HAS_ENDED = "the PT that was replaced has ended"


class TunnelRig:
    """What a test of tunnels starts, opens and reloads.

    Attributes:
        bench: where pt-bridge runs.
        pt: the PT of all tunnels that name no other one; a test may take another.
        port: where the first tunnel's clients connect.
        far: where all tunnels lead to.
        far_port: its port.
        folder: where pt-bridge is started; by default, where we are.
        program: pt-bridge, once it was started.
    """

    program: Program
    folder: Path | None = None

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.pt = bench.pt
        self.port = bench.port
        self.far = bench.listen()
        self.far_port: int = self.far.getsockname()[1]

    # What there is to be.

    def client(self, name: str = "one", *, port: int = 0, more: str = "") -> str:
        """Return the table of a client."""
        return f"""\
[[client]]
name = "{name}"
listen = "127.0.0.1:{port or self.port}"
server = "127.0.0.1:{self.far_port}"
plugin-opts = "{PLAIN_OPTIONS}"
{more}
"""

    def server(self, *, port: int = 0, more: str = "") -> str:
        """Return the table of a server, whose PT is named by its path."""
        return f"""\
[[server]]
name = "home"
listen = ["127.0.0.1:{port or self.port}"]
service = "127.0.0.1:{self.far_port}"
transport = "obfs4"
exec = "{self.pt.path}"
{more}
"""

    def write(self, *tables: str) -> Path:
        """Write the file of tunnels."""
        path = self.bench.folder / "the.toml"
        path.write_text("\n".join(tables))
        return path

    # What is started.

    def start(self, *arguments: str) -> Program:
        """Start pt-bridge by hand."""
        self.program = self.bench.standalone(*arguments, folder=self.folder)
        return self.program

    def run(self, *tables: str) -> Program:
        """Start what a file of tunnels asks for."""
        return self.start("run", str(self.write(*tables)))

    def run_client(self) -> Program:
        """Start a file with one client, and wait until its PT is ready."""
        self.pt.play(*CLIENT)
        program = self.run(self.client())
        program.said(READY)
        return program

    def start_client(self) -> Program:
        """Start one client by itself, and wait until its PT is ready."""
        self.pt.play(*CLIENT)
        program = self.start(
            "client",
            f"--local=127.0.0.1:{self.port}",
            f"--remote=127.0.0.1:{self.far_port}",
            f"--plugin-opts={PLAIN_OPTIONS}",
        )
        program.said(READY)
        return program

    def start_server(self, *flags: str, plays: Sequence[str] = SERVER) -> Program:
        """Start one server by itself, and wait until its PT is ready."""
        self.pt.play(*plays)
        program = self.start(
            "server",
            f"--local=127.0.0.1:{self.far_port}",
            f"--remote=127.0.0.1:{self.port}",
            "--transport=obfs4",
            f"--exec={self.pt.path}",
            *flags,
        )
        program.said(READY)
        return program

    # What is carried.

    def open(self, port: int = 0, *, id: bytes = b"") -> Ends:
        """Open a tunnel; with an id, as a stream of a session."""
        return self.carried(self.bench.connect(port or self.port), id=id)

    def carried(self, sock: socket.socket, *, id: bytes = b"") -> Ends:
        """Speak on a connection, and take it where it leads to; return both ends."""
        near: End = SessionEnd.as_client(sock, id) if id else sock
        near.sendall(b"x")
        end = self.bench.accept(self.far)
        assert receive(end, 1) == b"x"
        return near, end

    def carries(self, port: int = 0, *, id: bytes = b"") -> None:
        """Check that what comes now is carried, both ways."""
        exchange(*self.open(port, id=id))

    def is_closed(self, port: int) -> bool:
        """Return whether nobody listens there."""
        try:
            self.bench.connect(port)
        except ConnectionRefusedError:
            return True
        return False

    # What changes.

    def reload(self, *tables: str, says: Sequence[str] = ()) -> None:
        """Change the file, have it read again, and wait until so much was said."""
        self.write(*tables)
        self.signal(signal.SIGHUP, *says)

    def signal(self, number: signal.Signals, *says: str) -> None:
        """Send a signal, and wait until so much was said."""
        self.program.signal(number)
        for text in says:
            self.program.said(text)

    def replace(self) -> None:
        """Have the PT replaced, and wait until it is (SIGUSR2)."""
        self.signal(signal.SIGUSR2)
        self.is_replaced(starts=2)

    def is_replaced(self, *, starts: int = 0) -> None:
        """Wait until a second PT is ready, of so many that were started."""
        if starts:
            self.pt.event("started", count=starts)
        self.is_ready(times=2)

    def is_ready(self, *, times: int) -> None:
        """Wait until so many PTs were ready."""
        until(lambda: self.program.heard().count(READY) == times)

    def stop(self) -> None:
        """Ask pt-bridge to end, and see that it does, with nothing left."""
        self.bench.stop(self.program)
