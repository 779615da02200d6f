"""Connecting through the user's own proxy: real small ones, of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from pt_bridge.errors import ConnectRefused, LoginRefused, ProtocolError
from pt_bridge.net import upstream
from pt_bridge.net.sockets import reset
from pt_bridge.options.upstream_proxy import Proxy
from pt_bridge.protocol.address import Address
from tests.support import proxies
from tests.support.processes import DEADLINE
from tests.support.proxies import Asked, byte_by_byte
from tests.support.python import printed_by
from tests.support.tcp import is_silent, noise, not_listening, read, read_to_end, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 20.0  # seconds; loopback takes none
NAME, IPV4 = Address("server.invalid", 443), Address("192.0.2.3", 443)
IPV6 = Address("2001:db8::3", 443)
SERVE: dict[str, Callable[..., Asked]] = {
    "socks5": proxies.socks5,
    "socks4a": proxies.socks4,
    "http": proxies.http,
}
EVERY_SCHEME = pytest.mark.parametrize("scheme", SERVE)
USERINFO, LOGIN = "us%65r:s3%3Acret%40", (b"user", b"s3:cret@")


class Served:
    """A proxy's port, and the one connection that comes to it."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family)
        self.listener.settimeout(DEADLINE)
        self.address = Address(host, self.listener.getsockname()[1])
        self.sock: socket.socket | None = None

    def accept(self) -> socket.socket:
        """Take the connection; to be waited for in a thread."""
        self.sock, _ = self.listener.accept()
        self.sock.settimeout(DEADLINE)
        return self.sock

    def far(self) -> socket.socket:
        """Return the connection for a coroutine to play with."""
        assert self.sock is not None
        self.sock.setblocking(False)
        return self.sock

    def proxy(self, scheme: str, userinfo: str = "") -> Proxy:
        """Return what the user would have written."""
        return Proxy(scheme, self.address, userinfo)

    def close(self) -> None:
        self.listener.close()
        if self.sock is not None:
            self.sock.close()


@contextlib.contextmanager
def served(host: str = "127.0.0.1") -> Iterator[Served]:
    """Open a proxy's port, and take it down."""
    built = Served(host)
    try:
        yield built
    finally:
        built.close()


async def through(
    at: Served,
    scheme: str,
    target: Address = NAME,
    *,
    userinfo: str = "",
    **keywords: Any,
) -> tuple[socket.socket, Asked]:
    """Connect through a proxy that works; return the connection, and what was asked."""
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(
            asyncio.to_thread(lambda: SERVE[scheme](at.accept(), **keywords))
        )
        proxy = at.proxy(scheme, userinfo)
        connected = tasks.create_task(upstream.connect(proxy, target, limit=LIMIT))
    return connected.result(), asked.result()


async def failure(
    at: Served,
    scheme: str,
    play: Callable[[socket.socket], object],
    *,
    target: Address = NAME,
    userinfo: str = "",
    limit: float = LIMIT,
) -> Exception:
    """Connect through a proxy that fails; give the error. The connection is closed."""

    def run() -> None:
        sock = at.accept()
        with contextlib.suppress(OSError):  # given up before it was played to the end
            play(sock)

    async with asyncio.TaskGroup() as tasks:
        played = tasks.create_task(asyncio.to_thread(run))
        try:
            sock = await upstream.connect(
                at.proxy(scheme, userinfo), target, limit=limit
            )
        except (ProtocolError, OSError) as raised:
            error = raised
        else:
            sock.close()
            raise AssertionError("it should have failed")
        await played
        with contextlib.suppress(OSError):  # it was reset, or not all of it was read
            await read_to_end(at.far())
    assert "s3" not in str(error)
    assert at.address.host not in str(error)
    return error


def refusing(
    serve: Callable[..., Asked], **keywords: Any
) -> Callable[[socket.socket], None]:
    """Create a proxy that does not take the login that it is given."""

    def play(sock: socket.socket) -> None:
        with pytest.raises(proxies.Refused):
            serve(sock, **keywords)

    return play


# -- what it is asked ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "target"),
    [
        ("socks5", NAME),
        ("socks5", IPV4),
        ("socks5", IPV6),
        ("socks4a", NAME),
        ("socks4a", IPV4),
        ("http", NAME),
        ("http", IPV4),
        ("http", IPV6),
    ],
)
async def test_a_proxy_is_asked_for_the_target_as_it_stands(
    scheme: str, target: Address
) -> None:
    """SE-09: a name is left to the proxy: to look it up here would tell others."""
    with served() as at:
        sock, asked = await through(at, scheme, target)
        sock.close()
    assert asked == (target.host, target is NAME, 443, None, None)


@EVERY_SCHEME
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_connection_is_ready_for_the_tunnel(scheme: str, host: str) -> None:
    """RL-05: as all of ours are, and no byte of ours comes before the tunnel's."""
    with served(host) as at:
        sock, _ = await through(at, scheme, IPV4)
        far = at.far()
        with sock:
            assert is_silent(far)
            assert not sock.getblocking()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            await write(sock, b"question")
            assert await read(far, 8) == b"question"


@EVERY_SCHEME
async def test_bytes_right_behind_the_answer_are_left_for_the_tunnel(
    scheme: str,
) -> None:
    """SK-09: even where both come in one segment."""
    first = b"\n\r\n\n" + noise(1000)
    with served() as at:
        sock, _ = await through(at, scheme, IPV4, behind=first)
        with sock:
            at.far().shutdown(socket.SHUT_WR)
            assert await read_to_end(sock) == first


@EVERY_SCHEME
async def test_an_answer_may_come_byte_by_byte(scheme: str) -> None:
    """SK-09: a segment's end means nothing, and none of the answer is left over."""
    with served() as at:
        sock, _ = await through(at, scheme, IPV4, behind=b"x", write=byte_by_byte)
        with sock:
            at.far().shutdown(socket.SHUT_WR)
            assert await read_to_end(sock) == b"x"


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\n\r\n"])
async def test_the_end_of_an_http_answer_may_be_written_in_other_ways(
    end: bytes,
) -> None:
    """RFC 9112 2.2."""
    with served() as at:
        sock, _ = await through(at, "http", end=end, behind=b"\r\nx")
        with sock:
            assert await read(sock, 3) == b"\r\nx"


@pytest.mark.parametrize("scheme", ["socks5", "http"])
async def test_the_login_is_given_as_it_is_meant(scheme: str) -> None:
    """PE-07: what is escaped in the URL is not so for the proxy."""
    with served() as at:
        sock, asked = await through(at, scheme, userinfo=USERINFO, login=LOGIN)
        sock.close()
    assert (asked.user, asked.password) == LOGIN


async def test_the_user_name_is_all_of_the_login_that_socks4a_has() -> None:
    """SOCKS4: its USERID."""
    with served() as at:
        sock, asked = await through(at, "socks4a", IPV4, userinfo=USERINFO)
        sock.close()
    assert (asked.user, asked.password) == (b"user", None)


async def test_an_http_login_may_be_in_any_language() -> None:
    """RFC 7617 2.1: what the URL's bytes say."""
    login = "bücher".encode(), b"\0\xff"
    with served() as at:
        sock, asked = await through(
            at, "http", userinfo="b%C3%BCcher:%00%FF", login=login
        )
        sock.close()
    assert (asked.user, asked.password) == login


# -- what can be wrong -----------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["socks5", "http"])
async def test_a_login_that_the_proxy_does_not_take_is_an_error_of_its_own(
    scheme: str,
) -> None:
    """ER-05: the same for every server, so no other needs to be tried."""
    with served() as at:
        play = refusing(SERVE[scheme], login=(b"user", b"other"))
        error = await failure(at, scheme, play, userinfo=USERINFO)
    assert isinstance(error, LoginRefused)
    assert "does not take the user name and password of upstream-proxy=" in str(error)


@pytest.mark.parametrize("scheme", ["socks5", "http"])
async def test_a_proxy_that_wants_a_login_says_so(scheme: str) -> None:
    """ER-05: and where to write it."""
    with served() as at:
        error = await failure(at, scheme, refusing(SERVE[scheme], login=LOGIN))
    assert isinstance(error, LoginRefused)
    assert "put user:password@ before the host" in str(error)


async def test_a_login_that_nobody_offered_is_asked_for_all_the_same() -> None:
    """RFC 1928 3: which the proxy must not, but some do."""
    with served() as at:
        error = await failure(at, "socks5", lambda sock: answer(sock, b"\5\2"))
    assert isinstance(error, LoginRefused)


@pytest.mark.parametrize(
    ("scheme", "keywords", "words"),
    [
        ("socks5", {"reply": 1}, "General SOCKS server failure"),
        ("socks5", {"reply": 2}, "not allowed"),
        ("socks5", {"reply": 5}, "refused"),
        ("socks4a", {"reply": 0x5B}, "rejected"),
        ("socks4a", {"reply": 0x5D}, "user-id"),
        ("http", {"status": b"403 s3cret"}, "HTTP status 403"),
        ("http", {"status": b"502 Bad Gateway"}, "HTTP status 502"),
        ("http", {"status": b"301 Moved"}, "HTTP status 301"),
    ],
)
async def test_a_server_that_the_proxy_did_not_reach_is_an_error(
    scheme: str, keywords: dict[str, Any], words: str
) -> None:
    """ER-13: in words that tell what the proxy said, and nothing that it wrote."""
    with served() as at:
        error = await failure(
            at, scheme, lambda sock: SERVE[scheme](sock, **keywords), target=IPV4
        )
    assert type(error) is ConnectRefused
    assert str(error).startswith("the upstream proxy did not connect to the server: ")
    assert words in str(error)


def answer(sock: socket.socket, data: bytes) -> None:
    """Act as a proxy that reads a little, says something, and has nothing to add."""
    sock.recv(100)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(
    ("scheme", "data"),
    [
        ("socks5", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("socks5", b"\5\x80"),
        ("socks5", b"\5\0\4\0\0\1" + bytes(6)),
        ("socks5", b"\5\0\5\xee\0\1" + bytes(6)),
        ("socks5", b"\5\0\5\0\0\3\1\xff\0\0"),
        ("socks5", b"\5\0\5\0\0\7" + bytes(6)),
        ("socks4a", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("socks4a", b"\0\0" + bytes(6)),
        ("socks4a", b"\5\0\5\0\0\1" + bytes(6)),
        ("http", b"SSH-2.0-OpenSSH_9.2p1\r\n"),
        ("http", b"HTTP/1.1 x00 OK\r\n\r\n"),
        ("http", b"HTTP/1.1 200 OK\r\nX: " + bytes(20_000)),
        ("http", b"\5\xff" + bytes(20)),
    ],
)
async def test_what_is_no_answer_of_such_a_proxy_is_an_error(
    scheme: str, data: bytes
) -> None:
    """RL-10: an error of this connection, whatever comes."""
    with served() as at:
        error = await failure(at, scheme, lambda sock: answer(sock, data), target=IPV4)
    assert type(error) is ProtocolError


@EVERY_SCHEME
@pytest.mark.parametrize("data", [b"", b"\0", b"\5", b"HTTP/1.1 200 OK\r\n"])
async def test_a_proxy_that_closes_in_the_middle_is_an_error(
    scheme: str, data: bytes
) -> None:
    """RL-10: some do so where they do not like the login."""
    with served() as at:
        error = await failure(at, scheme, lambda sock: answer(sock, data), target=IPV4)
    assert type(error) is ProtocolError


async def test_who_closed_is_told() -> None:
    """ER-13: it was not the PT."""
    with served() as at:
        error = await failure(at, "http", lambda sock: answer(sock, b""))
    assert str(error) == "the upstream proxy closed the connection during the handshake"


@EVERY_SCHEME
async def test_a_proxy_that_resets_is_an_error_of_the_system(scheme: str) -> None:
    """RL-10."""

    def play(sock: socket.socket) -> None:
        sock.recv(1)
        reset(sock)

    with served() as at:
        error = await failure(at, scheme, play, target=IPV4)
    assert isinstance(error, OSError)
    assert "the upstream proxy cannot be reached: Connection reset" in str(error)


@pytest.mark.parametrize(
    ("scheme", "data"),
    [
        *((scheme, b"") for scheme in SERVE),
        ("socks5", b"\5\0\5\0"),
        ("socks4a", b"\0\x5a\0"),
        ("http", b"HTTP/1.1 2"),
        ("http", b"HTTP/1.1 200 OK\r\n"),
    ],
)
async def test_a_proxy_that_does_not_answer_is_given_up(
    scheme: str, data: bytes
) -> None:
    """SK-11: after a limit, whatever it is that it leaves out."""
    with served() as at:
        error = await failure(
            at, scheme, lambda sock: sock.sendall(data), target=IPV4, limit=0.1
        )
    assert isinstance(error, TimeoutError)
    assert str(error) == "the upstream proxy did not answer in time"


@EVERY_SCHEME
async def test_a_proxy_that_cannot_be_reached_is_given_up(scheme: str) -> None:
    """SK-11: where nothing answers at all; and no socket is left."""
    with crowded() as proxy:
        address = Address(*proxy.getsockname())
        with pytest.raises(TimeoutError):
            await upstream.connect(Proxy(scheme, address, ""), IPV4, limit=0.1)


@contextlib.contextmanager
def crowded() -> Iterator[socket.socket]:
    """Listen where the system lets nobody in any more."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(
            socket.create_server(("127.0.0.1", 0), backlog=0)
        )
        waiting = stack.enter_context(socket.socket())
        waiting.connect(listener.getsockname())
        yield listener


@EVERY_SCHEME
async def test_a_proxy_that_does_not_listen_is_an_error_of_the_system(
    scheme: str,
) -> None:
    """RL-10, SE-06: which does not say where the proxy is."""
    with served() as at:
        proxy = at.proxy(scheme)
    with pytest.raises(OSError, match="upstream proxy cannot be reached") as caught:
        await upstream.connect(proxy, IPV4, limit=LIMIT)
    assert str(caught.value).endswith("reached: Connection refused")


async def test_a_proxy_without_an_address_is_an_error_of_the_system() -> None:
    """RL-10."""
    proxy = Proxy("socks5", Address("pt-bridge.invalid", 1080), "")
    with pytest.raises(OSError, match="name of the upstream proxy cannot be resolved"):
        await upstream.connect(proxy, NAME, limit=LIMIT)


async def test_what_a_proxy_can_never_reach_it_is_not_asked_for() -> None:
    """SOCKS4a: IPv4 addresses only, and names."""
    with served() as at:
        with pytest.raises(ProtocolError, match="reaches no IPv6 addresses"):
            await upstream.connect(at.proxy("socks4a"), IPV6, limit=LIMIT)
        at.listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            at.accept()


@pytest.mark.parametrize("scheme", ["socks5", "socks4a"])
@pytest.mark.parametrize("user", ["b%C3%BCcher", "a%00b", "x" * 256])
async def test_a_login_that_socks_cannot_carry_is_an_error(
    scheme: str, user: str
) -> None:
    """RFC 1929: rather than another one that nobody meant."""
    with served() as at:
        with pytest.raises(ProtocolError, match="255 ASCII characters") as caught:
            await upstream.connect(
                at.proxy(scheme, f"{user}:s3cret"), IPV4, limit=LIMIT
            )
        assert user not in str(caught.value)


# -- one after the other ---------------------------------------------------------------


@EVERY_SCHEME
async def test_each_address_of_the_proxy_is_tried(scheme: str) -> None:
    """SV-01: the first that can be reached serves."""
    with served() as dead, served() as at, not_listening(dead.listener):
        proxy = at.proxy(scheme)
        deadline = asyncio.get_running_loop().time() + LIMIT
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(
                asyncio.to_thread(lambda: SERVE[scheme](at.accept()))
            )
            places = [dead.address, at.address]
            connected = tasks.create_task(
                upstream._ask_in_turn(proxy, places, IPV4, deadline)
            )
        connected.result().close()
        assert asked.result().host == IPV4.host


async def test_an_address_that_is_silent_leaves_time_for_the_next() -> None:
    """SK-11."""
    with served() as silent, served() as at:
        proxy = at.proxy("socks5")
        deadline = asyncio.get_running_loop().time() + 4
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.to_thread(lambda: proxies.socks5(at.accept())))
            places = [silent.address, at.address]
            connected = tasks.create_task(
                upstream._ask_in_turn(proxy, places, IPV4, deadline)
            )
        connected.result().close()


async def test_a_proxy_that_refuses_is_not_asked_at_its_other_addresses() -> None:
    """ER-13: it is the same proxy."""
    with served() as at, served() as other:
        deadline = asyncio.get_running_loop().time() + LIMIT
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                asyncio.to_thread(lambda: proxies.socks5(at.accept(), reply=5))
            )
            places = [at.address, other.address]
            with pytest.raises(ConnectRefused):
                await upstream._ask_in_turn(at.proxy("socks5"), places, NAME, deadline)
        other.listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


@EVERY_SCHEME
async def test_a_connection_that_is_cancelled_leaves_nothing(scheme: str) -> None:
    """RL-11: as when the PT dies."""
    with served() as at:
        proxy = at.proxy(scheme)
        async with asyncio.TaskGroup() as tasks:
            connecting = tasks.create_task(upstream.connect(proxy, IPV4, limit=LIMIT))
            sock = await asyncio.to_thread(at.accept)
            await asyncio.to_thread(sock.recv, 1)
            connecting.cancel()
        assert connecting.cancelled()
        with contextlib.suppress(ConnectionResetError):  # it had not read all
            await read_to_end(at.far())


def test_the_library_is_not_imported_before_it_is_needed() -> None:
    """LC-13: it takes longer than all the rest of a start."""
    code = "import sys, pt_bridge.net.upstream; print('python_socks' in sys.modules)"
    assert printed_by(code).strip() == "False"
