"""Why a connection failed, in a sentence that tells what to do.

PTs say next to nothing (conformance SK-10): a server that is down, a wrong cert and a
clock that is off all look the same from here, so the sentence names them all.
"""

from __future__ import annotations

import errno

from pt_bridge.errors import (
    ArgumentsRejected,
    HungUp,
    LoginRefused,
    ProtocolError,
    Unanswered,
    Unreached,
    Unresolved,
)

# Of failed connections, one in so many seconds is told of.
INTERVAL = 30.0


def explain(error: ProtocolError | OSError, *, proxy: bool = False) -> str:
    """Say why a connection through the PT failed, and what may be wrong.

    Args:
        error: what `dial` raised.
        proxy: whether there is an upstream proxy on the way.
    """
    if isinstance(error, LoginRefused):
        return f"a connection failed ({error}): look at upstream-proxy="
    if isinstance(error, ArgumentsRejected):
        return f"{error}: copy the server's line whole, escapes included"
    if isinstance(error, ConnectionRefusedError):
        return (
            "a connection failed: the PT itself refused it, and may be about to end; "
            "if that goes on, start pt-bridge again"
        )
    why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
    return f"a connection failed ({why}): {_suspects_of(error, proxy=proxy)}"


def _suspects_of(error: ProtocolError | OSError, *, proxy: bool) -> str:
    """Name what may be wrong; where both ends of the PT are held, we saw the wire."""
    match error:
        case Unresolved():
            return (
                "SS_REMOTE_HOST (shadowsocks calls it 'server') may be misspelt, or "
                "this machine's DNS down or censored; an IP address needs none"
            )
        case Unreached(errno=errno.ECONNREFUSED):
            return (
                "the server's machine is up, and nothing listens on SS_REMOTE_PORT "
                "there: its shadowsocks or pt-bridge may be down, or the port wrong"
            )
        case Unreached():
            return (
                "the server's machine or this one's network may be down, "
                "SS_REMOTE_HOST or SS_REMOTE_PORT wrong, or a firewall in between"
            )
        case HungUp(received=0) | Unanswered(received=0):
            return (
                "the server did not like what it saw, or somebody in between cut it: "
                "the arguments (cert and the like) may be another server's, "
                "SS_REMOTE_PORT another program's, or this machine's clock off by an "
                "hour"
            )
        case HungUp() | Unanswered():
            return (
                "the server speaks, but not this transport with these arguments: "
                "SS_REMOTE_PORT may be another program's, or the arguments (cert and "
                "the like) cut or another server's"
            )
    return _suspects(proxy=proxy)


def explain_host(error: OSError) -> str:
    """Say why a connection that came through the PT server could not go on.

    Args:
        error: what connecting to the host raised.
    """
    why = str(error.strerror or "no answer in time").lower()
    return (
        f"a connection came in, and shadowsocks's own server did not take it ({why}): "
        f"is it running, and does it listen on SS_LOCAL_HOST and SS_LOCAL_PORT?"
    )


def explain_silence(seconds: float, *, proxy: bool = False) -> str:
    """Say what may be wrong when the PT has not answered for so long.

    It may take a minute to give up, and a user gives up before.
    """
    return (
        f"no answer to a connection in {seconds:g} s so far: {_suspects(proxy=proxy)}"
    )


def _suspects(*, proxy: bool) -> str:
    first = "the upstream proxy or the server" if proxy else "the server"
    return (
        f"{first} may be down or blocked, SS_REMOTE_HOST or SS_REMOTE_PORT wrong, the "
        f"arguments (cert and the like) cut or another server's, or this machine's "
        f"clock off by an hour"
    )


class Complaints:
    """Lets one sentence in a while through, and counts those that it holds back."""

    def __init__(self, interval: float = INTERVAL) -> None:
        """Make one that lets something through every `interval` seconds."""
        self._interval = interval
        self._last: float | None = None
        self._held_back = 0

    def admit(self, text: str, now: float) -> str | None:
        """Give the sentence for the log, or None.

        Args:
            text: the sentence.
            now: the time, in seconds of any clock that goes steadily.
        """
        if self._last is not None and now - self._last < self._interval:
            self._held_back += 1
            return None
        self._last = now
        held_back, self._held_back = self._held_back, 0
        if not held_back:
            return text
        return f"{text} ({held_back} more failed since the last such line)"
