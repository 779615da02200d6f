"""A tor's control port, and a program that is started as a tor and has nothing else.

As a program it has a control port, as its torrc says, and tells what the
variable `EVENTS` holds, an event a line, once it is let into the network. Without
`EVENTS` it says what a tor says whose torrc is wrong, and ends.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

EVENTS = "LC_EVENTS_OF_FAKE_TOR"  # what a tor of ours inherits
VERSION = "0.4.9.11"
PROTOCOL_INFO = (
    "250-PROTOCOLINFO 1\r\n250-AUTH METHODS={methods}\r\n"
    f'250-VERSION Tor="{VERSION}"\r\n250 OK\r\n'
)
CONFIGURATION = {
    "ExtORPort": "127.0.0.1:9010",
    "DataDirectory": "/var/lib/tor",
    "BridgeRelay": "1",
}
INFORMATION = {
    "net/listeners/extor": '"127.0.0.1:9010"',
    "fingerprint": "0123456789ABCDEF0123456789ABCDEF01234567",
    "address": "192.0.2.1",
    "version": f"{VERSION} (git-x)",
    "status/bootstrap-phase": 'NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"',
}


class FakeControl:
    """A control port, for one caller after the other.

    Attributes:
        commands: what was said to it.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        methods: str = "NULL",
        configuration: Mapping[str, str] = CONFIGURATION,
        information: Mapping[str, str] = INFORMATION,
        events: Sequence[str] = (),
    ) -> None:
        self.commands: list[str] = []
        self._listener = listener
        self._methods = methods
        self._configuration = {
            name.lower(): value for name, value in configuration.items()
        }
        self._information = information
        self._events = events

    def serve(self) -> None:
        """Serve until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                with caller, caller.makefile("rw", newline="") as lines:
                    for line in lines:
                        command = line.rstrip("\r\n")
                        self.commands.append(command)
                        lines.write(self._answer(command))
                        lines.flush()

    def _answer(self, command: str) -> str:
        verb, _, rest = command.partition(" ")
        match verb:
            case "PROTOCOLINFO":
                return PROTOCOL_INFO.format(methods=self._methods)
            case "AUTHENTICATE":
                if self._methods == "NULL":
                    return "250 OK\r\n"
                return "515 Authentication failed\r\n"
            case "GETCONF":
                value = self._configuration.get(rest.lower())
                return f"250 {rest}\r\n" if value is None else f"250 {rest}={value}\r\n"
            case "GETINFO":
                value = self._information.get(rest)
                if value is None:
                    return f'552 Unrecognized key "{rest}"\r\n'
                return f"250-{rest}={value}\r\n250 OK\r\n"
            case "SETCONF":
                events = "".join(f"650 {event}\r\n" for event in self._events)
                return f"250 OK\r\n{events}"
        return "250 OK\r\n"


@contextlib.contextmanager
def fake_control(
    *,
    methods: str = "NULL",
    configuration: Mapping[str, str] = CONFIGURATION,
    information: Mapping[str, str] = INFORMATION,
) -> Iterator[tuple[str, int]]:
    """Serve a control port on loopback; return its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    control = FakeControl(
        listener,
        methods=methods,
        configuration=configuration,
        information=information,
    )
    thread = threading.Thread(target=control.serve)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def say(line: str) -> None:
    """Write to the log."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Run as a tor."""
    events = os.environ.get(EVENTS)
    if events is None:
        say("Nov 26 10:00:00.000 [warn] Failed to parse: Bridge line")
        sys.exit(1)
    with open(sys.argv[sys.argv.index("-f") + 1]) as torrc:
        assert "ControlPort 127.0.0.1:auto\n" in torrc.read()
    listener = socket.create_server(("127.0.0.1", 0))
    _, port = listener.getsockname()
    say(f"[notice] Opened Control listener connection (ready) on 127.0.0.1:{port}")
    FakeControl(listener, events=events.splitlines()).serve()


if __name__ == "__main__":
    main()
