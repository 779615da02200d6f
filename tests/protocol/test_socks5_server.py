"""The server's side of SOCKS5: bytes, our own client's side, and PySocks."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest
import socks  # type: ignore[import-untyped] # it has no types

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol import socks5
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.socks5_server import (
    REPLY_FAILED,
    REPLY_NOT_ALLOWED,
    REPLY_REFUSED,
    REPLY_SUCCEEDED,
    REPLY_UNREACHABLE,
    accept,
)
from tests.protocol.calls import Call, call, call_in_pieces

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pt_bridge.protocol.socks5 import Ask

USER, PASSWORD = b"pt-bridge", b"s3cret"
GREETING = bytes.fromhex("05 02 00 02")
CREDENTIALS = bytes.fromhex("01 09 70742d627269646765 06 733363726574")
AUTHENTICATION = GREETING + CREDENTIALS
TAKEN = [(4, b"\5\2"), (22, b"\1\0")]
REQUEST = bytes.fromhex("05010001 c0000203 01bb")
DEADLINE = 30.0  # seconds


def served() -> Generator[Ask, bytes, Address]:
    return accept(user=USER, password=PASSWORD)


def serve(data: bytes) -> Call:
    return call(served, data)


@pytest.mark.parametrize(
    ("rest", "target"),
    [
        ("01 c0000203 01bb", Address("192.0.2.3", 443)),
        ("01 f0000001 0000", Address("240.0.0.1", 0)),
        ("04 20010db8000000000000000000000001 ffff", Address("2001:db8::1", 65_535)),
        ("04 00000000000000000000ffffc0000203 01bb", Address("::ffff:c000:203", 443)),
        ("03 09 612e6578616d706c65 01bb", Address("a.example", 443)),
        ("03 09 412e4578616d706c65 01bb", Address("a.example", 443)),
        ("03 07 312e322e332e34 0050", Address("1.2.3.4", 80)),
        ("03 03 3a3a31 0050", Address("::1", 80)),
        ("03 01 61 0050", Address("a", 80)),
        (
            "03 15 786e2d2d62636865722d6b76612e6578616d706c65 01bb",
            Address("xn--bcher-kva.example", 443),
        ),
    ],
)
def test_a_request_says_where_to_go(rest: str, target: Address) -> None:
    """RFC 1928 4 and 5: of each type; what comes behind it is not read."""
    data = AUTHENTICATION + bytes.fromhex("050100" + rest)
    assert serve(data) == Call(TAKEN, target, None, b"")
    assert serve(data + b"payload") == Call(TAKEN, target, None, b"payload")


def test_the_longest_name_is_taken() -> None:
    """RFC 1035: 253 bytes of the 255 that SOCKS5 can say."""
    name = ".".join(["a" * 49] * 5) + ".bcd"
    request = b"\5\1\0\3\xfd" + name.encode() + b"\0\1"
    assert serve(AUTHENTICATION + request).result == Address(name, 1)


@pytest.mark.parametrize(
    "methods", [b"\2", b"\0\2", b"\2\0", b"\0\1\2", bytes(range(255))]
)
def test_the_user_name_is_asked_for_wherever_it_is_offered(methods: bytes) -> None:
    """RFC 1928 3, RL-08: other users of the machine can connect as well."""
    data = bytes([5, len(methods)]) + methods + CREDENTIALS + REQUEST
    went = serve(data)
    assert went.heard[0] == (2 + len(methods), b"\5\2")
    assert went.result == Address("192.0.2.3", 443)


@pytest.mark.parametrize("methods", [b"", b"\0", b"\1", b"\0\1\3", b"\xff", bytes(255)])
def test_who_offers_no_user_name_is_refused(methods: bytes) -> None:
    """RFC 1928 3."""
    greeting = bytes([5, len(methods)]) + methods
    assert serve(greeting + b"x") == Call(
        [(len(greeting), b"\5\xff")],
        None,
        "who called the PT's proxy offers no user name",
        b"x",
    )


@pytest.mark.parametrize(
    ("user", "password"),
    [
        (b"pt-bridge", b"S3cret"),
        (b"pt-bridge", b"s3cre"),
        (b"pt-bridge", b"s3cret\0"),
        (b"pt-bridge", b""),
        (b"pt-bridg\xe9", b"s3cret"),
        (b"pt-bridg", b"es3cret"),
        (b"", b"s3cret"),
        (b"", b""),
        (b"s3cret", b"pt-bridge"),
        (b"u" * 255, b"p" * 255),
    ],
)
def test_a_wrong_user_name_or_password_is_refused(user: bytes, password: bytes) -> None:
    """RFC 1929 2: and said in words that do not hold it."""
    data = GREETING + bytes([1, len(user)]) + user + bytes([len(password)]) + password
    assert serve(data + REQUEST) == Call(
        [(4, b"\5\2"), (len(data), b"\1\1")],
        None,
        "who called the PT's proxy does not know its password",
        REQUEST,
    )


def test_user_name_and_password_may_be_any_255_bytes() -> None:
    """RFC 1929 2."""
    user, password = bytes(range(1, 256)), bytes(range(255))
    data = GREETING + b"\1\xff" + user + b"\xff" + password + REQUEST
    went = call(lambda: accept(user=user, password=password), data)
    assert went.result == Address("192.0.2.3", 443)


@pytest.mark.parametrize("command", [0, 2, 3, 0xF0, 0xFF])
def test_only_connect_is_served(command: int) -> None:
    """RFC 1928 6: reply 7, and nothing is left unread that could take it back."""
    data = AUTHENTICATION + b"\5" + bytes([command]) + REQUEST[2:]
    assert serve(data) == Call(
        [*TAKEN, (len(data), bytes.fromhex("05070001 00000000 0000"))],
        None,
        f"the PT asked its proxy for SOCKS5 command {command}",
        b"",
    )


@pytest.mark.parametrize("kind", [0, 2, 5, 0xFF])
def test_an_unknown_type_of_address_is_refused(kind: int) -> None:
    """RFC 1928 6: reply 8; how long it would be is not known."""
    data = AUTHENTICATION + bytes([5, 1, 0, kind])
    assert serve(data + b"rest") == Call(
        [*TAKEN, (len(data), bytes.fromhex("05080001 00000000 0000"))],
        None,
        f"the PT asked its proxy for an address of type {kind}",
        b"rest",
    )


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b"a b",
        b"a\0",
        b"a\n",
        b"a|b",
        b"127.1",
        b"0x7f.1",
        b"1.2.3.256",
        b"fe80::1%lo",
        b"[a]",
        b"a:80",
        "bücher.example".encode(),
        b"\xff\xfe",
        b"a" * 64,
        b"\xc3\xbc" * 127,
    ],
)
def test_a_name_that_is_none_is_refused(name: bytes) -> None:
    """SK-08, SE-06: an A-label is ASCII; the name itself is not repeated."""
    data = AUTHENTICATION + b"\5\1\0\3" + bytes([len(name)]) + name + b"\0\x50"
    assert serve(data) == Call(
        [*TAKEN, (len(data), REPLY_FAILED)],
        None,
        "the PT asked its proxy for no valid host name",
        b"",
    )


@pytest.mark.parametrize(
    ("data", "heard", "error"),
    [
        (b"\4\1\1\xbb", [], "who called the PT's proxy does not speak SOCKS5"),
        (b"CONNECT", [], "who called the PT's proxy does not speak SOCKS5"),
        (
            GREETING + b"\5\1\0\1",
            TAKEN[:1],
            "who called the PT's proxy gives no user name",
        ),
        (
            AUTHENTICATION + b"\4\1\0\1",
            TAKEN,
            "the PT's request to its proxy is not SOCKS5",
        ),
    ],
)
def test_what_is_not_socks5_is_not_answered(
    data: bytes, heard: list[tuple[int, bytes]], error: str
) -> None:
    """SE-10: there is nobody to understand it."""
    went = serve(data)
    assert (went.heard, went.result, went.error) == (heard, None, error)


def test_what_is_not_complete_is_waited_for() -> None:
    """Each message may end anywhere; the deadline is the driver's."""
    data = AUTHENTICATION + REQUEST
    for end in range(len(data)):
        went = call_in_pieces(served(), [data[:end]])
        assert (went.result, went.error) == (None, None)
        assert went.heard == [each for each in TAKEN if each[0] <= end]


@pytest.mark.parametrize(
    "target",
    [Address("192.0.2.3", 443), Address("2001:db8::1", 1), Address("c1.invalid", 80)],
)
def test_our_own_clients_side_and_this_one_understand_each_other(
    target: Address,
) -> None:
    """SK-02: what the one says, the other takes for what was meant."""
    secret = b"a" * 255 + b"b" * 44
    answers = b"\5\2\1\0" + REPLY_SUCCEEDED
    client = call_in_pieces(socks5.connect(target, secret), [answers])
    server = call(
        lambda: accept(user=secret[:255], password=secret[255:]),
        b"".join(said for _, said in client.heard),
    )
    assert (client.error, client.unread) == (None, b"")
    assert (server.result, server.unread) == (target, b"")
    assert b"".join(said for _, said in server.heard) + REPLY_SUCCEEDED == answers


@pytest.mark.parametrize(
    "reply", [REPLY_FAILED, REPLY_NOT_ALLOWED, REPLY_UNREACHABLE, REPLY_REFUSED]
)
def test_our_own_clients_side_reads_a_refusal(reply: bytes) -> None:
    """SK-10."""
    target = Address("192.0.2.3", 443)
    client = call_in_pieces(socks5.connect(target, b""), [b"\5\0" + reply])
    assert client.error == f"the PT answered with SOCKS reply {reply[1]}"


@contextlib.contextmanager
def proxy(reply: bytes, targets: list[Address]) -> Iterator[int]:
    """Serve one connection on a port of loopback; echo 4 bytes where it succeeds."""

    def run() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(DEADLINE)
            handshake = served()
            try:
                ask = next(handshake)
                while True:
                    sock.sendall(ask.send)
                    ask = handshake.send(sock.recv(ask.read, socket.MSG_WAITALL))
            except StopIteration as end:
                targets.append(end.value)
            except ProtocolError:
                return
            sock.sendall(reply)
            if reply == REPLY_SUCCEEDED:
                sock.sendall(sock.recv(4, socket.MSG_WAITALL))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def dial(port: int, target: tuple[str, int], password: bytes) -> socket.socket:
    """Connect by PySocks."""
    sock: socket.socket = socks.create_connection(
        target,
        timeout=DEADLINE,
        proxy_type=socks.SOCKS5,
        proxy_addr="127.0.0.1",
        proxy_port=port,
        proxy_username=USER.decode(),
        proxy_password=password.decode(),
    )
    return sock


@pytest.mark.parametrize(
    "target", [("192.0.2.3", 443), ("2001:db8::1", 80), ("c0ffee.invalid", 1)]
)
def test_pysocks_gets_through(target: tuple[str, int]) -> None:
    """An independent client, that offers methods 0 and 2."""
    targets: list[Address] = []
    with (
        proxy(REPLY_SUCCEEDED, targets) as port,
        dial(port, target, PASSWORD) as sock,
    ):
        sock.sendall(b"ping")
        assert sock.recv(4, socket.MSG_WAITALL) == b"ping"
    assert targets == [Address(*target)]


@pytest.mark.parametrize(
    ("reply", "meaning"),
    [
        (REPLY_FAILED, "0x01: General SOCKS server failure"),
        (REPLY_NOT_ALLOWED, "0x02: Connection not allowed by ruleset"),
        (REPLY_UNREACHABLE, "0x04: Host unreachable"),
        (REPLY_REFUSED, "0x05: Connection refused"),
    ],
)
def test_pysocks_reads_every_reply_as_we_mean_it(reply: bytes, meaning: str) -> None:
    """RFC 1928 6."""
    with (
        proxy(reply, []) as port,
        pytest.raises(socks.ProxyError, match=meaning),
    ):
        dial(port, ("192.0.2.3", 443), PASSWORD)


def test_pysocks_with_a_wrong_password_is_told_so() -> None:
    """RFC 1929 2."""
    targets: list[Address] = []
    with (
        proxy(REPLY_SUCCEEDED, targets) as port,
        pytest.raises(socks.ProxyError, match="SOCKS5 authentication failed"),
    ):
        dial(port, ("192.0.2.3", 443), b"another")
    assert targets == []
