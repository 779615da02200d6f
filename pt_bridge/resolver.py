"""Names into addresses, off the event loop."""

from __future__ import annotations

import asyncio
import socket
import threading

from pt_bridge.protocol.address import Address


async def resolve(address: Address) -> list[Address]:
    """Ask the system for the IP addresses of a name, IPv4 first.

    The thread that asks is not waited for when we are cancelled: a resolver that hangs
    must not keep the program from ending.

    Returns:
        At least one address; an IP address is given back as it is.

    Raises:
        OSError: the name cannot be resolved.
    """
    if address.ip is not None:
        return [address]
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Address]] = loop.create_future()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM
            )
        except OSError as error:
            tell(error, [])
        else:
            tell(None, [Address(str(place[0]), address.port) for *_, place in found])

    def tell(error: OSError | None, found: list[Address]) -> None:
        try:
            loop.call_soon_threadsafe(finish, error, found)
        except RuntimeError:  # the loop has ended, nobody waits any more
            pass

    def finish(error: OSError | None, found: list[Address]) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(sorted(dict.fromkeys(found), key=_ipv4_first))

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    return await answer


def _ipv4_first(address: Address) -> int:
    return address.ip.version if address.ip is not None else 0
