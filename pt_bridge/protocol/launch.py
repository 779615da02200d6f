"""The start of a PT (pt-spec 3.3): messages in, what was launched out.

::

    START ── VERSION 1 ──> METHODS ── CMETHODS DONE / SMETHODS DONE ──> READY

A line that belongs to another state than the one we are in breaks the protocol, save
after READY, where nothing that a PT prints can change what it offers. LOG lines and
unknown ones belong to every state and to none.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from enum import Enum

from pt_bridge.errors import (
    EndedUnready,
    Misspoke,
    NotOffered,
    ProtocolError,
    ProxyRefused,
)
from pt_bridge.protocol.address import Address, is_loopback, parse_endpoint
from pt_bridge.protocol.args import decode_server
from pt_bridge.protocol.messages import (
    Cmethod,
    CmethodError,
    CmethodsDone,
    EnvError,
    Log,
    Message,
    ProxyDone,
    ProxyError,
    Smethod,
    SmethodError,
    SmethodsDone,
    Status,
    Unknown,
    Version,
    VersionError,
)

VERSION = "1"
SOCKS_PROTOCOLS = frozenset({"socks4", "socks5"})


class State(Enum):
    """Where the PT is in its start."""

    START = "start"
    METHODS = "methods"
    READY = "ready"


@dataclass(slots=True)
class Launch:
    """What one PT says until it is ready, and what it then offers.

    Attributes:
        program: the PT's name for error messages.
        transport: the one transport that was asked for.
        server: whether it was asked for as a server.
        proxy: whether TOR_PT_PROXY was set.
        state: how far it is.
        address: where its SOCKS listener is (client, once READY), or where it serves
            (server, likewise) if it says that this is on loopback; some make it up.
        protocol: ``socks5`` or ``socks4`` (client, once READY).
        arguments: what clients must use (server, once READY), order kept.
        implementation: the name that it gave itself (STATUS TYPE=version), or "".
        version: its version (the same), or "".
    """

    program: str
    transport: str
    server: bool
    proxy: bool = False
    state: State = State.START
    address: Address | None = None
    protocol: str = ""
    arguments: list[tuple[str, str]] = field(default_factory=list, repr=False)
    implementation: str = ""
    version: str = ""
    _offered: bool = False
    _proxy_done: bool = False
    _refusal: str | None = None

    @property
    def name_and_version(self) -> str:
        """What runs, in its own words where it has some."""
        words = (self.implementation or self.program, self.version)
        return " ".join(filter(None, words))

    def receive(self, message: Message) -> str | None:
        """Take the next message.

        Returns:
            A remark for the log where the message was ignored, else None.

        Raises:
            Misspoke, NotOffered, ProxyRefused: the PT cannot be used.
        """
        if isinstance(message, Status):
            if message.pairs.get("TYPE") == "version":
                self.implementation = message.pairs.get("IMPLEMENTATION", "")
                self.version = message.pairs.get("VERSION", "")
            return None
        if isinstance(message, Log):
            return None
        if isinstance(message, Unknown):
            return "a line that is no message of a PT"
        if self.state is State.READY:
            return f"a line {_keyword(message)} after the PT was ready"
        match message:
            case VersionError(text):
                raise Misspoke(
                    f"{self.program} does not speak version {VERSION} of the PT "
                    f"protocol: VERSION-ERROR {text}",
                    text,
                )
            case EnvError(text):
                raise Misspoke(
                    f"{self.program} cannot use its environment: ENV-ERROR {text}",
                    text,
                )
            case ProxyError(text):
                raise ProxyRefused(
                    f"{self.program} cannot use the proxy that it was given: "
                    f"PROXY-ERROR {text}",
                    text,
                )
            case Version(version):
                return self._version(version)
        if self.state is State.START:
            raise Misspoke(
                f"{self.program} printed {_keyword(message)} before VERSION: it is no "
                f"pluggable transport, or a broken one"
            )
        return self._method(message)

    def _version(self, version: str) -> str | None:
        if version != VERSION:
            raise Misspoke(
                f"{self.program} speaks version {version} of the PT protocol, "
                f"and pt-bridge version {VERSION}: use another version of it"
            )
        if self.state is State.METHODS:
            return "a second line VERSION"
        self.state = State.METHODS
        return None

    def _method(self, message: Message) -> str | None:
        match message:
            case ProxyDone():
                self._proxy_done = True
                return None
            case Cmethod(name) if not self.server and self._is_ours(name):
                return self._offer(message)
            case Smethod(name) if self.server and self._is_ours(name):
                return self._serve(message)
            case CmethodError(name, text) if not self.server and self._is_ours(name):
                self._refusal = text
                return None
            case SmethodError(name, text) if self.server and self._is_ours(name):
                self._refusal = text
                return None
            case CmethodsDone() if not self.server:
                return self._done()
            case SmethodsDone() if self.server:
                return self._done()
        return f"a line {_keyword(message)} that nobody asked for"

    def _is_ours(self, name: str) -> bool:
        return name == self.transport

    def _offer(self, method: Cmethod) -> str | None:
        # pt-spec 3.3.2; the arguments that go there are secrets, hence loopback only.
        if self._offered:
            return "a second CMETHOD line"
        if method.protocol not in SOCKS_PROTOCOLS:
            raise Misspoke(
                f"{self.program} offers {self.transport} over "
                f"'{method.protocol}', and pt-bridge speaks socks5 and socks4"
            )
        try:
            address = parse_endpoint(method.address)
        except ProtocolError as error:
            raise Misspoke(
                f"{self.program} printed an address for {self.transport} that cannot "
                f"be used: {error}"
            ) from error
        if not is_loopback(address):
            raise Misspoke(
                f"{self.program} listens for {self.transport} on an address that is "
                f"not loopback, where others could read the arguments"
            )
        self.address, self.protocol, self._offered = address, method.protocol, True
        return None

    def _serve(self, method: Smethod) -> str | None:
        # webtunnel-server invents an address, and so does Go for a wildcard.
        if self._offered:
            return "a second SMETHOD line"
        self._offered = True
        with contextlib.suppress(ProtocolError):
            address = parse_endpoint(method.address)
            self.address = address if is_loopback(address) else None
        try:
            self.arguments = decode_server(method.args)
        except ProtocolError as error:
            return f"an SMETHOD line whose arguments do not parse: {error}"
        return None

    def _done(self) -> str | None:
        if self.proxy and not self._proxy_done:
            raise ProxyRefused(
                f"{self.program} did not say that it uses the proxy that it was given, "
                f"so its connections could go around it"
            )
        if not self._offered:
            raise self._not_offered()
        self.state = State.READY
        return None

    def _not_offered(self) -> NotOffered:
        if self._refusal is None:
            return NotOffered(f"{self.program} does not offer {self.transport}")
        return NotOffered(
            f"{self.program} cannot offer {self.transport}: {self._refusal}",
            self._refusal,
        )

    def ended(self, how: str, last_words: str) -> NotOffered | EndedUnready:
        """Make the error for a PT that ended before it was ready.

        Args:
            how: how it ended, after the program's name ("ended with exit code 1").
            last_words: the end of what it wrote to stderr, or "".
        """
        if self._refusal is not None and not self._offered:
            return self._not_offered()
        said = f"; it wrote: {last_words}" if last_words else ""
        return EndedUnready(
            f"{self.program} {how} before it was ready{said}", last_words
        )


def _keyword(message: Message) -> str:
    """Name a message's keyword, as in CMETHOD-ERROR for CmethodError."""
    name = type(message).__name__
    for tail in ("Done", "Error"):
        if name.endswith(tail):
            separator = " " if tail == "Done" else "-"
            return f"{name.removesuffix(tail)}{separator}{tail}".upper()
    return name.upper()
