"""The Extended ORPort: bytes against a PT that follows a script."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import CookieRefused, Denied, ProtocolError
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.ext_orport import (
    DENY,
    MAX_COMMANDS,
    MAX_SIZE,
    OKAY,
    Request,
    accept,
    announce,
    cookie_file,
    read_cookie_file,
)
from tests.support.calls import Call, call, call_in_pieces

if TYPE_CHECKING:
    from collections.abc import Generator

    from pt_bridge.protocol.handshake import Ask

# Conformance, appendix B.
COOKIE, CLIENT_NONCE, SERVER_NONCE = (bytes(range(n, n + 32)) for n in (0, 0x20, 0x40))
SERVER_HASH = bytes.fromhex(
    "67cb22838690cf4c49434d4ea3164fbdcc936e46fd90ee62f511639a8456d133"
)
CLIENT_HASH = bytes.fromhex(
    "4becde5c2fe8a9fed908d74f79be128d73abfbf82c009d3bdc17b4bc02740d58"
)
IPV4 = bytes.fromhex("0001 0010 3230332e302e3131332e353a34333231")
IPV6 = bytes.fromhex("0001 0012 5b323030313a6462383a3a315d3a34333231")
OBFS4 = bytes.fromhex("0002 0005 6f62667334")
DONE = bytes.fromhex("00000000")

AUTHENTICATION = b"\1" + CLIENT_NONCE + CLIENT_HASH
TAKEN = [(0, b"\1\0"), (33, SERVER_HASH + SERVER_NONCE), (65, b"\1")]
NO_ADDRESS = "the PT's USERADDR is no IP address and port"
NO_TRANSPORT = "the PT's TRANSPORT is no name of a transport"
TOO_MUCH = (
    "the PT sent the Extended ORPort more than 16 commands or 131072 bytes of them"
)


def accepted() -> Generator[Ask, bytes, Request]:
    return accept(cookie=COOKIE, nonce=SERVER_NONCE)


def command(number: int, body: bytes) -> bytes:
    """Write a command."""
    return number.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def ask(commands: bytes) -> Call:
    """Send commands after the authentication."""
    went = call(accepted, AUTHENTICATION + commands)
    assert went.heard == TAKEN  # EO-10: and nothing more
    return went


def test_the_vectors_of_the_conformance_list() -> None:
    """EO-04, EO-07, appendix B: to the byte, each message after its own question."""
    commands = IPV4 + OBFS4 + DONE
    expected = Request(Address("203.0.113.5", 4321), "obfs4")
    assert ask(commands) == Call(TAKEN, expected, None, b"")
    assert ask(IPV6 + OBFS4 + DONE).result == (Address("2001:db8::1", 4321), "obfs4")
    assert bytes.fromhex("10000000") == OKAY
    assert bytes.fromhex("10010000") == DENY


def test_the_hashes_are_what_the_specification_says() -> None:
    """EO-04: computed here by other means, with other numbers."""
    cookie, client, server = b"\xff" * 32, b"\1" * 32, b"\2" * 32
    server_hash, client_hash = (
        hmac.new(
            cookie,
            f"ExtORPort authentication {way} hash".encode() + client + server,
            hashlib.sha256,
        ).digest()
        for way in ("server-to-client", "client-to-server")
    )
    went = call(
        lambda: accept(cookie=cookie, nonce=server), b"\1" + client + client_hash + DONE
    )
    assert went.heard[1] == (33, server_hash + server)
    assert went.result == Request(None, "")


def test_the_cookie_file_has_64_bytes() -> None:
    """EO-01, appendix B: PTs refuse any other."""
    header = "2120457874656e646564204f52506f7274204175746820436f6f6b696520210a"
    assert cookie_file(COOKIE) == bytes.fromhex(header) + COOKIE
    assert cookie_file(COOKIE).startswith(b"! Extended ORPort Auth Cookie !\n")
    assert len(cookie_file(COOKIE)) == 64


@pytest.mark.parametrize("length", [0, 31, 33])
def test_no_other_cookie_can_be_written(length: int) -> None:
    """EO-01."""
    with pytest.raises(AssertionError):
        cookie_file(bytes(length))


@pytest.mark.parametrize("kind", [0, 2, 0xFF])
def test_any_other_type_of_authentication_is_refused(kind: int) -> None:
    """EO-04: there is nothing to say to it."""
    assert call(accepted, bytes([kind]) + CLIENT_NONCE) == Call(
        TAKEN[:1],
        None,
        f"who called the Extended ORPort wants authentication of type {kind}",
        CLIENT_NONCE,
    )


@pytest.mark.parametrize(
    "proof",
    [
        bytes(32),
        SERVER_HASH,
        CLIENT_HASH[:-1] + b"\x59",
        b"\x4a" + CLIENT_HASH[1:],
        CLIENT_HASH[::-1],
    ],
)
def test_a_wrong_hash_is_answered_and_ends_it(proof: bytes) -> None:
    """EO-04: 00 is the last word, and nothing behind the hash is read."""
    assert call(accepted, b"\1" + CLIENT_NONCE + proof + IPV4 + DONE) == Call(
        [*TAKEN[:2], (65, b"\0")],
        None,
        "who called the Extended ORPort does not know its cookie",
        IPV4 + DONE,
    )


def test_the_hash_of_another_connection_is_wrong() -> None:
    """EO-04: what was overheard cannot be said again."""
    replayed = call_in_pieces(
        accept(cookie=COOKIE, nonce=b"\3" * 32), [AUTHENTICATION + DONE]
    )
    assert replayed.heard[-1] == (65, b"\0")
    assert replayed.result is None


@pytest.mark.parametrize(
    ("commands", "request_"),
    [
        (DONE, Request(None, "")),
        (OBFS4 + DONE, Request(None, "obfs4")),
        (OBFS4 + IPV4 + DONE, Request(Address("203.0.113.5", 4321), "obfs4")),
        (IPV6 + IPV4 + DONE, Request(Address("203.0.113.5", 4321), "")),
        (OBFS4 + command(2, b"obfs2") + DONE, Request(None, "obfs2")),
    ],
)
def test_any_order_will_do_and_the_last_counts(
    commands: bytes, request_: Request
) -> None:
    """EO-05, EO-07: all but DONE may be missing."""
    assert ask(commands) == Call(TAKEN, request_, None, b"")


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0", bytes(range(256)), bytes(65_535)])
@pytest.mark.parametrize("number", [3, 0x0100, 0x1000, 0x1002, 0xFFFF])
def test_unknown_commands_are_ignored(number: int, body: bytes) -> None:
    """EO-06: with any body, OKAY and DENY of our own included."""
    commands = IPV4 + command(number, body) + OBFS4 + DONE
    assert ask(commands).result == (Address("203.0.113.5", 4321), "obfs4")


@pytest.mark.parametrize("body", [b"", b"x", bytes(65_535)])
@pytest.mark.parametrize("payload", [b"", b"\0\1\0\0the first bytes of the tunnel"])
def test_done_is_the_end(body: bytes, payload: bytes) -> None:
    """EO-06, EO-11: its body is ignored, and what comes behind it is payload."""
    went = ask(IPV4 + command(0, body) + payload)
    assert went.result == Request(Address("203.0.113.5", 4321), "")
    assert went.unread == payload


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (b"127.0.0.1:46482", Address("127.0.0.1", 46482)),
        (b"[2001:db8::1]:60000", Address("2001:db8::1", 60000)),
        (b"[2001:DB8:0:0::1]:65535", Address("2001:db8::1", 65535)),
        (b"0.0.0.0:0", Address("0.0.0.0", 0)),
        (b"[::]:0", Address("::", 0)),
    ],
)
def test_an_address_is_read_in_its_shortest_form(text: bytes, address: Address) -> None:
    """EO-07: ports 0 to 65535; what is compared must be written in one way."""
    assert ask(command(1, text) + DONE).result == Request(address, "")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0",
        b":",
        b":0",
        b":60000",
        b"1.2.3.4",
        b"1.2.3.4:",
        b"1.2.3.4:65536",
        b"1.2.3.4:00",
        b"1.2.3.4:-1",
        b"1.2.3.4:+1",
        b"1.2.3.4: 1",
        b"1.2.3.4:1\n",
        b"1.2.3.4:80\0",
        b"1.2.3.4\0:80",
        b"\0001.2.3.4:80",
        b"1.2.3:80",
        b"1.2.3.256:80",
        b"1.2.3.4:1:80",
        b"[1.2.3.4]:80",
        b"::1:80",
        b"[::1]",
        b"[::1]80",
        b"[::1:80",
        b"[:::1]:80",
        b"[fe80::1%eth0]:80",
        b"a.example:80",
        b"unix:/tmp/x",
        b"1.2.3.4:\xd9\xa3",
        "bücher.example:80".encode(),
        b"\xff\xfe:80",
        b"9" * 65_000 + b":80",
        b"[" + b":1" * 30_000 + b"]:80",
        b"1.2.3.4, 5.6.7.8:60000",
    ],
)
def test_what_is_no_address_ends_it(text: bytes) -> None:
    """EO-06, EO-07, SE-06: as in tor; what it was is not repeated."""
    went = ask(command(1, text) + DONE)
    assert (went.result, went.error) == (None, NO_ADDRESS)


@pytest.mark.parametrize("name", [b"obfs4", b"_", b"A9_", b"x" * 1000])
def test_a_transport_has_a_name(name: bytes) -> None:
    """EO-07."""
    assert ask(command(2, name) + DONE).result == Request(None, name.decode())


@pytest.mark.parametrize(
    "name",
    [b"", b"4obfs", b"obfs-4", b"obfs4\0", b"\0", b"obfs4\n", b" obfs4", b"\xc3\xbc"],
)
def test_what_is_no_name_of_a_transport_ends_it(name: bytes) -> None:
    """EO-06, EO-07."""
    went = ask(command(2, name) + DONE)
    assert (went.result, went.error) == (None, NO_TRANSPORT)


def test_a_wrong_one_is_not_mended_by_a_right_one() -> None:
    """EO-06: a known command that does not parse."""
    assert ask(command(1, b":60000") + IPV4 + DONE).error == NO_ADDRESS


def test_there_may_be_16_commands() -> None:
    """EO-05: DONE is not counted, and the next is refused before its body is read."""
    most = command(9, b"x") * (MAX_COMMANDS - 1) + OBFS4
    assert ask(most + DONE).result == Request(None, "obfs4")
    for one_more in (IPV4, command(3, b""), command(3, b"x" * 99)):
        went = ask(most + one_more + DONE)
        assert (went.result, went.error) == (None, TOO_MUCH)
        assert went.unread == one_more[4:] + DONE


def test_there_may_be_128_kib_of_commands() -> None:
    """EO-05: heads and bodies; what is too much is refused before it is read."""
    assert MAX_SIZE == 128 * 1024
    full = command(3, bytes(65_535)) + command(3, bytes(65_529))
    assert len(full) == MAX_SIZE
    assert ask(full + command(0, bytes(65_535))).result == Request(None, "")
    went = ask(command(3, bytes(65_535)) + command(3, bytes(65_530)) + DONE)
    assert (went.result, went.error) == (None, TOO_MUCH)
    assert went.unread == bytes(65_530) + DONE


def test_what_is_not_complete_is_waited_for() -> None:
    """EO-05: each message may end anywhere; the deadline is the driver's."""
    data = AUTHENTICATION + IPV6 + OBFS4 + DONE
    for end in range(len(data)):
        went = call_in_pieces(accepted(), [data[:end]])
        assert (went.result, went.error) == (None, None)
        assert went.heard == [each for each in TAKEN if each[0] <= end]


def test_a_cookie_file_is_read_as_it_was_written() -> None:
    """EO-01."""
    assert read_cookie_file(cookie_file(COOKIE)) == COOKIE


@pytest.mark.parametrize(
    "content", [b"", COOKIE, cookie_file(COOKIE)[:-1], cookie_file(COOKIE) + b"\n"]
)
def test_another_file_is_no_cookie(content: bytes) -> None:
    """EO-01: PTs refuse any other length or header, too."""
    with pytest.raises(ProtocolError) as caught:
        read_cookie_file(content)
    assert str(caught.value) == "it is not the cookie file of an Extended ORPort"


def announced(user_address: Address | None = None) -> Generator[Ask, bytes, None]:
    return announce(
        cookie=COOKIE,
        nonce=CLIENT_NONCE,
        user_address=user_address,
        transport="obfs4",
    )


TOR = b"\1\0" + SERVER_HASH + SERVER_NONCE + b"\1"


def test_a_client_is_announced_as_a_pt_does_it() -> None:
    """EO-04, EO-07: the vectors of the conformance list, from the other side."""
    went = call(lambda: announced(Address("203.0.113.5", 4321)), TOR + OKAY)
    assert went == Call(
        [
            (2, b"\1" + CLIENT_NONCE),
            (66, CLIENT_HASH),
            (67, IPV4 + OBFS4 + DONE),
        ],
        None,
        None,
        b"",
    )
    went = call(lambda: announced(Address("2001:db8::1", 4321)), TOR + OKAY + b"tls")
    assert went.heard[-1] == (67, IPV6 + OBFS4 + DONE)
    assert went.unread == b"tls"


def test_a_client_whom_nobody_knows_is_announced_without_an_address() -> None:
    """EO-07: USERADDR may be missing; tor counts it as ??."""
    went = call(announced, TOR + b"\x10\0\0\2ab")
    assert went.heard[-1] == (67, OBFS4 + DONE)
    assert (went.error, went.unread) == (None, b"")


def test_the_other_side_reads_what_we_announce() -> None:
    """EO-05: one role against the other."""
    ours = announced(Address("::1", 0))
    theirs = accept(cookie=COOKIE, nonce=SERVER_NONCE)
    asked, asks = next(ours), next(theirs)
    to_us, to_them = asks.send, asked.send
    request = None
    while request is None:
        while len(to_us) >= asked.read and asked.read:
            asked, to_us = ours.send(to_us[: asked.read]), to_us[asked.read :]
            to_them += asked.send
        try:
            while len(to_them) >= asks.read:
                asks, to_them = theirs.send(to_them[: asks.read]), to_them[asks.read :]
                to_us += asks.send
        except StopIteration as end:
            request = end.value
    assert request == Request(Address("::1", 0), "obfs4")


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (TOR + DENY, Denied, "tor did not take the connection (DENY)"),
        (
            TOR + b"\x10\2\0\0",
            ProtocolError,
            "tor answered with the unknown command 0x1002",
        ),
        (
            TOR[:-1] + b"\0",
            CookieRefused,
            "tor's Extended ORPort has another cookie",
        ),
        (
            b"\1\0" + bytes(32) + SERVER_NONCE,
            CookieRefused,
            "what listens at the Extended ORPort has another cookie",
        ),
        (b"\2\0", ProtocolError, "tor's Extended ORPort does not know SAFE_COOKIE"),
        (
            b"HTTP/1.1 400 Bad Request",
            ProtocolError,
            "what listens there is no Extended ORPort",
        ),
    ],
)
def test_a_tor_that_refuses_is_told_from_what_is_none(
    said: bytes, kind: type[ProtocolError], text: str
) -> None:
    """EO-04, EO-09: only a wrong cookie is read anew; a deny is tor's decision."""
    assert call(announced, said).error == text
    with pytest.raises(kind):
        hear(announced(), said)


def hear(handshake: Generator[Ask, bytes, None], said: bytes) -> None:
    """Answer a handshake with what was said, until it raises."""
    ask = next(handshake)
    while True:
        answer, said = said[: ask.read], said[ask.read :]
        ask = handshake.send(answer)


def test_who_has_another_cookie_is_not_told_who_the_client_is() -> None:
    """SE-06: somebody may have taken tor's port while it was away."""
    said = b"\1\0" + bytes(32) + SERVER_NONCE
    went = call(lambda: announced(Address("203.0.113.5", 4321)), said)
    assert went.heard == [(2, b"\1" + CLIENT_NONCE)]
