"""What the session's machine may hear in each state: frames, states and a table.

A state is written as what was said (``>``) and heard (``<``) before it; ``OPEN2`` opens
a stream of datagrams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.protocol.frames import (
    ACCEPTED,
    BEATEN,
    DATAGRAMS,
    ENDED,
    LAST_NUMBER,
    LEFT,
    SKIPPED,
    TCP,
    Cause,
    Opened,
    WasReset,
)
from pt_bridge.protocol.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.protocol.frames import Event

ID = b"12345678"
DATA, BEAT, BYE, LATER = b"\3\0\0\1x", b"\6\0\0\0", b"\7\0\0\0", b"\x80\0\0\1x"


def wire(kind: int, number: int, rest: bytes = b"") -> bytes:
    """Write a frame down as the documentation has it."""
    payload = number.to_bytes(2, "big") + rest
    return bytes([kind]) + len(payload).to_bytes(3, "big") + payload


# What the peer may say, given the number of the stream that is or was open last.
FRAMES: dict[str, Callable[[int], bytes]] = {
    "OPEN": lambda number: wire(1, number % LAST_NUMBER + 1, b"\1" + ID),
    "DATA": lambda _: DATA,
    "OPEN2": lambda number: wire(1, number % LAST_NUMBER + 1, b"\2" + ID),
    "ACCEPT": lambda number: wire(2, number),
    "EOF": lambda number: wire(4, number),
    "RESET": lambda number: wire(5, number, b"\1why"),
    "RESET-": lambda number: wire(5, (number - 2) % LAST_NUMBER + 1, b"\1why"),
    "BEAT": lambda _: BEAT,
    "BYE": lambda _: BYE,
    "LATER": lambda _: LATER,
    # What may never come: of other streams, or what only a stream can have.
    "OPEN+": lambda number: wire(1, number + 2, b"\1" + ID),
    "EOF-": lambda number: wire(4, (number - 2) % LAST_NUMBER + 1),
    "ACCEPT+": lambda number: wire(2, number % LAST_NUMBER + 1),
    "RESET+": lambda number: wire(5, number % LAST_NUMBER + 1, b"\1"),
    "RESET--": lambda number: wire(5, (number - 3) % LAST_NUMBER + 1, b"\1"),
}
NEVER = ("OPEN+", "ACCEPT+", "RESET+", "RESET--")
EVENTS: dict[str, Event] = {
    "OPEN": Opened(TCP, ID),
    "DATA": b"x",
    "ACCEPT": ACCEPTED,
    "EOF": ENDED,
    "RESET": WasReset(Cause.REFUSED, b"why"),
    "BEAT": BEATEN,
    "BYE": LEFT,
    "LATER": SKIPPED,
}
WORDS: dict[str, Callable[[Session], bytes]] = {
    "OPEN": lambda session: session.open(ID),
    "OPEN2": lambda session: session.open(ID, DATAGRAMS),
    "ACCEPT": Session.accept,
    "EOF": Session.eof,
    "RESET": lambda session: session.reset(Cause.CUT),
    "BYE": Session.bye,
}


def session_after(
    script: str, *, is_client: bool, make: Callable[..., Session] = Session
) -> Session:
    """Return a machine in the state that is written so."""
    session = make(is_client=is_client)
    for step in script.split():
        if step[0] == ">":
            assert WORDS[step[1:]](session)
        else:
            session.receive(FRAMES[step[1:]](session.number))
    return session


COLUMNS = "OPEN DATA ACCEPT EOF EOF- RESET RESET- BEAT BYE LATER".split()  # noqa: SIM905
# What has happened; then for each frame that could come next whether it is heard (x),
# ignored (i), kept for later (k) or a breach (.).
OVER_OUT = ">OPEN <ACCEPT <EOF >EOF"
LEFT_BEHIND = ">OPEN <ACCEPT >EOF >RESET >OPEN"
WAITING = "<OPEN >ACCEPT <EOF <RESET"
OVER_IN = "<OPEN >ACCEPT >EOF <EOF"
#                                      OPEN D A E E- R R- BEAT BYE LATER
SERVER = {
    "": "                                x  . . . .  . .   x    x    x",
    "<OPEN": "                           .  x . x .  x .   x    .    x",
    "<OPEN <DATA": "                     .  x . x .  x .   x    .    x",
    "<OPEN <EOF": "                      .  . . . .  x .   x    .    x",
    "<OPEN <EOF <RESET": "               .  . . . .  . .   x    .    x",
    "<OPEN <RESET": "                    .  . . . .  . .   x    .    x",
    "<OPEN >ACCEPT": "                   .  x . x .  x .   x    .    x",
    "<OPEN >ACCEPT <EOF": "              .  . . . .  x .   x    .    x",
    "<OPEN >ACCEPT <RESET": "            .  . . . .  . .   x    .    x",
    # The client has left it, and may open the next one: that waits for our RESET.
    WAITING: "                           k  . . . .  . .   x    .    x",
    f"{WAITING} >RESET": "               x  . . . .  . .   x    x    x",
    "<OPEN >ACCEPT <RESET >EOF": "       .  . . . .  . .   x    .    x",
    "<OPEN >ACCEPT >EOF": "              .  x . x .  x .   x    .    x",
    "<OPEN >ACCEPT >EOF >RESET": "       .  x . x .  x .   x    .    x",
    "<OPEN >ACCEPT >RESET": "            .  x . x .  x .   x    .    x",
    "<OPEN >ACCEPT >RESET <EOF": "       .  . . . .  x .   x    .    x",
    # Refused: what was under way is thrown away, until the client has said RESET, too.
    "<OPEN >RESET": "                    .  x . x .  x .   x    .    x",
    "<OPEN >RESET <DATA": "              .  x . x .  x .   x    .    x",
    "<OPEN >RESET <EOF": "               .  . . . .  x .   x    .    x",
    "<OPEN >RESET <RESET": "             x  . . . .  . .   x    x    x",
    "<OPEN <RESET >RESET": "             x  . . . .  . .   x    x    x",
    "<OPEN <EOF >ACCEPT >EOF": "         x  . . . .  i .   x    x    x",
    OVER_IN: "                           x  . . . .  i .   x    x    x",
    # A RESET that crossed our EOF comes once, and does not touch the next stream.
    f"{OVER_IN} <RESET": "               x  . . . .  . .   x    x    x",
    f"{OVER_IN} <OPEN": "                .  x . x .  x i   x    .    x",
    f"{OVER_IN} <OPEN <RESET-": "        .  x . x .  x .   x    .    x",
    f"{OVER_IN} <RESET <OPEN": "         .  x . x .  x .   x    .    x",
    f"{OVER_IN} <OPEN <RESET": "         .  . . . .  . i   x    .    x",
    f"{OVER_IN} <OPEN >RESET <RESET": "  x  . . . .  . i   x    x    x",
    "<OPEN >RESET <RESET <OPEN": "       .  x . x .  x .   x    .    x",
    # A datagram has two bytes at least.
    "<OPEN2": "                          .  . . x .  x .   x    .    x",
    "<OPEN2 >ACCEPT": "                  .  . . x .  x .   x    .    x",
    f"{OVER_IN} <OPEN2": "               .  . . x .  x i   x    .    x",
    "<OPEN2 >RESET <RESET <OPEN": "      .  x . x .  x .   x    .    x",
    "<BYE": "                            .  . . . .  . .   .    x    x",
    "<BYE >BYE": "                       .  . . . .  . .   .    x    x",
    f"{OVER_IN} <BYE >BYE": "            .  . . . .  . .   .    x    x",
}
CLIENT = {
    "": "                                .  . . . .  . .   x    .    x",
    ">OPEN": "                           .  . x . .  x .   x    .    x",
    ">OPEN >EOF": "                      .  . x . .  x .   x    .    x",
    ">OPEN >EOF >RESET": "               .  . x . .  x .   x    .    x",
    ">OPEN >RESET": "                    .  . x . .  x .   x    .    x",
    ">OPEN >RESET <ACCEPT": "            .  x . x .  x .   x    .    x",
    ">OPEN <RESET": "                    .  . . . .  . .   x    .    x",
    ">OPEN <RESET >EOF": "               .  . . . .  . .   x    .    x",
    ">OPEN <RESET >RESET": "             .  . . . .  . .   x    .    x",
    ">OPEN >RESET <RESET": "             .  . . . .  . .   x    .    x",
    ">OPEN <ACCEPT": "                   .  x . x .  x .   x    .    x",
    ">OPEN <ACCEPT <DATA": "             .  x . x .  x .   x    .    x",
    ">OPEN <ACCEPT >EOF": "              .  x . x .  x .   x    .    x",
    ">OPEN <ACCEPT >EOF >RESET": "       .  x . x .  x .   x    .    x",
    ">OPEN <ACCEPT >RESET": "            .  x . x .  x .   x    .    x",
    ">OPEN <ACCEPT >RESET <EOF": "       .  . . . .  x .   x    .    x",
    ">OPEN <ACCEPT <EOF": "              .  . . . .  x .   x    .    x",
    ">OPEN <ACCEPT <EOF >RESET": "       .  . . . .  x .   x    .    x",
    ">OPEN <ACCEPT <EOF <RESET": "       .  . . . .  . .   x    .    x",
    ">OPEN <ACCEPT <RESET": "            .  . . . .  . .   x    .    x",
    OVER_OUT: "                          .  . . . .  i .   x    .    x",
    f"{OVER_OUT} <RESET": "              .  . . . .  . .   x    .    x",
    # Left behind: what comes until its end is dropped, and the end is not heard.
    f"{LEFT_BEHIND}": "                  .  i . . i  . i   x    .    x",
    f"{LEFT_BEHIND} <DATA": "            .  i . . i  . i   x    .    x",
    f"{LEFT_BEHIND} >EOF": "             .  i . . i  . i   x    .    x",
    f"{LEFT_BEHIND} >RESET": "           .  i . . i  . i   x    .    x",
    f"{LEFT_BEHIND} <EOF-": "            .  . x . .  x i   x    .    x",
    f"{LEFT_BEHIND} <EOF- <RESET-": "    .  . x . .  x .   x    .    x",
    f"{LEFT_BEHIND} <RESET-": "          .  . x . .  x .   x    .    x",
    f"{LEFT_BEHIND} <EOF- <ACCEPT": "    .  x . x .  x i   x    .    x",
    f"{OVER_OUT} >OPEN": "               .  . x . .  x i   x    .    x",
    f"{OVER_OUT} >OPEN <RESET-": "       .  . x . .  x .   x    .    x",
    f"{OVER_OUT} <RESET >OPEN": "        .  . x . .  x .   x    .    x",
    f"{OVER_OUT} >OPEN <ACCEPT": "       .  x . x .  x i   x    .    x",
    ">OPEN <RESET >RESET >OPEN": "       .  . x . .  x .   x    .    x",
    ">OPEN2": "                          .  . x . .  x .   x    .    x",
    ">OPEN2 <ACCEPT": "                  .  . . x .  x .   x    .    x",
    f"{OVER_OUT} >OPEN2 <ACCEPT": "      .  . . x .  x i   x    .    x",
    ">OPEN2 <RESET >RESET >OPEN <ACCEPT": " .  x . x .  x .   x    .    x",
    ">BYE": "                            .  . . . .  . .   x    x    x",
    f"{OVER_OUT} >BYE": "                .  . . . .  i .   x    x    x",
    ">BYE <BYE": "                       .  . . . .  . .   .    x    x",
    ">BYE <BYE >BYE": "                  .  . . . .  . .   .    x    x",
}
STATES = [(True, script, row) for script, row in CLIENT.items()]
STATES += [(False, script, row) for script, row in SERVER.items()]
