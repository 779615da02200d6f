"""What shadowsocks will not like in a method and its password. Pure."""

from __future__ import annotations

import base64

from pt_bridge.text.spelling import did_you_mean

# Of shadowsocks-libev and shadowsocks-rust, the unsafe ones of long ago included.
STREAM = frozenset(
    """
    none plain table rc4 rc4-md5 aes-128-cfb aes-192-cfb aes-256-cfb aes-128-ctr
    aes-192-ctr aes-256-ctr bf-cfb camellia-128-cfb camellia-192-cfb camellia-256-cfb
    cast5-cfb des-cfb idea-cfb rc2-cfb seed-cfb salsa20 chacha20 chacha20-ietf
    """.split()  # noqa: SIM905 - to be read
)
AEAD = frozenset(
    """
    aes-128-gcm aes-192-gcm aes-256-gcm chacha20-ietf-poly1305 xchacha20-ietf-poly1305
    chacha20-poly1305 aes-128-ccm aes-256-ccm aes-128-gcm-siv aes-256-gcm-siv
    sm4-gcm sm4-ccm
    """.split()  # noqa: SIM905 - to be read
)
# SIP022: the password is a key, or several of them (SIP023), of so many bytes.
KEY_SIZES = {
    "2022-blake3-aes-128-gcm": 16,
    "2022-blake3-aes-256-gcm": 32,
    "2022-blake3-chacha20-poly1305": 32,
    "2022-blake3-chacha8-poly1305": 32,
    "2022-blake3-aes-128-ccm": 16,
    "2022-blake3-aes-256-ccm": 32,
}
METHODS = STREAM | AEAD | KEY_SIZES.keys()


def doubts(method: str | None, password: str | None) -> list[str]:
    """Return what shadowsocks would refuse; no value of the password's is shown."""
    if method is None:
        return []
    if method not in METHODS:
        hint = did_you_mean(method.lower().replace("_", "-"), sorted(METHODS))
        return [f"shadowsocks knows no such method{hint or ': was it copied whole?'}"]
    size = KEY_SIZES.get(method)
    if size is None or password is None:
        return []
    if all(_is_key(part, size) for part in password.split(":")):
        return []
    how = f"'openssl rand -base64 {size}' makes one"
    return [f"with {method} the password must be {size} bytes in base64: {how}"]


def _is_key(text: str, size: int) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == size
    except ValueError:  # binascii.Error
        return False
