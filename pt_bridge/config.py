"""What SS_*, the plugin options and the command line ask for: text in, `Config` out."""

from __future__ import annotations

from pt_bridge import arguments, own_options
from pt_bridge.errors import OptionsError, ProtocolError, UsageError
from pt_bridge.own_options import CLIENT, OPTIONS, SERVER
from pt_bridge.protocol.address import (
    Address,
    is_nowhere,
    is_wildcard,
    parse_host,
    parse_host_port,
    parse_hosts,
    parse_port,
)
from pt_bridge.protocol.args import encode_client
from pt_bridge.protocol.options import parse
from pt_bridge.transports import BY_ADDR, PROGRAMS, TRANSPORTS, side_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import TypeVar

    from pt_bridge.own_options import Values
    from pt_bridge.protocol.bridge_line import BridgeLine
    from pt_bridge.protocol.options import Option
    from pt_bridge.transports import Side

    T = TypeVar("T")

# Where SIP003 puts the addresses, and the options.
REMOTE_HOST, REMOTE_PORT = b"SS_REMOTE_HOST", b"SS_REMOTE_PORT"
LOCAL_HOST, LOCAL_PORT = b"SS_LOCAL_HOST", b"SS_LOCAL_PORT"
PLUGIN_OPTIONS = b"SS_PLUGIN_OPTIONS"
ADDRESS_VARIABLES = (REMOTE_HOST, REMOTE_PORT, LOCAL_HOST, LOCAL_PORT)

# Android adds this to every plugin's options.
HOST_OPTIONS = frozenset({"__android_vpn"})
# The names that a PT held at both ends is asked for have so many characters.
HELD_NAME_LENGTH = 40


def _nothing(option: str) -> bool:
    return False


class Config:
    """What the user asks for, all of it checked.

    Attributes:
        plugin: started by a shadowsocks host, not by hand.
        server: the role.
        remote_hosts: SS_REMOTE_HOST; for a server whose PT listens there, exactly one.
        remote_port: SS_REMOTE_PORT.
        local: SS_LOCAL_HOST and SS_LOCAL_PORT.
        transport: the PT method.
        arguments: the PT's arguments, in order, duplicates kept.
        encoded_arguments: the same for SOCKS, at most 510 bytes; b"" for a server.
        programs: names of executables to look for, or the one path of the flag --exec;
            () where only the owner's files can name one (`pt_bridge.owner`).
        exec: what ``exec=`` in the plugin options names, or None.
        is_program_chosen: the flag --exec was given, and says it all.
        state: the PT's folder, relative to the state directory or absolute, or None.
        hold: which ends of the PT are held: ``both``, ``plain`` or ``none``.
        held: where both are, how a tunnel is told from the others, one of the
            catalogue's ``BY_``; else "".
        upstream_proxy: the user's proxy, or None.
        linger: seconds that a half-closed tunnel may stay silent, or None for what is
            usual.
        idle: seconds that any tunnel may stay silent, or None for no limit.
        restarts: how many deaths of the PT are forgiven.
        start_timeout: seconds that the PT may take to be ready.
        loglevel: one of `own_options.LOG_LEVELS`.
        logfile: a path like `state`, or None.
        unsafe_logging: whether addresses stay in the logs.
        warnings: sentences to log once there is a log.
    """

    __slots__ = (
        "arguments",
        "encoded_arguments",
        "exec",
        "held",
        "hold",
        "idle",
        "is_program_chosen",
        "linger",
        "local",
        "logfile",
        "loglevel",
        "plugin",
        "programs",
        "remote_hosts",
        "remote_port",
        "restarts",
        "server",
        "start_timeout",
        "state",
        "transport",
        "unsafe_logging",
        "upstream_proxy",
        "warnings",
    )

    def __init__(
        self,
        variables: Mapping[bytes, bytes],
        *,
        plugin: bool = True,
        flags: Values | None = None,
        may: Callable[[str], bool] = _nothing,
    ) -> None:
        """Read everything (SIP003).

        Args:
            variables: SS_* as the host gives them, others among them.
            plugin: whether a shadowsocks host started us.
            flags: our own options from the command line; the owner's word comes before
                the same options in SS_PLUGIN_OPTIONS.
            may: tells whether the owner lets plugin options set an option as they like;
                asked only where they do.

        Raises:
            OwnerFileError: `may` cannot tell.
            UsageError: an SS_* variable is wrong; it names the variable.
            OptionsError: the plugin options are wrong; it names the key.
        """
        self.plugin = plugin
        texts = _required(variables)
        own, self.arguments = sort(parse(variables.get(PLUGIN_OPTIONS, b"")))
        flags = flags or {}
        own.update(flags)
        self.server = "server" in own
        own_options.check_side(own, SERVER if self.server else CLIENT)
        self._read_addresses(texts)
        self.warnings: list[str] = []
        self._read_bridge(own)
        self._read_transport(own, owners_word=flags)
        self._read_hold(own)
        self._read_settings(own, lambda key: key in flags or may(key))

    def _read_addresses(self, texts: Mapping[bytes, str]) -> None:
        self.remote_hosts = _checked(REMOTE_HOST, parse_hosts, texts)
        self.remote_port = _checked(REMOTE_PORT, parse_port, texts)
        self.local = Address(
            _checked(LOCAL_HOST, parse_host, texts),
            _checked(LOCAL_PORT, parse_port, texts),
        )

    def _read_bridge(self, own: dict[str, str | None]) -> None:
        """Put what a bridge line says in the place of transport= and the arguments."""
        line = bridge_of(own, self.arguments)
        if line is None:
            return
        own["transport"], self.arguments = line.transport, line.arguments
        if line.fingerprint is not None:
            self.warnings.append(own_options.TOR_BRIDGE)
        if not is_nowhere(line.address.host):
            self._compare(line.address)

    def _compare(self, address: Address) -> None:
        """See that a bridge line promises no other server than the one dialled."""
        if address in self.remotes:
            return
        # Only the resolver could tell whether a name and an IP address are the same.
        may_be = address.port == self.remote_port and any(
            (address.ip is None) != (remote.ip is None) for remote in self.remotes
        )
        if not may_be:
            raise OptionsError(
                "bridge= names another server than SS_REMOTE_HOST and SS_REMOTE_PORT, "
                "and the PT would be sent to the latter: set shadowsocks's server and "
                "server_port (by hand: --remote) to the address in the bridge line"
            )
        self.warnings.append(
            "the PT is sent to SS_REMOTE_HOST, and not to the address in bridge=: one "
            "is a name and one an IP address, so see that both are the same server"
        )

    def _read_transport(self, own: Values, owners_word: Collection[str]) -> None:
        self.transport = own_options.transport(own)
        side = side_of(self.transport, server=self.server)
        self.is_program_chosen = "exec" in owners_word
        self.exec = None if self.is_program_chosen else own.get("exec")
        self.programs = _programs(side, own.get("exec"), is_flag=self.is_program_chosen)
        if self.transport not in TRANSPORTS:
            nearest = arguments.did_you_mean(self.transport, TRANSPORTS)
            if nearest:
                self.warnings.append(f"pt-bridge knows no '{self.transport}'{nearest}")
        elif side is not None:
            known = (self.transport, side, self.arguments)
            arguments.check_needs(*known, server=self.server)
            self.warnings += arguments.warnings(*known, server=self.server)
        self.encoded_arguments = b""

    def _read_hold(self, own: Values) -> None:
        side = side_of(self.transport, server=self.server)
        held = side.held if side is not None else ""
        if held == BY_ADDR and arguments.address(self.arguments) is None:
            held = ""
        shapes_packets = dict(reversed(self.arguments)).get("iat-mode", "0") != "0"
        self.hold = own_options.hold(
            own,
            SERVER if self.server else CLIENT,
            can_hold_both=bool(held),
            is_usual=not shapes_packets,
        )
        self.held = held if self.hold == own_options.BOTH else ""
        if self.held and shapes_packets:
            self.warnings.append(
                "hold=both merges the packets that iat-mode shapes: leave hold= out, "
                "or set iat-mode=0"
            )
        if self.server and self.held:
            self.remote_hosts = _bind_hosts(self.remote_hosts)
        elif self.server:
            self.remote_hosts = [_bind_host(self.remote_hosts)]
        if not self.server:
            self._check_arguments_fit()

    def _check_arguments_fit(self) -> None:
        place = Address("x" * HELD_NAME_LENGTH, self.remote_port)
        given = self.arguments
        if self.held == BY_ADDR:
            given = arguments.with_address(given, place)
        try:
            encode_client(given)
            self.encoded_arguments = encode_client(self.arguments)
        except ProtocolError as error:
            raise OptionsError(f"the plugin options: {error}") from None

    def _read_settings(self, own: Values, may: Callable[[str], bool]) -> None:
        own_options.check_times(own, self.hold)
        self.restarts = own_options.restarts(own)
        self.upstream_proxy = own_options.proxy(own, self.hold)
        self.linger = own_options.seconds(own, "linger")
        self.idle = own_options.seconds(own, "idle") or None
        self.start_timeout = (
            own_options.seconds(own, "start-timeout")
            or own_options.DEFAULT_START_TIMEOUT
        )
        if own_options.seconds(own, "start-timeout") == 0.0:
            raise OptionsError("start-timeout= must be more than 0 seconds")
        self.loglevel = (
            own_options.choice(own, "loglevel", own_options.LOG_LEVELS)
            or own_options.DEFAULT_LOG_LEVEL
        )
        if self.loglevel == "debug" and not may("loglevel"):
            raise own_options.owner_only("loglevel", "loglevel=debug")
        self.unsafe_logging = "unsafe-logging" in own
        if self.unsafe_logging and not may("unsafe-logging"):
            raise own_options.owner_only("unsafe-logging", "unsafe-logging")
        self.state = own_options.path(own, "state", may)
        self.logfile = own_options.path(own, "logfile", may)

    @property
    def remotes(self) -> list[Address]:
        """The addresses that SS_REMOTE_HOST and SS_REMOTE_PORT name, in order."""
        return [Address(host, self.remote_port) for host in self.remote_hosts]

    @property
    def servers(self) -> list[Address]:
        """The addresses that a client's connections go to, in order.

        Where both ends of the PT are held, and its arguments name one, it is that.
        """
        named = arguments.address(self.arguments) if self.held == BY_ADDR else None
        return self.remotes if named is None else [named]

    def arguments_for(self, target: Address) -> bytes:
        """Encode the arguments with which a client's PT asks for a target."""
        if self.held != BY_ADDR:
            return self.encoded_arguments
        return encode_client(arguments.with_address(self.arguments, target))


def variables_from_flags(
    *, local: str, remote: str, plugin_options: str
) -> dict[bytes, bytes]:
    """Make the SS_* variables that a host would have made.

    Args:
        local: ``HOST:PORT`` on the side of shadowsocks, or of what stands for it.
        remote: ``HOST[|HOST...]:PORT`` on the side of the Internet.
        plugin_options: as in SS_PLUGIN_OPTIONS.

    Raises:
        UsageError: one of the two is not of that form; it names the flag.
    """
    flag = "--local"
    try:
        near = parse_host_port(local)
        flag = "--remote"
        hosts, _, port = remote.rpartition(":")
        if not hosts or (":" in hosts and "[" not in hosts):
            parse_host_port(remote)  # says what is wrong
        parse_hosts(hosts)
        parse_port(port)
    except ProtocolError as error:
        raise UsageError(f"{flag} is wrong: {error}") from None
    return {
        LOCAL_HOST: near.host.encode(),
        LOCAL_PORT: str(near.port).encode(),
        REMOTE_HOST: hosts.encode("utf-8", "surrogateescape"),
        REMOTE_PORT: port.encode(),
        PLUGIN_OPTIONS: plugin_options.encode("utf-8", "surrogateescape"),
    }


def _required(variables: Mapping[bytes, bytes]) -> dict[bytes, str]:
    texts = {}
    for name in ADDRESS_VARIABLES:
        value = variables.get(name)
        if not value:
            what = "a port from 1 to 65535" if name.endswith(b"PORT") else "a host"
            raise UsageError(
                f"{name.decode()} is not set and must be {what}: pt-bridge is started "
                f"by shadowsocks (--plugin pt-bridge), or by hand as 'pt-bridge "
                f"client' or 'pt-bridge server' (see 'pt-bridge --help')"
            )
        texts[name] = value.decode("utf-8", "surrogateescape")
    return texts


def _checked(name: bytes, read: Callable[[str], T], texts: Mapping[bytes, str]) -> T:
    try:
        return read(texts[name])
    except ProtocolError as error:
        raise UsageError(f"{name.decode()} is wrong: {error}") from None


def _bind_host(hosts: list[str]) -> str:
    """Choose the one host that a PT can listen on."""
    wildcards = {host for host in hosts if is_wildcard(host)}
    if wildcards:
        return "::" if "::" in wildcards else "0.0.0.0"
    if len(set(hosts)) > 1:
        raise UsageError(
            "SS_REMOTE_HOST is wrong: it (shadowsocks calls it 'server') names several "
            "addresses, and a PT listens on one: give one, or 0.0.0.0, or ::"
        )
    return hosts[0]


def _bind_hosts(hosts: list[str]) -> list[str]:
    """Leave out the hosts that others include: a port is listened on once."""
    return [
        host
        for host in dict.fromkeys(hosts)
        if is_wildcard(host) or ("::" if ":" in host else "0.0.0.0") not in hosts
    ]


def sort(
    options: list[Option],
) -> tuple[dict[str, str | None], list[tuple[str, str]]]:
    """Tell our own options from the PT's arguments.

    Raises:
        OptionsError: one of them can be neither.
    """
    own: dict[str, str | None] = {}
    given: list[tuple[str, str]] = []
    for option in options:
        if option.key in HOST_OPTIONS:
            continue
        if option.key in OPTIONS:
            own_options.add(own, option)
        else:
            given.append(arguments.read(option))
    return own, given


def bridge_of(own: Values, given: list[tuple[str, str]]) -> BridgeLine | None:
    """Give the bridge line among the options, or None without one.

    Args:
        own: our own options.
        given: the arguments for the PT, as `sort` gives them.

    Raises:
        OptionsError: it is none, or what it says is said beside it, too.
    """
    line = own_options.bridge(own)
    if line is not None and given:
        keys = " ".join(f"{arguments.shown(key)}=" for key, _ in given)
        raise OptionsError(
            f"bridge= holds the transport's arguments, too: leave out {keys}, or "
            f"bridge= (and write a ';' within the line as '\\;')"
        )
    return line


def _programs(side: Side | None, wanted: str | None, *, is_flag: bool) -> Sequence[str]:
    if wanted is None:
        return side.programs if side is not None else ()
    return (wanted,) if is_flag or wanted in PROGRAMS else ()
