"""What those ask for who run pt-bridge for others: numbers, headers, lists, limits.

All of it is for flags and FILE.toml alone: links carry plugin options, and an attacker
writes links.
"""

from __future__ import annotations

from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.protocol.address import Address, is_loopback, parse_host_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pt_bridge.options.option_values import Given

UNIX, PUBLIC = "unix:", "public:"
LOCALHOST = "localhost"
MAX_PER_SOURCE = 1_000_000
MAX_PER_SOURCE_DIGITS = 7
# What a Unix socket's address can hold on Linux (bytes, with a NUL; unix(7)).
MAX_UNIX_PATH = 108


def metrics(given: Given) -> Address | str | None:
    """Return where the page of numbers is served, or None for nowhere.

    Raises:
        OptionsError: it is no such place, or others could reach it.
    """
    place = given.values.get("metrics")
    return None if place is None else metrics_place(place)


def geoip(given: Given) -> str | None:
    """Return tor's file of countries for IPv4, or None."""
    return given.values.get("geoip")


def send_proxy_v2(given: Given) -> bool:
    """Whether the service is told each client's address."""
    return "send-proxy-v2" in given.values


def accept_proxy(given: Given) -> bool:
    """Whether a balancer tells us each client's address."""
    return "accept-proxy" in given.values


def deny(given: Given) -> str | None:
    """Return the file with the networks that are kept out, or None."""
    return given.values.get("deny")


def allow(given: Given) -> str | None:
    """Return the file with the only networks that are let in, or None."""
    return given.values.get("allow")


def metrics_place(text: str) -> Address | str:
    """Read where the page of numbers is served.

    Returns:
        An address; or a Unix socket's path.

    Raises:
        OptionsError: it is neither, or others could reach it and that is not said.
    """
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path or len(path.encode("utf-8", "surrogateescape")) >= MAX_UNIX_PATH:
            raise OptionsError(
                f"metrics={UNIX}PATH needs a path of at most {MAX_UNIX_PATH - 1} bytes"
            )
        return path
    is_public = text.startswith(PUBLIC)
    try:
        address = parse_host_port(text.removeprefix(PUBLIC))
    except ProtocolError as error:
        raise OptionsError(
            f"metrics= must be HOST:PORT or {UNIX}PATH: {error}"
        ) from None
    if not (is_public or is_loopback(address) or address.host == LOCALHOST):
        raise OptionsError(
            f"metrics= would let other machines read the numbers: write "
            f"127.0.0.1:{address.port}, or {PUBLIC}{address} if that is what you want"
        )
    return address


def max_per_source(given: Given) -> int | None:
    """Return how many connections one source may have, or None for no limit.

    Raises:
        OptionsError: it is no number from 1 to `MAX_PER_SOURCE`.
    """
    value = given.values.get("max-per-source")
    if value is None:
        return None
    is_number = value.isascii() and value.isdigit()
    number = int(value) if is_number and len(value) <= MAX_PER_SOURCE_DIGITS else 0
    if not 1 <= number <= MAX_PER_SOURCE:
        text = f"max-per-source= must be a number from 1 to {MAX_PER_SOURCE}"
        raise OptionsError(text)
    return number
