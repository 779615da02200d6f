"""Connect to the server through the user's own proxy, as doctor does for a look.

SOCKS is python-socks's business. It is imported by the first connection that needs it:
that takes some 10 ms, and few users have such a proxy.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from pt_bridge.errors import ConnectRefused, ProtocolError
from pt_bridge.net import resolve
from pt_bridge.net.connect import connect_and_handshake
from pt_bridge.net.sockets import prepare
from pt_bridge.protocol import http_connect

if TYPE_CHECKING:
    import socket

    from python_socks import ProxyError

    from pt_bridge.options.upstream_proxy import Proxy
    from pt_bridge.protocol.address import Address

    Login = tuple[bytes, bytes] | None

HTTP, SOCKS4A, SOCKS5 = "http", "socks4a", "socks5"
MAX_LOGIN = 255  # bytes of the user name, and of the password (RFC 1929 2)
# What python-socks says where the login is the trouble.
LOGIN_TROUBLE = (
    "No acceptable authentication methods",
    "Unexpected SOCKS authentication method",
    "password authentication failure",
)


async def connect(proxy: Proxy, target: Address, *, limit: float) -> socket.socket:
    """Connect to a target through a proxy.

    Args:
        proxy: the user's; its name is resolved now, and its addresses tried in turn.
        target: the server; its name is left to the proxy.
        limit: how long all of it may take, in seconds.

    Returns:
        The connection, of whose own bytes none was read.

    Raises:
        LoginRefused: the proxy does not take our user name and password.
        ConnectRefused: the proxy did not reach the server.
        ProtocolError: the proxy cannot be asked for this, or gave no such answer.
        OSError: the proxy cannot be reached; TimeoutError is one of these.
    """
    deadline = asyncio.get_running_loop().time() + limit
    try:
        async with asyncio.timeout_at(deadline):
            _check_reachable(proxy.scheme, target)
            places = await _resolve(proxy.address)
            return await _ask_in_turn(proxy, places, target, deadline)
    except TimeoutError:
        raise TimeoutError("the upstream proxy did not answer in time") from None


def login(proxy: Proxy) -> Login:
    """Read the user name and the password out of the proxy's URL, as PTs do."""
    if not proxy.userinfo:
        return None
    user, _, password = proxy.userinfo.partition(":")
    return unquote_to_bytes(user), unquote_to_bytes(password)


def _check_reachable(scheme: str, target: Address) -> None:
    """Raise ProtocolError where such a proxy cannot be asked for the target."""
    if scheme == SOCKS4A and target.ip is not None and target.ip.version == 6:
        raise ProtocolError(
            "a socks4a proxy reaches no IPv6 addresses, and the server's is one: use "
            "its name, or a socks5 proxy"
        )


async def _resolve(address: Address) -> list[Address]:
    try:
        return await resolve.resolve(address)
    except OSError as error:
        raise OSError(
            f"the name of the upstream proxy cannot be resolved: {error.strerror}"
        ) from None


async def _ask_in_turn(
    proxy: Proxy, places: list[Address], target: Address, deadline: float
) -> socket.socket:
    """Ask at the proxy's addresses in turn, until one can be reached."""
    ask = _ask_http if proxy.scheme == HTTP else _ask_socks
    loop = asyncio.get_running_loop()
    failure: OSError | None = None
    for number, place in enumerate(places):
        # An address that is dead must leave time for those behind it.
        limit = (deadline - loop.time()) / (len(places) - number)
        try:
            return await ask(proxy, place, target, limit)
        except TimeoutError as error:
            failure = error
        except OSError as error:
            failure = OSError(f"the upstream proxy cannot be reached: {_reason(error)}")
    assert failure is not None  # there is at least one address
    raise failure


def _reason(error: OSError) -> str:
    # Not the error's own words: they hold addresses.
    return os.strerror(error.errno) if error.errno else "it broke off"


async def _ask_http(
    proxy: Proxy, place: Address, target: Address, limit: float
) -> socket.socket:
    handshake = http_connect.connect(target, login(proxy))
    return await connect_and_handshake(
        place, handshake, limit=limit, peer="the upstream proxy"
    )


async def _ask_socks(
    proxy: Proxy, place: Address, target: Address, limit: float
) -> socket.socket:
    from python_socks import ProxyError, ProxyType
    from python_socks.async_.asyncio import Proxy as Socks

    user, password = _socks_login(proxy)
    kind = ProxyType.SOCKS5 if proxy.scheme == SOCKS5 else ProxyType.SOCKS4
    # rdns: a name is the proxy's to resolve (of SOCKS4, this is 4a).
    socks = Socks(kind, place.host, place.port, user, password, rdns=True)
    try:
        sock = await socks.connect(target.host, target.port, timeout=limit)
    except ProxyError as error:
        raise _refusal(error, given=user is not None) from None
    except ValueError:  # what the library did not expect
        raise ProtocolError(
            f"the upstream proxy's answer is not {proxy.scheme}"
        ) from None
    try:
        prepare(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _socks_login(proxy: Proxy) -> tuple[str | None, str | None]:
    """Return the login as python-socks takes it.

    Raises:
        ProtocolError: it would be cut, or end in the middle, or does not take it.
    """
    pair = login(proxy)
    if pair is None:
        return None, None
    user, password = pair
    for each in pair:
        if not each.isascii() or b"\0" in each or len(each) > MAX_LOGIN:
            raise ProtocolError(
                f"upstream-proxy= may have {MAX_LOGIN} ASCII characters each, none of "
                f"them NUL, for a SOCKS proxy's user name and password"
            )
    return user.decode("ascii"), password.decode("ascii")


def _refusal(error: ProxyError, *, given: bool) -> ProtocolError:
    """Return a sentence that says what a SOCKS proxy did not like.

    Args:
        error: python-socks's; its text has nothing that the proxy could have written.
        given: whether there is a login.
    """
    if error.error_code is not None:
        return ConnectRefused(
            f"the upstream proxy did not connect to the server: {error}"
        )
    if any(words in str(error) for words in LOGIN_TROUBLE):
        return http_connect.login_refused(given=given)
    return ProtocolError(f"the handshake with the upstream proxy failed: {error}")
