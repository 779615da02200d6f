"""What is no way to a shadowsocks server, by its name."""

from __future__ import annotations

import pytest

from pt_bridge.text.foreign import SCHEMES, name, name_of, schemes


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ssr://x", ["ssr"]),
        ("see VMESS://x and vless://y, vmess://z", ["vmess", "vless"]),
        ("https://e.example/", ["https"]),
        ("hysteria2://x", ["hysteria2"]),
        ("bridge:obfs4+1", ["bridge"]),
        ("bridge://obfs4+1", ["bridge"]),
        ("Bridge: obfs4", []),
        ("url=https://e.example", []),
        ("wss://e.example", []),
        ("ss://x", []),
        ("http://", []),
        ("", []),
    ],
)
def test_the_urls_of_other_programs_are_found(text: str, found: list[str]) -> None:
    """But not the value of an argument, nor a part of a word."""
    assert schemes(text) == found


def test_each_scheme_is_found_and_called_by_its_name() -> None:
    for scheme in SCHEMES:
        assert schemes(f"{scheme}://x") == [scheme]
        assert scheme in name(scheme)
    assert name("ssr") == "an ssr:// link"
    assert name("vmess") == "a vmess:// link"
    assert name("bridge") == "a bridge: link"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("VERSION 1\nCMETHOD obfs4 socks5 127.0.0.1:1\n", "a PT's client says"),
        ("Registered server transport 'obfs4' at '[::]:1'", "tor's log"),
        ("[Interface]\nPrivateKey = s3cret", "WireGuard"),
        ("-----BEGIN CERTIFICATE-----", "a certificate or a key"),
        ("Home = ss, 192.0.2.1, 8388, password=s3cret", "Surge's"),
        ("shadowsocks=192.0.2.1:8388, password=s3cret", "Quantumult X's"),
        ("0BAC39417268B96B9F514E7F63FA6FBA1A788955", "a fingerprint alone"),
        ("A" * 70, "the value of cert= alone"),
        ("192.0.2.1:8388\n", "an address alone"),
        ("[2001:db8::1]:8388", "an address alone"),
    ],
)
def test_what_people_take_for_a_server_is_named(text: str, what: str) -> None:
    """SE-05: without a value of it."""
    sentence = name_of(text)
    assert sentence.startswith("that ")
    assert what in sentence
    assert "s3cret" not in sentence


@pytest.mark.parametrize("text", ["", "s3cret", "a b:1", "transport=obfs4", "A" * 69])
def test_what_nobody_knows_has_no_name(text: str) -> None:
    assert name_of(text) == ""
