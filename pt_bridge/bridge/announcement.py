"""What a server tells its operator when its PT is ready: what its clients must use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pt_bridge.files import state_dir
from pt_bridge.options import client_options
from pt_bridge.options.option_values import ALWAYS
from pt_bridge.system.log import STDERR, TUNNEL, logger, say

if TYPE_CHECKING:
    from pt_bridge.options.config import Config
    from pt_bridge.protocol.pt_launch import Launch


def announce(
    config: Config,
    folder: str,
    launch: Launch,
    *,
    is_new: bool,
    is_first: bool,
    via: tuple[str, str] | None = None,
) -> None:
    """Write what clients must use to where the operator finds it, and say where.

    Args:
        config: what the user asks for.
        folder: the PT's state folder.
        launch: what the PT says that clients must use.
        is_new: whether the PT has found no keys, and made some.
        is_first: whether this is the first PT of this run.
        via: the clients' `via=` and `via-opts=`, see `PtServer.via_for_clients`.
    """
    line = client_options.client_line(
        launch.transport, launch.arguments, ALWAYS, via, udp=config.udp
    )
    path, before = state_dir.write_client_options(folder, line)
    if config.via is not None and via is None:
        logger.warning(
            "clients need more than that file has: add via= with the client's side of "
            "%s, and its options in via-opts=",
            config.via.name,
        )
    if is_new:
        logger.info("a new server: its clients' plugin options are in %s", path)
        others = state_dir.other_ports(config, folder)
        # Where there are several tunnels, they are theirs.
        if others and launch.arguments and not TUNNEL.get():
            logger.warning(
                "port %d has new keys, and there are others: %s; if you have only "
                "changed the port, clients need the new options, or stop pt-bridge "
                "and move the old folder to %s",
                config.remote_port,
                ", ".join(others),
                folder,
            )
    elif before and (other := before.partition(";")[0]) != line.partition(";")[0]:
        logger.warning(
            "%s was for %s: every client of this server needs the new options; if "
            "another server shares the folder, give each a state= of its own",
            path,
            other,
        )
    elif before is not None and not client_options.same_identity(before, line):
        has_keys = client_options.same_identity(
            before, line, ignored=client_options.OF_THE_PLUGIN
        )
        logger.warning(
            "%s has changed: every client needs the new plugin options in %s",
            "what via= asks of clients" if has_keys else "this server's identity",
            path,
        )
    elif is_first:
        logger.info("the clients' plugin options are in %s", path)
    if os.isatty(STDERR):
        # For the person who sits there; no log gets to see it.
        say(line)
