"""Another SIP003 plugin between the PT and the Internet: `via=`, `via-opts=`.

It carries the PT's connections.
"""

from __future__ import annotations

from types import MappingProxyType

from pt_bridge.errors import OptionsError
from pt_bridge.options.own_options import CLIENT, SERVER
from pt_bridge.options.plugin_options import parse, serialize
from pt_bridge.options.transports import PROGRAMS, TRANSPORTS, goes_by_url
from pt_bridge.text.spelling import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pt_bridge.options.option_values import Values

# Ourselves: one PT over another.
PT_BRIDGE = "pt-bridge"


class KnownPlugin:
    """What we know of another plugin.

    Attributes:
        programs: the executables that are it, the preferred one first.
        side: ``client`` or ``server`` where it is for that side only, else "".
        other: the plugin for the other side, where that is another one.
        server_flag: the option that makes it the server side, or "".
        needs: the option without which it does not start, and all that it may be; None
            for none.
        package: how Debian calls it, or "" where Debian has none.
        for_clients: of a server's options, what its clients need as well; None where we
            do not know how a client's options follow from a server's.
    """

    __slots__ = (
        "for_clients",
        "needs",
        "other",
        "package",
        "programs",
        "server_flag",
        "side",
    )

    def __init__(
        self,
        *programs: str,
        side: str = "",
        other: str = "",
        server_flag: str = "",
        needs: tuple[str, Sequence[str]] | None = None,
        package: str = "",
        for_clients: frozenset[str] | None = None,
    ) -> None:
        self.programs: Sequence[str] = programs
        self.side = side
        self.other = other
        self.server_flag = server_flag
        self.needs = needs
        self.package = package
        self.for_clients = for_clients


_V2RAY, _SS_V2RAY = "v2ray-plugin", "ss-v2ray-plugin"  # Debian has the second name
_V2RAY_PACKAGE = "shadowsocks-v2ray-plugin"
_V2RAY_FOR_CLIENTS = frozenset({"mode", "tls", "host", "path"})

_OBFS = ("obfs", ("http", "tls"))

KNOWN: Mapping[str, KnownPlugin] = MappingProxyType(
    {
        "obfs-local": KnownPlugin(
            "obfs-local",
            side=CLIENT,
            other="obfs-server",
            needs=_OBFS,
            package="simple-obfs",
        ),
        "obfs-server": KnownPlugin(
            "obfs-server",
            side=SERVER,
            other="obfs-local",
            needs=_OBFS,
            package="simple-obfs",
            for_clients=frozenset({"obfs"}),
        ),
        _V2RAY: KnownPlugin(
            _V2RAY,
            _SS_V2RAY,
            server_flag="server",
            package=_V2RAY_PACKAGE,
            for_clients=_V2RAY_FOR_CLIENTS,
        ),
        _SS_V2RAY: KnownPlugin(
            _SS_V2RAY,
            _V2RAY,
            server_flag="server",
            package=_V2RAY_PACKAGE,
            for_clients=_V2RAY_FOR_CLIENTS,
        ),
        "xray-plugin": KnownPlugin("xray-plugin", server_flag="server"),
        "ck-client": KnownPlugin("ck-client", side=CLIENT, other="ck-server"),
        "ck-server": KnownPlugin("ck-server", side=SERVER, other="ck-client"),
        "simple-tls": KnownPlugin("simple-tls", server_flag="s"),
        PT_BRIDGE: KnownPlugin(PT_BRIDGE, server_flag="server"),
    }
)
# What people call them, too.
_CALLED = {"simple-obfs": "obfs-local on a client, obfs-server on a server"}


# Values that are no secrets.
KNOWN_WORDS = frozenset({*KNOWN, *TRANSPORTS, *PROGRAMS, "websocket"})
OF_TOR = frozenset({"socks", "ext-orport", "ext-orport-cookie", "tor-control"})
# What only works where each client's address is known.
HIDDEN = frozenset({"allow", "deny", "max-per-source", "send-proxy-v2"})


def check_place(values: Values, transport: str, *, number_of_servers: int) -> None:
    """Check that a plugin can stand where `via=` puts it.

    Args:
        values: all of our own options.
        transport: what it is to carry.
        number_of_servers: how many a client may go to.

    Raises:
        OptionsError: it cannot; it says why.
    """
    if goes_by_url(transport):
        raise OptionsError(
            f"via= cannot carry {transport}, which goes where its url= says, and not "
            f"through a plugin: leave via= out"
        )
    if not OF_TOR.isdisjoint(values):
        raise OptionsError(
            "via= is for shadowsocks, and not for tor: leave it out, or --socks, "
            "--ext-orport and --tor-control"
        )
    if not HIDDEN.isdisjoint(values):
        names = ", ".join(f"--{name}" for name in sorted(HIDDEN.intersection(values)))
        raise OptionsError(
            f"via= hides where clients come from, so that {names} cannot be kept: "
            f"leave out one or the other"
        )
    if "upstream-proxy" in values:
        raise OptionsError(
            "via= and upstream-proxy= exclude each other: the plugin would go around "
            "the proxy"
        )
    if number_of_servers > 1:
        raise OptionsError(
            f"via= leads to one server, and here are {number_of_servers} (shadowsocks "
            f"calls it 'server'): give one"
        )


def hint(name: str) -> str:
    """Return what somebody may have meant by a name, before another sentence, or ""."""
    if name in _CALLED:
        return f"{name} is {_CALLED[name]}; "
    meant = did_you_mean(name, KNOWN)
    return f"no such plugin{meant} " if meant else ""


def with_hint(warnings: Sequence[str], name: str) -> list[str]:
    """Return what was warned of, and how an option comes to the plugin.

    Args:
        warnings: what was warned of, so far.
        name: what `via=` names.
    """
    way = f" (if it is for {name}, write \\; before it in via-opts=, and \\= in it)"
    return [each + way if " takes no '" in each else each for each in warnings]


def check(name: str, options: str, *, server: bool, has_arguments: bool) -> None:
    """Check that a plugin that we know is started for our own side.

    Args:
        name: what `via=` names.
        options: its plugin options, of `via-opts=`.
        server: whether we are the server side.
        has_arguments: whether the owner's line gives it arguments, which may say what
            the options do not.

    Raises:
        OptionsError: it is for the other side, or its options are, or they lack what it
            does not start without.
    """
    known = KNOWN.get(name)
    if known is None:
        return
    here, there = (SERVER, CLIENT) if server else (CLIENT, SERVER)
    if known.side == there:
        raise OptionsError(
            f"via={name} is for the {there} side, and this is the {here} side: write "
            f"via={known.other}"
        )
    try:
        given = {option.key: option.value for option in parse(_encode(options))}
    except OptionsError as error:
        raise OptionsError(f"via-opts= is wrong: {error}") from None
    if server and given.get("mode") == "quic":
        raise OptionsError(
            f"via-opts= has mode=quic, with which {name} listens on UDP, where "
            f"pt-bridge cannot see it: leave it out, on the clients, too"
        )
    _check_role(name, known.server_flag, given, server=server, may_lack=has_arguments)
    if known.needs is None:
        return
    key, choices = known.needs
    if not (key in given or has_arguments) or given.get(key, choices[0]) not in choices:
        some = " or ".join(f"{key}\\={choice}" for choice in choices)
        raise OptionsError(f"via={name} needs one of these: via-opts={some}")


def _check_role(
    name: str,
    flag: str,
    given: Mapping[str, str | None],
    *,
    server: bool,
    may_lack: bool,
) -> None:
    """Check that what makes a plugin the server side is there on that side alone."""
    if not flag or (flag in given) is server:
        return
    if not server:
        raise OptionsError(
            f"via-opts= has '{flag}', which makes {name} the server side, and this is "
            f"the client side: leave it out"
        )
    if not may_lack:
        raise OptionsError(
            f"via-opts= must have '{flag}', or {name} would be the client side, and "
            f"this is the server side: via-opts={flag}, and other options behind '\\;'"
        )


def says_ready(name: str, options: str) -> bool:
    """Return whether a plugin says when it is ready, as a pt-bridge does in its log.

    Args:
        name: what `via=` names.
        options: its plugin options, of `via-opts=`, which `check` has found right.
    """
    if name != PT_BRIDGE:
        return False
    given = {option.key: option.value for option in parse(_encode(options))}
    return given.get("loglevel") not in ("warning", "error")


def for_clients(name: str, options: str) -> tuple[str, str] | None:
    """Return the plugin, and its options, with which clients reach a server's plugin.

    Args:
        name: what the server's `via=` names.
        options: the server's `via-opts=`.

    Returns:
        The values of the clients' `via=` and `via-opts=`; None where they cannot be
        told from the server's.
    """
    known = KNOWN.get(name)
    if known is None or known.for_clients is None:
        return None
    kept = [
        (option.key, option.value)
        for option in parse(_encode(options))
        if option.key in known.for_clients
    ]
    return known.other or name, serialize(kept)


def values(options: str) -> list[str]:
    """Return the values among a plugin's options, which may be secrets.

    Words that everybody knows are none: a log without them could not be read. The
    options of a pt-bridge may have those of another plugin in them.
    """
    try:
        found = [option.value for option in parse(_encode(options)) if option.value]
    except OptionsError:  # whatever it is, it is not to be seen
        return [options]
    inner = [each for value in found if ";" in value for each in values(value)]
    return [each for each in found if each not in KNOWN_WORDS] + inner


def _encode(options: str) -> bytes:
    return options.encode("utf-8", "surrogateescape")
