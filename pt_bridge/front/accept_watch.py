"""Notice a server's PT that lives, and accepts no connection any more.

The kernel completes connections for whoever listens, and keeps them until he accepts:
so long, the other end of ours is nobody's file. They are accepted in order. So a
connection that is still nobody's after a while says that the PT does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.net.sock_diag import SockDiag

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.front.connection import FrontedConnection
    from pt_bridge.front.pt import FrontedPt
    from pt_bridge.listen.acceptor import CallLater, Timer

# How often to look (seconds), and at how many looks behind the first a connection must
# not be accepted: more than one, since the machine may have stood still.
LOOK_INTERVAL, LOOKS = 6.0, 2


class AcceptWatch:
    """Looks at the newest connection to a PT, while there is one to be accepted."""

    def __init__(
        self, pt: FrontedPt, call_later: CallLater, on_stuck: Callable[[], None]
    ) -> None:
        """Look at nothing before there is a connection.

        Args:
            pt: the PT.
            call_later: sets a timer.
            on_stuck: called once, where it accepts nothing.
        """
        self._pt = pt
        self._call_later = call_later
        self._on_stuck = on_stuck
        self._timer: Timer | None = None
        self._unaccepted: FrontedConnection | None = None
        self._looks = 0

    def on_connection(self) -> None:
        """Learn that there is one more."""
        if self._timer is None:
            self._timer = self._call_later(LOOK_INTERVAL, self._look)

    def stop(self) -> None:
        """Look no more; safe to call again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._pt.has_died():
            return
        with SockDiag() as kernel:
            if self._unaccepted is None or self._unaccepted.is_accepted(kernel):
                self._unaccepted, self._looks = self._newest(kernel), 0
            else:
                self._looks += 1
        if self._unaccepted is None:
            return  # all were: whoever came before it, too
        if self._looks < LOOKS:
            self.on_connection()
        else:
            self._on_stuck()

    def _newest(self, kernel: SockDiag) -> FrontedConnection | None:
        """Return the newest connection, if it is not accepted."""
        newest = next(reversed(self._pt.connections.values()), None)
        return None if newest is None or newest.is_accepted(kernel) else newest
