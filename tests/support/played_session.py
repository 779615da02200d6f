"""A server that speaks the session, played by a test on a real connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.protocol.frames import (
    ID_SIZE,
    PREFACE,
    Cause,
    Ended,
    Left,
    Opened,
    WasReset,
    data_frame,
)
from pt_bridge.protocol.session import Session

if TYPE_CHECKING:
    import asyncio

    from pt_bridge.protocol.frames import Event

READ_SIZE = 4096


class PlayedSession:
    """Serves one connection, as a pt-bridge with a service behind it does.

    Attributes:
        heard: what the client has said, in order.
    """

    def __init__(
        self,
        *,
        refusal: Cause | None = None,
        first: bytes = b"",
        ends: bool = True,
        cuts: bool = False,
        says_bye: bool = True,
        stays: bool = False,
    ) -> None:
        """Choose how it is.

        Args:
            refusal: why it accepts no stream, or None.
            first: what the service says before it is asked.
            ends: whether the service ends when its client has ended.
            cuts: whether the service resets its connections at once.
            says_bye: whether it answers BYE.
            stays: whether the connection stays open behind that, as lyrebird's does.
        """
        self._refusal = refusal
        self._first = first
        self._ends = ends
        self._cuts = cuts
        self._says_bye = says_bye
        self._stays = stays
        self.heard: list[Event] = []

    @property
    def names(self) -> list[str]:
        """The kinds of what it has heard."""
        return [type(event).__name__ for event in self.heard]

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve a connection to its end; the preface comes first."""
        assert await reader.readexactly(len(PREFACE)) == PREFACE
        session = Session(is_client=False)
        while data := await reader.read(READ_SIZE):
            for event in session.receive(data):
                self.heard.append(event)
                writer.write(self._answer(session, event))
                if isinstance(event, Left) and self._says_bye and not self._stays:
                    writer.close()
                    return
        writer.close()

    def _answer(self, session: Session, event: Event) -> bytes:
        match event:
            case Opened(id=id):
                assert len(id) == ID_SIZE
                if self._refusal is not None:
                    return session.reset(self._refusal, b"as the test says")
                said = session.accept()
                if self._first:
                    said += data_frame(self._first)
                return said + session.reset(Cause.CUT) if self._cuts else said
            case Ended() if self._ends and not session.reset_sent:
                return session.eof()
            case WasReset() if not session.reset_sent:
                return session.reset(Cause.CUT)
            case Left() if self._says_bye:
                return session.bye()
        return b""
