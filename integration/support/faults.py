"""What happens to a wire, and to a PT, for some seconds: they stop, and go on."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from typing import TYPE_CHECKING

from integration.support.programs import DEADLINE, find

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psutil

    from integration.support.internet import Site

# Where Debian keeps it, whatever PATH an ordinary user has.
SYSTEM = "/usr/sbin:/sbin:/usr/bin:/bin"
# Packets of a port in the set vanish as they arrive: whoever sent them is not told.
TABLE = """\
table inet wire {
    set lost { type inet_service; }
    chain input {
        type filter hook input priority 0;
        tcp sport @lost drop
        tcp dport @lost drop
    }
}
"""


async def elapse(seconds: float) -> None:
    """Return after so many seconds: the fault itself lasts so long."""
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()


class Wire:
    """The network of a site, in which ports can be cut off for a while."""

    def __init__(self, site: Site) -> None:
        """Create the table; it vanishes with the site."""
        self._command = [
            find("nsenter"),
            f"--net=/proc/{site.pid}/ns/net",
            find("nft", path=SYSTEM),
        ]
        self._run("-f", "-", text=TABLE)

    @contextlib.asynccontextmanager
    async def outage(self, port: int, seconds: float) -> AsyncIterator[None]:
        """Lose the packets of a port from now on for so many seconds.

        The block runs meanwhile; the outage ends where it ends, if that is later.
        """
        async with asyncio.TaskGroup() as group:
            self.lose(port)
            group.create_task(self._end(port, seconds))
            yield

    async def _end(self, port: int, seconds: float) -> None:
        try:
            await elapse(seconds)
        finally:
            self.carry(port)

    def lose(self, port: int) -> None:
        """Lose the packets of a port from now on."""
        self._run("add", "element", "inet", "wire", "lost", f"{{ {port} }}")

    def carry(self, port: int) -> None:
        """Lose them no more."""
        self._run("delete", "element", "inet", "wire", "lost", f"{{ {port} }}")

    def _run(self, *arguments: str, text: str | None = None) -> None:
        subprocess.run(
            [*self._command, *arguments],
            input=text,
            text=True,
            timeout=DEADLINE,
            check=True,
        )


async def stop(process: psutil.Process, seconds: float) -> None:
    """Stop a process with all that it holds, and have it go on after a while."""
    process.suspend()
    try:
        await elapse(seconds)
    finally:
        process.resume()
