"""What SS_*, the plugin options and the command line ask for: text in, `Config` out."""

from __future__ import annotations

from pt_bridge.errors import OptionsError
from pt_bridge.formats.way import Way
from pt_bridge.options import (
    option_values,
    own_options,
    pt_arguments,
    ss_variables,
    tor_options,
)
from pt_bridge.options.option_values import BETWEEN, ONLY, TOR_BRIDGE, Given
from pt_bridge.options.own_options import CLIENT, OPTIONS, SERVER
from pt_bridge.options.plugin_options import parse, stray_backslash
from pt_bridge.options.ss_variables import PLUGIN_OPTIONS
from pt_bridge.options.transports import PROGRAMS, TRANSPORTS, side_of
from pt_bridge.protocol.address import Address, hosts_to_bind, is_nowhere
from pt_bridge.text.spelling import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pt_bridge.formats.bridge_line import BridgeLine
    from pt_bridge.options.option_values import Values
    from pt_bridge.options.plugin_options import Via
    from pt_bridge.options.upstream_proxy import Proxy


def _nothing(option: str) -> bool:
    return False


def _no_flags(config: Config, transport: str) -> Sequence[str]:
    return ()


def _no_bridges(name: str) -> Sequence[str]:
    raise OptionsError("bridges= is a file of a client's owner: give the lines instead")


class Config:
    """What the user asks for, all of it checked.

    Attributes:
        plugin: started by shadowsocks, not by hand.
        server: the role.
        remote_hosts: SS_REMOTE_HOST; for a server without a front, exactly one.
        remote_port: SS_REMOTE_PORT.
        local: SS_LOCAL_HOST and SS_LOCAL_PORT.
        transport: the PT method; the first way's, where they have several.
        bridge: the bridge lines, in order.
        bridges: the name of the file that they are from, or None.
        arguments: the PT's arguments, in order, duplicates kept; those of the first
            bridge line, where there are several.
        ways: a client's ways to the server, at least one, in order; () for a server.
        exec: what ``exec=`` in the plugin options names, or None.
        is_program_chosen: the flag --exec was given, and says it all.
        state: the PT's folder, relative to the state directory or absolute, or None.
        session: whether a client speaks the session with its server, one of
            `option_values.SESSIONS`; for a server, ``only`` or ``0``.
        preconnect: how many connections a client makes ready, or None for as many as
            seem needed.
        udp: whether UDP is carried, too.
        front: whether a server listens itself, in front of its PT.
        upstream_proxy: the user's proxy, or None.
        via: another plugin between the PT and the Internet, or None.
        via_opts: that plugin's own options, which `via` has, too.
        linger: seconds that a half-closed tunnel may stay silent, or None for what is
            usual.
        idle: seconds that any tunnel may stay silent, or None for no limit.
        restarts: how many deaths of the PT are forgiven.
        start_timeout: seconds that the PT may take to be ready.
        loglevel: one of `option_values.LOG_LEVELS`.
        logfile: a path like `state`, or None.
        unsafe_logging: whether addresses stay in the logs.
        metrics: where the page of numbers is served: an address, the path of a Unix
            socket, or None.
        geoip: tor's file of countries for IPv4, or None.
        send_proxy_v2: whether the service is told each client's address.
        accept_proxy: whether a balancer tells us each client's address.
        deny: a file with the networks that are kept out, or None.
        allow: a file with the only networks that are let in, or None.
        max_per_source: how many connections one source may have, or None.
        socks: where tors call a client as a PT, or None.
        ext_orport: the Extended ORPort of the tor behind a server, or None.
        ext_orport_cookie: the file with its cookie, or "".
        tor_control: that tor's control port, or the path of its socket, or None.
        warnings: sentences to log once there is a log.

    What is one of `own_options.OPTIONS` is set from there.
    """

    plugin: bool
    server: bool
    remote_hosts: list[str]
    remote_port: int
    local: Address
    transport: str
    bridge: list[BridgeLine]
    bridges: str | None
    arguments: list[tuple[str, str]]
    ways: Sequence[Way]
    exec: str | None
    is_program_chosen: bool
    state: str | None
    session: str
    preconnect: int | None
    udp: bool
    front: bool
    upstream_proxy: Proxy | None
    via: Via | None
    via_opts: str
    linger: float | None
    idle: float | None
    restarts: int
    start_timeout: float
    loglevel: str
    logfile: str | None
    unsafe_logging: bool
    metrics: Address | str | None
    geoip: str | None
    send_proxy_v2: bool
    accept_proxy: bool
    deny: str | None
    allow: str | None
    max_per_source: int | None
    socks: Address | None
    ext_orport: Address | None
    ext_orport_cookie: str
    tor_control: Address | str | None
    warnings: list[str]

    def __init__(
        self,
        variables: Mapping[bytes, bytes],
        *,
        plugin: bool = True,
        flags: Values | None = None,
        is_allowed: Callable[[str], bool] = _nothing,
        program_flags: Callable[[Config, str], Sequence[str]] = _no_flags,
        bridges: Callable[[str], Sequence[str]] = _no_bridges,
    ) -> None:
        """Read everything (SIP003).

        Args:
            variables: SS_* as shadowsocks gives them, others among them.
            plugin: whether shadowsocks started us.
            flags: our own options from the command line; the owner's word comes before
                the same options in SS_PLUGIN_OPTIONS.
            is_allowed: tells whether the owner lets plugin options set an option as
                they like; asked only where they do.
            program_flags: returns what the owner's line puts on the command line of a
                transport's program; asked only where an argument is missing.
            bridges: returns the bridge lines of the owner's file of a name.

        Raises:
            OwnerFileError: `is_allowed`, `program_flags` or `bridges` cannot tell.
            UsageError: an SS_* variable is wrong; it names the variable.
            OptionsError: the plugin options are wrong; it names the key.
        """
        self.plugin = plugin
        self.remote_hosts, self.remote_port, self.local = ss_variables.read(variables)
        text = variables.get(PLUGIN_OPTIONS, b"")
        flags = flags or {}
        own, self.arguments = pt_arguments.sort(parse(text), server="server" in flags)
        own.update(flags)
        is_server = "server" in own
        own_options.check_side(own, SERVER if is_server else CLIENT)
        if plugin and not own and not self.arguments:
            raise OptionsError(
                'no plugin options came: in config.json their key is "plugin_opts", '
                "with a '_', and on a command line they stand behind --plugin-opts"
            )
        given = Given(
            own,
            server=is_server,
            is_allowed=lambda key: key in flags or is_allowed(key),
        )
        if (name := option_values.bridges(own)) is not None:
            own["bridge"] = BETWEEN.join(bridges(name))
        for option in OPTIONS.values():
            setattr(self, option.attribute, option.read(given))
        tor_options.check(own, self.arguments)
        self.warnings = []
        column = stray_backslash(text)
        if column is not None:
            self.warnings.append(
                f"the backslash at column {column} of the plugin options is left out: "
                f"write two where one is meant (in JSON four)"
            )
        self._follow_bridge_line()
        self.is_program_chosen = "exec" in flags
        self._make_ways()
        told = [(each.transport, each.arguments) for each in self.ways]
        for transport, arguments in told or [(self.transport, self.arguments)]:
            self._check_arguments(transport, arguments, program_flags)
        if self.server:
            # Of several addresses a PT can listen on one.
            self.remote_hosts = hosts_to_bind(self.remote_hosts)
            # Who stands behind a balancer listens himself, too.
            must_listen = len(self.remote_hosts) > 1 or self.accept_proxy
            self.front = self.front or must_listen
        if self.via is not None:
            from pt_bridge.options import outer_plugins  # for what few ask for

            self.via.is_flag = "via" in flags
            servers = sum(len(way.addresses) for way in self.ways)
            outer_plugins.check_place(own, self.transport, number_of_servers=servers)
            self.warnings = outer_plugins.with_hint(self.warnings, self.via.name)

    def _follow_bridge_line(self) -> None:
        """Take the arguments from the bridge line, where there is one."""
        if not self.bridge:
            return
        pt_arguments.check_alone(self.arguments)
        self.arguments = self.bridge[0].arguments
        if any(line.fingerprint is not None for line in self.bridge):
            self.warnings.append(TOR_BRIDGE)
        address = self.bridge[0].address
        if not self._lines_say_where and not is_nowhere(address.host):
            self._compare(address)

    def _compare(self, address: Address) -> None:
        """Check that a bridge line promises no other server than the one dialled."""
        if address in self.remotes:
            return
        # Only the resolver could tell whether a name and an IP address are the same.
        may_be = address.port == self.remote_port and any(
            (address.ip is None) != (remote.ip is None) for remote in self.remotes
        )
        if not may_be:
            raise OptionsError(
                "bridge= names another server than shadowsocks's server and "
                "server_port (or --remote), and the PT would be sent to the latter: "
                "set them to the address in the bridge line"
            )
        self.warnings.append(
            "the PT is sent to shadowsocks's server (or --remote), and not to the "
            "address in bridge=: one is a name and one an IP address, so see that both "
            "are the same server"
        )

    def programs_for(self, transport: str) -> Sequence[str]:
        """Return names of executables to look for, or the one path of the flag --exec.

        () where only the owner's files can name one (`pt_bridge.files.owner_config`).
        """
        if self.exec is not None:
            is_known = self.is_program_chosen or self.exec in PROGRAMS
            return (self.exec,) if is_known else ()
        side = side_of(transport, server=self.server)
        return side.programs if side is not None else ()

    @property
    def transports(self) -> list[str]:
        """The PT methods of all ways, in order."""
        return list(dict.fromkeys([self.transport, *(w.transport for w in self.ways)]))

    def _check_arguments(
        self,
        transport: str,
        arguments: list[tuple[str, str]],
        flags: Callable[[Config, str], Sequence[str]],
    ) -> None:
        """Hold a transport's arguments against the catalogue."""
        side = side_of(transport, server=self.server)
        found = []
        if transport not in TRANSPORTS:
            nearest = did_you_mean(transport, TRANSPORTS)
            if nearest:
                found = [f"pt-bridge knows no '{transport}'{nearest}"]
        elif side is not None and self.socks is None:
            known = (transport, side, arguments)
            found = pt_arguments.check_needs(
                *known, server=self.server, flags=lambda: flags(self, transport)
            )
            pt_arguments.check_shapes(side, arguments)
            found += pt_arguments.warnings(*known, server=self.server)
        self.warnings += [each for each in found if each not in self.warnings]

    def _make_ways(self) -> None:
        """Create a way for each bridge line, with its own address, or the one way.

        A single way leads to where shadowsocks says that the server is.
        """
        self.ways = ()
        if self.server:
            return
        if self._lines_say_where:
            self.ways = [
                Way(line.transport, line.arguments, [line.address])
                for line in self.bridge
            ]
        else:
            self.ways = [Way(self.transport, self.arguments, self.remotes)]

    @property
    def _lines_say_where(self) -> bool:
        """Whether the bridge lines say where the servers are, and not shadowsocks."""
        return len(self.bridge) > 1 or self.bridges is not None

    @property
    def only_sessions(self) -> bool:
        """Whether a server serves no clients without a session."""
        return self.session == ONLY

    @property
    def has_tor_behind(self) -> bool:
        """Whether a tor stands behind a server, and no shadowsocks."""
        return self.ext_orport is not None or self.tor_control is not None

    @property
    def looks_at_clients(self) -> bool:
        """Whether a server must see who its clients are."""
        wanted = (self.deny, self.allow, self.max_per_source, self.geoip, self.metrics)
        return self.front or any(each is not None for each in wanted)

    @property
    def secrets(self) -> list[str]:
        """What must not be shown: the values of all arguments."""
        lines = [line.arguments for line in self.bridge]
        return [value for each in [self.arguments, *lines] for _, value in each]

    @property
    def remotes(self) -> list[Address]:
        """The addresses that SS_REMOTE_HOST and SS_REMOTE_PORT name, in order.

        Several bridge lines have their own: it is the first one's then.
        """
        if self._lines_say_where:
            return [self.bridge[0].address]
        return [Address(host, self.remote_port) for host in self.remote_hosts]
