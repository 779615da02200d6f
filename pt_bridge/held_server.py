"""The server's side where both ends of the PT are held (``hold=both``).

We listen in the PT's place, and the PT on loopback behind us::

    client ── net ── pt-bridge ── leg ── PT ── plain ── pt-bridge ── near ── host

The PT brings a connection back (`pt_bridge.orport`) once its client has shown that it
may come in, and says who that is: by the port from which we called, we know again which
connection it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.bridge import ListeningBridge
from pt_bridge.callback import HANDSHAKE_LIMIT
from pt_bridge.connection import answer
from pt_bridge.dial import connect
from pt_bridge.errors import Misspoke
from pt_bridge.log import logger
from pt_bridge.protocol import extorport
from pt_bridge.protocol.address import Address
from pt_bridge.server import ServerBridge

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from pt_bridge.child import Child
    from pt_bridge.config import Config
    from pt_bridge.scrubber import Scrubber
    from pt_bridge.wire import Wire

LOOPBACK = "127.0.0.1"


class HeldServerBridge(ListeningBridge, ServerBridge):
    """Keeps a PT server between its clients and the host, and both in its hands."""

    def __init__(
        self,
        config: Config,
        variables: Mapping[bytes, bytes],
        scrubber: Scrubber,
        socks: Sequence[socket.socket],
    ) -> None:
        """Make a bridge; `run` builds it up and takes it down again.

        Args:
            config: what the user asks for.
            variables: our environment.
            scrubber: learns the arguments that the PT makes for its clients.
            socks: where clients connect to, listening already; the bridge owns them.
        """
        super().__init__(config, variables, scrubber)
        self._expected: dict[Address, Wire] = {}
        self._listen(socks)

    async def _serve(self) -> NoReturn:
        with self._listener:
            await super()._serve()

    async def _pt_address(self) -> Address:
        return Address(LOOPBACK, 0)

    async def _ready(self, child: Child) -> None:
        await super()._ready(child)
        if child.launch.address is None:
            raise Misspoke(
                f"{child.launch.program} was told to listen on loopback, and says that "
                f"it does not: use another program, or hold=plain"
            )
        self._address = child.launch.address
        if dict(child.launch.arguments).get("iat-mode", "0") != "0":
            # An identity keeps the mode that it was made with (conformance PE-04).
            logger.warning(
                "this server's keys were made with an iat-mode, and hold=both merges "
                "the packets that it shapes: add hold=plain, or iat-mode=0"
            )

    def _let_in(self) -> None:
        self._listener.open()

    def _deliver(self, net: socket.socket) -> None:
        """Call the PT for a client."""
        self._start_dialling(
            self._dials, self._call_pt(), lambda leg: self._has_called(net, leg)
        )

    async def _call_pt(self) -> socket.socket | None:
        try:
            return await connect(self._address, patience=0, limit=HANDSHAKE_LIMIT)
        except OSError as error:
            logger.debug("! the PT was not reached: %r", error)
            return None

    def _has_called(self, net: socket.socket, leg: socket.socket | None) -> None:
        """Let the PT shake hands with its client."""
        # The port of a PT that has died may be another user's by now.
        is_pt = leg is not None and not self._pt_has_died()
        if leg is not None and is_pt and self._listener.is_open:
            here = Address(*leg.getsockname())
            self._expected[here] = self._tunnels.wire(
                leg, net, lambda _: self._wire_ended(here), self._manners.is_ending
            )
            return
        if leg is not None:
            leg.close()
        self._was_not_carried(net)

    def _wire_ended(self, here: Address) -> None:
        """Forget a client that has not come in."""
        self._expected.pop(here, None)
        self._listener.release()

    def _called(self, plain: socket.socket, request: extorport.Request) -> None:
        """Know the client again, and reach the host for it."""
        wire = None
        if request.user_address is not None:
            wire = self._expected.pop(request.user_address, None)
        if wire is None:
            # Somebody of this machine has called the PT behind our back.
            logger.debug("! the PT brought a client that did not come through us")
            answer(plain, extorport.DENY)
            plain.close()
        else:
            wire.claim()
            self._start_reaching(plain, wire)
