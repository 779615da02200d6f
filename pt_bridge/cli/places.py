"""Where a command listens and connects to: --local, --remote, and what replaces them.

With a tor before a client, each connection names its server; with a tor behind a
server, its Extended ORPort is where connections go. What must still be there for
`Config` is an address that nobody has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.errors import UsageError
from pt_bridge.options.operator_options import PUBLIC
from pt_bridge.options.own_options import CLIENT, SERVER
from pt_bridge.options.tor_options import host_and_port
from pt_bridge.plans.plan import TOR_BEHIND

if TYPE_CHECKING:
    from pt_bridge.options.option_values import Values

# Of those for documentation (RFC 5737); it is never connected to.
NOWHERE = "192.0.2.3:80"


def of(
    command: str, local: str | None, remote: str | None, flags: Values
) -> tuple[str, str]:
    """Return what stands for --local and --remote.

    Args:
        command: client or server.
        local: what --local says.
        remote: what --remote says.
        flags: our own options from the command line.

    Raises:
        UsageError: one is missing, or has no meaning beside the other flags.
        OptionsError: what stands for one is no host and port.
    """
    socks = flags.get("socks") if command == CLIENT else None
    if socks is not None:
        if local is not None or remote is not None:
            raise UsageError(
                "--socks says where to listen, and each connection which bridge it "
                "wants: leave --local and --remote out"
            )
        place = host_and_port("socks", socks.removeprefix(PUBLIC))
        return str(place), NOWHERE
    if any(name in flags for name in TOR_BEHIND):
        if local is not None:
            raise UsageError(
                "connections go to tor's Extended ORPort: leave --local out, for tor's "
                "ORPort is not used"
            )
        behind = flags.get("ext-orport")
        local = NOWHERE if behind is None else str(host_and_port("ext-orport", behind))
    missing = [
        flag
        for flag, value in (("--local", local), ("--remote", remote))
        if value is None
    ]
    if local is None or remote is None:
        instead = ""
        if command == SERVER and local is None:
            instead = " (or, for a tor behind, --tor-control)"
        raise UsageError(
            f"the following arguments are required: {', '.join(missing)}{instead}; see "
            f"'pt-bridge {command} --help'"
        )
    return local, remote
