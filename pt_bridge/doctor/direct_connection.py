"""The doctor's own TCP connections to the server, which know nothing of the PT.

PTs say next to nothing of a failure. Whether anything listens where they were sent, and
whether that answers like another program, is seen without them.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

from pt_bridge.doctor.report import (
    any_is_enough,
    exit_code,
    failed,
    ok,
    skipped,
    warning,
)
from pt_bridge.errors import (
    NO_HOST,
    UNAVAILABLE,
    HungUp,
    ProtocolError,
    SpeaksOtherwise,
    Unanswered,
    Unreached,
)
from pt_bridge.explain import pt_words, reasons, remedies
from pt_bridge.net import resolve
from pt_bridge.net.connect import (
    connect_first,
    connect_local,
    connect_remote,
    unreached,
    unresolved,
)
from pt_bridge.options import pt_arguments
from pt_bridge.options.transports import COPYING, goes_by_url
from pt_bridge.system import linux

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from pt_bridge.doctor.report import CheckResult
    from pt_bridge.options.config import Config
    from pt_bridge.options.upstream_proxy import Proxy
    from pt_bridge.protocol.address import Address

# How long each further address of a name may take to answer (seconds).
ADDRESS_LIMIT = 5.0
# This machine has no such network at all: nothing is wrong with the server.
NO_NETWORK = frozenset(
    {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPERM}
)

# How long the user's proxy may take to reach the server (seconds).
PROXY_LIMIT = 30.0
# What is said to whoever listens: to a PT server it is the beginning of a handshake
# that it never answers, to most other programs a line that they do.
NOISE_SIZE = 1024
LINE_END = b"\r\n\r\n"
# How long the answer may take (seconds).
HEAR_LIMIT = 2.0


async def reach_server(config: Config, remote: Address) -> socket.socket:
    """Connect to the server, through the user's proxy where there is one.

    Raises:
        ProtocolError, OSError: as with `connect_remote` and `upstream.connect`.
    """
    proxy = config.upstream_proxy
    if proxy is None:
        return await connect_remote(remote)
    from pt_bridge.net.upstream import connect  # few have one

    return await connect(proxy, remote, limit=PROXY_LIMIT)


def failure(
    config: Config,
    error: ProtocolError | OSError,
    *,
    prefix: str = "",
    heard: str = "",
    otherwise: int = NO_HOST,
) -> CheckResult:
    """Return what to say of a connection that failed.

    Args:
        config: what the user asks for.
        error: what connecting raised.
        prefix: what goes before the sentence.
        heard: what the PT has just said, as the end of a sentence, or "". A cause that
            it names comes before what we suspect.
        otherwise: the exit code for an error that says nothing by itself.
    """
    proxy = config.upstream_proxy is not None
    clock = linux.is_clock_synchronised()
    text = pt_words.with_words(reasons.explain(error, proxy=proxy, clock=clock), heard)
    advice = remedies.advise(error, proxy=proxy, clock=clock)
    if config.via is not None:
        advice = remedies.advise_on_plugin(advice)
    return failed(prefix + text, exit_code(error, otherwise), advice)


def servers_of(config: Config) -> Sequence[Address]:
    """Return what a client's PT will connect to; () where only it knows."""
    if config.transport not in COPYING:
        return ()
    if not goes_by_url(config.transport):
        return config.remotes
    named = pt_arguments.address(config.arguments)
    return () if named is None else [named]


async def check_names(config: Config, *, limit: float) -> Sequence[CheckResult]:
    """Return what becomes of the servers' names, of which one is enough."""
    servers = servers_of(config)
    names = [each for each in servers if each.ip is None]
    if not names:
        return []
    if config.upstream_proxy is not None:
        return [skipped("the upstream proxy is asked for the server's name")]
    results = await asyncio.gather(
        *(_check_name(config, each, limit=limit) for each in names)
    )
    return any_is_enough(results, others=len(names) < len(servers))


async def check_servers(
    config: Config, *, limit: float
) -> tuple[Sequence[CheckResult], list[Address]]:
    """Return whether the servers take connections, and those that do.

    One is enough.
    """
    servers = servers_of(config)
    if not servers:
        text = f"{config.transport} finds its way to the server by itself"
        return [skipped(text)], []
    found = await asyncio.gather(
        *(_check_server(config, each, limit=limit) for each in servers)
    )
    reached = [
        server
        for server, (first, *_) in zip(servers, found, strict=True)
        if not first.has_failed
    ]
    return any_is_enough([result for results in found for result in results]), reached


async def _check_name(config: Config, remote: Address, *, limit: float) -> CheckResult:
    """Return what becomes of a server's name."""
    try:
        async with asyncio.timeout(limit):
            found = await resolve.resolve(remote)
    except OSError as error:
        return failure(config, unresolved(error), prefix=f"{remote.host}: ")
    return ok(f"{remote.host} is {', '.join(each.host for each in found)}")


async def check_proxy(proxy: Proxy, *, limit: float) -> CheckResult:
    """Return whether the user's proxy takes connections."""
    try:
        async with asyncio.timeout(limit):
            found = await resolve.resolve(proxy.address)
            sock = await connect_local(found[0], patience=0, limit=limit)
    except OSError as error:
        return failed(reasons.explain_proxy(error), UNAVAILABLE)
    sock.close()
    return ok(f"{proxy.scheme}://{proxy.address} takes connections")


async def _check_server(
    config: Config, remote: Address, *, limit: float
) -> Sequence[CheckResult]:
    """Return whether the server takes connections, and each address of its name."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    prefix = f"{remote}: "
    try:
        async with asyncio.timeout(limit):
            (await reach_server(config, remote)).close()
    except TimeoutError:
        return [failure(config, unreached(errno.ETIMEDOUT), prefix=prefix)]
    except (ProtocolError, OSError) as error:
        return [failure(config, error, prefix=prefix)]
    result = ok(f"{remote} takes connections ({loop.time() - begun:.2f} s)")
    if remote.ip is not None or config.upstream_proxy is not None:
        return [result]
    return [result, *await _check_addresses(remote, limit=limit)]


async def _check_addresses(remote: Address, *, limit: float) -> Sequence[CheckResult]:
    """Return a warning for each address of a name that does not answer."""
    try:
        async with asyncio.timeout(limit):
            addresses = await resolve.resolve(remote)
    except OSError:  # it had one a moment ago
        return []
    limit = min(limit, ADDRESS_LIMIT)
    why = await asyncio.gather(*(_why_unreached(each, limit) for each in addresses))
    return [
        warning(
            f"{remote.host} is {address.host}, too, and that does not answer "
            f"({os.strerror(number).lower()}): a PT that tries it first waits for "
            f"nothing, or fails",
            "see that the server listens on all of its addresses, or take this one "
            "out of the DNS",
        )
        for address, number in zip(addresses, why, strict=True)
        if number and number not in NO_NETWORK
    ]


async def _why_unreached(address: Address, limit: float) -> int:
    """Return the errno of a connection to one address, or 0."""
    try:
        (await connect_first([address], limit=limit)).close()
    except Unreached as error:
        return error.errno
    except OSError:  # this machine is short of something
        return 0
    return 0


async def why_not_let_in(
    config: Config, remote: Address, *, is_silent: bool, limit: float = HEAR_LIMIT
) -> ProtocolError | OSError:
    """Return why no connection through the PT came about, though the server takes some.

    Args:
        config: what the user asks for.
        remote: the server.
        is_silent: whether a server of this transport says nothing to strangers; then
            one who answers is another program.
        limit: how long it may take, in seconds.
    """
    try:
        async with asyncio.timeout(limit):
            with await reach_server(config, remote) as sock:
                return await _hear(sock) if is_silent else _unanswered()
    except TimeoutError:
        return _unanswered()
    except (ProtocolError, OSError) as error:  # it does not listen any more
        return error


async def _hear(sock: socket.socket) -> ProtocolError:
    """Return what an answer to noise tells, or its absence, or raise TimeoutError."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(sock, os.urandom(NOISE_SIZE) + LINE_END)
        heard = await loop.sock_recv(sock, 1)
    except TimeoutError:
        raise
    except OSError:
        return HungUp("the server takes connections, and resets them", was_reset=True)
    if heard:
        return SpeaksOtherwise("the server answers to whatever is said to it")
    return HungUp("the server takes connections, and closes them", was_reset=False)


def _unanswered() -> Unanswered:
    return Unanswered("the server takes connections, and the handshake came to nothing")
