r"""A transport's arguments in the three spellings of the PT specification."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.pt_args import (
    credentials,
    decode_client,
    decode_server,
    encode_client,
    encode_server,
    is_method_name,
    is_printable,
)

Arguments = list[tuple[str, str]]

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


# -- printable ASCII -------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "~", PRINTABLE])
def test_space_to_tilde_is_printable(text: str) -> None:
    """OG-13."""
    assert is_printable(text)


@pytest.mark.parametrize(
    "text", ["\0", "\t", "\n", "\x1f", "\x7f", "\x80", "é", "\udcff", "a\u2028b"]
)
def test_control_and_other_than_ascii_characters_are_not_printable(text: str) -> None:
    """OG-13: one such byte makes webtunnel-server panic."""
    assert not is_printable(text)


@pytest.mark.parametrize("name", ["obfs4", "_x", "X1", "meek_lite"])
def test_a_transport_may_be_called_like_a_variable_in_c(name: str) -> None:
    """PE-06, pt-spec 3.1."""
    assert is_method_name(name)


@pytest.mark.parametrize(
    "name", ["", "1obfs", "obfs-4", "obfs4 ", "a.b", "*", "\u00e9", "\u0663", "a\n"]
)
def test_a_transport_cannot_be_called_otherwise(name: str) -> None:
    """PE-06, pt-spec 3.1."""
    assert not is_method_name(name)


# -- client: pt-spec 3.5 ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "encoded"),
    [
        ([], b""),
        ([("cert", "AAAA"), ("iat-mode", "0")], b"cert=AAAA;iat-mode=0"),
        # pt-spec 3.5's own example
        (
            [("shared-secret", "rahasia"), ("secrets-file", "/tmp/blob")],
            b"shared-secret=rahasia;secrets-file=/tmp/blob",
        ),
        ([("flag", "")], b"flag="),
        ([("a=b", "c;d"), ("e\\f", "g=h")], rb"a\=b=c\;d;e\\f=g\=h"),
        ([("url", "https://e/p?a=b,c")], rb"url=https://e/p?a\=b,c"),
    ],
)
def test_a_clients_arguments_are_joined_with_semicolons(
    arguments: Arguments, encoded: bytes
) -> None:
    r"""SK-01: a backslash before ``\ = ;`` and nothing else."""
    assert encode_client(arguments) == encoded


def test_a_clients_arguments_keep_order_and_duplicates() -> None:
    """OG-08: PTs use the first of duplicates."""
    arguments = [("cert", "good"), ("a", "1"), ("cert", "bad")]
    assert encode_client(arguments) == b"cert=good;a=1;cert=bad"


@pytest.mark.parametrize("value", ["é", "\0", "\n", "\x7f", "\udcff"])
def test_a_client_argument_that_is_not_printable_is_refused(value: str) -> None:
    """OG-13, SK-15 (no NUL in SOCKS4), SE-05."""
    for arguments in ([("key", f"s3cret{value}")], [(f"s3cret{value}", "v")]):
        with pytest.raises(ProtocolError) as caught:
            encode_client(arguments)
        assert str(caught.value) == "an argument is not printable ASCII"


def test_510_bytes_are_passed_on_and_511_are_refused() -> None:
    """SK-02, ER-03: as tor does."""
    assert len(encode_client([("k", "v" * 508)])) == 510
    with pytest.raises(ProtocolError) as caught:
        encode_client([("k", "v" * 509)])
    assert str(caught.value) == (
        "the transport's arguments are 511 bytes long, and no more than 510 can be "
        "passed on"
    )


def test_escaped_bytes_count_for_the_length() -> None:
    """SK-02: n is the encoded length."""
    assert len(encode_client([("k", "=" * 254)])) == 510
    with pytest.raises(ProtocolError):
        encode_client([("k", "=" * 255)])


def decoded(pattern: str, text: str) -> list[list[str]]:
    """Read a text that is nothing but matches of a pattern; unescape their groups."""
    matches = list(re.finditer(pattern, text))
    assert "".join(match[0] for match in matches) == text
    return [
        [re.sub(r"\\(.)", r"\1", group) for group in match.groups()]
        for match in matches
    ]


def as_pts_read(text: str) -> Arguments:
    """Read a client's arguments as the PTs do: any other escape is an error."""
    pattern = r"((?:\\[\\=;]|[^\\=;])+)=((?:\\[\\=;]|[^\\;])*)(?:;|$)"
    return [(key, value) for key, value in decoded(pattern, text)]


TEXTS = st.text(PRINTABLE, max_size=12) | st.text("\\=;:,a", max_size=8)
KEYS = TEXTS.filter(bool)
SOME_ARGUMENTS = st.lists(st.tuples(KEYS, TEXTS), min_size=1, max_size=6)


@settings(database=None, deadline=None)
@given(SOME_ARGUMENTS)
def test_a_pt_reads_back_what_a_client_sends(arguments: Arguments) -> None:
    """SK-01."""
    assert as_pts_read(encode_client(arguments).decode("ascii")) == arguments
    assert decode_client(encode_client(arguments)) == arguments


@pytest.mark.parametrize(
    ("encoded", "arguments"),
    [
        (b"", []),
        (b"cert=AAAA;iat-mode=0", [("cert", "AAAA"), ("iat-mode", "0")]),
        (b"flag=", [("flag", "")]),
        (rb"a\=b=c\;d;e\\f=g\=h", [("a=b", "c;d"), ("e\\f", "g=h")]),
        # as tor writes it, with = left bare in values
        (b"url=https://e/p?a=b,c", [("url", "https://e/p?a=b,c")]),
    ],
)
def test_what_tor_sends_is_read(encoded: bytes, arguments: Arguments) -> None:
    """SK-01: both forms of a value with ``=``."""
    assert decode_client(encoded) == arguments


@pytest.mark.parametrize(
    ("encoded", "text"),
    [
        (b"cert", "the arguments hold a pair that is not key=value"),
        (b"=v", "the arguments hold a pair that is not key=value"),
        (b"k=v;", "the arguments hold a pair that is not key=value"),
        (b"k=v;;l=w", "the arguments hold a pair that is not key=value"),
        (rb"k\=v", "the arguments hold a pair that is not key=value"),
        (b"k=v\\", "the arguments end with a lone backslash"),
        (rb"k\:v=1", "a backslash in the arguments precedes what needs none"),
        (rb"k=\x", "a backslash in the arguments precedes what needs none"),
        (b"k=v\0", "an argument is not printable ASCII"),
        (b"k=\xc3\xa9", "an argument is not printable ASCII"),
    ],
)
def test_what_pts_refuse_is_refused(encoded: bytes, text: str) -> None:
    """SK-01: seen with obfs4proxy and lyrebird."""
    with pytest.raises(ProtocolError) as caught:
        decode_client(encoded)
    assert str(caught.value) == text


# -- user name and password ------------------------------------------------------------


def test_without_arguments_there_is_nothing_to_authenticate_with() -> None:
    """SK-02, SK-04: a PT picks method 02 whenever it is offered."""
    assert credentials(b"") is None


@pytest.mark.parametrize("length", [1, 20, 254, 255])
def test_up_to_255_bytes_are_the_user_name_and_the_password_is_one_nul(
    length: int,
) -> None:
    """SK-02, SK-04: at exactly 255 too, as tor does."""
    assert credentials(b"a" * length) == (b"a" * length, b"\0")


@pytest.mark.parametrize("length", [256, 257, 300, 509, 510])
def test_what_is_longer_than_255_bytes_goes_on_in_the_password(length: int) -> None:
    """SK-02."""
    assert credentials(b"a" * length) == (b"a" * 255, b"a" * (length - 255))


def test_the_split_takes_no_notice_of_backslashes() -> None:
    """SK-03: a backslash may be the last byte of the user name."""
    encoded = b"k=" + b"v" * 252 + b"\\=tail"
    assert credentials(encoded) == (encoded[:255], b"=tail")
    assert encoded[:255].endswith(b"\\")


# -- server: pt-spec 3.2.3 -------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "arguments", "text"),
    [
        ("obfs4", [], ""),
        ("obfs4", [("iat-mode", "1")], "obfs4:iat-mode=1"),
        # pt-spec 3.2.3's own example, one transport of it at a time
        ("scramblesuit", [("key", "banana")], "scramblesuit:key=banana"),
        (
            "automata",
            [("rule", "110"), ("depth", "3")],
            "automata:rule=110;automata:depth=3",
        ),
        (
            "webtunnel",
            [("url", "https://e.com/p?a=b;c")],
            r"webtunnel:url=https\://e.com/p?a=b\;c",
        ),
        ("t", [("a=b:c;d\\e", "f=g:h;i\\j")], r"t:a\=b\:c\;d\\e=f=g\:h\;i\\j"),
        ("t", [("a", "1"), ("a", "2")], "t:a=1;t:a=2"),
        ("t", [("empty", "")], "t:empty="),
    ],
)
def test_a_servers_arguments_each_have_the_transports_name(
    transport: str, arguments: Arguments, text: str
) -> None:
    r"""PE-12, OG-08: ``\ : ;`` escaped, '=' in a key only, no ';' at the end."""
    assert encode_server(transport, arguments) == text


def decode_server_options(text: str) -> list[tuple[str, str, str]]:
    """Read TOR_PT_SERVER_TRANSPORT_OPTIONS as goptlib does: name, key, value."""
    pattern = r"((?:\\.|[^\\:;])+):((?:\\.|[^\\=;])+)=((?:\\.|[^\\;])*)(?:;|$)"
    return [(name, key, value) for name, key, value in decoded(pattern, text)]


@settings(database=None, deadline=None)
@given(SOME_ARGUMENTS)
def test_a_pt_reads_back_what_a_server_is_given(arguments: Arguments) -> None:
    """PE-12."""
    text = encode_server("obfs4", arguments)
    assert decode_server_options(text) == [("obfs4", k, v) for k, v in arguments]


# -- ARGS: pt-spec 3.3.3 ---------------------------------------------------------------

CERT = "HszPy3vWfjsESCEOo9ZBkRv6zQ/1mGHzc8arF0y2SpwFr3WhsMu8rK0zyaoyERfbz3ddFw"


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),  # obfs3 prints "ARGS:" and nothing behind it
        ("N=13", [("N", "13")]),
        (f"cert={CERT},iat-mode=0", [("cert", CERT), ("iat-mode", "0")]),
        # appendix B of the conformance list
        (
            r"k\=1=v\,2,url=https://e/?a\=b",
            [("k=1", "v,2"), ("url", "https://e/?a=b")],
        ),
        (
            r"url=https://example.com/path?a\=b\,c,ver=0.0.7",
            [("url", "https://example.com/path?a=b,c"), ("ver", "0.0.7")],
        ),
        (
            "url=https://e/a b,ver=0.0.7,x=1 2",
            [("url", "https://e/a b"), ("ver", "0.0.7"), ("x", "1 2")],
        ),
        ("cert=ab==,k=", [("cert", "ab=="), ("k", "")]),
        (r"a\\=b\\,c\d=\e", [("a\\", "b\\"), ("cd", "e")]),
        ("a=1,a=2", [("a", "1"), ("a", "2")]),
    ],
)
def test_the_args_of_an_smethod_line_are_read(text: str, pairs: Arguments) -> None:
    r"""SV-05: unescaped ',' and '=' separate, ``\x`` is ``x``; as OG-02, OG-08."""
    assert decode_server(text) == pairs


@pytest.mark.parametrize(
    "text", ["k", "=v", ",", "a=b,", ",a=b", "a=b,,c=d", "a=b,c", r"k\=v", "="]
)
def test_args_that_are_not_pairs_are_refused(text: str) -> None:
    """SV-05, SE-05."""
    with pytest.raises(ProtocolError) as caught:
        decode_server(text)
    assert str(caught.value) == "the PT's ARGS hold a pair that is not key=value"


@pytest.mark.parametrize("text", ["\\", "k=v\\", "k=s3cret,a\\", r"k=v\\\ "[:-1]])
def test_args_that_end_with_a_lone_backslash_are_refused(text: str) -> None:
    """SV-05, SE-05."""
    with pytest.raises(ProtocolError) as caught:
        decode_server(text)
    assert str(caught.value) == "the PT's ARGS end with a lone backslash"


@pytest.mark.parametrize("text", ["k=a\tb", "k=\x7f", "k=é"])
def test_args_that_no_client_could_send_are_refused(text: str) -> None:
    """SV-05, OG-13: they would make a client line that nobody can use."""
    with pytest.raises(ProtocolError) as caught:
        decode_server(text)
    assert str(caught.value) == "the PT's ARGS are not printable ASCII"


def encode_smethod(arguments: Arguments) -> str:
    r"""Write ARGS as goptlib does: a backslash before ``\ = ,``."""

    def escaped(text: str) -> str:
        return "".join(f"\\{c}" if c in "\\=," else c for c in text)

    return ",".join(f"{escaped(key)}={escaped(value)}" for key, value in arguments)


@settings(database=None, deadline=None)
@given(SOME_ARGUMENTS)
def test_what_a_pt_writes_as_args_is_read_back(arguments: Arguments) -> None:
    """SV-05."""
    assert decode_server(encode_smethod(arguments)) == arguments
