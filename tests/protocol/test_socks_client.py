"""The client's side of SOCKS: bytes against a server that follows a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ArgumentsRejected, ConnectRefused, ProtocolError
from pt_bridge.protocol.address import Address, parse_host
from pt_bridge.protocol.handshake import Ask
from pt_bridge.protocol.pt_args import encode_client
from pt_bridge.protocol.socks_client import connect, connect_socks4, greet

if TYPE_CHECKING:
    from pt_bridge.protocol.socks_client import Handshake

TARGET = Address("192.0.2.3", 443)
REQUEST = bytes.fromhex("05010001 c0000203 01bb")
# What goptlib always answers.
OPEN = bytes.fromhex("05000001 00000000 0000")


def drive(handshake: Handshake, script: bytes) -> tuple[list[Ask], bytes]:
    """Run a handshake to its end against a server that says what the script holds.

    Returns:
        The steps, and the bytes that were left unread.
    """
    steps = [next(handshake)]
    while len(script) >= steps[-1].read:
        answer, script = script[: steps[-1].read], script[steps[-1].read :]
        try:
            steps.append(handshake.send(answer))
        except StopIteration:
            return steps, script
    raise AssertionError(f"{steps[-1]} asks for more than the server says")


def test_the_vector_of_the_conformance_list() -> None:
    """SK-01, SK-02, SK-06, appendix B: to the byte, each step after the answer."""
    arguments = encode_client([("cert", "AAAA"), ("iat-mode", "0")])
    assert len(arguments) == 20
    script = bytes.fromhex("0502 0100") + OPEN
    steps, unread = drive(connect(TARGET, arguments), script)
    assert steps == [
        Ask(bytes.fromhex("05 01 02"), 2),
        Ask(
            bytes.fromhex("01 14 636572743d414141413b6961742d6d6f64653d30 01 00"),
            2,
        ),
        Ask(bytes.fromhex("05 01 00 01 c0000203 01bb"), 4),
        Ask(b"", 6),
    ]
    assert unread == b""


def test_arguments_with_special_characters_are_escaped() -> None:
    r"""SK-01, appendix B: as tor, save that tor leaves '=' in values bare."""
    arguments = encode_client([("cert", r"a;b\c=d"), ("iat-mode", "0")])
    assert arguments == rb"cert=a\;b\\c\=d;iat-mode=0"
    tors = rb"cert=a\;b\\c=d;iat-mode=0"
    assert len(tors) == 25
    for encoded in (arguments, tors):
        steps, _ = drive(connect(TARGET, encoded), b"\5\2\1\0" + OPEN)
        assert steps[1].send == bytes([1, len(encoded)]) + encoded + b"\1\0"


def test_without_arguments_only_method_0_is_offered() -> None:
    """SK-02, SK-04, appendix B: a PT picks method 2 whenever it is offered."""
    steps, unread = drive(connect(TARGET, b""), b"\5\0" + OPEN)
    assert steps == [Ask(bytes.fromhex("050100"), 2), Ask(REQUEST, 4), Ask(b"", 6)]
    assert unread == b""


@pytest.mark.parametrize(
    ("arguments", "script"), [(b"", b"\5\0"), (b"k=v", b"\5\2\1\0")]
)
def test_only_the_pts_own_answers_stand_between_greeting_and_request(
    arguments: bytes, script: bytes
) -> None:
    """SK-06, SK-07: a PT gives it five seconds; every step has something to send."""
    steps, _ = drive(connect(TARGET, arguments), script + OPEN)
    *before, request = steps[:-1]
    assert all(step.send and step.read == 2 for step in before)
    assert sum(step.read for step in before) == len(script)
    assert request.send == REQUEST


@pytest.mark.parametrize(
    ("length", "user", "password"),
    [
        *((n, n, b"\0") for n in (1, 254, 255)),
        *((n, 255, b"a" * (n - 255)) for n in (256, 257, 300, 509, 510)),
    ],
)
def test_arguments_are_user_name_and_password(
    length: int, user: int, password: bytes
) -> None:
    """SK-02, SK-04: neither is ever empty."""
    steps, _ = drive(connect(TARGET, b"a" * length), b"\5\2\1\0" + OPEN)
    assert steps[1] == Ask(
        bytes([1, user]) + b"a" * user + bytes([len(password)]) + password, 2
    )


def test_arguments_are_split_at_byte_255_whatever_stands_there() -> None:
    """SK-03: a backslash may be the last byte of the user name."""
    arguments = encode_client([("k", "v" * 252 + "=tail")])
    steps, _ = drive(connect(TARGET, arguments), b"\5\2\1\0" + OPEN)
    assert steps[1].send[2:].startswith(b"k=")
    assert steps[1].send.endswith(b"\\\5=tail")


@pytest.mark.parametrize(
    ("host", "request_hex"),
    [
        ("192.0.2.3", "05010001 c0000203 01bb"),
        ("::1", "05010004 00000000000000000000000000000001 01bb"),
        ("2001:db8::1", "05010004 20010db8000000000000000000000001 01bb"),
        ("a.example", "05010003 09 612e6578616d706c65 01bb"),
        (
            "bücher.example",
            "05010003 15 786e2d2d62636865722d6b76612e6578616d706c65 01bb",
        ),
    ],
)
def test_the_request_has_the_type_of_the_target(host: str, request_hex: str) -> None:
    """SK-08: a literal as one, a name as A-labels, left to the PT to resolve."""
    target = Address(parse_host(host), 443)
    steps, _ = drive(connect(target, b""), b"\5\0" + OPEN)
    assert steps[1] == Ask(bytes.fromhex(request_hex), 4)


def test_the_longest_name_fits() -> None:
    """SK-08: 253 bytes, and so never more than the 255 of SOCKS5."""
    name = ".".join(["a" * 49] * 5) + ".bcd"
    steps, _ = drive(connect(Address(name, 1), b""), b"\5\0" + OPEN)
    assert steps[1].send == b"\5\1\0\3\xfd" + name.encode() + b"\0\1"


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("05000001 00000000 0000", [6]),
        ("05000004 00000000000000000000000000000000 0000", [18]),
        ("05000003 00 0000", [1, 2]),
        ("05000003 09 612e6578616d706c65 0000", [1, 11]),
        ("05000003 ff " + "61" * 255 + " 0000", [1, 257]),
        ("0500ff01 01020304 0506", [6]),
    ],
)
@pytest.mark.parametrize("payload", [b"", b"\5\0\0\1 the first bytes of the tunnel"])
def test_nothing_behind_the_reply_is_read(
    reply: str, rest: list[int], payload: bytes
) -> None:
    """SK-09: it is payload, even in the same segment."""
    script = b"\5\0" + bytes.fromhex(reply) + payload
    steps, unread = drive(connect(TARGET, b""), script)
    assert [step.read for step in steps[2:]] == rest
    assert [step.send for step in steps[2:]] == [b""] * len(rest)
    assert unread == payload


@pytest.mark.parametrize("reply", [*range(1, 10), 0x5A, 0xFF])
def test_any_reply_but_0_is_a_refusal(reply: int) -> None:
    """SK-10, ER-13: no code has a meaning of its own, and nothing is read behind it."""
    with pytest.raises(ConnectRefused) as caught:
        drive(connect(TARGET, b""), b"\5\0\5" + bytes([reply]) + b"\0\1")
    assert str(caught.value) == f"the PT answered with SOCKS reply {reply}"


@pytest.mark.parametrize("answer", [b"\1\1", b"\1\xff", b"\5\1"])
def test_arguments_that_the_pt_cannot_parse_are_told_apart(answer: bytes) -> None:
    """SK-10, ER-12, SE-05."""
    with pytest.raises(ArgumentsRejected) as caught:
        drive(connect(TARGET, b"cert=s3cret"), b"\5\2" + answer)
    assert str(caught.value) == ("the PT did not understand the transport's arguments")


@pytest.mark.parametrize(
    ("arguments", "answer", "message"),
    [
        (b"k=v", b"\5\0", "the PT did not take SOCKS5 method 2"),
        (b"k=v", b"\5\xff", "the PT did not take SOCKS5 method 2"),
        (b"k=v", b"\4\2", "the PT did not take SOCKS5 method 2"),
        (b"", b"\5\2", "the PT did not take SOCKS5 method 0"),
        (b"", b"\5\xff", "the PT did not take SOCKS5 method 0"),
        (b"", b"HT", "the PT did not take SOCKS5 method 0"),
    ],
)
def test_any_method_but_the_one_offered_is_refused(
    arguments: bytes, answer: bytes, message: str
) -> None:
    """SK-05: the arguments would be lost."""
    with pytest.raises(ProtocolError) as caught:
        drive(connect(TARGET, arguments), answer)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"\4\0\0\1", "the PT's answer is not SOCKS5"),
        (b"\0\x5a\0\0", "the PT's answer is not SOCKS5"),
        (b"\5\0\0\0", "the PT's reply holds an address of unknown type 0"),
        (b"\5\0\0\2", "the PT's reply holds an address of unknown type 2"),
        (b"\5\0\0\xff", "the PT's reply holds an address of unknown type 255"),
    ],
)
def test_a_reply_that_is_not_socks5_is_refused(reply: bytes, message: str) -> None:
    """SK-09."""
    with pytest.raises(ProtocolError) as caught:
        drive(connect(TARGET, b""), b"\5\0" + reply)
    assert str(caught.value) == message


def test_a_refusal_is_no_other_protocol_error() -> None:
    """SK-10: the three are treated differently."""
    assert not issubclass(ConnectRefused, ArgumentsRejected)
    assert not issubclass(ArgumentsRejected, ConnectRefused)


# -- SOCKS4, for a PT that offers nothing newer ----------------------------------------


@pytest.mark.parametrize(
    ("arguments", "request_hex"),
    [
        ([], "0401 01bb c0000203 00"),
        (
            [("cert", "AAAA"), ("iat-mode", "0")],
            "0401 01bb c0000203 636572743d414141413b6961742d6d6f64653d30 00",
        ),
    ],
)
def test_with_socks4_the_arguments_are_the_user_id(
    arguments: list[tuple[str, str]], request_hex: str
) -> None:
    """SK-15: one request, and a reply of eight bytes."""
    handshake = connect_socks4(TARGET, encode_client(arguments))
    assert next(handshake) == Ask(bytes.fromhex(request_hex), 8)


@pytest.mark.parametrize("rest", [b"\0" * 6, b"\x01\xbb\xc0\0\2\3"])
def test_with_socks4_the_reply_ends_the_handshake(rest: bytes) -> None:
    """SK-09, SK-15: nothing behind its eight bytes is asked for."""
    handshake = connect_socks4(TARGET, b"")
    next(handshake)
    with pytest.raises(StopIteration):
        handshake.send(b"\0\x5a" + rest)


@pytest.mark.parametrize("code", [0x5B, 0x5C, 0x5D, 0, 1, 0xFF])
def test_with_socks4_any_code_but_granted_is_a_refusal(code: int) -> None:
    """SK-10, SK-15."""
    handshake = connect_socks4(TARGET, b"cert=s3cret")
    next(handshake)
    with pytest.raises(ConnectRefused) as caught:
        handshake.send(bytes([0, code]) + bytes(6))
    assert str(caught.value) == f"the PT answered with SOCKS4 reply {code}"


@pytest.mark.parametrize("version", [4, 5, 0x48])
def test_with_socks4_a_reply_that_is_not_socks4_is_refused(version: int) -> None:
    """SK-15."""
    handshake = connect_socks4(TARGET, b"")
    next(handshake)
    with pytest.raises(ProtocolError) as caught:
        handshake.send(bytes([version, 0x5A]) + bytes(6))
    assert str(caught.value) == "the PT's answer is not SOCKS4"


@pytest.mark.parametrize("host", ["::1", "2001:db8::1", "a.example"])
def test_with_socks4_only_ipv4_addresses_are_carried(host: str) -> None:
    """SK-15: names are resolved before, IPv6 is refused; nothing is sent."""
    with pytest.raises(ProtocolError) as caught:
        next(connect_socks4(Address(host, 443), b""))
    assert str(caught.value) == (
        "the PT speaks SOCKS4, which carries IPv4 addresses only"
    )


@pytest.mark.parametrize("answer", [b"\5\0", b"\5\xff", b"no"])
def test_a_greeting_takes_any_answer(answer: bytes) -> None:
    """It asks whether somebody is there, and for nothing."""
    steps, left = drive(greet(), answer + b"more")
    assert steps == [Ask(b"\5\1\0", 2)]
    assert left == b"more"
