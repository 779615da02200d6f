#!/usr/bin/env python3
"""A pluggable transport that does what a scenario says, misbehaving included.

`tests.support.processes.FakePt` installs it under a PT's name. Beside it, with its own
name in front, are: ``.scenario``, one step a line; ``.report``, which it writes at its
start: how it was started; ``.events``, a FIFO that it tells what happens; ``.gate``, a
FIFO that the step ``await`` reads one byte of. The steps:

    say TEXT            a line on stdout
    raw TEXT            bytes on stdout, in Python's escapes, and no LF
    write TEXT          a line on stderr
    leak NAME           the same, with the value of an environment variable
    client [P [B,...]]  listen for SOCKS, and say CMETHOD; P is socks5 or socks4, B what
                        to do with each connection, the last for all that follow:
                        relay, refuse, reject, garbage, cut, silent, or shake: send
                        HELLO to the server, and relay once that came back, which is
                        the event shaken. With
                        TOR_PT_PROXY, say PROXY DONE before, unless something about
                        it was said, and connect through that proxy, a socks5 one
    proxy-error TEXT    with TOR_PT_PROXY, say PROXY-ERROR and end; without, nothing
    proxy-ignored       go around TOR_PT_PROXY, and say nothing about it
    server [WORDS]      listen on TOR_PT_SERVER_BINDADDR, and say SMETHOD, with WORDS;
                        connections go on to the Extended ORPort, or to the plain one
    server-at A [WORDS] the same, but say that it listens on A
    plugin [server]     be another plugin of SIP003's: listen on SS_LOCAL, and relay to
                        SS_REMOTE; a server the other way round
    strangers B[,B...]  what a server makes of each connection, the last for all that
                        follow: serve it; greet it, and then serve; or what it makes of
                        one whose handshake did not please: silent until its end,
                        hang-up behind its first bytes, or reset
    closes HOW          how tunnels end from now on:
                        each: an end is passed on, and the other direction lives on;
                        both: the first end closes both connections at once, and what
                        is under way in the other direction is lost (obfs4proxy);
                        never: no end is passed on, and both connections are closed
                        only when both directions have ended (lyrebird)
    holds-back KIB      keep up to so much inside for each direction, and write nothing;
                        with 0, read nothing, too. The event held N tells how many
                        bytes it has taken in so, all tunnels taken together
    flows               write what was held back, and hold nothing back any more
    counts              tell the event open N whenever the number of open connections
                        changes, those from and those to somewhere taken together
    tell TEXT           an event
    await               wait until the test opens the gate
    flood FD MIB        write so many MiB of lines to that descriptor
    gives-up-port       at SIGINT, close the port and let tunnels go on (lyrebird)
    deaf                from now on, SIGTERM and the end of stdin are events, no more
    fork                start a grandchild that keeps stdout open, and ignores SIGTERM
    exit CODE           end
    die SIGNAL          end by that signal, which has a number

Asked for its -version, it prints that, and plays nothing.

Behind the last step it runs until it is told to end (pt-spec 3.4).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HANDSHAKE_LIMIT = 5.0  # seconds, as in goptlib
PROXY_LIMIT = 60.0  # seconds; the proxy may have to wait for the server
CHUNK = 64 * 1024
KIB = 1024
LINE = b"x" * 127 + b"\n"
SPECIAL = "\\=;"
HELLO = b"hello"
GO_WORDS = {
    13: "bind: permission denied",
    98: "bind: address already in use",
    99: "bind: cannot assign requested address",
}


class Hangup(Exception):
    """Raised when a peer breaks the rules, and its connection must be closed."""


class Reader:
    """Reads exact numbers of bytes, and tells whether more came than was asked for."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.rest = b""

    def take(self, number: int) -> bytes:
        """Return so many bytes."""
        while len(self.rest) < number:
            more = self._sock.recv(1024)
            if not more:
                raise Hangup
            self.rest += more
        data, self.rest = self.rest[:number], self.rest[number:]
        return data

    def take_until_nul(self) -> bytes:
        """Return the bytes before the next NUL, and take that too."""
        data = b""
        while (byte := self.take(1)) != b"\0":
            data += byte
        return data

    def in_step(self) -> None:
        """Check that nothing came before its turn, as the real ones do."""
        if self.rest:
            raise Hangup


class Valve:
    """Whether tunnels may write what they have read; it never changes.

    Attributes:
        is_open: they may.
        room: how many bytes each direction may keep inside.
        changed: a descriptor that becomes readable when another one takes its place.
    """

    def __init__(self, room: int, *, is_open: bool) -> None:
        self.is_open = is_open
        self.room = room
        # A scenario has few of them: the end that is read may stay open.
        self.changed, self._told = os.pipe()

    def is_replaced(self) -> None:
        """Wake the tunnels that go by it."""
        os.close(self._told)


class Way:
    """One direction of a tunnel, copied as Go's io.Copy does: read, write, read.

    Its end is asked for behind its last write, even where more than one read is held
    back. But where the end has come already, the system counts it as read together with
    the last bytes: a real copying PT looks the same from outside.

    Attributes:
        is_over: it has ended, and all that it read was written; or it failed.
        has_failed: one of its connections broke.
    """

    def __init__(
        self, source: socket.socket, sink: socket.socket, *, passes_end: bool
    ) -> None:
        self._source = source
        self._sink = sink
        self._passes_end = passes_end
        self._data = b""
        self._is_at_end = False
        self.is_over = False
        self.has_failed = False

    def waits_for(self, valve: Valve) -> Iterator[tuple[socket.socket, int]]:
        """Return what must happen before the next turn can do something."""
        if self.is_over:
            return
        if self._data and valve.is_open:
            yield self._sink, select.POLLOUT
        if self._may_read(valve):
            yield self._source, select.POLLIN

    def _may_read(self, valve: Valve) -> bool:
        if valve.is_open:
            return not self._data
        return len(self._data) < valve.room and not self._is_at_end

    def turn(self, valve: Valve) -> int:
        """Write and read what can be; return how many bytes were read."""
        if self.is_over:
            return 0
        before = len(self._data)
        try:
            if self._data and valve.is_open:
                self._data = self._data[self._sink.send(self._data) :]
                before = len(self._data)
            if self._may_read(valve):
                self._read(valve.room)
        except BlockingIOError:
            pass
        except OSError:
            self.is_over = self.has_failed = True
        return len(self._data) - before

    def _read(self, room: int) -> None:
        if self._data and not self._source.recv(1, socket.MSG_PEEK):
            self._is_at_end = True  # which is left unread for now
            return
        more = self._source.recv(room - len(self._data))
        self._data += more
        if not more:
            self.is_over = True
            if self._passes_end:
                self._sink.shutdown(socket.SHUT_WR)


class Pt:
    """One run of the fake."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._deaf = False
        self._forked = False
        self._listeners: list[socket.socket] = []
        self._lock = threading.Lock()
        self._behaviours: Iterator[str] = iter(())
        self._events: int | None = None
        self._proxy = os.environ.get("TOR_PT_PROXY", "")
        self._proxy_is_told = False
        self._closes = "each"
        self._valve: Valve
        self._held = 0
        self._open = 0
        self._counts = False

    def run(self) -> None:
        """Play the scenario."""
        self._report()
        self._valve = Valve(CHUNK, is_open=True)
        if os.path.exists(f"{self._path}.events"):
            self._events = os.open(f"{self._path}.events", os.O_WRONLY)
        self.tell(f"started {os.getpid()}")
        signal.signal(signal.SIGTERM, self._on_term)
        _thread(self._watch_stdin)
        with open(f"{self._path}.scenario", encoding="utf-8") as file:
            steps = file.read().split("\n")
        for step in filter(None, steps):
            name, _, text = step.partition(" ")
            getattr(self, f"step_{name.replace('-', '_')}")(text)
        while True:
            signal.pause()

    def _report(self) -> None:
        descriptors = {}
        listed = "/proc/self/fd"
        for name in os.listdir(listed) if os.path.isdir(listed) else []:
            try:
                descriptors[int(name)] = os.readlink(f"/proc/self/fd/{name}")
            except FileNotFoundError:  # the one that listed them
                pass
        umask = os.umask(0o077)
        report = {
            "arguments": sys.argv,
            "descriptors": descriptors,
            "environment": dict(os.environb),
            "folder": os.getcwd(),
            "group": os.getpgid(0),
            "pid": os.getpid(),
            "umask": umask,
        }
        # A file that is there is complete.
        with open(f"{self._path}.report.{os.getpid()}", "w", encoding="utf-8") as file:
            file.write(repr(report))
        os.replace(f"{self._path}.report.{os.getpid()}", f"{self._path}.report")

    def tell(self, text: str) -> None:
        """Tell the test what happened."""
        if self._events is not None:
            os.write(self._events, f"{text}\n".encode())

    def _on_term(self, *_: object) -> None:
        if not self._deaf:
            os._exit(0)
        self.tell("ignored SIGTERM")

    def _watch_stdin(self) -> None:
        while os.read(0, CHUNK):
            pass
        if os.environ.get("TOR_PT_EXIT_ON_STDIN_CLOSE") == "1" and not self._deaf:
            os._exit(0)
        self.tell("ignored EOF")

    # -- the steps that are not about connections --------------------------------------

    def step_say(self, text: str) -> None:
        self._proxy_is_told |= text.startswith("PROXY")
        self._write(1, f"{text}\n".encode())

    def step_raw(self, text: str) -> None:
        self._write(1, text.encode("latin-1").decode("unicode_escape").encode("latin1"))

    def step_write(self, text: str) -> None:
        self._write(2, f"{text}\n".encode())

    def step_leak(self, name: str) -> None:
        self.step_write(os.environ.get(name, ""))

    def step_tell(self, text: str) -> None:
        self.tell(text)

    def step_await(self, _: str) -> None:
        gate = os.open(f"{self._path}.gate", os.O_RDONLY)
        os.read(gate, 1)
        os.close(gate)

    def step_flood(self, text: str) -> None:
        descriptor, size = map(int, text.split())
        block = LINE * (CHUNK // len(LINE))
        for _ in range(size * 1024 * 1024 // len(block)):
            self._write(descriptor, block)

    def step_gives_up_port(self, _: str) -> None:
        signal.signal(signal.SIGINT, self._give_up_port)

    def _give_up_port(self, *_: object) -> None:
        for listener in self._listeners:
            with contextlib.suppress(OSError):  # it was told so before
                listener.shutdown(socket.SHUT_RDWR)  # or who accepts goes on
            listener.close()
        self.tell("gave-up-port")

    def step_deaf(self, _: str) -> None:
        self._deaf = True

    def step_fork(self, _: str) -> None:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self.tell(f"forked {os.getpid()}")
            while True:
                signal.pause()

    def step_exit(self, text: str) -> None:
        os._exit(int(text))

    def step_die(self, text: str) -> None:
        number = int(text)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)  # Python ignores SIGPIPE, for one
        os.kill(os.getpid(), number)

    def _write(self, descriptor: int, data: bytes) -> None:
        while data:
            data = data[os.write(descriptor, data) :]

    # -- how tunnels are carried -------------------------------------------------------

    def step_closes(self, how: str) -> None:
        assert how in ("each", "both", "never"), how
        self._closes = how

    def step_holds_back(self, kib: str) -> None:
        self._replace_valve(Valve(int(kib) * KIB, is_open=False))

    def step_flows(self, _: str) -> None:
        self._replace_valve(Valve(CHUNK, is_open=True))

    def _replace_valve(self, valve: Valve) -> None:
        last, self._valve = self._valve, valve
        last.is_replaced()

    def step_counts(self, _: str) -> None:
        self._counts = True

    # -- client ------------------------------------------------------------------------

    def step_proxy_error(self, text: str) -> None:
        if self._proxy:
            self.step_say(f"PROXY-ERROR {text}")
            os._exit(1)

    def step_proxy_ignored(self, _: str) -> None:
        self._proxy = ""

    def step_client(self, text: str) -> None:
        protocol, _, behaviours = text.partition(" ")
        protocol = protocol or "socks5"
        self._behaviours = _last_for_ever(behaviours or "relay")
        listener = self._listen("127.0.0.1", 0)
        host, port = listener.getsockname()[:2]
        if self._proxy and not self._proxy_is_told:
            self.step_say("PROXY DONE")
        for name in os.environ["TOR_PT_CLIENT_TRANSPORTS"].split(","):
            self.step_say(f"CMETHOD {name} {protocol} {host}:{port}")
        talk = self._socks5 if protocol == "socks5" else self._socks4
        _thread(self._accept, listener, talk)

    def _socks5(self, sock: socket.socket) -> None:
        with self._lock:
            behaviour = next(self._behaviours)
        self.tell("accepted")
        reader = Reader(sock)
        arguments = self._negotiate(sock, reader, behaviour)
        version, command, _, kind = reader.take(4)
        if kind == 1:
            host = socket.inet_ntop(socket.AF_INET, reader.take(4))
        elif kind == 3:
            host = reader.take(reader.take(1)[0]).decode("ascii")
        else:
            host = socket.inet_ntop(socket.AF_INET6, reader.take(16))
        port = int.from_bytes(reader.take(2), "big")
        reader.in_step()
        if (version, command) != (5, 1):
            raise Hangup
        self.tell(f"asked {host} {port} {arguments!r}")
        failure = b"\x05\x01\x00\x01" + bytes(6)
        self._connect(
            sock, host, port, behaviour, (b"\x05\0\0\x01" + bytes(6), failure)
        )

    def _negotiate(self, sock: socket.socket, reader: Reader, behaviour: str) -> bytes:
        """Choose a method, and give the arguments that came with it."""
        version, number = reader.take(2)
        methods = reader.take(number)
        if behaviour == "garbage":
            sock.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        if behaviour == "silent":
            reader.take(1)
        if version != 5 or behaviour == "garbage":
            raise Hangup
        method = 2 if 2 in methods else 0 if 0 in methods else 0xFF
        sock.sendall(bytes([5, method]))
        reader.in_step()
        if method == 0xFF:
            raise Hangup
        if method == 0:
            return b""
        version, length = reader.take(2)
        user = reader.take(length)
        length = reader.take(1)[0]
        password = reader.take(length)
        arguments = user if password == b"\0" else user + password
        refused = version != 1 or not user or not password or not _parses(arguments)
        sock.sendall(b"\x01\x01" if refused or behaviour == "reject" else b"\x01\x00")
        reader.in_step()
        if refused or behaviour == "reject":
            raise Hangup
        return arguments

    def _socks4(self, sock: socket.socket) -> None:
        with self._lock:
            behaviour = next(self._behaviours)
        self.tell("accepted")
        reader = Reader(sock)
        if reader.take(2) != b"\x04\x01":
            raise Hangup
        port = int.from_bytes(reader.take(2), "big")
        host = socket.inet_ntop(socket.AF_INET, reader.take(4))
        arguments = reader.take_until_nul()
        reader.in_step()
        self.tell(f"asked {host} {port} {arguments!r}")
        granted, refused = b"\0\x5a" + bytes(6), b"\0\x5b" + bytes(6)
        self._connect(sock, host, port, behaviour, (granted, refused))

    def _connect(
        self,
        sock: socket.socket,
        host: str,
        port: int,
        behaviour: str,
        answers: tuple[bytes, bytes],
    ) -> None:
        granted, refused = answers
        if behaviour == "cut":
            sock.sendall(granted[:3])
            raise Hangup
        if behaviour == "refuse":
            sock.sendall(refused)
            raise Hangup
        try:
            far = self._dial(host, port)
            if behaviour == "shake":
                _shake_hands(far)
                self.tell("shaken")
        except (OSError, Hangup):
            sock.sendall(refused)
            raise Hangup from None
        with self._counted(far):
            sock.sendall(granted)
            self._relay(sock, far)

    def _dial(self, host: str, port: int) -> socket.socket:
        if not self._proxy:
            return socket.create_connection((host, port), HANDSHAKE_LIMIT)
        from urllib.parse import unquote_to_bytes

        scheme, _, rest = self._proxy.partition("://")
        userinfo, _, place = rest.rpartition("@")
        if scheme != "socks5":
            raise Hangup
        far = socket.create_connection(_split(place), PROXY_LIMIT)
        try:
            user, _, password = userinfo.partition(":")
            login = unquote_to_bytes(user), unquote_to_bytes(password)
            _ask_proxy(far, login if user else None, host, port)
        except BaseException:
            far.close()
            raise
        return far

    # -- server ------------------------------------------------------------------------

    def step_server(self, words: str) -> None:
        self.step_server_at(f" {words}")

    def step_server_at(self, text: str) -> None:
        said, _, words = text.partition(" ")
        name, _, place = os.environ["TOR_PT_SERVER_BINDADDR"].partition("-")
        try:
            listener = self._listen(*_split(place))
        except OSError as error:
            why = GO_WORDS.get(error.errno or 0, str(error))
            self.step_say(f"SMETHOD-ERROR {name} listen tcp {place}: {why}")
            self.step_say("SMETHODS DONE")
            os._exit(255)
        if not said:
            host, port = listener.getsockname()[:2]
            said = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.step_say(f"SMETHOD {name} {said} {words}".rstrip())
        _thread(self._accept, listener, self._serve)

    def step_strangers(self, text: str) -> None:
        self._behaviours = _last_for_ever(text)

    def _serve(self, sock: socket.socket) -> None:
        with self._lock:
            behaviour = next(self._behaviours, "serve")
        if behaviour == "greet":
            sock.sendall(b"hello")
        elif behaviour != "serve":
            self._turn_away(sock, behaviour)
        extended = os.environ.get("TOR_PT_EXTENDED_SERVER_PORT")
        host, port = _split(extended or os.environ["TOR_PT_ORPORT"])
        try:
            far = socket.create_connection((host, port), HANDSHAKE_LIMIT)
        except OSError:
            raise Hangup from None
        with self._counted(far):
            if extended:
                self._introduce(sock, far)
            self._relay(sock, far)

    def _turn_away(self, sock: socket.socket, behaviour: str) -> None:
        self.tell("turned-away")
        if behaviour == "reset":
            sock.recv(1, socket.MSG_PEEK)  # what is left unread makes it that
        else:
            while sock.recv(CHUNK) and behaviour == "silent":
                pass
        raise Hangup

    def _introduce(self, sock: socket.socket, orport: socket.socket) -> None:
        """Authenticate to the Extended ORPort, and name the client."""
        import hmac
        import struct

        with open(os.environ["TOR_PT_AUTH_COOKIE_FILE"], "rb") as file:
            header, cookie = file.read(32), file.read(33)
        assert (len(header), len(cookie)) == (32, 32)
        reader = Reader(orport)
        assert reader.take(2) == b"\1\0"
        nonce = os.urandom(32)
        orport.sendall(b"\1" + nonce)
        proof, nonces = reader.take(32), nonce + reader.take(32)
        told = b"ExtORPort authentication %s hash"
        for words, other in (
            (b"server-to-client", proof),
            (b"client-to-server", None),
        ):
            made = hmac.digest(cookie, told % words + nonces, "sha256")
            if other is None:
                orport.sendall(made)
            else:
                assert made == other
        assert reader.take(1) == b"\1"
        host, port = sock.getpeername()[:2]
        user = f"{host}:{port}"
        for command, body in ((1, user.encode()), (2, b"obfs4"), (0, b"")):
            orport.sendall(struct.pack(">HH", command, len(body)) + body)
        self.tell("introduced")
        answer = reader.take(4)
        self.tell(f"answered {answer.hex()}")
        if answer != b"\x10\0\0\0":
            raise Hangup
        sock.sendall(reader.rest)

    # -- another plugin ----------------------------------------------------------------

    def step_plugin(self, role: str) -> None:
        local, remote = (
            (os.environ[f"{side}_HOST"], int(os.environ[f"{side}_PORT"]))
            for side in ("SS_LOCAL", "SS_REMOTE")
        )
        near, far = (remote, local) if role == "server" else (local, remote)

        def carry(sock: socket.socket) -> None:
            with self._counted(socket.create_connection(far, HANDSHAKE_LIMIT)) as other:
                self._relay(sock, other)

        _thread(self._accept, self._listen(*near), carry)
        self.tell("listens")

    # -- connections -------------------------------------------------------------------

    def _listen(self, host: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
        self._listeners.append(listener)
        return listener

    def _accept(
        self, listener: socket.socket, talk: Callable[[socket.socket], None]
    ) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:  # it is closed
                return
            sock.settimeout(HANDSHAKE_LIMIT)
            _thread(self._talk, sock, talk)

    def _talk(self, sock: socket.socket, talk: Callable[[socket.socket], None]) -> None:
        with self._counted(sock):
            try:
                talk(sock)
            except (Hangup, OSError):
                self.tell("hung up")

    @contextlib.contextmanager
    def _counted(self, sock: socket.socket) -> Iterator[socket.socket]:
        """Count a connection for as long as it is open; close it in the end."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._count, -1)
            stack.enter_context(sock)
            self._count(1)
            yield sock

    def _count(self, change: int) -> None:
        with self._lock:
            self._open += change
            if self._counts:
                self.tell(f"open {self._open}")

    def _relay(self, near: socket.socket, far: socket.socket) -> None:
        """Copy both ways until the tunnel ends; the caller closes both sockets."""
        near.setblocking(False)
        far.setblocking(False)
        how = self._closes
        pairs = ((near, far), (far, near))
        ways = [Way(*pair, passes_end=how == "each") for pair in pairs]
        while True:
            valve = self._valve
            for way in ways:
                taken = way.turn(valve)
                if taken and not valve.is_open:
                    self._hold(taken)
            over = [way.is_over for way in ways]
            if all(over) or (how == "both" and any(over)):
                return
            if how == "each" and any(way.has_failed for way in ways):
                return
            _wait(ways, valve)

    def _hold(self, number: int) -> None:
        with self._lock:
            self._held += number
            self.tell(f"held {self._held}")


def _thread(target: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()


def _last_for_ever(behaviours: str) -> Iterator[str]:
    words = behaviours.split(",")
    yield from words
    while True:
        yield words[-1]


def _split(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)


def _parses(arguments: bytes) -> bool:
    """Return whether arguments are what goptlib takes (pt-spec 3.5)."""
    text = arguments.decode("latin-1")
    for pair in _unescaped_split(text, ";"):
        escapes = [pair[at + 1 : at + 2] for at in _backslashes(pair)]
        if any(not each or each not in SPECIAL for each in escapes):
            return False
        key, *rest = _unescaped_split(pair, "=")
        if not key or not rest:
            return False
    return True


def _backslashes(text: str) -> list[int]:
    """Return the places of the backslashes that escape something."""
    places, at = [], 0
    while at < len(text):
        if text[at] == "\\":
            places.append(at)
            at += 1
        at += 1
    return places


def _unescaped_split(text: str, separator: str) -> list[str]:
    escaped = {at + 1 for at in _backslashes(text)}
    cuts = [at for at, c in enumerate(text) if c == separator and at not in escaped]
    starts = [0, *(at + 1 for at in cuts)]
    return [text[a:b] for a, b in zip(starts, [*cuts, len(text)], strict=True)]


def _wait(ways: list[Way], valve: Valve) -> None:
    """Wait until one of a tunnel's directions can do something."""
    wanted: dict[int, int] = {valve.changed: select.POLLIN}
    for way in ways:
        for sock, event in way.waits_for(valve):
            wanted[sock.fileno()] = wanted.get(sock.fileno(), 0) | event
    poll = select.poll()
    for descriptor, events in wanted.items():
        poll.register(descriptor, events)
    poll.poll()


def _ask_proxy(
    proxy: socket.socket, login: tuple[bytes, bytes] | None, host: str, port: int
) -> None:
    """Connect through a SOCKS5 proxy (RFC 1928, RFC 1929), as Go's x/net does."""
    proxy.sendall(b"\x05\x01\x00" if login is None else b"\x05\x02\x00\x02")
    version, method = _exactly(proxy, 2)
    if version != 5 or method not in (0, 2) or (method == 2 and login is None):
        raise Hangup
    if method == 2 and login is not None:
        user, password = (bytes([len(each)]) + each for each in login)
        proxy.sendall(b"\x01" + user + password)
        if _exactly(proxy, 2)[1] != 0:
            raise Hangup
    target = bytes([3, len(host)]) + host.encode()
    for kind, family in ((1, socket.AF_INET), (4, socket.AF_INET6)):
        with contextlib.suppress(OSError):
            target = bytes([kind]) + socket.inet_pton(family, host)
    proxy.sendall(b"\x05\x01\x00" + target + port.to_bytes(2, "big"))
    version, reply, _, kind = _exactly(proxy, 4)
    if version != 5 or reply != 0:
        raise Hangup
    length = _exactly(proxy, 1)[0] if kind == 3 else {1: 4, 4: 16}[kind]
    _exactly(proxy, length + 2)


def _shake_hands(server: socket.socket) -> None:
    """Run a handshake with a server that sends back what it gets."""
    try:
        server.sendall(HELLO)
        if _exactly(server, len(HELLO)) != HELLO:
            raise Hangup
    except BaseException:
        server.close()
        raise


def _exactly(sock: socket.socket, number: int) -> bytes:
    """Read so many bytes, and leave the rest to the tunnel."""
    data = b""
    while len(data) < number:
        more = sock.recv(number - len(data))
        if not more:
            raise Hangup
        data += more
    return data


if __name__ == "__main__":
    if sys.argv[1:] == ["-version"]:
        sys.exit(sys.stdout.write(f"{os.path.basename(sys.argv[0])}-0.0.1\n") and 0)
    Pt(os.path.abspath(sys.argv[0])).run()
