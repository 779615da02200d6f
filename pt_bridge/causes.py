"""Why a connection failed, in a sentence that tells what to do.

PTs say next to nothing (conformance SK-10): a server that is down, a wrong cert and a
clock that is off all look the same from here, so the sentence names them all.
"""

from __future__ import annotations

import errno

from pt_bridge.errors import (
    ArgumentsRejected,
    CutAtOnce,
    HungUp,
    LoginRefused,
    ProtocolError,
    ProxyRefused,
    Unanswered,
    Unreached,
    Unresolved,
)

# Of failed connections, one in so many seconds is told of.
INTERVAL = 30.0
# What PTs write, and what it means; Go's own words, mostly.
WORDS = {
    "certificate has expired or is not yet valid": (
        "the web server's certificate is out of date, or this machine's clock wrong"
    ),
    "x509:": (
        "the web server's certificate is not one that this machine believes: url= may "
        "be wrong, or somebody in between"
    ),
    "tls:": "what answered speaks no TLS: url= or SS_REMOTE_PORT may be wrong",
    "no such host": (
        "the PT found no address for a name: it may be misspelt, or this machine's DNS "
        "down or censored"
    ),
    "connection refused": "nothing listens where the PT was sent",
    "connection reset": "the server or somebody in between cut the PT's connection",
    "i/o timeout": "nothing answers where the PT was sent",
    "broker failure": (
        "the snowflake broker cannot be reached: url= or fronts= may be blocked"
    ),
}


def explain(
    error: ProtocolError | OSError, *, proxy: bool = False, clock: bool | None = None
) -> str:
    """Say why a connection through the PT failed, and what may be wrong.

    Args:
        error: what `dial` raised.
        proxy: whether there is an upstream proxy on the way.
        clock: whether something keeps this machine's clock right, or None where that is
            not known.
    """
    if isinstance(error, LoginRefused):
        return f"a connection failed ({error}): look at upstream-proxy="
    if isinstance(error, CutAtOnce):
        return explain_cut(was_reset=error.was_reset)
    if isinstance(error, ArgumentsRejected):
        return f"{error}: copy the server's line whole, escapes included"
    if isinstance(error, ConnectionRefusedError):
        return (
            "a connection failed: the PT itself refused it, and may be about to end; "
            "if that goes on, start pt-bridge again"
        )
    why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
    suspects = _suspects_of(error, proxy=proxy, clock=clock)
    return f"a connection failed ({why}): {suspects}"


def _suspects_of(
    error: ProtocolError | OSError, *, proxy: bool, clock: bool | None
) -> str:
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
            last = _or_the_clock(", SS_REMOTE_PORT another program's", clock=clock)
            return (
                f"the server did not like what it saw, or somebody in between cut it: "
                f"the arguments (cert and the like) may be another server's{last}"
            )
        case HungUp() | Unanswered():
            return (
                "the server speaks, but not this transport with these arguments: "
                "SS_REMOTE_PORT may be another program's, or the arguments (cert and "
                "the like) cut or another server's"
            )
    return _suspects(proxy=proxy, clock=clock)


def explain_host(error: OSError) -> str:
    """Say why a connection that came through the PT server could not go on.

    Args:
        error: what connecting to the host raised.
    """
    return (
        f"a connection came in, and shadowsocks's own server did not take it "
        f"({_reason(error)}): "
        f"is it running, and does it listen on SS_LOCAL_HOST and SS_LOCAL_PORT?"
    )


def explain_host_down(error: OSError) -> str:
    """Say that the shadowsocks server cannot be reached from its own machine."""
    return (
        f"shadowsocks's own server takes no connections ({_reason(error)}): is it "
        f"running, and does it listen on SS_LOCAL_HOST and SS_LOCAL_PORT?"
    )


def explain_silence(
    seconds: float, *, proxy: bool = False, clock: bool | None = None
) -> str:
    """Say what may be wrong when the PT has not answered for so long.

    It may take a minute to give up, and a user gives up before.
    """
    suspects = _suspects(proxy=proxy, clock=clock)
    return f"no answer to a connection in {seconds:g} s so far: {suspects}"


def _suspects(*, proxy: bool, clock: bool | None) -> str:
    first = "the upstream proxy or the server" if proxy else "the server"
    last = ", the arguments (cert and the like) cut or another server's"
    return (
        f"{first} may be down or blocked, SS_REMOTE_HOST or SS_REMOTE_PORT wrong"
        f"{_or_the_clock(last, clock=clock)}"
    )


def _or_the_clock(last: str, *, clock: bool | None) -> str:
    """End a list of suspects with the clock, unless that is known to be right.

    Args:
        last: the last suspect before it, with its comma.
        clock: whether something keeps the clock right, or None.
    """
    if clock:
        return f", or{last[1:]}"
    why = "" if clock is None else " (nothing keeps it right at the moment)"
    return f"{last}, or this machine's clock off by an hour{why}"


def explain_plain(error: ProxyRefused) -> str:
    """Say that a PT is not held on its wire side, since it takes no proxy."""
    return f"{error}: it gets the wire to itself (as with hold=plain)"


def explain_proxy(error: OSError) -> str:
    """Say why the upstream proxy itself cannot be reached."""
    return (
        f"the upstream proxy cannot be reached ({_reason(error)}): it may be down, or "
        f"upstream-proxy= wrong"
    )


def explain_cut(*, was_reset: bool) -> str:
    """Say why the server ended a connection as soon as the PTs had shaken hands."""
    how = "reset" if was_reset else "closed"
    return (
        f"the server let a connection in, and {how} it at once: the shadowsocks server "
        f"behind it may be down or not yet listening"
    )


def explain_no_answer(why: str) -> str:
    """Say why a request through shadowsocks brought not one byte back.

    Args:
        why: how it ended, in a few words.
    """
    return (
        f"no byte came back through shadowsocks ({why}): its password or method may "
        f"differ between both sides, or the server cannot reach what was asked for"
    )


def explain_no_start(program: str, words: str) -> str:
    """Say that shadowsocks's own client did not start.

    Args:
        program: its name.
        words: what it wrote, or "".
    """
    return f"{program} ended as soon as it was started: {words or 'it said nothing'}"


def explain_words(words: str) -> str:
    """Say what a line that a PT wrote means, or "" for what says nothing to us."""
    for part, meaning in WORDS.items():
        if part in words:
            return meaning
    return ""


def advise(error: Exception, *, proxy: bool = False, clock: bool | None = None) -> str:
    """Say what to try next; "" where the error's own sentence says that.

    Args:
        error: what a step towards the server raised.
        proxy: as with `explain`.
        clock: likewise.
    """
    match error:
        case LoginRefused():
            return "give the proxy's user name and password in upstream-proxy="
        case ArgumentsRejected():
            return "paste the line of the server's client-options.txt anew"
        case Unresolved():
            return "ask another resolver for the name, and give its IP address instead"
        case Unreached(errno=errno.ECONNREFUSED):
            return (
                "run 'pt-bridge doctor' on the server, with the server's own options, "
                "and see that the port is the same on both sides"
            )
        case Unreached():
            return (
                "see that the server's firewall lets the port in, and try from another "
                "network, such as a phone's"
            )
        case HungUp(was_reset=True, received=0):
            return (
                "try from another network: if it works there, somebody in between cuts "
                "it; if not, paste the line of the server's client-options.txt anew"
            )
        case ConnectionRefusedError():
            return ""
        case ProtocolError() | OSError() if proxy:
            return "see whether other programs get anywhere through the upstream proxy"
        case ProtocolError() | OSError() if clock is False:
            return (
                "paste the line of the server's client-options.txt anew, and see that "
                "the clock is right"
            )
        case ProtocolError() | OSError():
            return "paste the line of the server's client-options.txt anew"
    return ""


def _reason(error: OSError) -> str:
    return str(error.strerror or str(error) or "no answer in time").lower()


ADVICE_IF_CUT = (
    "see that the shadowsocks server runs, and behind the same pt-bridge: 'pt-bridge "
    "doctor' on the server tells"
)
ADVICE_IF_HOST_IS_DOWN = (
    "start it, and look at its own log; --local is where it takes connections from "
    "pt-bridge"
)
ADVICE_IF_NO_ANSWER = (
    "compare password and method with the server's, and try --through with another "
    "web server"
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
