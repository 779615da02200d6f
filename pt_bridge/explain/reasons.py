"""Why something failed, in a sentence that names what may be wrong.

PTs say next to nothing (SK-10): a server that is down, a wrong cert and a
clock that is off all look the same from here, so the sentence names them all.
"""

from __future__ import annotations

import errno

from pt_bridge.errors import (
    SHORTAGES,
    ArgumentsRejected,
    HungUp,
    LoginRefused,
    ProtocolError,
    SpeaksOtherwise,
    Unanswered,
    Unreached,
    Unresolved,
)
from pt_bridge.protocol.frames import Cause

# What a server's pt-bridge says of a connection that it did not accept.
REFUSALS = {
    Cause.REFUSED: (
        "the server's shadowsocks is down: its pt-bridge is reached, and nothing "
        "listens behind it; 'pt-bridge doctor' on the server tells more"
    ),
    Cause.UNREACHABLE: (
        "the server's pt-bridge is reached, and does not reach the shadowsocks behind "
        "it; 'pt-bridge doctor' on the server tells more"
    ),
    Cause.BUSY: (
        "the server is short of something (open files, mostly), and turned a "
        "connection away: see its log"
    ),
    Cause.UNSUPPORTED: "the server carries no UDP: add 'udp' to its plugin options",
}
REFUSED_SOMEHOW = (
    "the server's pt-bridge is reached, and turned a connection away for a reason that "
    "this version does not know"
)
# A wrong cert takes longer: servers hang up on one after half a minute (seconds).
AT_ONCE = 5.0
NOBODY_THERE = (
    "most likely nothing listens at the server's address and port, or another program "
    "does"
)
# What more a connection may fail of where another plugin stands outside the PT.
OR_THE_PLUGIN = ", or the plugin that via= names may not fit the server's"
# The end of what a client's log says of a connection that failed.
ASK_DOCTOR = "; 'pt-bridge doctor' tells more"
UNPROVEN_SERVER = (
    "whether the server was reached is not proven: a PT for {transport} says nothing "
    "of it, and no byte came back"
)
UNPROVEN_SHADOWSOCKS = (
    "whether shadowsocks's server takes connections is not proven: lyrebird does not "
    "pass on that a connection was closed (a session tells it)"
)
WHERE_SHADOWSOCKS_IS = (
    "is it running, and does it listen where pt-bridge was told (by shadowsocks "
    "itself; by hand: --local)?"
)


def explain(
    error: ProtocolError | OSError,
    *,
    proxy: bool = False,
    clock: bool | None = None,
    seconds: float | None = None,
) -> str:
    """Return why a connection through the PT failed, and what may be wrong.

    Args:
        error: what `dial` raised.
        proxy: whether there is an upstream proxy on the way.
        clock: whether something keeps this machine's clock right, or None where that is
            not known.
        seconds: how long a PT took that dials the server itself, where nobody else has
            done that; or None.
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
    if isinstance(error, OSError) and error.errno in SHORTAGES:
        return (
            f"a connection failed: this machine is short of something "
            f"({_reason(error)}); where it is open files, raise their limit "
            f"(LimitNOFILE=)"
        )
    why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
    suspects = _suspects_of(error, proxy=proxy, clock=clock)
    if seconds is not None and seconds < AT_ONCE and not proxy:
        suspects = f"{NOBODY_THERE}; if not, {suspects}"
    return f"a connection failed ({why}): {suspects}"


def _suspects_of(
    error: ProtocolError | OSError, *, proxy: bool, clock: bool | None
) -> str:
    """Name what may be wrong; doctor's own connections to the server tell more."""
    match error:
        case Unresolved():
            return (
                "the server's name (shadowsocks's 'server', or --remote) may be "
                "misspelt, or this machine's DNS down or censored; an IP address needs "
                "none"
            )
        case Unreached(errno=errno.ECONNREFUSED):
            return (
                "the server's machine is up, and nothing listens on that port there: "
                "its shadowsocks or pt-bridge may be down, or the port wrong "
                "(shadowsocks's 'server_port', or --remote)"
            )
        case Unreached(errno=errno.ETIMEDOUT):
            return (
                "most likely a firewall in between drops what is sent there, the "
                "server's own or a censor's; if not, the server's machine may be off, "
                "or its address or port wrong (shadowsocks's 'server' and "
                "'server_port', or --remote)"
            )
        case Unreached():
            return (
                "the server's machine or this one's network may be down, the server's "
                "address or port wrong (shadowsocks's 'server' and 'server_port', or "
                "--remote), or a firewall in between"
            )
        case HungUp() | Unanswered():
            last = _or_the_clock(", the server's port another program's", clock=clock)
            return (
                f"the server did not like what it saw, or somebody in between cut it: "
                f"the arguments (cert and the like) may be another server's{last}"
            )
        case SpeaksOtherwise():
            return (
                "the server speaks, but not this transport with these arguments: "
                "the server's port may be another program's, or the arguments (cert "
                "and the like) cut or another server's"
            )
    return _suspects(proxy=proxy, clock=clock)


def in_tors_words(text: str) -> str:
    """Return a sentence about a server as it reads for somebody who uses tor.

    There, a bridge line says all that is said of a server, and no shadowsocks is.
    """
    for shadowsocks, tor in (
        (" (shadowsocks's 'server' and 'server_port', or --remote)", ""),
        (" (shadowsocks's 'server_port', or --remote)", ""),
        (" (shadowsocks's 'server', or --remote)", ""),
        ("its shadowsocks or pt-bridge may be down", "its PT may be down"),
        ("the line of the server's client-options.txt", "the bridge line"),
        ("copy the server's line whole", "copy the bridge line whole"),
    ):
        text = text.replace(shadowsocks, tor)
    return text


def explain_shadowsocks(error: OSError) -> str:
    """Return why a connection that came through the PT server could not go on.

    Args:
        error: what connecting to shadowsocks raised.
    """
    return (
        f"a connection came in, and shadowsocks's own server did not take it "
        f"({_reason(error)}): "
        f"{WHERE_SHADOWSOCKS_IS}"
    )


def explain_shadowsocks_down(error: OSError) -> str:
    """Return that the shadowsocks server cannot be reached from its own machine."""
    return (
        f"shadowsocks's own server takes no connections ({_reason(error)}): "
        f"{WHERE_SHADOWSOCKS_IS}"
    )


def explain_silence(
    seconds: float, *, proxy: bool = False, clock: bool | None = None
) -> str:
    """Return what may be wrong when the PT has not answered for so long.

    It may take a minute to give up, and a user gives up before.
    """
    suspects = _suspects(proxy=proxy, clock=clock)
    return f"no answer to a connection in {seconds:g} s so far: {suspects}"


def _suspects(*, proxy: bool, clock: bool | None) -> str:
    first = "the upstream proxy or the server" if proxy else "the server"
    last = ", the arguments (cert and the like) cut or another server's"
    return (
        f"{first} may be down or blocked, its address or port wrong "
        f"(shadowsocks's 'server' and 'server_port', or --remote)"
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
    why = "" if clock is None else " (no time service sets it)"
    return f"{last}, or this machine's clock off by an hour{why}"


def explain_refusal(cause: Cause) -> str:
    """Return why the server took no connection; "" where that is nobody's fault.

    Args:
        cause: what it said itself, in the session.
    """
    return REFUSALS.get(cause, "")


def explain_no_session(how: str) -> str:
    """Return why nothing comes through a server that must have a session, and has none.

    Args:
        how: what it did instead of answering, as it follows "the server".
    """
    return (
        f"the server let a connection in, and {how}: that is no pt-bridge with a "
        f"session, and session=1 asks for one"
    )


def explain_unaccepted() -> str:
    """Return why a connection was given up that the server let in again and again."""
    return (
        "the server let connections in, and accepted nothing on them: it may keep this "
        "address out, be short of open files, or be no pt-bridge with a session, which "
        "session=1 asks for; 'pt-bridge doctor' tells more"
    )


def explain_nothing_reached(how: str) -> str:
    """Return why nothing comes back over a PT that does not say whom it has reached.

    Args:
        how: what came of it, as it follows "the server".
    """
    return (
        f"no session answers (the server, or nobody at all, {how}): the PT may have "
        f"reached nothing, or the server has no pt-bridge with a session"
    )


def explain_proxy(error: OSError) -> str:
    """Return a sentence that says why the upstream proxy itself cannot be reached."""
    return (
        f"the upstream proxy cannot be reached ({_reason(error)}): it may be down, or "
        f"upstream-proxy= wrong"
    )


def explain_cut(*, was_reset: bool) -> str:
    """Return why the server ended a connection right behind the PTs' handshake."""
    how = "reset" if was_reset else "closed"
    return (
        f"the server let a connection in, and {how} it at once: the shadowsocks server "
        f"behind it may be down or not yet listening"
    )


def explain_no_answer(why: str) -> str:
    """Return why a request through shadowsocks brought not one byte back.

    Args:
        why: how it ended, in a few words.
    """
    return (
        f"no byte came back through shadowsocks ({why}): its password or method may "
        f"differ between both sides, or the server cannot reach what was asked for"
    )


def explain_no_start(program: str, words: str) -> str:
    """Return a sentence that says that shadowsocks's own client did not start.

    Args:
        program: its name.
        words: what it wrote, or "".
    """
    return f"{program} ended as soon as it was started: {words or 'it said nothing'}"


def _reason(error: OSError) -> str:
    return str(error.strerror or str(error) or "no answer in time").lower()
