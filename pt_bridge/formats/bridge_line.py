r"""Bridge lines: what stands in a torrc, and what people paste (tor(1), "Bridge").

::

    line        = [ "Bridge" ] transport address [ fingerprint ] *( key "=" value )
    address     = ( IPv4 / "[" IPv6 "]" ) [ ":" port ] / name ":" port
    fingerprint = [ "$" ] 40HEXDIG

Blanks of any kind stand between the words. A value is whatever is behind the first
``=``: there are no escapes, and so no blanks in it. Without a port it is 443, as for
tor; a name in the address is more than tor takes, and what Arti takes.
"""

from __future__ import annotations

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.address import (
    MAX_PORT_DIGITS,
    Address,
    parse_host,
    parse_host_port,
)
from pt_bridge.protocol.pt_args import is_method_name, is_printable
from pt_bridge.text.quoting import unquoted, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# Far more than a PT could be sent (510 bytes), with room for comments around it.
MAX_LENGTH = 8192  # characters
DEFAULT_PORT = 443
BRIDGE, BRIDGE_WORD = "bridge", "Bridge"
FINGERPRINT_DIGITS = 40
HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
# What text programs, and keyboards for Chinese, write where a bridge line has ASCII.
LOOKALIKES = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
    "\uff1a": ":",
    "\uff1d": "=",
    "\uff0e": ".",
    "\u3002": ".",
    "\uff0f": "/",
}
# What obfs4proxy's own obfs4_bridgeline.txt leaves to fill in.
NO_FINGERPRINT_YET = "<FINGERPRINT>"


class BridgeLine:
    """What a bridge line says.

    Attributes:
        transport: the PT method.
        address: where the server is; with some transports nobody is there.
        fingerprint: the Tor relay's identity, 40 digits in upper case, or None.
        arguments: the PT's arguments, in order, duplicates kept.
    """

    __slots__ = ("address", "arguments", "fingerprint", "transport")

    def __init__(
        self,
        transport: str,
        address: Address,
        arguments: Sequence[tuple[str, str]] = (),
        fingerprint: str | None = None,
    ) -> None:
        """Take what a line can hold.

        Raises:
            ProtocolError: a line cannot hold that; no value is shown.
        """
        if not is_method_name(transport) or transport.lower() == BRIDGE:
            raise ProtocolError("it does not begin with a transport's name, like obfs4")
        if fingerprint is not None and not _is_fingerprint(fingerprint):
            raise ProtocolError("the fingerprint is not 40 hexadecimal digits")
        for number, (key, value) in enumerate(arguments, 1):
            word = f"{key}={value}"
            if not key or "=" in key or key.startswith("#"):
                raise ProtocolError(f"argument {number} has a name that cannot be one")
            if " " in word or not is_printable(word):
                raise ProtocolError(
                    f"argument {number} holds what a bridge line cannot: only "
                    f"printable ASCII without blanks can stand there"
                )
        self.transport = transport
        self.address = address
        self.arguments = list(arguments)
        self.fingerprint = fingerprint.upper() if fingerprint is not None else None

    def __str__(self) -> str:
        """Write the line, without ``Bridge`` before it; `parse` undoes it."""
        words = [self.transport, str(self.address)]
        if self.fingerprint is not None:
            words.append(self.fingerprint)
        return " ".join([*words, *(f"{key}={value}" for key, value in self.arguments)])

    def __repr__(self) -> str:
        """Leave out all but the transport: the rest may be a secret."""
        return f"BridgeLine({self.transport!r})"


def parse(text: str) -> BridgeLine:
    """Read a bridge line as people paste it.

    ``Bridge`` and quotes around it, line ends, comments, blanks of any kind and
    characters that cannot be seen do no harm.

    Raises:
        ProtocolError: it is none, or one without a transport; no value is shown.
    """
    if len(text) > MAX_LENGTH:
        raise ProtocolError(f"it is longer than {MAX_LENGTH} characters")
    words = _words(text)
    if not words:
        raise ProtocolError("there is no bridge line in it")
    for mark, meant in LOOKALIKES.items():
        if any(mark in word for word in words):
            raise ProtocolError(
                f"it has a '{mark}' that only looks like '{meant}': write that, in its "
                f"place"
            )
    transport, *rest = words
    if not is_method_name(transport) and any(mark in transport for mark in ".:["):
        if any("=" in word for word in rest):
            raise ProtocolError(
                "the transport's name must stand first in it, like obfs4, before the "
                "address"
            )
        raise ProtocolError(
            "it names no transport: a bridge without one is a plain Tor relay, which "
            "is no way to a shadowsocks server"
        )
    address = _address(rest[0] if rest else "")
    fingerprint = None
    arguments = rest[1:]
    if arguments and "=" not in arguments[0]:
        fingerprint = _fingerprint(arguments.pop(0))
    return BridgeLine(transport, address, _pairs(arguments), fingerprint)


def parse_each(texts: Sequence[str], transports: Collection[str]) -> list[BridgeLine]:
    """Read several lines; or one that was broken, or stands among something else.

    Args:
        texts: what was given, a line of it each.
        transports: those whose lines are cut out of what else stands there.

    Raises:
        ProtocolError: one is none; it says which, as it follows the name of the option
            that holds them, and shows no value.
    """
    if len(texts) == 1:
        return [_parse_among_others(texts[0], transports)]
    whole = "\n".join(texts)
    try:
        return [parse(whole)]
    except ProtocolError:  # it is not one line that was broken
        pass
    lines: list[BridgeLine] = []
    refusal = ""
    for number, text in enumerate(texts, 1):
        try:
            lines.append(parse(text))
        except ProtocolError as error:
            if not set(transports).isdisjoint(text.lower().split()[:2]):
                refusal = refusal or f"number {number} is wrong: {error}"
    if lines and refusal:
        raise ProtocolError(refusal)
    return lines or [_parse_among_others(whole, transports)]


def _parse_among_others(text: str, transports: Collection[str]) -> BridgeLine:
    """Read a line that may stand among something else."""
    try:
        return parse(text)
    except ProtocolError as error:
        refusal = error
    from pt_bridge.text import excerpts  # slow to import

    lines = excerpts.bridge_lines(visible(text), transports).texts
    if len(lines) > 1:
        raise ProtocolError(f"holds {len(lines)} bridge lines: write bridge= for each")
    try:
        return parse(lines[0] if lines else text)
    except ProtocolError:
        raise ProtocolError(f"is wrong: {refusal}") from None


def _words(text: str) -> list[str]:
    """Split into words, without what stands around the line itself."""
    words: list[str] = []
    for line in visible(text).splitlines():
        for word in line.split():
            if word.startswith("#"):
                break
            words.append(word)
    words = unquoted(" ".join(words)).split()
    if words and words[0].lower() == BRIDGE:
        words = unquoted(" ".join(words[1:])).split()
    return words


def _address(word: str) -> Address:
    if "<" in word:
        raise ProtocolError(
            "it is still to be filled in: write the server's address and port where "
            "the '<' is, and leave the fingerprint out"
        )
    if not word or "=" in word or _is_fingerprint(word):
        raise ProtocolError("no address, IP:PORT, follows the transport")
    try:
        if ":" in word and not word.endswith("]"):
            return parse_host_port(word)
        address = Address(parse_host(word), DEFAULT_PORT)
    except ProtocolError as error:
        raise ProtocolError(f"the address is wrong: {error}") from None
    if address.ip is None:
        raise ProtocolError("the address is wrong: a name needs a port, like NAME:443")
    return address


def _is_fingerprint(word: str) -> bool:
    return len(word) == FINGERPRINT_DIGITS and HEXADECIMAL.issuperset(word)


def fingerprint_in(text: str) -> str:
    """Return the fingerprint in what tor writes to its file of that name, or "".

    It is the relay's nickname and the fingerprint.
    """
    found = [word for word in text.split() if _is_fingerprint(word)]
    return found[0].upper() if found else ""


def _fingerprint(word: str) -> str | None:
    """Read what stands behind the address and is no argument."""
    if word == NO_FINGERPRINT_YET:
        return None
    if word.isdigit() and len(word) <= MAX_PORT_DIGITS:
        raise ProtocolError("between the address and its port stands a ':', no blank")
    digits = word.removeprefix("$")
    if not _is_fingerprint(digits):
        raise ProtocolError(
            "what follows the address is neither a fingerprint of 40 hexadecimal "
            "digits nor key=value"
        )
    return digits


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for number, word in enumerate(words, 1):
        key, equals, value = word.partition("=")
        if not equals:
            raise ProtocolError(
                f"argument {number} is not key=value: give one bridge line, whole, and "
                f"no line break inside a word"
            )
        pairs.append((key, value))
    return pairs
