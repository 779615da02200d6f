"""What a tor that runs here says of itself, over its control port (through stem).

stem waits in threads, for any time and for any number of bytes. So the connection is
ours, has an end after so many bytes, and is cut where we do not wait any more: then its
threads end, too, and nobody who stops us has to wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pt_bridge.errors import ProtocolError, UsageError
from pt_bridge.net import resolve
from pt_bridge.net.connect import connect_local
from pt_bridge.protocol.address import Address, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer
    from stem.control import Controller

# How long tor may take for all of its answers (seconds).
LIMIT = 5.0
# How much it may say in them (bytes); it is 1 or 2 KiB.
MAX_ANSWERS = 256 * 1024
NO_STEM = (
    "the control port of tor is spoken to through stem, which is not installed: pip "
    "install 'pt-bridge[tor]', or Debian's python3-stem"
)
NO_ANSWER = "no answer in time"
NO_CONTROL_PORT = "what listens there does not speak as tor's control port does"
HOW_TO_LET_US_IN = (
    "write CookieAuthentication 1 into torrc, and run pt-bridge as tor's own user or "
    "as one of its group (CookieAuthFileGroupReadable 1)"
)
DEFAULT_COOKIE_FILE = "extended_orport_auth_cookie"
AUTO = "auto"
PROGRESS = re.compile(r"PROGRESS=(\d{1,3})")


@dataclass(frozen=True, slots=True)
class TorFacts:
    """What tor says of itself.

    Attributes:
        ext_orport: where its Extended ORPort listens.
        cookie_path: the file with that port's cookie.
        fingerprint: its identity as a relay, 40 hexadecimal digits, or "".
        host: what it takes for its address, or "".
        version: its version.
        progress: how far its start has come, in percent.
        is_bridge: whether it is a bridge, as its torrc says.
        is_port_auto: whether the Extended ORPort is another one at each start.
    """

    ext_orport: Address
    cookie_path: str
    fingerprint: str
    host: str
    version: str
    progress: int
    is_bridge: bool
    is_port_auto: bool


class ControlSocket(socket.socket):
    """A connection to a control port, which may say so much and no more.

    Attributes:
        left: how many bytes it may say; None for any number.
    """

    left: int | None = MAX_ANSWERS

    def recv_into(
        self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0
    ) -> int:
        """Read as a socket does; where it was too much, that was the end."""
        number = super().recv_into(buffer, nbytes, flags)
        if self.left is not None:
            self.left -= number
            if self.left < 0:
                return 0
        return number

    def hang_up(self) -> None:
        """End it for whoever reads from it in another thread."""
        with contextlib.suppress(OSError):  # it has ended
            self.shutdown(socket.SHUT_RDWR)
        self.close()


async def ask(control: Address | str, *, limit: float = LIMIT) -> TorFacts:
    """Ask a tor for what a server in front of it must know.

    Args:
        control: its control port, or the path of its socket.
        limit: how long all of it may take, in seconds.

    Raises:
        UsageError: stem is not installed, tor does not let us in, or it has no Extended
            ORPort; it says what to do.
        OSError: tor cannot be reached, or does not answer.
    """

    def facts() -> TorFacts:
        with controller(sock) as tor:
            return _facts(tor)

    try:
        async with asyncio.timeout(limit):
            sock = await connect(control)
            try:
                return await asyncio.to_thread(facts)
            finally:
                sock.hang_up()
    except TimeoutError:
        raise OSError(errno.ETIMEDOUT, NO_ANSWER) from None


async def connect(control: Address | str) -> ControlSocket:
    """Connect to a control port, or to a socket by its path.

    Raises:
        OSError: nobody listens there.
    """
    if isinstance(control, Address):
        found = await resolve.resolve(control)
        sock = await connect_local(found[0], patience=0, limit=LIMIT)
    else:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, control)
        except BaseException:
            sock.close()
            raise
    made = ControlSocket(fileno=sock.detach())
    made.settimeout(LIMIT)  # in stem's threads
    return made


@contextlib.contextmanager
def controller(
    made: ControlSocket, *, for_events: bool = False
) -> Iterator[Controller]:
    """Speak to a tor for as long as the block lasts; it waits, in a thread.

    Args:
        made: the connection, which is closed with the block.
        for_events: whether events are awaited: then it may be silent for any time, and
            say any amount.

    Raises:
        UsageError: stem is not installed, or tor does not let us in.
        OSError: tor does not answer.
    """
    try:
        import stem
        import stem.connection
        import stem.control
        import stem.socket
        import stem.util.log
    except ImportError:
        raise UsageError(NO_STEM) from None
    # What it logs of itself is said in sentences here.
    stem.util.log.get_logger().propagate = False

    class Socket(stem.socket.ControlSocket):  # type: ignore[misc]
        def _make_socket(self) -> socket.socket:
            return made

    sock = Socket()
    try:
        sock.connect()
        with stem.control.Controller(sock) as tor:
            try:
                tor.authenticate()
            except stem.connection.IncorrectSocketType:
                raise OSError(errno.EPROTO, NO_CONTROL_PORT) from None
            except stem.connection.AuthenticationFailure as error:
                # Who hangs up at the first word is none, either.
                if type(error) is stem.connection.AuthenticationFailure:
                    raise OSError(errno.EPROTO, NO_CONTROL_PORT) from None
                raise UsageError(
                    f"tor does not let us in at its control port "
                    f"({_first_line(error)}): {HOW_TO_LET_US_IN}"
                ) from None
            if for_events:
                made.settimeout(None)
                made.left = None
            yield tor
    except stem.ControllerError as error:
        raise OSError(errno.EIO, f"tor's control port: {_first_line(error)}") from None
    finally:
        sock.close()


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _facts(tor: Controller) -> TorFacts:
    configured = tor.get_conf("ExtORPort", "")
    listening = tor.get_info("net/listeners/extor", "").split()
    if not listening:
        raise UsageError(
            "tor has no Extended ORPort: write ExtORPort 127.0.0.1:9010 (or another "
            "free port) into torrc, and restart tor"
        )
    try:
        address = parse_endpoint(listening[0].strip('"'))
    except ProtocolError:
        raise UsageError(
            "tor's Extended ORPort is no address and port: write ExtORPort "
            "127.0.0.1:9010 (or another free port) into torrc"
        ) from None
    folder = tor.get_conf("DataDirectory", "")
    cookie = tor.get_conf("ExtORPortCookieAuthFile", "")
    return TorFacts(
        ext_orport=address,
        cookie_path=cookie or os.path.join(folder, DEFAULT_COOKIE_FILE),
        fingerprint=tor.get_info("fingerprint", ""),
        host=tor.get_info("address", ""),
        version=tor.get_info("version", "").partition(" ")[0],
        progress=_progress(tor.get_info("status/bootstrap-phase", "")),
        is_bridge=tor.get_conf("BridgeRelay", "0") == "1",
        is_port_auto=configured.rpartition(":")[2] == AUTO,
    )


def _progress(phase: str) -> int:
    found = PROGRESS.search(phase)
    return int(found[1]) if found else 0
