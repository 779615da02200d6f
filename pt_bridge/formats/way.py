"""One way to the server: a bridge, and what the PT has to be told to reach it."""

from __future__ import annotations

from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.protocol.pt_args import encode_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_bridge.protocol.address import Address


class Way:
    """What a client needs for one of its ways.

    Attributes:
        transport: the PT method.
        arguments: the PT's arguments, in order, duplicates kept.
        encoded_arguments: the same for SOCKS, at most 510 bytes.
        addresses: where the server is: IP addresses and names, in order.
    """

    __slots__ = ("addresses", "arguments", "encoded_arguments", "transport")

    def __init__(
        self,
        transport: str,
        arguments: Sequence[tuple[str, str]],
        addresses: Sequence[Address],
    ) -> None:
        """Create a way.

        Raises:
            OptionsError: the arguments cannot be told to a PT.
        """
        self.transport = transport
        self.arguments = list(arguments)
        self.addresses = list(addresses)
        try:
            self.encoded_arguments = encode_client(self.arguments)
        except ProtocolError as error:
            raise OptionsError(f"the plugin options: {error}") from None

    def __repr__(self) -> str:
        """Leave out all but the transport: the rest may be a secret."""
        return f"Way({self.transport!r})"
