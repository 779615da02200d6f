"""What is taken out of our words, and what stays."""

from __future__ import annotations

import ipaddress
import json
import re
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_bridge.options.plugin_options import serialize
from pt_bridge.protocol.pt_args import encode_client, encode_server
from pt_bridge.protocol.pt_messages import MAX_LINE
from pt_bridge.system.scrubber import (
    LOOKED_AT,
    MIN_SECRET,
    Scrubber,
    log_line,
    one_line,
)

GONE = "[scrubbed]"
# So long may a line of 64 KiB take on a busy machine (seconds of our own work).
QUICK = 3.0


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("198.51.100.7", GONE),
        ("198.51.100.7:4321", f"{GONE}:4321"),
        ("dial tcp 198.51.100.7:443: refused.", f"dial tcp {GONE}:443: refused."),
        ("from=198.51.100.7, to=203.0.113.5", f"from={GONE}, to={GONE}"),
        ("It is 198.51.100.7.", f"It is {GONE}."),
        ("x198.51.100.7x", f"x{GONE}x"),
        ("300.1.1.1", GONE),
        ("010.000.000.007", GONE),
        ("10.0.0.1 192.168.1.1", f"{GONE} {GONE}"),
        (r'"\n198.51.100.7"', rf'"\n{GONE}"'),
        (r"\x80198.51.100.7", rf"\x80{GONE}"),
        ("80198.51.100.7", f"80{GONE}"),
    ],
)
def test_ipv4_addresses_go(text: str, scrubbed: str) -> None:
    """SE-06: wherever they stand; port numbers stay."""
    assert Scrubber()(text) == scrubbed


@pytest.mark.parametrize(
    "address",
    [
        "2001:db8::1",
        "2001:DB8::1",
        "2001:db8:0:0:0:0:0:1",
        "2001:0db8:0000:0000:0000:0000:0000:0001",
        "2001:db8::",
        "::2",
        "fe80::1",
        "::ffff:198.51.100.7",
        "::ffff:c633:6407",
        "64:ff9b::198.51.100.7",
        "2001:db8:0:0:0:0:198.51.100.7",
        "1:2:3:4:5:6:7::",
    ],
)
@pytest.mark.parametrize(
    "sentence",
    [
        "{}",
        "[{}]:443",
        "dial tcp [{}]:443: connect: refused",
        "lookup {}: no such host",
        "It is {}.",
        "({}), '{}', \"{}\"",
        "from={} to {}%eth0",
        "a\t{}\tb",
        "{}/64",
        r"'\n{}'",
        r"'\x00{}'",
        r"'\u0000{}'",
    ],
)
def test_ipv6_addresses_go_in_all_spellings(address: str, sentence: str) -> None:
    """SE-06: and with them what tells them apart."""
    text = sentence.format(*[address] * 3)
    assert Scrubber()(text) == sentence.format(*[GONE] * 3)


@pytest.mark.parametrize(
    "text",
    ["2001:db8:0:0:0:0:0:1:443", "2001:db8::1:443", "1:2:3:4:5:6:7:8:9", "1::2::3"],
)
def test_what_is_nearly_an_ipv6_address_goes_too(text: str) -> None:
    """SE-06: better safe; an address with a port and without brackets, for one."""
    assert Scrubber()(f"at {text}") == f"at {GONE}"


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:1984",
        "127.1.2.3",
        "0.0.0.0:443",
        "[::1]:1984",
        "::1",
        "[::]:443",
        "listening on ::",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "at 12:34:56",
        "at 12:34:56.789",
        "2026-11-22 12:34:56 UTC",
        "2026-11-22T12:34:56Z",
        "00:00:00:00",
        "obfs4proxy 0.0.14",
        "3.3.5 and 1.0.0~rc3-3",
        "port 8388",
        "std::string",
        "a:b",
        "error: a: b: c",
        "https://",
        "https://localhost:80/",
        "",
    ],
)
def test_what_tells_nobody_anything_stays(text: str) -> None:
    """SE-06: loopback and wildcards, ports, times of day, versions."""
    assert Scrubber()(text) == text


# Secrets

NASTY = r"ab=cd;ef\gh:ij,kl=="


@pytest.mark.parametrize(
    "spelled",
    [
        NASTY,
        NASTY.upper(),
        serialize([("own", NASTY)]).partition("=")[2],
        encode_client([("own", NASTY)]).decode().partition("=")[2],
        encode_server("obfs4", [("own", NASTY)]).partition("=")[2],
        re.sub(r"([\\=,])", r"\\\1", NASTY),
        re.sub(r"([\\;])", r"\\\1", NASTY),
        repr(serialize([("own", NASTY)]))[1:-1].partition("=")[2],
        json.dumps(encode_server("obfs4", [("own", NASTY)]))[1:-1].partition("=")[2],
        quote(NASTY),
        quote(NASTY, safe="=;").lower(),
        re.sub(r"\W", lambda each: f"\\{ord(each[0]):03o}", NASTY),
        re.sub(r"\W", lambda each: f"\\u{ord(each[0]):04x}", NASTY),
        re.sub(r"\W", lambda each: f"\\x{ord(each[0]):02X}", NASTY),
    ],
    ids=[
        *("plain", "upper", "options", "SOCKS", "TOR_PT", "ARGS", "bare ="),
        *("Python", "JSON", "URL", "half a URL", "octal", "Unicode", "hexadecimal"),
    ],
)
@pytest.mark.parametrize("addresses", [True, False])
def test_a_secret_goes_however_it_is_escaped(spelled: str, *, addresses: bool) -> None:
    """SE-05: at all levels, the unsafe one included."""
    scrub = Scrubber(addresses=addresses)
    scrub.add(secrets=[NASTY])
    assert scrub(f"own={spelled} and so on") == f"own={GONE} and so on"


def test_a_password_that_stood_in_a_url_goes_as_it_is_meant() -> None:
    """SE-05: an HTTP proxy may say it back in the reason for its 407."""
    scrub = Scrubber(addresses=False)
    scrub.add(secrets=["p%40sS%3Aw%2Ford", "1000%\udcff"])
    for spelled in (
        "p@sS:w/ord",
        "p%40sS:w%2ford",
        "p%40sS%3Aw%2Ford",
        "p%2540sS%253Aw%252Ford",
    ):
        assert scrub(f"407 bad {spelled}.") == f"407 bad {GONE}."
    assert scrub("1000%\udcff") == GONE


def test_nothing_but_backslashes_is_no_secret() -> None:
    """SE-05: nor does it matter how many there are before a secret, and in it."""
    scrub = Scrubber()
    scrub.add(secrets=["\\" * MIN_SECRET, r"\\hunter2", r"cor\\\rect"])
    text = "\\" * MIN_SECRET
    assert scrub(text) == text
    assert scrub("hunter2") == GONE
    assert scrub(r"cor\\\\\\rect") == scrub(r"cor\rect") == GONE


def test_a_secret_that_begins_with_another_goes_whole() -> None:
    """SE-05."""
    scrub = Scrubber()
    scrub.add(secrets=["secret-1", "secret-12345"])
    scrub.add(secrets=["secret-123"])
    assert scrub("secret-12345") == GONE


def test_a_short_value_is_no_secret() -> None:
    """SE-05: iat-mode=0 would take every 0 out of the log."""
    scrub = Scrubber()
    scrub.add(secrets=["0", "x" * (MIN_SECRET - 1), ""])
    text = "iat-mode=0 xxxxx 2026"
    assert scrub(text) == text


@pytest.mark.parametrize("addresses", [True, False])
@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("ARGS:cert=AbC/12+3,iat-mode=0", f"ARGS:cert={GONE},iat-mode=0"),
        ("cert=AbC;iat-mode=0", f"cert={GONE};iat-mode=0"),
        ("cert=AbC\\=\\=;iat-mode=0", f"cert={GONE};iat-mode=0"),
        (r"cert\=AbC\;x", rf"cert\={GONE}"),
        ('cert="AbC" iat', f'cert="{GONE}" iat'),
        ("cert='AbC' iat", f"cert='{GONE}' iat"),
        ("password=x private-key=y", f"password={GONE} private-key={GONE}"),
        ("node-id=1 drbg-seed=2", f"node-id={GONE} drbg-seed={GONE}"),
        ("shared-secret=z sqscreds=q", f"shared-secret={GONE} sqscreds={GONE}"),
        ("url=https://e.com/path?a=b x", f"url={GONE} x"),
        ('{"cert":"AbC", "iat-mode":0}', f'{{"cert":"{GONE}", "iat-mode":0}}'),
        ('{"password": "AbC"}', f'{{"password": "{GONE}"}}'),
        (r"{\"node-id\": \"AbC\"}", rf"{{\"node-id\": \"{GONE}\"}}"),
        ("map[cert:[AbC] iat-mode:[0]]", f"map[cert:[{GONE}] iat-mode:[0]]"),
        ("obfs4:private-key=AbC;", f"obfs4:private-key={GONE};"),
        ("Password=AbC PRIVATE-KEY=x", f"Password={GONE} PRIVATE-KEY={GONE}"),
        ("bad password: none was given", "bad password: none was given"),
        ("concert=Mozart", "concert=Mozart"),
        ("copy cert= here", "copy cert= here"),
    ],
)
def test_arguments_that_we_never_saw_go_by_their_names(
    text: str, scrubbed: str, *, addresses: bool
) -> None:
    """SE-05: a server's own cert, an argument in a PT's complaint."""
    assert Scrubber(addresses=addresses)(text) == scrubbed


@pytest.mark.parametrize(
    "key",
    [
        "9f3b7a1d5c8e62400123456789abcdef01234567",
        "9F3B7A1D5C8E62400123456789ABCDEF01234567" * 2,
        "QxVkZwJyPl+Mn/" * 5,
    ],
    ids=["node-id", "upper case", "cert"],
)
def test_keys_that_we_never_saw_go_by_what_they_look_like(key: str) -> None:
    """SE-05: obfs4's own, in words that we do not know."""
    scrub = Scrubber(addresses=False)
    for sentence in ("the seed is {}.", '"\\n{}"', "({})"):
        assert scrub(sentence.format(key)) == sentence.format(GONE)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("socks5://user:pass@proxy:1080", f"socks5://{GONE}@proxy:1080"),
        ("http://u:p@ss@127.0.0.1:8080/", f"http://{GONE}@127.0.0.1:8080/"),
        ("https://example.com/@home", f"https://example.com/{GONE}"),
        ("https://example.com/", "https://example.com/"),
        ("https://example.com?a=b c", f"https://example.com?{GONE} c"),
        ("user@host", "user@host"),
    ],
)
def test_the_user_and_password_of_a_proxy_go(text: str, scrubbed: str) -> None:
    """SE-05: in PROXY-ERROR lines, for one."""
    assert Scrubber(addresses=False)(text) == scrubbed


# Names


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("lookup bridge.example: no such host", f"lookup {GONE}: no such host"),
        ("Bridge.EXAMPLE:443", f"{GONE}:443"),
        ("www.bridge.example.", f"www.{GONE}."),
        ("drawbridge.example", "drawbridge.example"),
        ("bridge.examples", "bridge.examples"),
        ("my-bridge.example", "my-bridge.example"),
        ("bridgexexample", "bridgexexample"),
        ("front.example", GONE),
        ("localhost", "localhost"),
    ],
)
def test_host_names_go_as_whole_names_in_any_case(text: str, scrubbed: str) -> None:
    """SE-06: SS_REMOTE_HOST, and the hosts in the arguments' URLs."""
    scrub = Scrubber()
    scrub.add(
        names=["bridge.example", "localhost", ""],
        secrets=["https://front.example/path", "http://localhost:8080/"],
    )
    assert scrub(text) == scrubbed


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("bridge.example.", "bridge.example"),
        ("BRIDGE.example", "bridge.EXAMPLE."),
        ("br\u00fccke.example", "xn--brcke-lva.example"),
        ("xn--brcke-lva.example", "BR\u00dcCKE.example"),
        ("bridge", "bridge"),
        ("\u00fc" * 64, "\u00fc" * 64),
        ("xn--\u00fc", "xn--\u00fc"),
    ],
)
@pytest.mark.parametrize(
    "sentence", ["{} is down", r'"\n{}"', r"'\x00{}'", "lookup {}: no such host"]
)
def test_a_name_goes_however_it_is_spelt(
    name: str, spelled: str, sentence: str
) -> None:
    """SE-06: with and without the last dot, in the DNS's letters and in others."""
    scrub = Scrubber()
    scrub.add(names=[name])
    told = scrub(sentence.format(spelled))
    assert told.replace(f"{GONE}.", GONE) == sentence.format(GONE)


def test_a_loopback_address_is_no_name() -> None:
    """SE-06: SS_REMOTE_HOST in a test, or behind another tunnel."""
    scrub = Scrubber()
    scrub.add(names=["127.0.0.1", "::1", ""])
    assert scrub("127.0.0.1:80 [::1]:80") == "127.0.0.1:80 [::1]:80"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("bridge.example:443", "lookup bridge.example: no such host"),
        ("bridge:443", "no route to bridge"),
        ("stun:bridge.example:3478,stun:x.example:1", "bridge.example is down"),
        ("stun:a.example:3478,stun:bridge:3478", "bridge is down"),
        ("front.example,bridge.example", "bridge.example is down"),
        ("https://u@bridge:8443/path", "bridge is down"),
        ("https://bridge.example/s3cret/", "GET /s3cret: 404"),
        ("https://bridge.example/s3cret?token=1", "GET /s3cret?token=2: 404"),
        ("https://bridge.example/?token=1", "'token=1' is unknown"),
        ("https://bridge.example/s3%2Fcret", "GET /s3/cret: 404"),
    ],
)
def test_parts_of_a_value_are_found_alone(value: str, told: str) -> None:
    """SE-05, SE-06: `addr`, `ice` and `fronts` hold names, `url` a path, too."""
    scrub = Scrubber()
    scrub.add(secrets=[value])
    assert GONE in scrub(told)
    for part in ("bridge", "s3", "cret", "token=1"):
        assert part not in scrub(told)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("Get https://a.example:8443/path: EOF", f"Get https://{GONE}:8443/{GONE} EOF"),
        ('"https://a.example/"', f'"https://{GONE}/"'),
        ("https://127.0.0.1:80/path", f"https://127.0.0.1:80/{GONE}"),
        ("https://[::1]:80/", "https://[::1]:80/"),
        ("https://[2001:db8::1]:80/", f"https://{GONE}:80/"),
        ("lookup a.example on 127.0.0.53:53: x", f"lookup {GONE} on 127.0.0.53:53: x"),
        ("lookup a.example.: no such host", f"lookup {GONE}: no such host"),
        ("a lookup error for it", "a lookup error for it"),
        (
            "x509: certificate is valid for a.example, b, not c.example",
            f"x509: certificate is valid for {GONE}",
        ),
        (
            'x509: signed by unknown authority ("The CA of a.example") of b.example',
            f'x509: signed by unknown authority ("{GONE}") of {GONE}',
        ),
    ],
)
def test_names_that_we_never_saw_go_where_programs_in_go_tell_them(
    text: str, scrubbed: str
) -> None:
    """SE-06: what a server's certificate is for, where it redirects to."""
    assert Scrubber()(text) == scrubbed


def test_what_is_learned_later_counts_too() -> None:
    """SV-06: a server's cert is known only when its PT is ready."""
    scrub = Scrubber()
    scrub.add(names=["bridge.example"])
    scrub.add(secrets=["the-cert-of-it"])
    assert scrub("bridge.example the-cert-of-it") == f"{GONE} {GONE}"


def test_the_owner_may_leave_addresses_in() -> None:
    """SE-05, SE-06: unsafe-logging; of secrets it lifts nothing."""
    scrub = Scrubber(addresses=False)
    scrub.add(names=["bridge.example"], secrets=["https://front.example/secret"])
    text = "198.51.100.7 [2001:db8::1]:443 bridge.example front.example"
    assert scrub(text) == text
    assert scrub("https://front.example/secret") == GONE


# Any address, in any sentence

SEPARATORS = " \t,;=()[]<>{}'\"/|@!?"
words = st.text(st.characters(codec="utf-8"), max_size=30)
separators = st.sampled_from(SEPARATORS)


def is_secret(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    inner = getattr(ip, "ipv4_mapped", None) or ip
    return not (inner.is_loopback or inner.is_unspecified)


@given(st.ip_addresses(v=4).filter(is_secret), words, words, separators, separators)
def test_no_ipv4_address_gets_through(
    ip: ipaddress.IPv4Address, before: str, after: str, left: str, right: str
) -> None:
    """SE-06: pt-spec 4."""
    scrub = Scrubber()
    text = f"{before}{left}{ip}{right}{after}"
    assert f"{left}{ip}{right}" not in scrub(text)
    assert str(ip) not in scrub(f"tcp {ip}:443: {after.replace(str(ip), '')}")


@given(st.ip_addresses(v=6).filter(is_secret), words, words, separators, separators)
def test_no_ipv6_address_gets_through(
    ip: ipaddress.IPv6Address, before: str, after: str, left: str, right: str
) -> None:
    """SE-06: short, long and in upper case."""
    scrub = Scrubber()
    for spelled in (ip.compressed, ip.exploded, ip.compressed.upper()):
        text = f"{before}{left}{spelled}{right}{after}"
        assert f"{left}{spelled}{right}" not in scrub(text)
        assert f"[{spelled}]" not in scrub(f"tcp [{spelled}]:443: {after}")


@given(words)
def test_scrubbing_never_fails(text: str) -> None:
    """RL-10: whatever a PT writes; and a scrubbed text stays as it is."""
    scrub = Scrubber()
    scrub.add(secrets=["a-long-secret"], names=["bridge.example"])
    once = scrub(text)
    assert scrub(once) == once


def test_a_name_in_an_argument_ends_with_a_label_that_begins_with_a_letter() -> None:
    """SE-05: a version or a number behind it is not part of it."""
    scrub = Scrubber()
    scrub.add(secrets=["bridge.example.2x,1.2.3"])
    assert scrub("lost bridge.example at 1.2.3") == "lost [scrubbed] at 1.2.3"


# What PTs and their peers can make us scrub: a line of 64 KiB.
LINES = [":", "1.", "a.", "1:", "://", "://a@", "://" + "a" * 20, "\\", "\\\\=", "%"]
LINES += [
    "://[",
    "://[::",
    "://a.b@[",
    "cert=",
    "lookup ",
    "x509: ",
    'x509: "',
    "0",
    "+",
    "ab=",
    "a-b.",
    "x" * 99,
]


@pytest.mark.parametrize("text", LINES)
def test_no_line_takes_long(text: str) -> None:
    """SE-10: not the square of its length, which would be minutes."""
    scrub = Scrubber()
    scrub.add(secrets=[NASTY, r"\\\\=\\\\", "ab=ab=ab=ab"], names=["a-b.example"])
    line = f"x509: {text * (MAX_LINE // len(text))}!"
    before = time.process_time()
    scrub(line)
    assert time.process_time() - before < QUICK


@pytest.mark.parametrize("part", [":/", "pas", "a.", ".1", "1_", "%41", "\\", "?&="])
def test_a_secret_of_64_kib_is_quickly_learnt_and_found(part: str) -> None:
    """SE-05, SE-10: it is known by its beginning, and taken out whole."""
    secret = "https" + part * (64_000 // len(part)) + ".b"
    before = time.process_time()
    scrub = Scrubber()
    scrub.add(secrets=[secret])
    text = scrub(f"a {secret} b")
    assert time.process_time() - before < QUICK
    assert text.startswith("a [scrubbed]")
    assert part not in text.removeprefix("a [scrubbed]")


def test_what_is_known_is_not_learnt_again() -> None:
    """SE-10: a PT that is started again says the same secrets; that costs nothing."""
    secrets = [part * 64_000 for part in "abcdefgh"]
    scrub = Scrubber()
    scrub.add(secrets=secrets, names=["bridge.example"])
    before = time.process_time()
    for _ in range(1000):  # learning them takes 10 ms and more
        scrub.add(secrets=secrets, names=["bridge.example"])
    assert time.process_time() - before < QUICK
    assert scrub(f"bridge.example {secrets[3]}") == "[scrubbed] [scrubbed]"


@pytest.mark.parametrize("length", [0, 100, 511, 4095, 5000])
def test_a_long_text_is_cut_first_and_shows_no_part_of_a_secret(length: int) -> None:
    """SE-05, SE-10: what begins just before the cut is not seen for a secret."""
    secret = "S" * 5000
    scrub = Scrubber()
    scrub.add(secrets=[secret])
    text = "-" * (LOOKED_AT - length) + secret + "-" * 60_000
    line = log_line(text, scrub)
    assert line.endswith("...")
    assert len(line) <= LOOKED_AT
    assert "S" not in line


def test_a_text_that_fits_is_not_cut() -> None:
    """SE-08: it is scrubbed, and is one line."""
    scrub = Scrubber()
    assert log_line("from 198.51.100.7\n", scrub) == r"from [scrubbed]\n"


# one_line


@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    """SE-08: and it can be written."""
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    line.encode()


def test_what_turns_a_text_around_is_escaped() -> None:
    """SE-08: all of Unicode's bidirectional controls."""
    assert one_line("\u061c\u200f\u202e\u2066") == r"\u061c\u200f\u202e\u2066"


def test_what_is_no_control_character_stays() -> None:
    """SE-08: other people's languages are no attack."""
    text = "Verbindung verweigert: \u00fc\u4e2d\u6587\U0001f512 \\n"
    assert one_line(text) == text


def test_the_name_of_an_argument_alone_stays_as_it_is() -> None:
    """SE-05: our own sentences speak of cert= and of what may be wrong with it."""
    text = "the arguments (cert=) are cut, or cert= and iat-mode= are missing"
    assert Scrubber()(text) == text
