"""What to try next where something failed."""

from __future__ import annotations

import errno

from pt_bridge.errors import (
    ArgumentsRejected,
    HungUp,
    LoginRefused,
    ProtocolError,
    Unreached,
    Unresolved,
)
from pt_bridge.protocol.frames import Cause

# Where the server has turned a connection away.
REFUSAL_ADVICE = {
    Cause.REFUSED: (
        "start the shadowsocks server, behind that pt-bridge, and look at its own log"
    ),
    Cause.UNREACHABLE: (
        "see on the server where its shadowsocks listens, and whether that is what "
        "pt-bridge was told (by shadowsocks itself; by hand: --local)"
    ),
    Cause.BUSY: "raise the server's limit of open files (systemd: LimitNOFILE=)",
    Cause.UNSUPPORTED: "update pt-bridge on the server",
}
ADVICE_IF_CUT = (
    "see that the shadowsocks server runs, and behind the same pt-bridge: 'pt-bridge "
    "doctor' on the server tells"
)
ADVICE_IF_NO_SESSION = (
    "update pt-bridge on the server, or leave out session=1; if there is one with a "
    "session, see that the port is its own"
)
ADVICE_IF_NOTHING_REACHED = (
    "see that url= and the other arguments lead to the server, and that its pt-bridge "
    "runs: 'pt-bridge doctor' there tells"
)
ADVICE_IF_SHADOWSOCKS_IS_DOWN = (
    "start it, and look at its own log; --local is where it takes connections from "
    "pt-bridge"
)
ADVICE_IF_NO_ANSWER = (
    "compare password and method with the server's, and try --through with another "
    "web server"
)


def advise(error: Exception, *, proxy: bool = False, clock: bool | None = None) -> str:
    """Return what to try next; "" where the error's own sentence says that.

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
        case HungUp(was_reset=True):
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


def advise_on_plugin(advice: str) -> str:
    """Return what to try next where another plugin stands outside the PT, too.

    Args:
        advice: what to try without one, or "".
    """
    more = (
        "see that the server has the other side of the plugin, and that via-opts= fits "
        "there"
    )
    return f"{advice}; {more}" if advice else more


def advise_on_refusal(cause: Cause) -> str:
    """Return what to try where the server did not take a connection, as above."""
    return REFUSAL_ADVICE.get(cause, "look at the log of the server's pt-bridge")
