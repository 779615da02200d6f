"""Hosts, ports and their spellings, as SIP003 and the PT specification write them.

::

    SS_REMOTE_HOST = host *( "|" host )       (shadowsocks-libev joins several)
    host           = IPv4 / IPv6 / "[" IPv6 "]" / name
    port           = 1*5DIGIT, 1 to 65535
    endpoint       = IPv4 ":" port / "[" IPv6 "]" ":" port      (what a PT prints)

Nothing is resolved here. A name that looks like a number (``127.1``, ``0x7f.1``) is
refused: the system's resolver would read it as an address that nobody meant.
"""

from __future__ import annotations

from pt_bridge.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    IP = IPv4Address | IPv6Address

MAX_PORT = 65_535
MAX_PORT_DIGITS = 5
MAX_NAME, MAX_LABEL = 253, 63  # RFC 1035 2.3.4
LABEL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
DIGITS = frozenset("0123456789")
IPV4_CHARACTERS = DIGITS | {"."}
IPV4_BYTES = frozenset(map(str, range(256)))
# RFC 5737, RFC 3849, and 0.0.0.0/8 (RFC 1122 3.2.1.3): nobody is there.
NOWHERE = ("192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:", "0.")


class Address:
    """A host and a TCP port.

    Attributes:
        host: an IP address in its shortest form, without brackets, or a name as the
            DNS has it (lower case, A-labels).
        port: 0 to 65535.
    """

    __slots__ = ("_ip", "host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._ip: IP | None

    @property
    def ip(self) -> IP | None:
        """The IP address, or None for a name."""
        try:
            return self._ip
        except AttributeError:  # the first to ask
            self._ip = _literal(self.host)
            return self._ip

    def __str__(self) -> str:
        """Write ``1.2.3.4:80``, ``[::1]:80`` or ``name:80``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Address({self.host!r}, {self.port})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Address):
            return NotImplemented
        return (self.host, self.port) == (other.host, other.port)

    def __hash__(self) -> int:
        return hash((self.host, self.port))


def _is_ipv4(host: str) -> bool:
    """Return whether a host is an IPv4 address, as the `ipaddress` module would."""
    parts = host.split(".")
    return len(parts) == 4 and IPV4_BYTES.issuperset(parts)


def _literal(host: str) -> IP | None:
    if ":" not in host and not IPV4_CHARACTERS.issuperset(host):
        return None
    # Slow to import, and shadowsocks may be waiting for its port on an IPv4 address.
    from ipaddress import ip_address

    try:
        return ip_address(host)
    except ValueError:
        return None


def parse_port(text: str) -> int:
    """Read a port, 1 to 65535, in plain decimal digits.

    Raises:
        ProtocolError: anything else, signs, blanks and other scripts' digits included.
    """
    if not 1 <= len(text) <= MAX_PORT_DIGITS or not DIGITS.issuperset(text):
        raise ProtocolError("it must be a port from 1 to 65535")
    port = int(text)
    if not 1 <= port <= MAX_PORT:
        raise ProtocolError("it must be a port from 1 to 65535")
    return port


def parse_host(text: str) -> str:
    """Read one host: an IP address, bracketed or not, or a name.

    Returns:
        The host as `Address.host` holds it.

    Raises:
        ProtocolError: the text is none of these; it says what is wrong with it.
    """
    bracketed = text.startswith("[") and text.endswith("]")
    bare = text[1:-1] if bracketed else text
    if _is_ipv4(text):
        return text
    if "%" in bare:
        raise ProtocolError(
            "an IPv6 zone ('%...') cannot be passed on to a PT: use an address of "
            "global scope"
        )
    ip = _literal(bare)
    if ip is not None and ip.version == 6:
        return str(ip)
    _check_is_bare(text)
    if bracketed or ":" in bare:
        raise ProtocolError("it must be a valid IPv6 address where it has ':' or '['")
    return _parse_name(bare)


def _check_is_bare(text: str) -> None:
    """Check that a host has nothing of a URL, and no port, with it.

    Raises:
        ProtocolError: it has; it says what to leave out.
    """
    scheme, separator, _ = text.partition("://")
    if separator:
        name = f"'{scheme}://'" if scheme.isalnum() else "the scheme"
        raise ProtocolError(f"it must be a host alone: leave out {name} before it")
    if "/" in text:
        raise ProtocolError("it must be a host alone: leave out the '/' behind it")
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if colon and port.isdigit() and host and (":" not in host or is_bracketed):
        raise ProtocolError(
            "it must be a host alone: leave out the ':' and the port behind it"
        )


def parse_hosts(text: str) -> list[str]:
    """Read one host, or several joined with ``|``; at least one, in order.

    Raises:
        ProtocolError: one of them is not a host.
    """
    return [parse_host(host) for host in text.split("|")]


def _parse_name(text: str) -> str:
    if text.isascii():
        name = text.lower()
    else:
        try:
            name = text.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise ProtocolError("it must be a valid host name") from None
    labels = name.removesuffix(".").split(".")
    if len(name) > MAX_NAME or not all(
        1 <= len(label) <= MAX_LABEL and LABEL_CHARACTERS.issuperset(label)
        for label in labels
    ):
        raise ProtocolError("it must be a valid host name or IP address")
    if DIGITS.issuperset(labels[-1]) or labels[-1].startswith("0x"):
        raise ProtocolError("it must be an IPv4 address of four numbers, or a name")
    return name


def parse_host_port(text: str) -> Address:
    """Read ``host:port``, an IPv6 address in brackets.

    Raises:
        ProtocolError: the text is not of that form.
    """
    if "://" in text:
        raise ProtocolError("it must be HOST:PORT, with no '...://' before it")
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ProtocolError("it must be HOST:PORT, an IPv6 address in brackets")
    if ":" in host and _is_ipv4(host.partition(":")[0]):
        raise ProtocolError("it must be HOST:PORT, with one port")
    if ":" in host and not host.startswith("["):
        raise ProtocolError("an IPv6 address must stand in brackets: [::1]:443")
    return Address(parse_host(host), parse_port(port))


def parse_endpoint(text: str) -> Address:
    """Read the ``IP:port`` that a PT says it listens on (pt-spec 3.3.2).

    Raises:
        ProtocolError: the host is a name, or the text is not of that form.
    """
    address = parse_host_port(text)
    if address.ip is None:
        raise ProtocolError("it must be an IP address and a port")
    return address


def is_loopback(address: Address) -> bool:
    """Return whether only this machine can reach the address."""
    return address.ip is not None and address.ip.is_loopback


def is_wildcard(host: str) -> bool:
    """Return whether the host stands for every address of this machine."""
    ip = _literal(host)
    return ip is not None and ip.is_unspecified


def overlap(one: Address, other: Address) -> bool:
    """Whether only one of two programs can listen on these."""
    if one.port != other.port or (":" in one.host) != (":" in other.host):
        return False
    return one.host == other.host or is_wildcard(one.host) or is_wildcard(other.host)


def hosts_to_bind(hosts: list[str]) -> list[str]:
    """Leave out the hosts that others include: a port is listened on once."""
    return [
        host
        for host in dict.fromkeys(hosts)
        if is_wildcard(host) or ("::" if ":" in host else "0.0.0.0") not in hosts
    ]


def connectable(address: Address) -> Address:
    """Return an address to connect to: a wildcard is one to listen on."""
    if not is_wildcard(address.host):
        return address
    return Address("::1" if ":" in address.host else "127.0.0.1", address.port)


def is_nowhere(host: str) -> bool:
    """Return whether an IP address only fills a place, as in bridge lines of snowflake.

    Args:
        host: as `Address.host` holds it.
    """
    return host.startswith(NOWHERE) and (":" in host or _is_ipv4(host))
