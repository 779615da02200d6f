"""Notice a PT client that runs and answers nothing any more.

One that hangs takes connections, for its kernel does that, and never answers. When
tunnels have failed for a while, its SOCKS port is greeted, which every PT answers at
once, whatever its network is like.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pt_bridge.errors import ProtocolError
from pt_bridge.net.connect import connect_and_handshake
from pt_bridge.protocol import socks_client
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from pt_bridge.protocol.address import Address
    from pt_bridge.pt.client import PtClient

    Spawn = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]

# How long tunnels must have failed, none succeeding, before the PT is asked (seconds).
FAILING_FOR = 30.0
# How long it may take to answer a greeting (seconds); it needs a millisecond.
ANSWER_LIMIT = 10.0


def watch_over(
    loop: asyncio.AbstractEventLoop, client: PtClient, *, spawn: Spawn
) -> Liveness | None:
    """Kill a PT that answers nothing any more; None for one that cannot be asked."""
    launch = client.launch
    listeners = [m.address for m in launch.methods.values() if m.protocol == "socks5"]
    if not listeners:
        return None

    def on_stuck() -> None:
        logger.warning("%s lives, and answers nothing", launch.program)
        client.process.kill()

    return Liveness(loop, listeners[0], on_stuck, spawn=spawn)


class Liveness:
    """Asks a PT that seems to do nothing, and tells if it does not answer."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: Address,
        on_stuck: Callable[[], None],
        *,
        spawn: Spawn,
        failing_for: float = FAILING_FOR,
        answer_limit: float = ANSWER_LIMIT,
    ) -> None:
        """Create one that has heard of no failure.

        Args:
            loop: the event loop.
            listener: where the PT listens for SOCKS5.
            on_stuck: called once if it does not answer.
            spawn: runs a coroutine.
            failing_for: how long tunnels must have failed, in seconds.
            answer_limit: how long an answer may take, in seconds.
        """
        self._loop = loop
        self._listener = listener
        self._on_stuck = on_stuck
        self._spawn = spawn
        self._failing_for = failing_for
        self._answer_limit = answer_limit
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None

    def on_failed(self, *, since: float = 0) -> None:
        """Learn that a tunnel failed, or has no answer yet.

        Args:
            since: for how long already, in seconds.
        """
        is_asking = self._asking is not None and not self._asking.done()
        if self._timer is None and not is_asking:
            wait = max(0.0, self._failing_for - since)
            self._timer = self._loop.call_later(wait, self._ask)

    def on_succeeded(self) -> None:
        """Learn that a tunnel was made."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop(self) -> None:
        """Ask no more; safe to call again."""
        self.on_succeeded()
        if self._asking is not None:
            self._asking.cancel()

    def _ask(self) -> None:
        self._timer = None
        self._asking = self._spawn(self._greet())

    async def _greet(self) -> None:
        greeting = socks_client.greet()
        try:
            sock = await connect_and_handshake(
                self._listener, greeting, limit=self._answer_limit
            )
        except TimeoutError:
            self._on_stuck()
        except (ProtocolError, OSError):  # an answer, or its end, which others notice
            pass
        else:
            with contextlib.closing(sock):
                pass
