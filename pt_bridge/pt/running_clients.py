"""The PT clients that are ready, and which of them offers which transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.pt.liveness import watch_over
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import asyncio

    from pt_bridge.pt.client import PtClient
    from pt_bridge.pt.liveness import Liveness, Spawn


class RunningClients:
    """Knows the PT clients that are ready, and has those killed that only seem so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin without one.

        Args:
            loop: the event loop.
        """
        self._loop = loop
        self._clients: dict[PtClient, Liveness | None] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def add(self, client: PtClient, *, spawn: Spawn) -> None:
        """Use one that is ready.

        Args:
            client: it.
            spawn: starts a task that asks it whether it lives.
        """
        self._clients[client] = watch_over(self._loop, client, spawn=spawn)
        launch = client.launch
        for transport in (launch.transport, *launch.others):
            if transport not in launch.methods:
                logger.warning("%s", launch.why_not(transport))

    def remove(self, client: PtClient) -> None:
        """Use it no more."""
        liveness = self._clients.pop(client)
        if liveness is not None:
            liveness.stop()

    def of(self, transport: str) -> PtClient | None:
        """Return the one that offers a transport, or None."""
        for client in self._clients:
            if transport in client.launch.methods:
                return client
        return None

    def why_not(self, transport: str) -> str:
        """Return why nothing offers a transport, in a few words, or ""."""
        client = self.of(transport)
        is_there = client is not None and not client.is_ending()
        return "" if is_there else f"no PT for {transport} runs"

    def have_died(self) -> bool:
        """Whether none is left, even where we were not told yet."""
        return all(client.is_ending() for client in self._clients)

    def on_failed(self, transport: str = "", *, since: float = 0) -> None:
        """Learn that a tunnel failed, or has no answer yet.

        Args:
            transport: the one that it was dialled by; any, where not said.
            since: for how long already, in seconds.
        """
        for client, liveness in self._clients.items():
            is_meant = not transport or transport in client.launch.methods
            if liveness is not None and is_meant:
                liveness.on_failed(since=since)

    def on_succeeded(self, transport: str) -> None:
        """Learn that a tunnel was made by a transport."""
        client = self.of(transport)
        liveness = None if client is None else self._clients[client]
        if liveness is not None:
            liveness.on_succeeded()
