"""Methods and passwords that shadowsocks refuses: told, and no value of theirs."""

from __future__ import annotations

import pytest

from pt_bridge.profiles.ciphers import doubts

KEY16, KEY32 = (
    "MDEyMzQ1Njc4OWFiY2RlZg==",
    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
)
NO_SUCH = "shadowsocks knows no such method: did you mean"
SIXTEEN = (
    "with 2022-blake3-aes-128-gcm the password must be 16 bytes in base64: "
    "'openssl rand -base64 16' makes one"
)


@pytest.mark.parametrize(
    ("method", "password"),
    [
        (None, "s3cret"),
        *((name, "s3cret") for name in ("aes-256-gcm", "rc4-md5", "none")),
        ("2022-blake3-aes-128-gcm", KEY16),
        ("2022-blake3-aes-128-gcm", None),
        ("2022-blake3-aes-256-gcm", KEY32),
        ("2022-blake3-aes-128-gcm", f"{KEY16}:{KEY16}"),
    ],
)
def test_what_it_takes_is_no_doubt(method: str | None, password: str | None) -> None:
    """Old methods and several keys (SIP023) included."""
    assert doubts(method, password) == []


@pytest.mark.parametrize(
    ("method", "password", "expected"),
    [
        ("aes-256-gmc", "", f"{NO_SUCH} 'aes-256-gcm'?"),
        ("AES-256-GCM", "", f"{NO_SUCH} 'aes-256-gcm'?"),
        ("chacha20_ietf_poly1305", "", f"{NO_SUCH} 'chacha20-ietf-poly1305'?"),
        ("s3", "", "shadowsocks knows no such method: was it copied whole?"),
        ("2022-blake3-aes-128-gcm", "s3cret", SIXTEEN),
        ("2022-blake3-aes-128-gcm", KEY32, SIXTEEN),
        ("2022-blake3-aes-128-gcm", f"{KEY16}:s3cret", SIXTEEN),
    ],
)
def test_what_it_refuses_is_told(method: str, password: str, expected: str) -> None:
    assert doubts(method, password) == [expected]
