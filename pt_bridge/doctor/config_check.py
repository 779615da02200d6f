"""What shadowsocks itself makes of its config.json, as far as that concerns a plugin.

A plugin never learns of it: UDP goes past it, a path leads nowhere, and shadowsocks
says so in its own log, or nowhere.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from pt_bridge.doctor.report import failed, ok, warning
from pt_bridge.errors import OPTIONS, ListenError
from pt_bridge.net import bind
from pt_bridge.protocol.address import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_bridge.doctor.report import CheckResult
    from pt_bridge.formats.profile import Profile

LOOPBACK = "127.0.0.1"
# shadowsocks-libev's, shadowsocks-rust's.
SS_LOCAL = ("ss-local", "sslocal")
TCP, UDP, BOTH = "tcp_only", "udp_only", "tcp_and_udp"
# What `mode` may say, and how shadowsocks-rust writes it on a command line.
MODES = frozenset({TCP, UDP, BOTH})
ADVICE = 'write "mode": "tcp_only"'


def look(
    profile: Profile, variables: Mapping[bytes, bytes], *, server: bool = False
) -> list[CheckResult]:
    """Return what is to be said of a configuration; [] where there is nothing.

    Args:
        profile: what was read, with the plugin as the user wrote it.
        variables: our environment, which shadowsocks has, too.
        server: whether it is a server's.
    """
    results = [
        *_check_mode(profile),
        *_check_plugin_mode(profile),
        *_check_plugin(profile, variables),
        *_check_acl(profile, server=server),
        *([] if server else _check_port(profile)),
    ]
    return sorted(results, key=lambda result: result.has_failed)


def _carries_udp(profile: Profile) -> bool:
    """Whether pt-bridge gets UDP from shadowsocks-rust, and carries it."""
    return "udp" in profile.plugin_opts.split(";")


def _check_mode(profile: Profile) -> list[CheckResult]:
    if _carries_udp(profile) and profile.others.get("plugin_mode") == BOTH:
        return []
    match profile.others.get("mode"):
        case "udp_only":
            return [
                failed(
                    "the configuration says mode=udp_only: shadowsocks takes no TCP "
                    "then, and its UDP goes past every plugin, so that nothing goes "
                    "through pt-bridge",
                    OPTIONS,
                    ADVICE,
                )
            ]
        case "tcp_and_udp":
            return [
                warning(
                    "the configuration says mode=tcp_and_udp: TCP goes through "
                    "pt-bridge; UDP goes around it, straight to the server, and looks "
                    "like shadowsocks",
                    f"{ADVICE}, unless that is meant",
                )
            ]
        case None | "tcp_only":
            return []
    return [warning(f"mode must be one of {', '.join(sorted(MODES))}", ADVICE)]


def _check_plugin_mode(profile: Profile) -> list[CheckResult]:
    mode = profile.others.get("plugin_mode")
    if mode in (None, TCP) or (mode == BOTH and _carries_udp(profile)):
        return []
    if mode == UDP:
        return [
            failed(
                "the configuration says plugin_mode=udp_only: TCP goes around "
                "pt-bridge then",
                OPTIONS,
                'write "plugin_mode": "tcp_only", or "tcp_and_udp" with udp in '
                '"plugin_opts"',
            )
        ]
    return [
        warning(
            f"the configuration says plugin_mode={mode}: pt-bridge carries TCP alone "
            f"without the option udp, so the UDP that shadowsocks-rust sends it is "
            f"lost (shadowsocks-libev sends UDP around it)",
            'write "plugin_mode": "tcp_only", or udp in "plugin_opts" on both sides',
        )
    ]


def _check_plugin(
    profile: Profile, variables: Mapping[bytes, bytes]
) -> list[CheckResult]:
    """Check that shadowsocks finds the program; we are run by another name."""
    words = (profile.plugin or "").split()
    if not words or (profile.password is None and "key" not in profile.others):
        return []  # no shadowsocks reads that
    name = words[0]
    path = os.fsdecode(variables.get(b"PATH", os.defpath.encode()))
    if shutil.which(name, path=path) is not None:
        return []
    if "/" in name:
        return [
            failed(
                f"the configuration says plugin={name}, and there is no such program: "
                f"shadowsocks ends when it does not find it",
                OPTIONS,
                "write where pt-bridge is: 'command -v pt-bridge' tells",
            )
        ]
    return [
        warning(
            f"no {name} is on this PATH, and shadowsocks looks for it on its own: it "
            f"ends when it does not find it",
            "name it whole in the configuration, as /opt/pt-bridge/bin/pt-bridge",
        )
    ]


def _check_acl(profile: Profile, *, server: bool) -> list[CheckResult]:
    acl = profile.others.get("acl")
    if not isinstance(acl, str) or not acl:
        return []
    if not os.access(acl, os.R_OK):
        return [
            failed(
                f"the configuration says acl={acl}, and there is no such file that "
                f"this user can read: shadowsocks does not start without it",
                OPTIONS,
            )
        ]
    if server:
        return []
    return [ok(f"what {acl} lists goes around the server, and around pt-bridge")]


def _check_port(profile: Profile) -> list[CheckResult]:
    """Check that ss-local can listen, unless it does already."""
    if profile.local_port is None:
        return []
    address = Address(profile.local_host or LOOPBACK, profile.local_port)
    try:
        os.close(bind.bind(address, patience=0))
    except ListenError as error:
        found = bind.holder(profile.local_port)
        if found is not None and found[1] in SS_LOCAL:
            return [ok(f"{found[1]} (pid {found[0]}) listens on {address} already")]
        return [warning(f"'local_port' in the configuration: {error}")]
    return []
