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
from pt_bridge.protocol.address import Address, parse_host, parse_host_port
from pt_bridge.protocol.args import is_method_name, is_printable
from pt_bridge.protocol.pasted import unquoted, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Far more than a PT could be sent (510 bytes), with room for comments around it.
MAX_LENGTH = 8192  # characters
DEFAULT_PORT = 443
BRIDGE = "bridge"
FINGERPRINT_DIGITS = 40
HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
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
    transport, *rest = words
    if not is_method_name(transport) and any(mark in transport for mark in ".:["):
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


def _fingerprint(word: str) -> str | None:
    """Read what stands behind the address and is no argument."""
    if word == NO_FINGERPRINT_YET:
        return None
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
