"""pt-bridge's own options: their one definition, and how their values are read.

The parser of the plugin options, the flags of the standalone commands and ``pt-bridge
help options`` are all made from `OPTIONS`.
"""

from __future__ import annotations

from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.protocol.address import Address, parse_host_port
from pt_bridge.protocol.args import is_method_name, is_printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pt_bridge.protocol.bridge_line import BridgeLine
    from pt_bridge.protocol.options import Option

    Values = Mapping[str, str | None]

CLIENT, SERVER = "client", "server"

# `arg-NAME=VALUE` sends NAME to the PT, whatever NAME means to us.
ARGUMENT_PREFIX = "arg-"

DEFAULT_START_TIMEOUT = 30.0
MAX_SECONDS = 86_400
MAX_SECONDS_DIGITS = 9
LOG_LEVELS = ("error", "warning", "info", "debug")
DEFAULT_LOG_LEVEL = "info"
BOTH, PLAIN, NONE = "both", "plain", "none"
HOLDS = (BOTH, PLAIN, NONE)
DEFAULT_RESTARTS = 5
MAX_RESTARTS = 1000
MAX_RESTARTS_DIGITS = 4
TOR_BRIDGE = (
    "the bridge line has a fingerprint, as Tor's bridges have: those lead only to Tor, "
    "and never to a shadowsocks server"
)
# Where the owner of the machine allows what plugin options may not ask for.
OWNERS_FILES = "/etc/pt-bridge.conf or ~/.config/pt-bridge.conf"
# What PTs take in TOR_PT_PROXY (pt-spec 3.2.2), and what we take besides where we dial
# ourselves.
PT_PROXY_SCHEMES = ("socks5", "socks4a", "http")
PROXY_SCHEMES = (*PT_PROXY_SCHEMES, "socks4")


class OwnOption:
    """One of pt-bridge's own options.

    Attributes:
        name: its key.
        side: ``client`` or ``server`` where only that side knows it, else "".
        value: what its value is called, or "" for a flag.
        meaning: one line that explains it.
    """

    __slots__ = ("meaning", "name", "side", "value")

    def __init__(self, name: str, side: str, value: str, meaning: str) -> None:
        self.name = name
        self.side = side
        self.value = value
        self.meaning = meaning


OPTIONS = {
    option.name: option
    for option in (
        OwnOption("server", "", "", "be the server side; without it, the client side"),
        OwnOption("transport", "", "NAME", "the transport: obfs4, webtunnel, ..."),
        OwnOption(
            "bridge",
            CLIENT,
            "LINE",
            "a bridge line, instead of transport= and the transport's arguments",
        ),
        OwnOption(
            "exec",
            "",
            "NAME",
            "a known PT program, or one of pt-bridge.conf (as a flag: any path)",
        ),
        OwnOption(
            "state",
            "",
            "DIR",
            "the PT's folder below the state directory (as a flag: any)",
        ),
        OwnOption(
            "upstream-proxy",
            CLIENT,
            "URL",
            "your own proxy: socks5|socks4a|socks4|http://[user:pass@]host:port",
        ),
        OwnOption(
            "hold",
            "",
            "ENDS",
            "the ends of the PT that pt-bridge holds: both, plain, or none (server)",
        ),
        OwnOption(
            "linger",
            "",
            "SECONDS",
            "how long a half-closed tunnel may be silent (60; 10: hosts elsewhere)",
        ),
        OwnOption(
            "idle", "", "SECONDS", "how long any tunnel may stay silent (no limit)"
        ),
        OwnOption(
            "restarts",
            "",
            "N",
            "how often a PT that dies is started again (5); 0: pt-bridge ends with it",
        ),
        OwnOption(
            "start-timeout", "", "SECONDS", "how long the PT may take to start (30)"
        ),
        OwnOption(
            "loglevel", "", "LEVEL", "error, warning or info (as a flag: debug, too)"
        ),
        OwnOption(
            "logfile",
            "",
            "FILE",
            "log there, too, below the state directory (as a flag: any)",
        ),
        OwnOption(
            "unsafe-logging", "", "", "leave addresses in the logs (only as a flag)"
        ),
    )
}


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
        """The user name and the password, as they stood there and decoded."""
        from urllib.parse import unquote  # slow to import, and few need it

        raw = self.userinfo.split(":", 1)
        return [*raw, *map(unquote, raw)]

    def url(self, ip: str) -> str:
        """Write the URL with an IP address for its host (TOR_PT_PROXY)."""
        userinfo = f"{self.userinfo}@" if self.userinfo else ""
        return f"{self.scheme}://{userinfo}{Address(ip, self.address.port)}"


def add(values: dict[str, str | None], option: Option) -> None:
    """Put one of our own options to the others.

    Raises:
        OptionsError: it stands there twice, or has no value where it needs one, or the
            other way round.
    """
    key, where = option.key, f"at column {option.column}"
    if key in values:
        raise OptionsError(f"'{key}' is given twice, again {where}: leave one out")
    if OPTIONS[key].value and not option.value:
        raise OptionsError(f"'{key}' {where} needs a value: {key}={OPTIONS[key].value}")
    if not OPTIONS[key].value and option.value is not None:
        raise OptionsError(f"'{key}' {where} takes no value: write it without '='")
    values[key] = option.value


def check_side(values: Values, role: str) -> None:
    """See that every option has a meaning for the role.

    Raises:
        OptionsError: one has none; it says so.
    """
    for key in values:
        if OPTIONS[key].side not in ("", role):
            raise OptionsError(f"'{key}' has a meaning on the {CLIENT} side only")


def choice(values: Values, key: str, allowed: Sequence[str]) -> str | None:
    """Give the value of an option that must be one of a few, or None without it."""
    value = values.get(key)
    if value is not None and value not in allowed:
        raise OptionsError(f"{key}= must be one of: {', '.join(allowed)}")
    return value


def hold(values: Values, role: str, *, can_hold_both: bool, is_usual: bool) -> str:
    """Give which ends of the PT are held.

    Args:
        values: the options.
        role: ``client`` or ``server``.
        can_hold_both: whether the transport lets both ends be held.
        is_usual: whether that is what one gets without asking.
    """
    value = choice(values, "hold", HOLDS)
    if value is None:
        return BOTH if can_hold_both and is_usual else PLAIN
    if value == NONE and role == CLIENT:
        raise OptionsError(
            "hold=none is for servers: a client needs pt-bridge on the side of "
            "shadowsocks, so leave it out, or write hold=plain"
        )
    if value == BOTH and not can_hold_both:
        raise OptionsError(
            "hold=both is not possible with this transport: its tunnels are not one "
            "connection each, or cannot be told apart; leave it out, or write "
            "hold=plain"
        )
    return value


def check_times(values: Values, hold: str) -> None:
    """See that the limits of tunnels are given only where we have the tunnels."""
    for key in ("linger", "idle"):
        if key in values and hold == "none":
            raise OptionsError(
                f"'{key}' has no meaning where the PT connects to shadowsocks by "
                f"itself: leave it out, or add hold=plain"
            )


def restarts(values: Values) -> int:
    """Give how many deaths of the PT are forgiven, 0 to 1,000."""
    value = values.get("restarts", str(DEFAULT_RESTARTS)) or ""
    digits = value.isascii() and value.isdigit()
    if not digits or len(value) > MAX_RESTARTS_DIGITS or int(value) > MAX_RESTARTS:
        raise OptionsError(f"restarts= must be a number from 0 to {MAX_RESTARTS}")
    return int(value)


def seconds(values: Values, key: str) -> float | None:
    """Give the value of an option in seconds, 0 to 86,400, or None without it.

    Fractions are allowed.
    """
    value = values.get(key)
    if value is None:
        return None
    whole, point, fraction = value.partition(".")
    if (
        not (value.isascii() and whole.isdigit() and len(value) <= MAX_SECONDS_DIGITS)
        or (point and not fraction.isdigit())
        or float(value) > MAX_SECONDS
    ):
        raise OptionsError(f"{key}= must be seconds, from 0 to {MAX_SECONDS}")
    return float(value)


def path(values: Values, key: str, may: Callable[[str], bool]) -> str | None:
    """Give the value of an option that names a file or folder, or None without it.

    Args:
        values: the options.
        key: which one.
        may: tells whether the owner allows any path. Plugin options travel in links, so
            from them it must otherwise stay below the state directory.
    """
    value = values.get(key)
    if value is None or not (value.startswith("/") or ".." in value.split("/")):
        return value
    if not may(key):
        raise OptionsError(
            f"{key}= in plugin options must stay below the state directory: a relative "
            f"path without '..'; for any other, {_how_to_allow(key)}"
        )
    return value


def owner_only(key: str, asked: str) -> OptionsError:
    """Make the error for what plugin options may not ask for, of themselves."""
    return OptionsError(
        f"{asked} is refused in plugin options, since links can carry them: "
        f"{_how_to_allow(key)}"
    )


def _how_to_allow(key: str) -> str:
    return (
        f"add the line 'AllowPluginOption {key}' to {OWNERS_FILES}, or use the flag "
        f"--{key} of 'pt-bridge client' or 'pt-bridge server'"
    )


def transport(values: Values) -> str:
    """Give the transport's name (pt-spec 3.1)."""
    name = values.get("transport")
    if name is None:
        raise OptionsError(
            "the plugin options do not name the transport: add transport=obfs4, or the "
            "one that the other side uses"
        )
    if not is_method_name(name):
        raise OptionsError(
            "transport= must be a transport's name: letters, digits and '_', the first "
            "no digit"
        )
    return name


def bridge(values: Values) -> BridgeLine | None:
    """Give the bridge line, or None without one.

    Raises:
        OptionsError: it is none, or transport= is there, too.
    """
    text = values.get("bridge")
    if text is None:
        return None
    if "transport" in values:
        raise OptionsError(
            "bridge= names the transport, too: leave out transport=, or bridge="
        )
    # Rarely asked for, and a host may be waiting for the port.
    from pt_bridge.protocol import bridge_line

    try:
        return bridge_line.parse(text)
    except ProtocolError as error:
        raise OptionsError(f"bridge= is wrong: {error}") from None


def proxy(values: Values, hold: str) -> Proxy | None:
    """Give the user's proxy, or None without one (pt-spec 3.2.2).

    Args:
        values: the options.
        hold: which ends of the PT are held: where it dials by itself, it is the PT that
            must know the kind of proxy.

    Raises:
        OptionsError: it is not a URL that PTs take; the URL is not shown.
    """
    url = values.get("upstream-proxy")
    if url is None:
        return None
    scheme, separator, rest = url.partition("://")
    userinfo, at, host_port = rest.rpartition("@")
    if not separator or scheme not in PROXY_SCHEMES:
        raise OptionsError(
            f"upstream-proxy= must begin with one of: "
            f"{', '.join(f'{known}://' for known in PROXY_SCHEMES)}"
        )
    if scheme not in PT_PROXY_SCHEMES and hold != BOTH:
        raise OptionsError(
            f"upstream-proxy={scheme}:// needs hold=both, for PTs cannot speak it: "
            f"begin it with one of: "
            f"{', '.join(f'{known}://' for known in PT_PROXY_SCHEMES)}"
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
