"""Bridge lines: as a torrc has them, and as people paste them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_bridge.errors import ProtocolError
from pt_bridge.formats.bridge_line import MAX_LENGTH, BridgeLine, parse, parse_each
from pt_bridge.protocol.address import Address
from pt_bridge.text.quoting import INVISIBLE
from tests.support.refusals import refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable

CERT = "bjRaMrr1BRiAW8IE9U5z27fQaYgOhX1UCmOpg2pFpoMvo6ZgQMzLsaTzzQNTlm7hNcb+Sg"
FINGERPRINT = "0BAC39417268B96B9F514E7F63FA6FBA1A788955"
OBFS4 = f"obfs4 192.0.2.9:8443 {FINGERPRINT} cert={CERT} iat-mode=0"
WORDS = [("cert", CERT), ("iat-mode", "0")]
SECRET = "s3cret"


def said(line: BridgeLine) -> tuple[str, Address, str | None, list[tuple[str, str]]]:
    return line.transport, line.address, line.fingerprint, line.arguments


def refusal(text: str) -> str:
    """Return the text of the refusal, which tells no secret."""
    return refusal_of(ProtocolError, lambda: parse(text), SECRET)


# -- what a torrc has ------------------------------------------------------------------


def test_a_line_has_transport_address_fingerprint_and_arguments() -> None:
    """tor(1), Bridge."""
    assert said(parse(f"Bridge {OBFS4}")) == (
        "obfs4",
        Address("192.0.2.9", 8443),
        FINGERPRINT,
        WORDS,
    )


@pytest.mark.parametrize(
    ("text", "address", "arguments"),
    [
        (
            (
                "webtunnel [2001:db8:9ec:1d4c:b3c7:97d1:c6a4:3e1b]:443 "
                "url=https://e.example/Qv9 ver=0.0.2"
            ),
            Address("2001:db8:9ec:1d4c:b3c7:97d1:c6a4:3e1b", 443),
            [("url", "https://e.example/Qv9"), ("ver", "0.0.2")],
        ),
        (
            "snowflake 192.0.2.3:80 fingerprint=x url=https://e.example/?a=b&c==",
            Address("192.0.2.3", 80),
            [("fingerprint", "x"), ("url", "https://e.example/?a=b&c==")],
        ),
        ("snowflake 0.0.3.0:1", Address("0.0.3.0", 1), []),
        ("meek_lite 0.0.2.0:2 url=u", Address("0.0.2.0", 2), [("url", "u")]),
        ("obfs3 [::1]:80", Address("::1", 80), []),
        ("obfs3 [2001:DB8:0::1]:80", Address("2001:db8::1", 80), []),
        ("obfs3 Bridge.example:80", Address("bridge.example", 80), []),
        ("t 192.0.2.1:1 k=", Address("192.0.2.1", 1), [("k", "")]),
        (
            r"t 192.0.2.1:1 k=1 k=2 a=b;c\d k=1",
            Address("192.0.2.1", 1),
            [("k", "1"), ("k", "2"), ("a", r"b;c\d"), ("k", "1")],
        ),
    ],
)
def test_order_duplicates_and_every_character_of_the_arguments_are_kept(
    text: str, address: Address, arguments: list[tuple[str, str]]
) -> None:
    """OG-08; tor passes a value on as it is, with no escapes in it (appendix B)."""
    transport = text.partition(" ")[0]
    assert said(parse(text)) == (transport, address, None, arguments)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", Address("192.0.2.1", 443)),
        ("[2001:db8::1]", Address("2001:db8::1", 443)),
    ],
)
def test_without_a_port_it_is_443(address: str, expected: Address) -> None:
    """tor(1), Bridge: seen with tor 0.4.9.11 --verify-config."""
    assert parse(f"obfs4 {address} cert=a").address == expected


@pytest.mark.parametrize(
    "written",
    [FINGERPRINT, FINGERPRINT.lower(), f"${FINGERPRINT}", f"${FINGERPRINT.lower()}"],
)
def test_a_fingerprint_is_40_digits_with_or_without_a_dollar(written: str) -> None:
    """Arti takes all of these, tor those without a '$'."""
    assert parse(f"obfs4 192.0.2.1:1 {written} k=v").fingerprint == FINGERPRINT
    assert parse(f"obfs4 192.0.2.1:1 {written}").fingerprint == FINGERPRINT


# -- what people paste -----------------------------------------------------------------

PASTED: dict[str, Callable[[str], str]] = {
    "as it is": lambda line: line,
    "with Bridge": lambda line: f"Bridge {line}",
    "with bridge": lambda line: f"bridge   {line}",
    "with BRIDGE and a tab": lambda line: f"BRIDGE\t{line}",
    "tabs": lambda line: line.replace(" ", "\t"),
    "repeated blanks": lambda line: line.replace(" ", "   "),
    "non-breaking blanks": lambda line: line.replace(" ", "\u00a0"),
    "narrow blanks": lambda line: line.replace(" ", "\u202f"),
    "em blanks": lambda line: line.replace(" ", "\u2003"),
    "ideographic blanks": lambda line: line.replace(" ", "\u3000"),
    "a line end": lambda line: f"{line}\n",
    "CRLF": lambda line: f"{line}\r\n",
    "blank lines around": lambda line: f"\r\n\n  {line} \n\n",
    "broken between words": lambda line: line.replace(" cert", "\n  cert"),
    "quotes": lambda line: f'"{line}"',
    "single quotes": lambda line: f"'{line}'",
    "typographic quotes": lambda line: f"\u201c{line}\u201d",
    "low quotes": lambda line: f"\u201e{line}\u201c",
    "typographic single quotes": lambda line: f"\u2018{line}\u2019",
    "guillemets": lambda line: f"\u00ab\u00a0{line}\u00a0\u00bb",
    "backquotes": lambda line: f"`Bridge {line}`",
    "quotes behind Bridge": lambda line: f'Bridge "{line}"',
    "quotes of a list in JSON": lambda line: f'    "{line}",',
    "a quote that opens only": lambda line: f'"{line}',
    "a byte order mark": lambda line: f"\ufeffBridge {line}",
    "zero-width blanks": lambda line: line.replace(" ", " \u200b"),
    "soft hyphens": lambda line: line.replace("mode", "mo\u00adde"),
    "bidirectional marks": lambda line: f"\u202a\u200e{line}\u2069\u202c",
    "a word joiner": lambda line: line.replace("cert=", "cert=\u2060"),
    "a comment behind": lambda line: f"Bridge {line} # of mine",
    "a comment before": lambda line: f"# of mine\n#\n\nBridge {line}",
}


@pytest.mark.parametrize("how", PASTED)
def test_however_it_is_pasted_it_is_the_same_line(how: str) -> None:
    """Demand 34."""
    for text in (OBFS4, OBFS4.replace(f" {FINGERPRINT}", "")):
        assert said(parse(PASTED[how](text))) == said(parse(text))


def test_what_obfs4proxy_writes_needs_only_its_address_filled_in() -> None:
    """PE-04: obfs4_bridgeline.txt, in every obfs4 server's state directory."""
    written = (
        "# obfs4 torrc client bridge line\n#\n# Before distributing this Bridge, edit\n"
        "#  <IP ADDRESS>  - The public IP address of your obfs4 bridge.\n\n"
        f"Bridge obfs4 <IP ADDRESS>:<PORT> <FINGERPRINT> cert={CERT} iat-mode=0\n"
    )
    assert refusal(written) == (
        "it is still to be filled in: write the server's address and port where the "
        "'<' is, and leave the fingerprint out"
    )
    filled_in = written.replace("<IP ADDRESS>:<PORT>", "192.0.2.9:8443")
    assert said(parse(filled_in)) == ("obfs4", Address("192.0.2.9", 8443), None, WORDS)


# -- what is none ----------------------------------------------------------------------

NO_TRANSPORT = (
    "it names no transport: a bridge without one is a plain Tor relay, which is no way "
    "to a shadowsocks server"
)
NOT_FIRST = (
    "the transport's name must stand first in it, like obfs4, before the address"
)
NO_COLON = "between the address and its port stands a ':', no blank"
NO_ADDRESS = "no address, IP:PORT, follows the transport"
NO_NAME = "it does not begin with a transport's name, like obfs4"
NOT_A_PAIR = (
    "is not key=value: give one bridge line, whole, and no line break inside a word"
)
NOT_PRINTABLE = (
    "holds what a bridge line cannot: only printable ASCII without blanks can stand "
    "there"
)
NEITHER = (
    "what follows the address is neither a fingerprint of 40 hexadecimal digits nor "
    "key=value"
)
WRONG = {
    "there is no bridge line in it": ["", " \n", "Bridge", '"bridge"', "# x", "\u200b"],
    NO_TRANSPORT: [
        f"192.0.2.1:443 {FINGERPRINT}",
        f"Bridge 192.0.2.1 {FINGERPRINT}",
        f"[2001:db8::1]:443 {FINGERPRINT}",
        "bridge s3cret.example:443",
    ],
    NOT_FIRST: [
        "192.0.2.1:443 obfs4 cert=s3cret",
        f"Bridge 192.0.2.1:443 {FINGERPRINT} cert=s3cret",
    ],
    NO_COLON: [f"obfs4 192.0.2.1 443 {FINGERPRINT} k=v"],
    NO_NAME: [
        *("obfs-4 192.0.2.1:1", "4obfs 192.0.2.1:1", "\u043ebfs4 192.0.2.1:1"),
        *("k=s3cret 192.0.2.1:1", "Bridge Bridge 192.0.2.1:1"),
    ],
    NO_ADDRESS: [
        *("obfs4", f"obfs4 {FINGERPRINT} k=v", "obfs4 cert=s3cret", "Bridge obfs4"),
    ],
    "the address is wrong: it must be a port from 1 to 65535": [
        "obfs4 192.0.2.1:0",
        "obfs4 s3cret.example:99999 k=v",
    ],
    "the address is wrong: an IPv6 address must stand in brackets: [::1]:443": [
        "obfs4 2001:db8::1",
        "obfs4 2001:db8::1:443",
    ],
    "the address is wrong: it must be a valid host name or IP address": [
        "obfs4 s3cret!:443",
        "obfs4 s3cret!",
    ],
    "the address is wrong: it must be a valid host name": ["obfs4 s3cret\udcff:443"],
    "the address is wrong: a name needs a port, like NAME:443": ["obfs4 s3cret k=v"],
    NEITHER: [
        f"obfs4 192.0.2.1:1 {FINGERPRINT[1:]}",
        f"obfs4 192.0.2.1:1 {FINGERPRINT}0",
        f"obfs4 192.0.2.1:1 {FINGERPRINT[:-1]}g",
        f"obfs4 192.0.2.1:1 $${FINGERPRINT}",
        "obfs4 192.0.2.1:1 s3cret k=v",
    ],
    f"argument 2 {NOT_A_PAIR}": [
        "obfs4 192.0.2.1:1 cert=s3 cret iat-mode=0",
        "obfs4 192.0.2.1:1 k=v obfs4 192.0.2.2:1 k=v",
        f"obfs4 192.0.2.1:1 {FINGERPRINT} k=v\nBridge obfs4 192.0.2.2:1 k=v",
        f"obfs4 192.0.2.1:1 k=v {FINGERPRINT}",
    ],
    "argument 1 has a name that cannot be one": ["obfs4 192.0.2.1:1 =s3cret"],
    f"argument 1 {NOT_PRINTABLE}": [
        "obfs4 192.0.2.1:1 cert=s3cret\u00e9",
        "obfs4 192.0.2.1:1 k=s3cret\0",
        "obfs4 192.0.2.1:1 k=s3cret\udcff",
        "obfs4 192.0.2.1:1 k=s3cret\x1b[2J",
    ],
    "it has a '\u2013' that only looks like '-': write that, in its place": [
        "obfs4 192.0.2.1:1 iat\u2013mode=s3cret",
    ],
    "it has a '\uff1d' that only looks like '=': write that, in its place": [
        "obfs4 192.0.2.1:1 cert\uff1ds3cret",
    ],
    f"it is longer than {MAX_LENGTH} characters": [
        f"obfs4 192.0.2.1:1 k={'s3cret' * 2000}"
    ],
}


@pytest.mark.parametrize(
    ("text", "message"),
    [(text, message) for message, texts in WRONG.items() for text in texts],
)
def test_whatever_is_no_bridge_line_is_refused_with_the_reason(
    text: str, message: str
) -> None:
    """ER-03, SE-05: and no word of it is shown."""
    assert refusal(text) == message


def test_the_longest_line_is_taken() -> None:
    """SE-10: a limit that is tested on both of its sides."""
    line = f"obfs4 192.0.2.1:1 k={'v' * MAX_LENGTH}"[:MAX_LENGTH]
    assert str(parse(line)) == line
    refusal(f"{line}v")


@pytest.mark.parametrize(
    "make",
    [
        lambda address: BridgeLine("obfs-4", address),
        lambda address: BridgeLine("", address),
        lambda address: BridgeLine("Bridge", address),
        lambda address: BridgeLine("obfs4", address, fingerprint="s3cret"),
        lambda address: BridgeLine("obfs4", address, [("", SECRET)]),
        lambda address: BridgeLine("obfs4", address, [("a=b", SECRET)]),
        lambda address: BridgeLine("obfs4", address, [("#a", SECRET)]),
        lambda address: BridgeLine("obfs4", address, [("a b", SECRET)]),
        lambda address: BridgeLine("obfs4", address, [("a", f"{SECRET} b")]),
        lambda address: BridgeLine("obfs4", address, [("a", f"{SECRET}\n")]),
    ],
)
def test_what_a_line_cannot_hold_makes_none(
    make: Callable[[Address], BridgeLine],
) -> None:
    """What is written would be read as something else."""
    with pytest.raises(ProtocolError) as caught:
        make(Address("192.0.2.1", 1))
    assert SECRET not in str(caught.value)


def test_a_line_shown_by_a_debugger_shows_neither_argument_nor_address() -> None:
    """SE-05."""
    assert repr(parse(OBFS4)) == "BridgeLine('obfs4')"


# -- writing ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        OBFS4,
        "obfs3 [2001:db8::1]:443",
        "webtunnel [2001:db8::1]:443 url=https://e.example/a;b?c=d ver=",
        f"obfs3 name.example:80 {FINGERPRINT}",
    ],
)
def test_a_line_is_written_without_bridge_before_it(line: str) -> None:
    """As bridges.torproject.org gives them, and every program takes them."""
    assert str(parse(f"Bridge {line}")) == line


# Only what can be seen, and no blank.
VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
KEYS = st.text(VISIBLE, min_size=1, max_size=9).filter(
    lambda key: "=" not in key and key[0] != "#"
)
ADDRESSES = st.builds(
    Address,
    st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(str)
    | st.sampled_from(["a.example", "xn--bcher-kva.example", "localhost"]),
    st.integers(1, 65535),
)
LINES = st.builds(
    BridgeLine,
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}", fullmatch=True).filter(
        lambda name: name.lower() != "bridge"
    ),
    ADDRESSES,
    st.lists(st.tuples(KEYS, st.text(VISIBLE, max_size=30)), max_size=5),
    st.none() | st.from_regex(r"[0-9a-fA-F]{40}", fullmatch=True),
)


@settings(database=None, deadline=None)
@given(LINES)
def test_parsing_undoes_writing(line: BridgeLine) -> None:
    """Whatever a line can say."""
    assert said(parse(str(line))) == said(line)
    assert said(parse(f"Bridge {line}")) == said(line)


@settings(database=None, deadline=None)
@given(LINES, st.data())
def test_nothing_that_cannot_be_seen_changes_a_line(
    line: BridgeLine, data: st.DataObject
) -> None:
    """Demand 34: any of it, anywhere."""
    invisible = st.sampled_from(sorted(map(chr, INVISIBLE)))
    text = re.sub(
        r"\b", lambda _: data.draw(st.text(invisible, max_size=2)), f"Bridge {line}"
    )
    assert said(parse(text)) == said(line)


@settings(database=None, deadline=None)
@given(
    st.text(
        st.sampled_from(
            "\"'\u201c <>$#=:;.[]\n\r\t\u00a0\u200b\ufeff\0\udcffobfs4190Bb"
        )
        | st.characters(),
        max_size=60,
    )
    | st.lists(
        st.sampled_from(
            [*OBFS4.split(), "Bridge", "#", '"', "[::1]:1", "<FINGERPRINT>", "$", "a="]
        ),
        max_size=9,
    ).map(" ".join)
)
def test_only_a_protocol_error_ever_comes_out(text: str) -> None:
    """And what is read can be written and read again."""
    try:
        line = parse(text)
    except ProtocolError:
        return
    assert said(parse(str(line))) == said(line)


# -- several ---------------------------------------------------------------------------

ONE, TWO = "obfs4 192.0.2.1:443 cert=a", "obfs4 192.0.2.2:443 cert=b"
KNOWN = {"obfs4"}


@pytest.mark.parametrize(
    ("texts", "lines"),
    [
        ([ONE], [ONE]),
        ([f"my bridge is {ONE}"], [ONE]),
        ([ONE, TWO], [ONE, TWO]),
        ([ONE, "and this one:", TWO], [ONE, TWO]),
        (ONE.split(" cert"), ["obfs4 192.0.2.1:443"]),
        ([ONE.removesuffix(" cert=a"), "cert=a"], [ONE]),
    ],
)
def test_several_lines_are_read_or_one_that_was_broken(
    texts: list[str], lines: list[str]
) -> None:
    assert [str(line) for line in parse_each(texts, KNOWN)] == lines


@pytest.mark.parametrize(
    ("texts", "refusal"),
    [
        ([f"{ONE} or {TWO}"], "holds 2 bridge lines: write bridge= for each"),
        (["s3cret"], "is wrong: no address, IP:PORT, follows the transport"),
        ([ONE, "obfs4 s3cret"], "number 2 is wrong: the address is wrong: "),
    ],
)
def test_where_one_of_several_is_wrong_it_is_told_which(
    texts: list[str], refusal: str
) -> None:
    with pytest.raises(ProtocolError) as error:
        parse_each(texts, KNOWN)
    assert str(error.value).startswith(refusal)
    assert "s3cret" not in str(error.value)
