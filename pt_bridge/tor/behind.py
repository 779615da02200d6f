"""The tor behind a server: where it is, how clients come to it, what they must know."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from pt_bridge.errors import (
    SHORTAGES,
    CookieRefused,
    Denied,
    ProtocolError,
    TorUnreached,
    UsageError,
)
from pt_bridge.files import state_dir
from pt_bridge.formats.bridge_line import BRIDGE_WORD, fingerprint_in
from pt_bridge.net import resolve
from pt_bridge.protocol.address import Address, is_wildcard
from pt_bridge.protocol.frames import Cause
from pt_bridge.system.log import STDERR, logger, say
from pt_bridge.tor import control
from pt_bridge.tor.ext_orport import TorExtOrPort

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pt_bridge.options.config import Config
    from pt_bridge.protocol.pt_launch import Launch

BRIDGE_LINE = "bridge-line.txt"
# What an operator has to fill in, as obfs4proxy's own file has it.
NO_HOST_YET = "<IP ADDRESS>"
# Between two tries to reach a tor that is started beside us (seconds).
RETRY = 0.5
MAX_FINGERPRINT_FILE = 256  # bytes; a nickname and 40 digits


class TorBehind:
    """The tor behind a server.

    Attributes:
        orport: its Extended ORPort, once it was found.
        fingerprint: its identity as a relay, or "" where that is not known.
        NOT_TAKEN: how it is counted that it took no connection.
    """

    NOT_TAKEN = "tor did not take it"
    orport: TorExtOrPort

    def __init__(self, config: Config, complain: Callable[[str], None]) -> None:
        """Create one; nothing is looked for yet.

        Args:
            config: what the user asks for, and says of it.
            complain: gets a sentence for the log where tor takes no connection.
        """
        self._config = config
        self._complain = complain
        # Where nobody has to look at clients, no byte passes through us.
        self._is_handed_on = not config.looks_at_clients
        self._asking = asyncio.Lock()
        self.fingerprint = ""
        self._host = ""

    async def find(self, *, patience: float) -> None:
        """Find its Extended ORPort, and what proves that we may use it.

        Args:
            patience: how long to ask a tor that does not answer yet, in seconds.

        Raises:
            UsageError: it has none, or lets us not in.
            TorUnreached: it cannot be reached.
        """
        config = self._config
        if config.ext_orport is not None:
            try:
                found = await resolve.resolve(config.ext_orport)
            except OSError as error:
                raise TorUnreached(
                    f"the host of --ext-orport cannot be resolved: {error.strerror}"
                ) from None
            self.orport = TorExtOrPort(found[0], config.ext_orport_cookie)
            self.fingerprint = _fingerprint_beside(config.ext_orport_cookie)
        else:
            await self._ask(patience=patience)
        if not self.orport.check_cookie_file():
            logger.warning(
                "tor's cookie file %s is not there yet: clients are let in when tor "
                "has written it",
                self.orport.cookie_path,
            )

    async def _ask(self, *, patience: float) -> None:
        """Ask it over its control port."""
        assert self._config.tor_control is not None  # or there is no tor
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            try:
                facts = await control.ask(self._config.tor_control)
                break
            except OSError as error:
                if asyncio.get_running_loop().time() >= deadline:
                    raise TorUnreached(
                        f"tor's control port (--tor-control) cannot be used: "
                        f"{error.strerror or error}; is tor running, and does torrc "
                        f"have that ControlPort?"
                    ) from None
            await asyncio.sleep(RETRY)
        self.orport = TorExtOrPort(facts.ext_orport, facts.cookie_path)
        self.fingerprint, self._host = facts.fingerprint, facts.host
        if not facts.is_bridge:
            logger.warning(
                "the tor behind is no bridge: write BridgeRelay 1 into torrc, or it "
                "tells everybody where it is"
            )
        if facts.is_port_auto and self._is_handed_on:
            logger.warning(
                "tor's ExtORPort is 'auto', another port at each start, and the PT is "
                "told once: give it a port in torrc, or use front=yes"
            )

    @property
    def handed_on(self) -> tuple[Address, str] | None:
        """Where its Extended ORPort is, and the file with that port's cookie.

        None where we announce clients to it ourselves.
        """
        if not self._is_handed_on:
            return None
        return self.orport.address, self.orport.cookie_path

    async def connect(self, client: Address | None) -> socket.socket | Cause:
        """Announce a client to it; return the connection, or why there is none."""
        try:
            return await self._connect(client)
        except (ProtocolError, UsageError, OSError) as error:
            self._complain(self._explain(error, "a client could not be"))
            if isinstance(error, Denied | ConnectionRefusedError):
                return Cause.REFUSED
            if isinstance(error, OSError) and error.errno in SHORTAGES:
                return Cause.BUSY
            return Cause.UNREACHABLE

    def _explain(
        self, error: ProtocolError | UsageError | OSError, who_is_not: str
    ) -> str:
        """Return in a sentence why tor did not take somebody."""
        match error:
            case Denied():
                return f"{error}: tor's own log says why"
            case CookieRefused():
                return (
                    f"tor does not know the cookie in {self.orport.cookie_path}: is "
                    f"that another tor's file?"
                )
            case ConnectionRefusedError():
                return (
                    "tor's Extended ORPort does not take connections: is tor running, "
                    "and does torrc have that ExtORPort?"
                )
            case OSError():
                why = error.strerror or control.NO_ANSWER
                return f"{who_is_not} announced to tor: {why}"
        return f"{who_is_not} announced to tor: {error}"

    async def warn_unless_it_takes_clients(self) -> None:
        """Say what is wrong before the first client finds out.

        Where the PT goes to tor itself, nobody else would ever say so.
        """
        try:
            await self.orport.prove()
        except FileNotFoundError:  # which was said
            pass
        except (ProtocolError, OSError) as error:
            text = self._explain(error, "clients cannot be")
            logger.warning("%s; clients are let in once that is right", text)

    def why_uncounted(self) -> str:
        """Return what is to be said in a status that counts no connections, or ""."""
        if not self._is_handed_on:
            return ""
        import psutil  # slow, and only needed here

        here = (self.orport.address.host, self.orport.address.port)
        up = psutil.CONN_ESTABLISHED
        try:
            number = sum(
                each.raddr == here and each.status == up
                for each in psutil.net_connections("tcp")
            )
        except (psutil.Error, OSError):  # a sandbox; no descriptor left
            now = ""
        else:
            now = f", {number} now"
        return (
            f"clients: the PT hands them on to tor itself{now}; nothing else can be "
            f"told of them here (front=yes lets them come through pt-bridge)"
        )

    async def _connect(self, client: Address | None) -> socket.socket:
        tried = self.orport
        try:
            return await tried.connect(client, self._config.transport)
        except (ConnectionRefusedError, CookieRefused):
            if self._config.tor_control is None:
                raise
        # A tor that was started anew may be somewhere else. One asks for all.
        async with asyncio.timeout(control.LIMIT), self._asking:
            if self.orport is tried:
                facts = await control.ask(self._config.tor_control)
                self.orport = TorExtOrPort(facts.ext_orport, facts.cookie_path)
        return await self.orport.connect(client, self._config.transport)

    def bridge_line(self, launch: Launch, remotes: list[Address]) -> str:
        """Write the line with which tors reach this bridge.

        Args:
            launch: what the PT says that clients must use.
            remotes: where it listens for them.
        """
        open_to_all = [each for each in remotes if is_wildcard(each.host)]
        named = [each for each in remotes if each not in open_to_all]
        address = str(named[0]) if named else ""
        if not named:
            port = open_to_all[0].port
            address = f"{NO_HOST_YET}:{port}"
            if self._host:
                address = str(Address(self._host, port))
        words = [BRIDGE_WORD, launch.transport, address]
        if self.fingerprint:
            words.append(self.fingerprint)
        return " ".join([*words, *(f"{key}={v}" for key, v in launch.arguments)])

    def announce(self, folder: str, line: str) -> None:
        """Write the bridge line where the operator finds it, and say where that is.

        Args:
            folder: the PT's state folder.
            line: the bridge line.
        """
        path, before = state_dir.write_client_options(folder, line, BRIDGE_LINE)
        if before not in (None, line):
            logger.warning(
                "this bridge's line has changed: every client needs the one in %s", path
            )
        else:
            logger.info("the bridge line for tor's users is in %s", path)
        if not self.fingerprint:
            logger.info(
                "it has no fingerprint, which is in the file 'fingerprint' of tor's "
                "DataDirectory: put it behind the address"
            )
        if os.isatty(STDERR):
            # For the person who sits there; no log gets to see it.
            say(line)


def tor_behind(config: Config, complain: Callable[[str], None]) -> TorBehind | None:
    """Return the tor behind a server, or None where it is shadowsocks.

    Args:
        config: what the user asks for.
        complain: see `TorBehind`.
    """
    return TorBehind(config, complain) if config.has_tor_behind else None


def _fingerprint_beside(cookie_path: str) -> str:
    """Return the fingerprint that tor has written into its DataDirectory, or ""."""
    path = os.path.join(os.path.dirname(cookie_path), "fingerprint")
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return fingerprint_in(file.read(MAX_FINGERPRINT_FILE))
    except OSError:
        return ""
