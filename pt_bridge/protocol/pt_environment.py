"""The environment of a PT (pt-spec 3.2): an allow-list, and TOR_PT_*."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.protocol.pt_args import encode_server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pt_bridge.protocol.address import Address
    from pt_bridge.protocol.pt_args import Arguments

# What a PT may see of our own environment; no SS_*, no stray TOR_PT_*, no proxies.
ALLOWED = frozenset(
    {
        b"HOME",
        b"LANG",
        b"LD_LIBRARY_PATH",
        b"PATH",
        b"PREFIX",
        b"SSL_CERT_DIR",
        b"SSL_CERT_FILE",
        b"TMPDIR",
        b"TZ",
    }
)
ALLOWED_PREFIX = b"LC_"


def inherited(variables: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Keep of our own environment what a PT may see."""
    return {
        name: value
        for name, value in variables.items()
        if name in ALLOWED or name.startswith(ALLOWED_PREFIX)
    }


def _common(state: bytes) -> dict[bytes, bytes]:
    return {
        b"TOR_PT_MANAGED_TRANSPORT_VER": b"1",
        b"TOR_PT_STATE_LOCATION": state,
        b"TOR_PT_EXIT_ON_STDIN_CLOSE": b"1",
    }


def client(
    transports: Sequence[str], *, state: bytes, proxy: str | None
) -> dict[bytes, bytes]:
    """Create the TOR_PT_* variables of a client (pt-spec 3.2.1, 3.2.2).

    Args:
        transports: what to offer.
        state: the state directory, an absolute path.
        proxy: the upstream proxy's URL, its host an IP address, or None.
    """
    variables = _common(state)
    variables[b"TOR_PT_CLIENT_TRANSPORTS"] = ",".join(transports).encode("ascii")
    if proxy is not None:
        variables[b"TOR_PT_PROXY"] = proxy.encode("ascii")
    return variables


def server(
    transport: str,
    *,
    state: bytes,
    bind: Address,
    orport: Address | None,
    extended: Address | None = None,
    cookie: str = "",
    arguments: Arguments,
) -> dict[bytes, bytes]:
    """Create the TOR_PT_* variables of a server (pt-spec 3.2.3).

    Args:
        transport: the one transport to offer.
        state: the state directory, an absolute path.
        bind: where it listens, an IP address and a port.
        orport: where a PT that knows no Extended ORPort passes connections on to, an IP
            address and a port; None where it must not.
        extended: the Extended ORPort, likewise, or None without one.
        cookie: the path of its cookie file.
        arguments: its own arguments; printable ASCII.
    """
    variables = _common(state)
    name = transport.encode("ascii")
    variables[b"TOR_PT_SERVER_TRANSPORTS"] = name
    variables[b"TOR_PT_SERVER_BINDADDR"] = name + b"-" + str(bind).encode("ascii")
    if orport is not None:
        variables[b"TOR_PT_ORPORT"] = str(orport).encode("ascii")
    # Set and empty: no Extended ORPort.
    variables[b"TOR_PT_EXTENDED_SERVER_PORT"] = str(extended or "").encode("ascii")
    if extended is not None:
        path = cookie.encode("utf-8", "surrogateescape")
        variables[b"TOR_PT_AUTH_COOKIE_FILE"] = path
    if arguments:
        options = encode_server(transport, arguments)
        variables[b"TOR_PT_SERVER_TRANSPORT_OPTIONS"] = options.encode("ascii")
    return variables
