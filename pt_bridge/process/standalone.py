"""One tunnel that was started by hand, or by a unit: what signals mean to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.errors import PtBridgeError
from pt_bridge.net import takeover
from pt_bridge.process.replaceable_tunnel import ReplaceableTunnel
from pt_bridge.system import log, signals
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pt_bridge.process.tunnel import TunnelSetup


class Standalone(ReplaceableTunnel):
    """A tunnel that is a process of its own.

    Attributes:
        before_reload: asked at SIGHUP; whether there is nothing to read again.
    """

    def __init__(self, setup: TunnelSetup) -> None:
        """Create it without a bridge, as with `ReplaceableTunnel`."""
        super().__init__(setup)
        self._has_terminal = signals.has_terminal()
        self.before_reload: Callable[[], bool] = lambda: False
        self.on_settled = self._tell_ready

    def _tell_ready(self) -> None:
        """Have another pt-bridge give up the port of its PT, if one waits for that."""
        if takeover.is_going_on() and self.is_well:
            takeover.tell_ready()

    def reload(self) -> None:
        """Answer SIGHUP: open log files anew, and read pt-bridge.conf again.

        Where the signal tells that our terminal has gone, it is a stop.
        """
        if self._has_terminal and not signals.has_terminal():
            self.stop()
            return
        if self.before_reload():
            return
        try:
            log.reopen_files()
        except PtBridgeError as error:
            logger.warning("reloading: %s; the log goes on in the old file", error)
        self.renew()

    def all_sockets(self) -> list[socket.socket]:
        """Return where it listens."""
        return list(self.sockets.values())

    def replace_pts(self) -> None:
        """Replace the PT in any case (SIGUSR2)."""
        self.replace()
