"""One PT connection that speaks the session, and the stream that it carries at a time.

It hands out what frames say, notices a peer that has gone, and closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.errors import ProtocolError
from pt_bridge.net.sockets import has_ended, reset, waiting
from pt_bridge.protocol.frames import (
    HEADER_SIZE,
    Accepted,
    Cause,
    Datagram,
    Ended,
    Left,
    Opened,
    Said,
    WasReset,
)
from pt_bridge.relay.frame_sender import FrameSender
from pt_bridge.relay.pipes import PIPE_SIZE
from pt_bridge.relay.reader import Reader
from pt_bridge.relay.splice import READ_SIZE
from pt_bridge.session.idle_period import IdlePeriod
from pt_bridge.session.peer_limits import PeerLimits
from pt_bridge.session.silence import UNANSWERED_LIMIT
from pt_bridge.session.stream import Stream
from pt_bridge.session.watch import REACHING_BEAT, RESET_LIMIT, Watch
from pt_bridge.system.log import logger
from pt_bridge.udp.stream import MAX_UNTAKEN, DatagramStream

if TYPE_CHECKING:
    import asyncio
    import socket

    from pt_bridge.protocol.frames import Event
    from pt_bridge.relay.pipes import Pipe, PipePool
    from pt_bridge.session.owners import Carried, ConnectionOwner


class SessionConnection(FrameSender):
    """A PT connection, which it owns and closes in any case.

    Attributes:
        stream: the one that is open, or None.
        is_fresh: whether it was made for its stream, and none was accepted on it yet.
        is_understood: whether the peer has said anything of the session.
        owner, way: told of what happens; by which way it leads to the server (client).
    """

    __slots__ = (
        "_events",
        "_idle",
        "_is_withdrawn",
        "_limits",
        "_opened_at",
        "_reader",
        "_resume",
        "is_fresh",
        "is_understood",
        "owner",
        "stream",
        "way",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        plain: socket.socket,
        pipes: PipePool,
        owner: ConnectionOwner,
        *,
        is_client: bool,
    ) -> None:
        """Own a connection to the PT, whose preface a server has read; begin to read.

        The owner is told of what happens.
        """
        super().__init__(loop, plain, pipes, is_client=is_client)
        self.owner = owner
        self.stream: Carried | None = None
        self.way: object = None
        self.is_fresh, self.is_understood = True, False
        self._events: list[Event] = []
        self._reader = Reader(loop, plain, pipes, self)
        self._watch: Watch = Watch(loop, self)
        self._limits = PeerLimits()
        self._idle: IdlePeriod | None = None
        self._resume: asyncio.Handle | None = None
        self._opened_at, self._is_withdrawn = 0.0, False
        self._reader.read(wanted=True)

    @property
    def takes_datagrams(self) -> bool:
        """Whether one more may be sent: in a long queue it would come too late."""
        return self.can_send and waiting(self._plain) <= MAX_UNTAKEN

    def on_blocked(self) -> None:
        """Read no more of the local side: the PT is slow."""
        if self.stream is not None:
            self.stream.update_reading()

    def on_drained(self) -> None:
        """Go on reading the local side: the PT has taken what was sent."""
        if self.stream is not None:
            self._watch.said(self._loop.time())
            self.stream.update_reading()

    def get_ready(self) -> None:
        """Say what can be said before the first stream, and wait for it (client)."""
        self._writer.send(self._preface)
        self.is_fresh, self._preface = False, b""
        self.begin_idle_period()

    def open(
        self,
        stream: Carried,
        accept_limit: float = UNANSWERED_LIMIT,
        late: float = UNANSWERED_LIMIT,
    ) -> None:
        """Carry a client's stream; ACCEPT has a limit and is `late` after so long."""
        assert self.stream is None
        self.stream = stream
        now = self._opened_at = self._loop.time()
        opened = self.session.open(stream.id, stream.kind)
        first, self._preface = self._preface + opened, b""
        stream.join(self, self.session.number)
        self._end_idle_period()
        self._watch.begin(now, stream.check_limits(now), accept_limit, late)
        self.send(first + stream.first_frames())
        if not self.is_closed:
            stream.update_reading()

    def expect(self, stream: Carried) -> None:
        """Carry a stream whose service is about to be reached (server)."""
        self.stream = stream
        stream.join(self, self.session.number)
        self._end_idle_period()
        now = self._loop.time()
        self._watch.begin(now, min(REACHING_BEAT, stream.check_limits(now)))

    def leave(self) -> None:
        """Forget a stream that was left, and be free for the next one (client)."""
        self.stream = None
        self._reader.rest()

    def withdraw(self, why: str) -> None:
        """Close, for the stream goes on elsewhere (client).

        Where one was left before it, the server has yet to hear all that was said in
        that one: it has when it answers this one's RESET, which is waited for.
        """
        self.stream = None
        if not self.session.drops_former or self.is_closed:
            self.close(why)
            return
        self._watch.stop()
        self._is_withdrawn = True
        self._await_answer()
        self._reader.read(wanted=True)
        if not self.session.reset_sent:
            self.send(self.session.reset(Cause.CUT))

    def _await_answer(self) -> None:
        """Close when the answer has come, or nothing does for too long."""
        if self._resume is not None:
            self._resume.cancel()
        if self.session.is_open:
            why = "nothing more was heard of a stream that was withdrawn"
            self._resume = self._loop.call_later(RESET_LIMIT, self.close, why)
        else:
            self.close("the server has heard all of the stream that was left")

    def notice_end(self) -> None:
        """Close a connection that the PT has ended while nothing was read of it."""
        if not self.is_closed and has_ended(self._plain):
            self.close("the PT ended it")

    def accept(self) -> None:
        """Say that the service has the stream (server)."""
        assert self.stream is not None
        if self.session.is_open and not self.session.reset_sent:
            self.send(self.session.accept())
        self.stream.update_reading()
        self.go_on()

    def on_stream_over(self) -> None:
        """Be free again: EOF, or RESET, has passed both ways."""
        self.stream = None
        self.begin_idle_period()
        if not self._is_unwritable:
            self.owner.on_free(self)

    def give_up_backlog(self) -> None:
        """Close, unless our RESET is still to leave: too much is to be thrown away."""
        if not self.has_backlog:
            self.close("too much comes for a stream that is dead")

    def most_in_pipe(self) -> int:
        """Return how many bytes of a DATA frame may come in a pipe now."""
        left = self.session.data_left
        takes_pipes = self.stream is not None and self.stream.takes_pipes
        if left >= READ_SIZE and takes_pipes and not self.session.drops_former:
            return min(left, PIPE_SIZE)
        return 0

    def on_pipe(self, pipe: Pipe, count: int) -> None:
        """Pass on what was read of a DATA frame."""
        stream = self.stream
        assert isinstance(stream, Stream)  # or nothing would have been asked for
        stream.moved_at = self._loop.time()
        self._watch.heard(stream.moved_at, is_beat=False)
        self.session.skip(count)
        if not self.session.data_left:
            self._reader.expect_header(HEADER_SIZE)
        self._reader.expects_bulk = self.session.data_left >= READ_SIZE
        stream.deliver_pipe(pipe, count)

    def on_end(self, *, is_reset: bool) -> None:
        """Close: the PT has ended the connection."""
        self.close("the PT reset it" if is_reset else "the PT ended it")

    def on_bytes(self, data: bytes) -> None:
        """Take what came from the PT."""
        try:
            events = self.session.receive(data)
        except ProtocolError as error:
            logger.debug("! a session was broken: %s", error)
            self.close("the peer does not keep to the protocol")
            return
        if self._is_withdrawn:
            self._await_answer()
            if self.session.has_more and not self.is_closed:
                self.on_bytes(b"")
            return
        self._reader.expects_bulk |= self.session.data_left >= READ_SIZE
        stream, event = self.stream, events[0] if len(events) == 1 else None
        if stream is not None:
            now = self._loop.time()
            if type(event) is bytes and data and not self.session.has_more:
                # The usual: DATA alone. Measured: half the CPU of `go_on`.
                self._watch.heard(now, is_beat=False)
                stream.moved_at = now
                if type(stream) is Stream and stream.deliver_at_once(event):
                    return
            else:
                is_beat = bool(events) and all(type(each) is Said for each in events)
                is_before = self.session.drops_former
                self._watch.heard(now, is_beat=is_beat, is_before=is_before)
                if not is_beat:
                    stream.moved_at = now
        if events and not self.is_understood:
            self.is_understood = True
            self.owner.on_understood(self)
        self._events = events
        self.go_on()

    def go_on(self) -> None:
        """Deal with what has come, as far as the local side takes it."""
        if self._resume is not None:
            return
        while self._events and not self.is_closed and self._resume is None:
            if self.stream is not None and self.stream.is_blocked:
                break
            self._handle(self._events.pop(0))
        if self.is_closed:
            return
        if not self._events and self.session.has_more and self._resume is None:
            self._resume = self._loop.call_soon(self._receive_more)
        is_full = self.stream is not None and self.stream.is_full
        has_enough = bool(self._events) or self._resume is not None or is_full
        self._reader.read(wanted=not has_enough)

    def _receive_more(self) -> None:
        self._resume = None
        if self._events:
            self.go_on()
        else:
            self.on_bytes(b"")

    def _handle(self, event: Event) -> None:
        stream = self.stream
        match event:
            case bytes():
                assert isinstance(stream, Stream)  # no DATA without one
                stream.deliver(event)
            case Datagram():
                if isinstance(stream, DatagramStream):  # or it was refused
                    stream.deliver_datagram(event)
            case Said():
                if self._limits.idle_frame(self._loop.time()):
                    self.close("too many frames that carry nothing")
            case Opened():
                self._on_opened(event)
            case Accepted():
                assert stream is not None
                self._watch.on_answered()
                self.is_fresh = False
                self.owner.on_accepted(self._loop.time() - self._opened_at)
                stream.on_accepted()
            case Ended():
                assert isinstance(stream, (Stream, DatagramStream))
                stream.on_eof()
            case WasReset():
                assert stream is not None
                is_refused = self._watch.is_accept_awaited and not stream.reset_sent
                if is_refused and self.owner.on_refused(self, event):
                    return
                self._watch.on_answered()
                stream.on_reset()
            case Left():
                self._on_bye()

    def _on_opened(self, event: Opened) -> None:
        if wait := self._limits.stream(self._loop.time()):
            self._events.insert(0, event)
            self._resume = self._loop.call_later(wait, self._receive_more)
            return
        self.is_fresh = False
        self.owner.on_opened(self, event)

    @property
    def is_reading(self) -> bool:
        """Whether what comes is read: not while the local side is slow."""
        return self._reader.is_reading

    def begin_idle_period(self) -> None:
        """Have no stream for a while, and close after that."""
        self._reader.rest()
        self._watch.stop()
        self._idle = IdlePeriod(self._loop, self)

    def _end_idle_period(self) -> None:
        if self._idle is not None:
            self._idle.stop()
            self._idle = None

    def close_gracefully(self) -> None:
        """Say BYE, if that helps, and close: no stream is open, and none will be."""
        if self._idle is not None:
            self._idle.close()

    def _on_bye(self) -> None:
        """Answer BYE (server), or hear that the server has."""
        if self._idle is not None and self._idle.is_closing:
            self._idle.on_answer()
        else:
            self.say_bye()
            self.close("the peer has said BYE")

    def close(self, why: str) -> None:
        """Close the connection, and end or hand on what it carried; safe to repeat."""
        if self.is_closed:
            return
        logger.debug("x a session's connection: %s", why)
        is_withdrawn = self._watch.is_accept_awaited and not self.session.reset_sent
        if is_withdrawn and self.can_send:  # a slow server must not take it, too
            self._writer.send(self.session.reset(Cause.CUT))
        self.is_closed = True
        is_closing = self._idle is not None and self._idle.is_closing
        self._reader.stop()
        self._writer.stop()
        self._watch.end()
        self._end_idle_period()
        if self._resume is not None:
            self._resume.cancel()
        self._events.clear()
        is_over = self.stream is None or self.session.drops_former
        if is_closing or (is_over and waiting(self._plain)):
            self._plain.close()  # a reset would take what the PT has yet to read
        else:
            reset(self._plain)
        if (stream := self.stream) is not None:
            self.stream = None
            self.owner.on_broken(why)
            stream.on_connection_lost(self)
        self.owner.on_closed(self)
