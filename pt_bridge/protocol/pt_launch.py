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
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import (
    NotOffered,
    ProtocolError,
    ProxyRefused,
    PtExitedBeforeReady,
    PtProtocolViolation,
)
from pt_bridge.protocol.address import Address, is_loopback, parse_endpoint
from pt_bridge.protocol.pt_args import decode_server
from pt_bridge.protocol.pt_messages import (
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

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "1"
# How many different reasons are kept why a transport cannot be offered.
MAX_REFUSALS = 8
SOCKS_PROTOCOLS = frozenset({"socks4", "socks5"})


class State(Enum):
    """Where the PT is in its start."""

    START = "start"
    METHODS = "methods"
    READY = "ready"


class Method(NamedTuple):
    """Where a client's PT is asked for one of its transports.

    Attributes:
        address: its SOCKS listener, on loopback.
        protocol: ``socks5`` or ``socks4``.
    """

    address: Address
    protocol: str


@dataclass(slots=True)
class Launch:
    """What one PT says until it is ready, and what it then offers.

    Attributes:
        program: the PT's name for error messages.
        transport: the one transport that was asked for, or the first of a client's.
        server: whether it was asked for as a server.
        proxy: whether TOR_PT_PROXY was set.
        state: how far it is.
        address: where it serves (server, once READY) if it says that this is on
            loopback; some make it up.
        methods: by transport, what it offers (client, once READY): at least one.
        arguments: what clients must use (server, once READY), order kept.
        implementation: the name that it gave itself (STATUS TYPE=version), or "".
        version: its version (the same), or "".
        hint: what may be meant by the transport's name, as the end of a sentence.
        others: more transports that were asked for (client).
    """

    program: str
    transport: str
    server: bool
    proxy: bool = False
    state: State = State.START
    address: Address | None = None
    methods: dict[str, Method] = field(default_factory=dict)
    arguments: list[tuple[str, str]] = field(default_factory=list, repr=False)
    implementation: str = ""
    version: str = ""
    hint: str = ""
    others: Sequence[str] = ()
    _offered: bool = False
    _proxy_done: bool = False
    _refusals: dict[str, list[str]] = field(default_factory=dict, repr=False)

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
            PtProtocolViolation, NotOffered, ProxyRefused: the PT cannot be used.
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
                raise PtProtocolViolation(
                    f"{self.program} does not speak version {VERSION} of the PT "
                    f"protocol: VERSION-ERROR {text}",
                    text,
                )
            case EnvError(text):
                raise PtProtocolViolation(
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
            raise PtProtocolViolation(
                f"{self.program} printed {_keyword(message)} before VERSION: it is no "
                f"pluggable transport, or a broken one"
            )
        return self._method(message)

    def _version(self, version: str) -> str | None:
        if version != VERSION:
            raise PtProtocolViolation(
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
                return self._refuse(name, text)
            case SmethodError(name, text) if self.server and self._is_ours(name):
                return self._refuse(name, text)
            case CmethodsDone() if not self.server:
                return self._done()
            case SmethodsDone() if self.server:
                return self._done()
        return f"a line {_keyword(message)} that nobody asked for"

    def _is_ours(self, name: str) -> bool:
        return name == self.transport or name in self.others

    def _offer(self, method: Cmethod) -> str | None:
        # pt-spec 3.3.2; the arguments that go there are secrets, hence loopback only.
        name = method.transport
        if name in self.methods:
            return "a second CMETHOD line"
        if method.protocol not in SOCKS_PROTOCOLS:
            raise PtProtocolViolation(
                f"{self.program} offers {name} over "
                f"'{method.protocol}', and pt-bridge speaks socks5 and socks4"
            )
        try:
            address = parse_endpoint(method.address)
        except ProtocolError as error:
            raise PtProtocolViolation(
                f"{self.program} printed an address for {name} that cannot "
                f"be used: {error}"
            ) from error
        if not is_loopback(address):
            raise PtProtocolViolation(
                f"{self.program} listens for {name} on an address that is "
                f"not loopback, where others could read the arguments"
            )
        self.methods[name] = Method(address, method.protocol)
        self._offered = True
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
            raise self._not_offered(self.transport)
        self.state = State.READY
        return None

    def _refuse(self, name: str, text: str) -> str | None:
        # webtunnel-server says why first, and then that it has nothing to listen on.
        refusals = self._refusals.setdefault(name, [])
        if text in refusals:
            return "the same reason again"
        if len(refusals) >= MAX_REFUSALS:
            return "one reason too many"
        refusals.append(text)
        return None

    def why_not(self, transport: str) -> str:
        """Return why it offers one transport of a client's not, as a sentence."""
        return str(self._not_offered(transport))

    def _not_offered(self, transport: str) -> NotOffered:
        hint = self.hint if transport == self.transport else ""
        refusals = self._refusals.get(transport)
        if not refusals:
            return NotOffered(f"{self.program} does not offer {transport}{hint}")
        text = "; ".join(refusals)
        return NotOffered(
            f"{self.program} cannot offer {transport}: {text}{hint}", text
        )

    def ended(self, how: str, last_words: str) -> NotOffered | PtExitedBeforeReady:
        """Create the error for a PT that ended before it was ready.

        Args:
            how: how it ended, after the program's name ("ended with exit code 1").
            last_words: the end of what it wrote to stderr, or "".
        """
        if self._refusals and not self._offered:
            return self._not_offered(next(iter(self._refusals)))
        said = f"; it wrote: {last_words}" if last_words else ""
        is_silent = (self.state, last_words) == (State.START, "")
        is_silent = is_silent and how.startswith("ended")  # and was not killed
        hint = ", without a word: is it a pluggable transport?" if is_silent else ""
        return PtExitedBeforeReady(
            f"{self.program} {how} before it was ready{said}{hint}", last_words
        )


def _keyword(message: Message) -> str:
    """Name a message's keyword, as in CMETHOD-ERROR for CmethodError."""
    name = type(message).__name__
    for tail in ("Done", "Error"):
        if name.endswith(tail):
            separator = " " if tail == "Done" else "-"
            return f"{name.removesuffix(tail)}{separator}{tail}".upper()
    return name.upper()
