"""The user's own proxy on the way to the server: upstream-proxy=."""

from __future__ import annotations

from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.protocol.address import Address, parse_host_port
from pt_bridge.protocol.pt_args import is_printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pt_bridge.options.option_values import Given

# What PTs take in TOR_PT_PROXY (pt-spec 3.2.2).
PROXY_SCHEMES = ("socks5", "socks4a", "http")
# curl's word for a proxy that resolves names itself, as PTs let theirs do anyway.
PROXY_ALIASES = {"socks5h": "socks5"}
# What Go's PTs take of a URL's user name and password; the rest they want escaped.
USERINFO_CHARACTERS = "%-._~!$&'()*+,;=:"


class Proxy:
    """The user's own proxy on the way to the server.

    Attributes:
        scheme: one of `PROXY_SCHEMES`.
        address: where it is.
        userinfo: ``user:password`` as it stood in the URL, or "".
    """

    __slots__ = ("address", "scheme", "userinfo")

    def __init__(self, scheme: str, address: Address, userinfo: str) -> None:
        self.scheme = scheme
        self.address = address
        self.userinfo = userinfo

    @property
    def credentials(self) -> list[str]:
        """The user name and the password, as they stood there, escaped and decoded."""
        from urllib.parse import unquote  # slow to import, and few need it

        raw = self.userinfo.split(":", 1)
        return [*raw, *map(_escaped, raw), *map(unquote, raw)]

    def url(self, ip: str) -> str:
        """Write the URL with an IP address for its host (TOR_PT_PROXY)."""
        userinfo = f"{_escaped(self.userinfo)}@" if self.userinfo else ""
        return f"{self.scheme}://{userinfo}{Address(ip, self.address.port)}"


def _escaped(userinfo: str) -> str:
    """Write a user name or a password, or both, as every PT takes it in a URL."""
    from urllib.parse import quote

    return quote(userinfo, safe=USERINFO_CHARACTERS)


def proxy(given: Given) -> Proxy | None:
    """Return the user's proxy, or None without one (pt-spec 3.2.2).

    Raises:
        OptionsError: it is not a URL that PTs take; the URL is not shown.
    """
    url = given.values.get("upstream-proxy")
    if url is None:
        return None
    scheme, separator, rest = url.partition("://")
    scheme = PROXY_ALIASES.get(scheme.lower(), scheme.lower())
    userinfo, at, host_port = rest.rpartition("@")
    if scheme == "socks4":
        raise OptionsError(
            "upstream-proxy=socks4:// is a kind of proxy that PTs do not speak: if "
            "yours takes names, too, write socks4a://"
        )
    if not separator or scheme not in PROXY_SCHEMES:
        raise OptionsError(
            f"upstream-proxy= must begin with one of: "
            f"{', '.join(f'{known}://' for known in PROXY_SCHEMES)}"
        )
    user, colon, password = userinfo.partition(":")
    if at and not (user and colon and password and is_printable(userinfo)):
        raise OptionsError("upstream-proxy= needs user:password@ whole, or not at all")
    try:
        address = parse_host_port(host_port.removesuffix("/"))
    except ProtocolError as error:
        raise OptionsError(
            f"upstream-proxy= holds a bad host or port: {error}"
        ) from None
    return Proxy(scheme, address, userinfo)
