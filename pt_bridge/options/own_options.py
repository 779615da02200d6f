"""pt-bridge's own options: their one definition.

The parser of the plugin options, `Config`, the flags of the standalone commands and
``pt-bridge help options`` are all made from `OPTIONS`.
"""

from __future__ import annotations

from pt_bridge.errors import OptionsError
from pt_bridge.options import (
    operator_options,
    option_values,
    tor_options,
    upstream_proxy,
)
from pt_bridge.options.option_values import BETWEEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.options.option_values import Given, Values
    from pt_bridge.options.plugin_options import Option

CLIENT, SERVER = "client", "server"

# `arg-NAME=VALUE` sends NAME to the PT, whatever NAME means to us.
ARGUMENT_PREFIX = "arg-"

# What an older version knew, and what to write now.
GONE = {
    "hold": "'hold' is gone: leave it out, for the two pt-bridges now tell each other "
    "where a connection ends (a client's session=, a server's session=only and front=)"
}


class OwnOption:
    """One of pt-bridge's own options.

    Attributes:
        name: its key; `Config` has its value under the same name, with ``_`` for ``-``.
        side: ``client`` or ``server`` where only that side knows it, else "".
        value: what its value is called, or "" for a flag.
        meaning: one line that explains it.
        read: reads its value, or what holds where it was not given.
        is_repeatable: whether it may be given several times.
        is_flag_only: whether it is refused in plugin options, which links can carry.
    """

    __slots__ = (
        "is_flag_only",
        "is_repeatable",
        "meaning",
        "name",
        "read",
        "side",
        "value",
    )

    def __init__(
        self,
        name: str,
        side: str,
        value: str,
        meaning: str,
        read: Callable[[Given], object],
        *,
        is_repeatable: bool = False,
        is_flag_only: bool = False,
    ) -> None:
        self.name = name
        self.side = side
        self.value = value
        self.meaning = meaning
        self.read = read
        self.is_repeatable = is_repeatable
        self.is_flag_only = is_flag_only

    @property
    def attribute(self) -> str:
        """The attribute of `Config` that holds its value."""
        return self.name.replace("-", "_")

    @property
    def limits(self) -> str:
        """Where it may stand, in words behind its meaning, or ""."""
        limits = [f"{self.side} only"] if self.side else []
        if self.is_flag_only:
            limits.append("as a flag only")
        if self.is_repeatable:
            limits.append("may be repeated")
        return f" ({', '.join(limits)})" if limits else ""

    def add(self, values: dict[str, str | None], option: Option) -> None:
        """Add one segment of the plugin options to those that were read before.

        Raises:
            OptionsError: it stands there twice, or has no value where it needs one, or
                the other way round, or may only be a flag.
        """
        key, where = self.name, f"at column {option.column}"
        if self.is_flag_only:
            raise option_values.flag_only(key, self.side)
        if key in values and not self.is_repeatable:
            raise OptionsError(f"'{key}' is given twice, again {where}: leave one out")
        if self.value and not option.value:
            raise OptionsError(f"'{key}' {where} needs a value: {key}={self.value}")
        if not self.value and option.value is not None:
            raise OptionsError(f"'{key}' {where} takes no value: write it without '='")
        before = values.get(key)
        if before is None:
            values[key] = option.value
        else:
            values[key] = f"{before}{BETWEEN}{option.value}"

    def words(self, value: str | None) -> list[str]:
        """Write its value as flags of a command line."""
        if value is None:
            return [f"--{self.name}"]
        values = value.split(BETWEEN) if self.is_repeatable else [value]
        return [f"--{self.name}={each}" for each in values]


def _bridges(given: Given) -> str | None:
    """Return the name of the owner's file of bridge lines, or None."""
    return given.values.get("bridges")


def _carries_udp(given: Given) -> bool:
    """Whether UDP is carried, too."""
    return "udp" in given.values


OPTIONS = {
    option.name: option
    for option in (
        OwnOption(
            "server",
            "",
            "",
            "be the server side; without it, the client side",
            option_values.server,
        ),
        OwnOption(
            "transport",
            "",
            "NAME",
            "the transport: obfs4, webtunnel, ...",
            option_values.transport,
        ),
        OwnOption(
            "bridge",
            CLIENT,
            "LINE",
            "a bridge line, instead of transport= and the transport's arguments",
            option_values.bridge,
            is_repeatable=True,
        ),
        OwnOption(
            "bridges",
            CLIENT,
            "NAME",
            "several: the lines in pt-bridge.d/NAME.bridges beside pt-bridge.conf",
            _bridges,
        ),
        OwnOption(
            "exec",
            "",
            "NAME",
            "a known PT program, or one of pt-bridge.conf (as a flag: any path)",
            option_values.program,
        ),
        OwnOption(
            "state",
            "",
            "DIR",
            "the PT's folder below the state directory (as a flag: any)",
            option_values.state,
        ),
        OwnOption(
            "upstream-proxy",
            CLIENT,
            "URL",
            "your own proxy: socks5|socks4a|http://[user:pass@]host:port",
            upstream_proxy.proxy,
        ),
        OwnOption(
            "via",
            "",
            "PLUGIN",
            "another SIP003 plugin around the PT: obfs-local, v2ray-plugin, ...",
            option_values.via,
        ),
        OwnOption(
            "via-opts",
            "",
            "TEXT",
            "that plugin's own options, a \\ before each of \\ = ; in them",
            option_values.via_opts,
        ),
        OwnOption(
            "session",
            "",
            "auto|1|0|only",
            "session with the other pt-bridge (client: auto, 1, 0; server: only)",
            option_values.session,
        ),
        OwnOption(
            "preconnect",
            CLIENT,
            "auto|N|0",
            "connections made ready while others begin: as many as seem needed, or N",
            option_values.preconnect,
        ),
        OwnOption(
            "udp",
            "",
            "",
            "carry UDP as well as TCP, on both sides (SIP003u); needs the session",
            _carries_udp,
        ),
        OwnOption(
            "front",
            SERVER,
            "yes",
            "listen in front of the PT, so that the port stays open while it restarts",
            option_values.front,
        ),
        OwnOption(
            "linger",
            "",
            "SECONDS",
            "how long a half-closed tunnel may be silent (session: no limit; else 60)",
            option_values.linger,
        ),
        OwnOption(
            "idle",
            "",
            "SECONDS",
            "how long any tunnel may stay silent (no limit)",
            option_values.idle,
        ),
        OwnOption(
            "restarts",
            "",
            "N",
            "how often a PT that dies is started again (5); 0: pt-bridge ends with it",
            option_values.restarts,
        ),
        OwnOption(
            "start-timeout",
            "",
            "SECONDS",
            "how long the PT may take to start (30)",
            option_values.start_timeout,
        ),
        OwnOption(
            "loglevel",
            "",
            "LEVEL",
            "error, warning or info (as a flag: debug, too)",
            option_values.loglevel,
        ),
        OwnOption(
            "logfile",
            "",
            "FILE",
            "log there, too, below the state directory (as a flag: any)",
            option_values.logfile,
        ),
        OwnOption(
            "unsafe-logging",
            "",
            "",
            "leave addresses in the logs (only as a flag)",
            option_values.unsafe_logging,
        ),
        OwnOption(
            "metrics",
            "",
            "HOST:PORT|unix:PATH",
            "numbers for Prometheus, on loopback (or public:HOST:PORT)",
            operator_options.metrics,
            is_flag_only=True,
        ),
        OwnOption(
            "geoip",
            SERVER,
            "FILE",
            "count clients by country: tor's file, its geoip6 beside it",
            operator_options.geoip,
            is_flag_only=True,
        ),
        OwnOption(
            "send-proxy-v2",
            SERVER,
            "",
            "tell the service each client's address (HAProxy's protocol)",
            operator_options.send_proxy_v2,
            is_flag_only=True,
        ),
        OwnOption(
            "accept-proxy",
            SERVER,
            "",
            "be behind a balancer, which tells each client's address; has a front",
            operator_options.accept_proxy,
            is_flag_only=True,
        ),
        OwnOption(
            "deny",
            SERVER,
            "FILE",
            "keep out these networks, one a line; read again at SIGHUP",
            operator_options.deny,
            is_flag_only=True,
        ),
        OwnOption(
            "allow",
            SERVER,
            "FILE",
            "let in these networks only, likewise",
            operator_options.allow,
            is_flag_only=True,
        ),
        OwnOption(
            "max-per-source",
            SERVER,
            "N",
            "let in so many connections of one address at most (IPv6: of a /64)",
            operator_options.max_per_source,
            is_flag_only=True,
        ),
        OwnOption(
            "socks",
            CLIENT,
            "HOST:PORT",
            "be a PT for tor and Arti there, on loopback (or public:HOST:PORT)",
            tor_options.socks,
            is_flag_only=True,
        ),
        OwnOption(
            "ext-orport",
            SERVER,
            "HOST:PORT",
            "behind the server is a tor bridge: its Extended ORPort",
            tor_options.ext_orport,
            is_flag_only=True,
        ),
        OwnOption(
            "ext-orport-cookie",
            SERVER,
            "FILE",
            "the file with that port's cookie, in tor's DataDirectory",
            tor_options.ext_orport_cookie,
            is_flag_only=True,
        ),
        OwnOption(
            "tor-control",
            SERVER,
            "HOST:PORT|PATH",
            "find both, and the fingerprint, over tor's control port",
            tor_options.tor_control,
            is_flag_only=True,
        ),
    )
}


def check_side(values: Values, role: str) -> None:
    """Check that every option has a meaning for the role.

    Raises:
        OptionsError: one has none; it says so.
    """
    for key in values:
        side = OPTIONS[key].side
        if side not in ("", role):
            raise OptionsError(f"'{key}' has a meaning on the {side} side only")
