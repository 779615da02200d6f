"""One step of any handshake: what to send, and how much to read then.

A handshake is a generator: it yields steps, is sent the bytes that each asks for, and
returns once it is through. So nothing is read beyond the last answer, and nothing is
sent before the answer to what went before, as the PTs demand.
"""

from __future__ import annotations

from typing import NamedTuple


class Ask(NamedTuple):
    """One step of a handshake: send these bytes, then read that many."""

    send: bytes
    read: int
