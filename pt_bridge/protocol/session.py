"""The session: what two pt-bridges say to each other inside a PT connection.

A PT carries bytes and no ends: one closes everything at the first FIN, another passes
none on. So the end of a connection is said, in the stream, behind its last byte. The
protocol is written down in docs/session.rst; this is its machine, without I/O, clock
and randomness: bytes in, events out, and bytes to send out of the methods that say
something.

A PT connection carries one stream at a time::

    client   PREFACE OPEN DATA... EOF              OPEN ...          BYE
    server                ACCEPT DATA... EOF             ACCEPT ...      BYE

A client that has left one, by EOF and RESET, opens the next at once, and drops what is
still to come of the one before. The bulk of DATA need not pass through here:
`data_left` tells how many bytes of a frame are still to come, and `skip` takes note
that the caller has moved some of them. A frame that is a datagram is waited for.
"""

from __future__ import annotations

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.frames import (
    ACCEPT,
    ACCEPTED,
    BEAT,
    BEATEN,
    BYE,
    BYE_FRAME,
    DATA,
    DATAGRAM_SIZES,
    DATAGRAMS,
    ENDED,
    EOF,
    HEADER,
    HEADER_SIZE,
    ID_SIZE,
    LEFT,
    MAX_DATA,
    MAX_TEXT,
    NUMBER,
    OPEN,
    RESET,
    SKIPPED,
    SKIPPED_FROM,
    TCP,
    Accepted,
    Cause,
    Ended,
    Event,
    Left,
    Opened,
    WasReset,
    check_header,
    frame,
    number_after,
    number_before,
    read_datagram,
)

# How many frames are taken at once: tiny ones must not keep everything else waiting.
MAX_FRAMES = 256


class Session:
    """One side's view of a PT connection: which stream is open, how far it has ended.

    Attributes:
        number: the stream's, counted on this connection; 0 before the first.
        is_open: whether there is a stream that is not over.
        is_accepted: whether the service has taken it.
        carries_datagrams: whether each DATA frame is a datagram, an event for itself.
        eof_sent: whether we have said that no more DATA comes from us.
        eof_received: whether the peer has.
        reset_sent: whether we have reset it, or answered a reset.
        reset_received: whether the peer has, while the stream was not over.
        drops_former: whether the server has yet to end the stream before, which we have
            left, and whose DATA is dropped.
        data_left: how many bytes of a DATA frame are still to come. While there are
            any, nothing is kept back here: they may be moved past `receive`.
        has_more: whether `receive` has kept something back, so that it has to be called
            again, with nothing new; until then no more should be read of the peer.
    """

    __slots__ = (
        "_at",
        "_breach",
        "_buffer",
        "_bye_received",
        "_bye_sent",
        "_is_client",
        "_reset_came",
        "_reset_came_before",
        "_takes_data",
        "carries_datagrams",
        "data_left",
        "drops_former",
        "eof_received",
        "eof_sent",
        "has_more",
        "is_accepted",
        "is_open",
        "number",
        "reset_received",
        "reset_sent",
    )

    def __init__(self, *, is_client: bool) -> None:
        self._is_client = is_client
        self._buffer, self._at = b"", 0  # what was kept back: from there on
        self._breach = ""
        # Whether DATA may come, and is passed on in any pieces.
        self._takes_data = False
        self._bye_sent = self._bye_received = False
        # Whether the RESET of this stream and of the one before has come, in time or
        # too late to matter: each has one at most. There was none before the first.
        self._reset_came = self._reset_came_before = True
        self.number = self.data_left = 0
        self.has_more = self.drops_former = False
        self.is_open = self.is_accepted = self.carries_datagrams = False
        self.eof_sent = self.eof_received = False
        self.reset_sent = self.reset_received = False

    # What we say: each returns the bytes to send, which must not come into a frame.

    @property
    def may_open(self) -> bool:
        """Whether a client may open a stream: there is none, or it has left it."""
        if not self.is_open:
            return not self._bye_sent
        has_left = self.eof_sent and self.reset_sent and self.is_accepted
        return has_left and not self.carries_datagrams

    def open(self, id: bytes, kind: int = TCP) -> bytes:
        """Open the next stream, and return the frame to send (client)."""
        assert self._is_client
        assert self.may_open
        assert len(id) == ID_SIZE
        self.drops_former = self.is_open
        self._begin(number_after(self.number), kind)
        return frame(OPEN, NUMBER.pack(self.number) + bytes([kind]) + id)

    def accept(self) -> bytes:
        """Return the frame that says that the service has taken the stream (server)."""
        assert not self._is_client
        assert self.is_open
        assert not self.is_accepted
        assert not self.reset_sent
        self.is_accepted = True
        return frame(ACCEPT, NUMBER.pack(self.number))

    def eof(self) -> bytes:
        """Return the frame that says that no more DATA comes from us."""
        assert self.is_open
        assert self._is_client or self.is_accepted
        assert not self.eof_sent
        assert not self.reset_sent
        said = frame(EOF, NUMBER.pack(self.number))
        self.eof_sent = True
        self._see_whether_it_is_over()
        return said

    def reset(self, cause: Cause, text: bytes = b"") -> bytes:
        """Reset the stream, and return the frame to send; before `accept` it refuses.

        Args:
            cause: why.
            text: the same in words without address or name, at most `MAX_TEXT` bytes.
        """
        assert self.is_open
        assert not self.reset_sent
        assert len(text) <= MAX_TEXT
        said = frame(RESET, NUMBER.pack(self.number) + bytes([cause]) + text)
        self.reset_sent = True
        self._see_whether_it_is_over()
        return said

    def bye(self) -> bytes:
        """Return the frame that says that no more is opened; a server only answers."""
        assert not self.is_open
        assert self._is_client or self._bye_received
        self._bye_sent = True
        return BYE_FRAME

    # What we hear.

    def skip(self, count: int) -> None:
        """Count bytes of the DATA frame that went past `receive`."""
        assert 0 < count <= self.data_left
        assert not self.drops_former
        self.data_left -= count

    def receive(self, data: bytes) -> list[Event]:
        """Return what the peer's bytes mean.

        Args:
            data: any piece of them, in order; empty to go on where `has_more`.

        Returns:
            The events of at most `MAX_FRAMES` frames. However the bytes are cut into
            pieces, the events are the same, but for the pieces of DATA: those before a
            breach come first, and the breach with the next call.

        Raises:
            ProtocolError: the peer breaks the protocol, and the connection has to end.
        """
        # A message that is one frame. Measured: a third of the CPU of `_read`.
        if (
            self._takes_data
            and HEADER_SIZE < len(data) <= HEADER_SIZE + MAX_DATA
            and HEADER.unpack_from(data)[0] == DATA << 24 | len(data) - HEADER_SIZE
            and not (self._buffer or self.data_left)
        ):
            return [data[HEADER_SIZE:]]
        events: list[Event] = []
        if not self._breach:
            try:
                self._read(data, events)
            except ProtocolError as error:
                self._breach = str(error)
                self._takes_data = False
                self._buffer, self._at = b"", 0
                self.has_more = True
        if self._breach and not events:
            self.has_more = False
            raise ProtocolError(self._breach)
        return events

    def _read(self, data: bytes, events: list[Event]) -> None:
        """Read frames, and keep what has to wait; what is kept is copied only once."""
        at = 0
        if self._buffer:
            if data:
                data = self._buffer[self._at :] + data
            else:
                data, at = self._buffer, self._at
        end = len(data)
        run: list[bytes] = []
        self.has_more = False
        try:
            if self.data_left and data:
                at = min(self.data_left, end)
                run.append(data[:at])
                self.data_left -= at
            for _ in range(MAX_FRAMES):
                if end - at < HEADER_SIZE:
                    break
                (word,) = HEADER.unpack_from(data, at)
                kind, length = word >> 24, word & 0xFFFFFF
                start = at + HEADER_SIZE
                stop = start + length
                self._check(kind, length)
                if kind == DATA and (self.drops_former or not self.carries_datagrams):
                    at = stop
                    if stop > end:
                        self.data_left = stop - end
                        at = end
                    if start < at:
                        run.append(data[start:at])
                    continue
                if stop > end or (kind == OPEN and self._must_answer_reset):
                    break
                if run:
                    self._pass_on(run, events)
                event = self._hear(kind, data[start:stop])
                at = stop
                if event is not None:
                    events.append(event)
            else:
                self.has_more = end - at >= HEADER_SIZE
        finally:
            if run:
                self._pass_on(run, events)
        self.has_more |= at < end and self._must_answer_reset
        self._buffer, self._at = (data, at) if self.has_more else (data[at:], 0)

    def _pass_on(self, run: list[bytes], events: list[Event]) -> None:
        """Make DATA frames in a row one event: each would cost a system call."""
        if not self.drops_former:
            events.append(run[0] if len(run) == 1 else b"".join(run))
        run.clear()

    @property
    def _must_answer_reset(self) -> bool:
        """Whether a server has yet to answer a client that has left the stream."""
        is_one = self.is_open and not (self._is_client or self.carries_datagrams)
        return is_one and self.eof_received and self.reset_received and self.is_accepted

    def _check(self, kind: int, length: int) -> None:
        """Refuse a frame by its header, before its payload is waited for."""
        check_header(kind, length)
        if kind != DATA or self.drops_former:
            return
        is_early = self._is_client and not self.is_accepted
        if not self.is_open or is_early or self.eof_received or self.reset_received:
            raise ProtocolError("DATA where none may come")
        if self.carries_datagrams and length not in DATAGRAM_SIZES:
            raise ProtocolError(f"a datagram in a frame of {length} bytes")

    def _hear(self, kind: int, payload: bytes) -> Event | None:
        """Return what a frame means, or None for one that came too late to matter."""
        if kind == DATA:
            return read_datagram(payload)
        if kind >= SKIPPED_FROM:
            return SKIPPED
        if kind == BYE:
            return self._hear_bye()
        if self._bye_received:
            raise ProtocolError("a frame behind BYE")
        if kind == BEAT:
            return BEATEN
        (number,) = NUMBER.unpack_from(payload)
        if kind == OPEN:
            return self._hear_open(number, payload)
        if self.drops_former:
            self._hear_end_of_former(kind, number)
            return None
        if number != self.number or not self.is_open:
            if kind == RESET and self._is_late_reset(number):
                return None
            raise ProtocolError(f"a frame of type {kind} for a stream that is not open")
        if kind == RESET:
            return self._hear_reset(payload)
        return self._hear_accept() if kind == ACCEPT else self._hear_eof()

    def _hear_bye(self) -> Left:
        if self.is_open or (self._is_client and not self._bye_sent):
            raise ProtocolError("a BYE that may not come now")
        self._bye_received = True
        return LEFT

    def _hear_open(self, number: int, payload: bytes) -> Opened:
        if self._is_client or self.is_open or number != number_after(self.number):
            raise ProtocolError("an OPEN that may not come now")
        kind = payload[NUMBER.size]
        self._begin(number, kind)
        return Opened(kind, payload[NUMBER.size + 1 :])

    def _hear_end_of_former(self, kind: int, number: int) -> None:
        """Drop nothing more: the server has ended the stream that the client left."""
        is_end = kind == EOF or (kind == RESET and self._is_late_reset(number))
        if number != number_before(self.number) or not is_end:
            raise ProtocolError(f"a frame of type {kind} before the last stream's end")
        self.drops_former = False

    def _hear_accept(self) -> Accepted:
        if not self._is_client or self.is_accepted or self.reset_received:
            raise ProtocolError("an ACCEPT that may not come now")
        self.is_accepted = True
        self._takes_data = not self.carries_datagrams
        return ACCEPTED

    def _hear_eof(self) -> Ended:
        if self.eof_received or self.reset_received:
            raise ProtocolError("an EOF that may not come now")
        if self._is_client and not self.is_accepted:
            raise ProtocolError("an EOF before ACCEPT")
        self.eof_received = True
        self._takes_data = False
        self._see_whether_it_is_over()
        return ENDED

    def _hear_reset(self, payload: bytes) -> WasReset:
        if self.reset_received:
            raise ProtocolError("a second RESET of a stream")
        self.reset_received = self._reset_came = True
        self._takes_data = False
        self._see_whether_it_is_over()
        return WasReset(Cause.read(payload[NUMBER.size]), payload[NUMBER.size + 1 :])

    def _is_late_reset(self, number: int) -> bool:
        """Whether it is one that crossed what ended its stream; and count it."""
        if number == self.number and not self._reset_came:
            self._reset_came = True
            return True
        if number == number_before(self.number) and not self._reset_came_before:
            self._reset_came_before = True
            return True
        return False

    def _begin(self, number: int, kind: int) -> None:
        self._reset_came_before, self._reset_came = self._reset_came, False
        self.number = number
        self.is_open = True
        self.is_accepted = False
        self.carries_datagrams = kind == DATAGRAMS
        self._takes_data = not (self._is_client or self.carries_datagrams)
        self.eof_sent = self.eof_received = False
        self.reset_sent = self.reset_received = False

    def _see_whether_it_is_over(self) -> None:
        if (self.eof_sent and self.eof_received) or (
            self.reset_sent and self.reset_received
        ):
            self.is_open = False
