"""The session over each PT that there is: which programs meet, and their lines.

All run in a network of their own, in which an address that is not loopback's is ours:
webtunnel-client takes no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import sys
from typing import TYPE_CHECKING, NamedTuple

from integration.support import internet
from integration.support.endpoints import free_port
from integration.support.ends import Folders, Line
from integration.support.machine import Machine
from integration.support.programs import DEADLINE, ROOT
from tests.support import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from integration.support.endpoints import Address
    from integration.support.machine import Chain

# What a server's line says to its clients: speak the session, and nothing else.
SESSION = ";session=1"

LYREBIRD, OBFS4PROXY = "lyrebird", "obfs4proxy"
PTS = (OBFS4PROXY, LYREBIRD)
IAT_MODES = (0, 1, 2)
# An address that counts as a host's on the Internet (RFC 5737).
HOST = internet.ROUTER
SETTINGS = {"tcp_syn_retries": "6"}  # Linux's own: an outage may be long
IAT_MODE = re.compile(r"iat-mode=\d")
# How both programs for obfs4 crash with an iat-mode of 2, for one key in 30, and now
# and then for others: that is theirs, and pt-bridge warns of it.
IAT_CRASH = "panic: BUG: Write(), iat length was 0"
# What the stand-in for meek's server is asked for; of meek_lite pt-bridge knows that
# nobody serves it.
MEEK_SERVER = "meek_stand_in"
MEEK = f"""\
#!{sys.executable} -I
import sys
sys.path.insert(0, {ROOT!r})
import integration.support.meek_server
integration.support.meek_server.main()
"""
SECRET_PATH = "a-secret-path"


class Pairing(NamedTuple):
    """A PT of the client's, and one of the server's.

    Attributes:
        name: what tests call it.
        server: the server's options.
        client: what makes the client's of those that the server has written.
    """

    name: str
    server: str
    client: Callable[[str], str]

    def __str__(self) -> str:
        return self.name


def obfs4(client: str, server: str, *, iat: tuple[int, int] = (0, 0)) -> Pairing:
    """Return the pairing of two programs for obfs4.

    Args:
        client: the client's PT.
        server: the server's.
        iat: the iat-mode of each.
    """

    def options(line: str) -> str:
        return IAT_MODE.sub(f"iat-mode={iat[0]}", line) + f";exec={client}"

    name = (
        f"{client} {iat[0]} to {server} {iat[1]}"
        if any(iat)
        else f"{client} to {server}"
    )
    return Pairing(name, f"transport=obfs4;exec={server};iat-mode={iat[1]}", options)


def webtunnel(client: str) -> Pairing:
    """Return the pairing of a client for webtunnel with its server."""

    def options(line: str) -> str:
        return f"{line};exec={client}"

    return Pairing(f"{client} to webtunnel-server", "transport=webtunnel", options)


def _meek(line: str) -> str:
    return line.replace(MEEK_SERVER, "meek_lite") + f";exec={LYREBIRD}"


def _endless(line: str) -> str:
    return f"{line};exec={OBFS4PROXY}"


OBFS4 = tuple(obfs4(client, server) for client in PTS for server in PTS)
WEBTUNNEL = tuple(webtunnel(client) for client in (LYREBIRD, "webtunnel-client"))
MEEK_LITE = Pairing("meek_lite", f"transport={MEEK_SERVER};exec={OBFS4PROXY}", _meek)
# It carries bytes, and never an end.
ENDLESS = Pairing("a PT without ends", f"transport=obfs4;exec={LYREBIRD}", _endless)
PAIRINGS = (*OBFS4, *WEBTUNNEL, MEEK_LITE, ENDLESS)


class Network:
    """One machine in a network of its own, and the lines that are up there."""

    def __init__(self, folder: Path) -> None:
        """Create it.

        Args:
            folder: an empty one.
        """
        self._folder = folder
        self._lines: dict[str, Line] = {}
        self._numbers = itertools.count(1)
        with contextlib.ExitStack() as stack:
            (folder / "hosts").write_text(internet.HOSTS)
            (folder / "resolv.conf").write_text(internet.RESOLVER)
            self.site = internet.Site(folder)
            stack.callback(self.site.close)
            self.site.set_up(f"addr add {HOST}/32 dev lo", settings=SETTINGS)
            (folder / "machine").mkdir()
            self.machine = Machine(folder / "machine", self.site)
            stack.callback(self.machine.close)
            with self.site.inside():
                self._runner = stack.enter_context(asyncio.Runner())
            self._stack = stack.pop_all()

    def line(self, pairing: Pairing) -> Line:
        """Return the line over a pairing, which stays up."""
        if pairing.name not in self._lines:
            self._lines[pairing.name] = self.start(pairing)
        return self._lines[pairing.name]

    def new_line(self, pairing: Pairing) -> Line:
        """Return another line over a pairing instead, with other keys; it stays up."""
        self._lines.pop(pairing.name, None)
        return self.line(pairing)

    def start(self, pairing: Pairing) -> Line:
        """Start a line of one's own over a pairing."""
        remote = (HOST, free_port())
        with self.site.inside():
            line = Line(
                self.machine,
                server_options=self._server_options(pairing, remote),
                client_options=pairing.client,
                remote=remote,
                folders=self._folders(pairing),
            )
        self._stack.callback(line.close)
        return line

    def chain(self, pairing: Pairing) -> Chain:
        """Start ss-local and ss-server over a pairing of obfs4."""
        with self.site.inside():
            return self.machine.chain(
                server_options=f"server;{pairing.server}",
                client_options=pairing.client,
                variables=self.machine.with_lyrebird(),
            )

    def _server_options(self, pairing: Pairing, remote: Address) -> str:
        if pairing.server != WEBTUNNEL[0].server:
            return pairing.server
        self.machine.secrets.add(SECRET_PATH)
        return f"{pairing.server};url=http://{remote[0]}:{remote[1]}/{SECRET_PATH}"

    def _folders(self, pairing: Pairing) -> Folders:
        """Install the stand-ins where their side finds them."""
        folder = self._folder / f"{pairing.name} {next(self._numbers)}"
        if pairing is MEEK_LITE:
            folder.mkdir(exist_ok=True)
            path = folder / OBFS4PROXY
            path.write_text(MEEK)
            path.chmod(0o755)
            return Folders(server=str(folder))
        if pairing is ENDLESS:
            for name, steps in (
                (OBFS4PROXY, processes.CLIENT),
                (LYREBIRD, processes.SERVER),
            ):
                fake = processes.FakePt(folder, name)
                fake.play("closes never", *steps)
                self._stack.callback(fake.close)
            return Folders(str(folder), str(folder))
        return Folders()

    def run(
        self, what: Coroutine[object, object, object], deadline: float = DEADLINE
    ) -> None:
        """Do something there within a deadline (seconds)."""
        with self.site.inside():
            self._runner.run(within(deadline, what))

    def close(self) -> None:
        """End everything."""
        with self.site.inside():
            self._runner.close()
        self._stack.close()


async def within(seconds: float, what: Coroutine[object, object, object]) -> None:
    """Limit the block's time; of what went wrong, raise the first."""
    try:
        async with asyncio.timeout(seconds):
            await what
    except ExceptionGroup as group:
        error: Exception = group
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from None


@contextlib.contextmanager
def network(folder: Path) -> Iterator[Network]:
    """Create a network for a block."""
    made = Network(folder)
    try:
        yield made
    finally:
        made.close()
