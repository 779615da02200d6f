"""The client's side of CONNECT: bytes against a proxy that follows a script."""

from __future__ import annotations

import base64

import pytest

from pt_bridge.errors import ConnectRefused, LoginRefused, ProtocolError
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.http_connect import MAX_ANSWER, connect, login_refused
from tests.protocol.test_socks_client import drive

TARGET = Address("a.example", 443)
OPEN = b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (TARGET, b"a.example:443"),
        (Address("192.0.2.3", 80), b"192.0.2.3:80"),
        (Address("2001:db8::3", 443), b"[2001:db8::3]:443"),
    ],
)
def test_the_target_stands_in_the_request(target: Address, place: bytes) -> None:
    """RFC 9110 9.3.6, 7.2: with its port in any case, and as the host, too."""
    assert next(connect(target, None)).send == (
        b"CONNECT " + place + b" HTTP/1.1\r\nHost: " + place + b"\r\n\r\n"
    )


def test_the_login_is_basic() -> None:
    """RFC 7617 2: of any length, in one line."""
    login = b"user", b"\xff:" + b"x" * 200
    request = next(connect(TARGET, login)).send
    name, _, value = request.split(b"\r\n")[2].partition(b": Basic ")
    assert name == b"Proxy-Authorization"
    assert base64.b64decode(value, validate=True) == b":".join(login)
    assert request.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        OPEN,
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 204 \n\n",
        b"HTTP/1.1 299 x\nA: b\r\nC: d\n\r\n",
        b"HTTP/1.1 200 \r\r\n\r\n",
        b"HTTP/1.1 200 odd\r\nA: \rb\r\n\r\n",
        b"HTTP/1.1 200 even\r\nA: \rb\r\n\r\n",
    ],
)
@pytest.mark.parametrize("behind", [b"", b"\r\n\r\n", b"\n", b"payload"])
def test_nothing_behind_the_answer_is_read(answer: bytes, behind: bytes) -> None:
    """SK-09: it is the tunnel's."""
    _, unread = drive(connect(TARGET, None), answer + behind)
    assert unread == behind


@pytest.mark.parametrize("code", [b"100", b"301", b"400", b"403", b"502", b"999"])
def test_any_status_but_2xx_is_a_refusal(code: bytes) -> None:
    """RFC 9110 9.3.6: and the proxy's own words are not repeated."""
    with pytest.raises(ConnectRefused) as caught:
        drive(connect(TARGET, None), b"HTTP/1.1 " + code + b" s3cret\r\n\r\n")
    assert str(caught.value) == (
        f"the upstream proxy did not connect to the server: HTTP status {code.decode()}"
    )


@pytest.mark.parametrize("login", [None, (b"user", b"s3cret")])
@pytest.mark.parametrize("code", [b"407", b"401"])
def test_some_statuses_are_about_the_login(
    code: bytes, login: tuple[bytes, bytes] | None
) -> None:
    """RFC 9110 15.5.8: wanted, or wrong; tinyproxy says 401 of a wrong one."""
    with pytest.raises(LoginRefused) as caught:
        drive(connect(TARGET, login), b"HTTP/1.1 " + code + b" x\r\n\r\n")
    assert str(caught.value) == str(login_refused(given=login is not None))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1  20 OK\r\n\r\n",
        b"HTTP/1.1\t200 OK\r\n\r\n",
        b"HTTP/1.1 +20 OK\r\n\r\n",
        b"HTTP/1.1 2\xb20 OK\r\n\r\n",
        b"\5\0" * 10,
    ],
)
def test_what_is_not_http_is_refused(answer: bytes) -> None:
    """RFC 9112 4."""
    with pytest.raises(ProtocolError) as caught:
        drive(connect(TARGET, None), answer)
    assert str(caught.value) == "the upstream proxy's answer is not HTTP"


def test_an_answer_without_an_end_is_refused() -> None:
    """SE-10: whatever a proxy sends, it is not kept for ever."""
    endless = b"HTTP/1.1 200 OK\r\nA: " + b"x" * 2 * MAX_ANSWER
    with pytest.raises(ProtocolError, match="too long"):
        drive(connect(TARGET, None), endless)
