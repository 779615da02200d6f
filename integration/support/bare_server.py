"""A PT server without pt-bridge: the test starts it, and its ORPort is the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.support.endpoints import free_port

if TYPE_CHECKING:
    from integration.support.endpoints import Address
    from integration.support.machine import Machine


class BareServer:
    """A PT that serves obfs4, started as Tor does (pt-spec 3.2).

    Attributes:
        address: where it listens.
        options: what its clients need.
        pt: the PT itself.
    """

    def __init__(self, machine: Machine, program: str, service: Address) -> None:
        """Start it, and wait until it is ready.

        Args:
            machine: where.
            program: the PT.
            service: what it connects to for each of its clients.
        """
        self.address: Address = ("127.0.0.1", free_port())
        state = machine.folder / f"bare-{self.address[1]}"
        state.mkdir()
        self.pt = pt = machine.start_pt(
            program,
            {
                "TOR_PT_STATE_LOCATION": str(state),
                "TOR_PT_SERVER_TRANSPORTS": "obfs4",
                "TOR_PT_SERVER_BINDADDR": f"obfs4-{_text(self.address)}",
                "TOR_PT_ORPORT": _text(service),
            },
        )
        said = pt.wait_for("SMETHOD obfs4 ")
        arguments = said.partition("ARGS:")[2].replace(",", ";")
        self.options = f"transport=obfs4;{arguments};exec={program}"


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
