"""The files that an operator names: lists of networks, and tor's of countries."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pt_bridge.errors import ProtocolError, UsageError
from pt_bridge.formats.geoip import Countries
from pt_bridge.formats.ip_ranges import IpRanges, parse_networks

if TYPE_CHECKING:
    from pt_bridge.options.config import Config

# More than any list of the world's networks has (bytes).
MAX_SIZE = 64 * 1024 * 1024
IPV6_SUFFIX = "6"


def networks(option: str, path: str | None) -> IpRanges | None:
    """Read a list of networks, one a line.

    Args:
        option: which option names it.
        path: the file; None for none.

    Raises:
        UsageError: it cannot be read, or a line of it is wrong; it says which.
    """
    if path is None:
        return None
    try:
        return parse_networks(_content(option, path).decode("utf-8", "replace"))
    except ProtocolError as error:
        raise UsageError(f"{option}: {path}: {error}") from None


def countries(option: str, path: str | None) -> Countries | None:
    """Read tor's file of countries, and the one for IPv6 beside it where there is one.

    Args:
        option: which option names it.
        path: the file; None for none.

    Raises:
        UsageError: it cannot be read, or is no such file.
    """
    if path is None:
        return None
    paths = [path]
    if os.path.exists(f"{path}{IPV6_SUFFIX}"):
        paths.append(f"{path}{IPV6_SUFFIX}")
    try:
        return Countries([_content(option, each) for each in paths])
    except ProtocolError as error:
        raise UsageError(f"{option}: {' or '.join(paths)}: {error}") from None


def named(config: Config) -> list[str]:
    """Return the options of a configuration that name such a file."""
    given = {"--deny": config.deny, "--allow": config.allow, "--geoip": config.geoip}
    return [option for option, path in given.items() if path is not None]


def check(config: Config) -> None:
    """See that all that a configuration names can be read, and is right.

    Raises:
        UsageError: one is not; it says which.
    """
    networks("--deny", config.deny)
    networks("--allow", config.allow)
    countries("--geoip", config.geoip)


def _content(option: str, path: str) -> bytes:
    try:
        # A FIFO would hold everything up until somebody writes to it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        why = (error.strerror or "").lower()
        raise UsageError(f"{option}: {path} cannot be read: {why}") from None
    if len(content or b"") > MAX_SIZE:
        raise UsageError(f"{option}: {path} has more than {MAX_SIZE} bytes")
    return content or b""
