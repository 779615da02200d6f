"""SS_*, by which shadowsocks tells its plugin where both ends are (SIP003)."""

from __future__ import annotations

from pt_bridge.errors import ProtocolError, UsageError
from pt_bridge.protocol.address import (
    Address,
    parse_host,
    parse_host_port,
    parse_hosts,
    parse_port,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    T = TypeVar("T")

# Where SIP003 puts the addresses, and the options.
REMOTE_HOST, REMOTE_PORT = b"SS_REMOTE_HOST", b"SS_REMOTE_PORT"
LOCAL_HOST, LOCAL_PORT = b"SS_LOCAL_HOST", b"SS_LOCAL_PORT"
PLUGIN_OPTIONS = b"SS_PLUGIN_OPTIONS"
ADDRESS_VARIABLES = (REMOTE_HOST, REMOTE_PORT, LOCAL_HOST, LOCAL_PORT)
# Not shadowsocks's: there where another pt-bridge gives us its sockets.
TAKES_OVER = b"PT_BRIDGE_TAKES_OVER"

# What shadowsocks calls them, and so whoever wrote them.
CALLED = {
    REMOTE_HOST: "SS_REMOTE_HOST (shadowsocks calls it 'server')",
    REMOTE_PORT: "SS_REMOTE_PORT (shadowsocks calls it 'server_port')",
}


def read(variables: Mapping[bytes, bytes]) -> tuple[list[str], int, Address]:
    """Read where both ends are.

    Returns:
        The hosts of the side of the Internet, in order, and their port; and the address
        on the side of shadowsocks.

    Raises:
        UsageError: a variable is missing or wrong; it names the variable.
    """
    texts = _required(variables)
    return (
        _checked(REMOTE_HOST, parse_hosts, texts),
        _checked(REMOTE_PORT, parse_port, texts),
        Address(
            _checked(LOCAL_HOST, parse_host, texts),
            _checked(LOCAL_PORT, parse_port, texts),
        ),
    )


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
        raise UsageError(
            f"{CALLED.get(name, name.decode())} is wrong: {error}"
        ) from None


def variables_from_flags(
    *, local: str, remote: str, plugin_options: str
) -> dict[bytes, bytes]:
    """Create the SS_* variables that shadowsocks would have made.

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
