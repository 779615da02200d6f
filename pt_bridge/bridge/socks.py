"""A PT for tor and Arti: SOCKS5 in, one PT client behind, started again where it dies.

tor calls us as it calls a PT that it has not started itself (``ClientTransportPlugin
obfs4 socks5 HOST:PORT``). Each of its connections names a bridge, and the transport's
arguments for it; so any number of tors, with any bridges, share one PT.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from pt_bridge.bridge.client_side import ClientSide
from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.explain import reasons
from pt_bridge.net.connect import shake_hands
from pt_bridge.net.sockets import answer, reset
from pt_bridge.options import pt_arguments
from pt_bridge.options.transports import side_of
from pt_bridge.protocol.socks_client import SUCCEEDED
from pt_bridge.session.sessions import Limits, Sessions
from pt_bridge.system.log import logger
from pt_bridge.system.rate_limit import RateLimit
from pt_bridge.tor import socks_server

if TYPE_CHECKING:
    from pt_bridge.bridge.base import BridgeSetup
    from pt_bridge.pt.client import PtClient

# How long tor may take to say which bridge it wants (seconds): as long as PTs give it.
REQUEST_LIMIT = 5.0
# How long each may take where others wait for a place (seconds); a tor needs
# milliseconds.
PATIENCE = 1.0
# Of how many bridges the arguments are kept out of the log; a tor has a few.
MAX_BRIDGES = 1024


class SocksBridge(ClientSide):
    """Carries what tors send, each connection to the bridge that it names."""

    PORT = "a PT for tor, on port"

    def __init__(self, setup: BridgeSetup) -> None:
        """Create a bridge, as with `ClientSide`; tors connect to its sockets."""
        super().__init__(setup, on_full=self._end_the_slowest)
        # No tor speaks the session.
        self._sessions = Sessions(
            self._loop, self._tunnels.pipes, Limits(), self._tunnel_ended
        )
        # Not one for both: noise must not hide what is wrong with a bridge line.
        self._noise, self._mistakes = RateLimit(), RateLimit()
        # Who has not said yet what it wants, and since when, the oldest first.
        self._asking: dict[socket.socket, float] = {}
        self._known: set[bytes] = set()
        self._is_there = asyncio.Event()

    def _let_in(self) -> None:
        self._is_there.set()
        super()._let_in()

    def _pt_has_gone(self) -> None:
        # Whoever is being dialled has another try, with the next PT.
        self._is_there.clear()
        self._tunnels.pt_died()

    def _worded(self, text: str) -> str:
        return reasons.in_tors_words(text)

    def _deliver(self, local: socket.socket) -> None:
        """Carry a connection of a tor's."""

        def on_dialled(plain: socket.socket | None) -> None:
            if plain is None:
                local.close()
                self._listener.release()
            elif not answer(local, socks_server.reply(SUCCEEDED)):
                reset(local)
                plain.close()
                self._listener.release()
            else:
                self._tunnels.join(local, plain, self._pt_has_died)

        self._dials.start(self._dial(local), on_dialled)

    async def _dial(self, local: socket.socket) -> socket.socket | None:
        """Reach the bridge that a tor wants; where that fails, say so to it."""
        self._asking[local] = self._loop.time()
        try:
            request = await shake_hands(
                local, socks_server.accept(), limit=REQUEST_LIMIT, peer="tor"
            )
        except (ProtocolError, OSError) as error:
            if isinstance(error, ProtocolError):
                self._complain(self._noise, f"a connection was refused: {error}")
            return None
        finally:
            del self._asking[local]
        self._learn(request)
        try:
            self._check(request)
            plain = await self._reach(request)
        except OptionsError as error:
            what = str(error).partition(" in the plugin options")[0]
            self._complain(self._mistakes, f"a bridge line of tor's is wrong: {what}")
        except (ProtocolError, OSError) as error:
            logger.debug("! a connection failed: %r", error)
            self._on_dial_failed(error)
        else:
            self._running.on_succeeded(self._config.transport)
            return plain
        answer(local, socks_server.reply(socks_server.FAILED))
        return None

    def _end_the_slowest(self) -> bool:
        """Close the connection that has been silent for longest, to make room.

        Returns:
            False: the place is free in the loop's next turn, and not yet.
        """
        since, sock = next(((at, each) for each, at in self._asking.items()), (0, None))
        if sock is not None and self._loop.time() - since >= PATIENCE:
            with contextlib.suppress(OSError):  # it has left
                sock.shutdown(socket.SHUT_RDWR)
        return False

    def _learn(self, request: socks_server.Request) -> None:
        """Keep a bridge's arguments out of the log."""
        encoded = request.encoded_arguments
        if encoded in self._known or len(self._known) >= MAX_BRIDGES:
            return
        self._known.add(encoded)
        self._scrubber.add(secrets=[value for _, value in request.arguments])

    def _check(self, request: socks_server.Request) -> None:
        """Check the arguments by the catalogue: snowflake's PT dies of some."""
        transport = self._config.transport
        side = side_of(transport, server=False)
        if side is not None:
            pt_arguments.check_needs(
                *(transport, side, request.arguments),
                server=False,
                flags=lambda: self._programs.pt_arguments,
            )
            pt_arguments.check_shapes(side, request.arguments)

    async def _reach(self, request: socks_server.Request) -> socket.socket:
        """Dial a bridge through the PT, or once more where that dies meanwhile."""
        client = await self._living_client()
        try:
            return await self._dial_through(client, request)
        except (ProtocolError, OSError):
            if not client.is_ending():
                raise
        # Once: a bridge of which PTs die is not tried for ever.
        return await self._dial_through(await self._living_client(), request)

    async def _living_client(self) -> PtClient:
        """Return the PT, or wait for the next one."""
        async with asyncio.timeout(self._config.start_timeout):
            while True:
                await self._is_there.wait()
                client = self._running.of(self._config.transport)
                if client is not None and not client.is_ending():
                    return client
                self._is_there.clear()  # we are not told of the death yet, perhaps

    async def _dial_through(
        self, client: PtClient, request: socks_server.Request
    ) -> socket.socket:
        return await client.dial(request.target, arguments=request.encoded_arguments)
