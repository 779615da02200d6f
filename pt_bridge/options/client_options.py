"""The plugin options with which a server's clients reach it: written, and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.errors import OptionsError
from pt_bridge.options.own_options import ARGUMENT_PREFIX
from pt_bridge.options.plugin_options import parse, serialize
from pt_bridge.options.pt_arguments import KNOWN, check_not_ours, is_ours

if TYPE_CHECKING:
    from collections.abc import Collection

    from pt_bridge.options.pt_arguments import Arguments

# Arguments of a client line that any client may have otherwise than the server.
NO_IDENTITY = frozenset({"iat-mode", "session", "ver"})
# So begin the keys that shadowsocks adds for itself; whoever reads passes them over.
SHADOWSOCKS_PREFIX = "__"
# What a plugin outside the PT needs, which may change while the PT's keys stay.
OF_THE_PLUGIN = ("via", "via-opts")


def client_line(
    transport: str,
    arguments: Arguments,
    session: str = "",
    via: tuple[str, str] | None = None,
    *,
    udp: bool = False,
) -> str:
    """Write the plugin options with which clients reach a server.

    Args:
        transport: the server's transport.
        arguments: what the PT says that clients must use.
        session: the value of the client's session=, or "" to leave it out.
        via: the values of the client's via= and via-opts=, or None to leave them out.
        udp: whether the server carries UDP, too.
    """
    pairs: list[tuple[str, str | None]] = [("transport", transport)]
    if session:
        pairs.append(("session", session))
    if udp:
        pairs.append(("udp", None))
    for key, value in arguments:
        bare = key if _is_taken_bare(key, value) else f"{ARGUMENT_PREFIX}{key}"
        pairs.append((bare, value))
    if via is not None:
        name, options = via
        pairs.append(("via", name))
        if options:
            pairs.append(("via-opts", options))
    return serialize(pairs)


def _is_taken_bare(key: str, value: str) -> bool:
    if key != key.strip(" ") or value != value.strip(" "):
        return False
    if is_ours(key, server=False) or key.startswith(
        (ARGUMENT_PREFIX, SHADOWSOCKS_PREFIX)
    ):
        return False
    try:
        check_not_ours(key, 0)
    except OptionsError:
        return key in KNOWN
    return True


def same_identity(line: str, other: str, *, ignored: Collection[str] = ()) -> bool:
    """Whether two client lines lead to the same server, if one was kept for long.

    What only shapes the traffic does not count: a client may go on with its old line.

    Args:
        line: one.
        other: the other.
        ignored: keys that do not count, either.
    """
    try:
        return _identity(line, ignored) == _identity(other, ignored)
    except OptionsError:  # a file that somebody has changed
        return False


def _identity(line: str, ignored: Collection[str]) -> list[tuple[str, str | None]]:
    options = parse(line.encode("utf-8", "surrogateescape"))
    left_out = {*NO_IDENTITY, *ignored}
    return [(each.key, each.value) for each in options if each.key not in left_out]
