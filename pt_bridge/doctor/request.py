"""What somebody asks doctor, and the configuration that it is about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pt_bridge.errors import OptionsError, UsageError
from pt_bridge.files import bridges_file, owner_config
from pt_bridge.formats.profile import Profile
from pt_bridge.options import outer_plugins
from pt_bridge.options.config import Config
from pt_bridge.options.own_options import OPTIONS, SERVER
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.profiles import pasted, pasted_options
from pt_bridge.profiles.forms import PLUGIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_bridge.options.option_values import Values
    from pt_bridge.protocol.address import Address

# How long all of it may take, if nobody says otherwise (seconds): a PT takes a minute
# to give up on a server.
TIMEOUT = 120.0
# What a configuration must name, and what is only checked does not need.
ANY_LOCAL = "127.0.0.1:1080"
# Flags that mean nothing to a pt-bridge that runs for one request: it writes no log.
NOT_FOR_SHADOWSOCKS = {SERVER, "loglevel", "logfile", "unsafe-logging"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks doctor.

    Attributes:
        text: what it is about: plugin options, a bridge line, an ``ss://`` link or a
            ``config.json``'s content; "" where flags say it all.
        plugin_opts: plugin options that come before those of `text`, or None.
        local: ``HOST:PORT`` on the side of shadowsocks, or None.
        remote: ``HOST:PORT`` on the side of the Internet, or None.
        flags: our own options from the command line.
        through: a web server to ask for an answer through shadowsocks, or None.
        timeout: how long all of it may take, in seconds.
        json: whether a program reads the answer.
        is_service: whether our environment is that of a service, of any user's.
        with_tor: whether it is a Tor bridge, which a tor is to try.
        tor_defaults: a file with more of that tor's configuration, or None.
    """

    text: str = field(default="", repr=False)
    plugin_opts: str | None = field(default=None, repr=False)
    local: str | None = None
    remote: str | None = None
    flags: Values = field(default_factory=dict, repr=False)
    through: Address | None = None
    timeout: float = TIMEOUT
    json: bool = False
    is_service: bool = False
    with_tor: bool = False
    tor_defaults: str | None = None


def profile_of(request: Request) -> Profile:
    """Read what somebody gave us, whatever form it has.

    Raises:
        OptionsError: it is nothing that we know, or another plugin's.
    """
    profile = pasted.read(request.text) if request.text else Profile()
    if profile.program not in ("", PLUGIN) and request.plugin_opts is None:
        raise OptionsError(
            f"this is for the plugin {profile.program}, and not for {PLUGIN}"
        )
    options = request.plugin_opts
    if options is None:
        return profile
    # A bridge line in them names the server.
    if options and not profile.hosts and request.remote is None:
        told = pasted_options.from_options(options)
        profile = replace(profile, hosts=told.hosts, port=told.port)
    return replace(profile, plugin_opts=options)


def config_of(
    request: Request, profile: Profile, variables: Mapping[bytes, bytes]
) -> Config:
    """Return the configuration that somebody asks about.

    Args:
        request: what somebody asks.
        profile: what it is about, as `profile_of` returns it.
        variables: our environment.

    Raises:
        ConfigError: it is wrong, or does not say where the server is.
    """
    remote = request.remote
    if remote is None and profile.hosts and profile.port is not None:
        hosts = "|".join(f"[{h}]" if ":" in h else h for h in profile.hosts)
        remote = f"{hosts}:{profile.port}"
    if remote is None:
        raise UsageError(
            "nothing says where the server is: add --remote HOST:PORT (a server's is "
            "what it listens on)"
        )
    return Config(
        variables_from_flags(
            local=request.local or ANY_LOCAL,
            remote=remote,
            plugin_options=profile.plugin_opts,
        ),
        plugin=False,
        flags=request.flags,
        is_allowed=lambda option: owner_config.allows(option, variables),
        bridges=lambda name: bridges_file.read(name, variables),
        program_flags=lambda config, transport: (
            owner_config.wanted(config, variables, transport).arguments
        ),
    )


def secrets_of(config: Config, profile: Profile) -> list[str]:
    """Return what must not be shown of all that somebody gave us."""
    found = config.secrets
    if config.via is not None:
        found = [*found, *outer_plugins.values(config.via.options)]
    if profile.password is not None:
        found.append(profile.password)
    if config.upstream_proxy is not None:
        found += config.upstream_proxy.credentials
    return found


def words_of(config: Config, flags: Values) -> list[str]:
    """Write our own options as a command line has them; none where there are none."""
    words = [
        word
        for name, value in flags.items()
        if name not in NOT_FOR_SHADOWSOCKS and not OPTIONS[name].is_flag_only
        for word in OPTIONS[name].words(value)
    ]
    if not words:
        return []
    hosts = "|".join(f"[{h}]" if ":" in h else h for h in config.remote_hosts)
    return [f"--remote={hosts}:{config.remote_port}", *words]
