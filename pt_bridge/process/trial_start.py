"""Start a new PT on trial, and end it, before the old one gives up its port.

What would fail then - a transport that the program does not offer, arguments that it
refuses, a program that hangs - fails now, while the old one still takes everybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.files import operator_files, state_dir, temporary_dir
from pt_bridge.net.resolve import Resolver
from pt_bridge.protocol.address import Address
from pt_bridge.pt.client import ProxyUrl, PtClient
from pt_bridge.pt.programs import Programs
from pt_bridge.pt.running_pt import PtSetup
from pt_bridge.pt.server import PtServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_bridge.options.config import Config

LOOPBACK = "127.0.0.1"
DISCARD = 9  # nobody is passed on, so nobody need listen there


async def try_start(config: Config, variables: Mapping[bytes, bytes]) -> None:
    """Start a PT where nobody connects, and end it once it is ready.

    Args:
        config: what it is to be.
        variables: our environment.

    Raises:
        PtBridgeError: it cannot be started, or is not ready in time.
    """
    programs = Programs(config, variables)
    programs.read_owner_config()
    limit = config.start_timeout
    setup = PtSetup(
        config,
        variables,
        programs.find_pt,
        limit,
        find_outer=programs.finds_outer,
    )
    if not config.server:
        resolver = Resolver()
        url = ProxyUrl(config.upstream_proxy, resolver, patience=limit)
        async with PtClient(setup, url, resolver=resolver):
            return
    operator_files.check(config)
    state_dir.persistent(config, variables)
    with temporary_dir.temporary(variables) as folder:
        async with PtServer(
            setup,
            bind=Address(LOOPBACK, 0),
            orport=Address(LOOPBACK, DISCARD),
            folder=folder,
        ):
            return
