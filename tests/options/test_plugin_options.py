r"""The plugin options (SIP003): their grammar, byte by byte, and its inverse."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_bridge.errors import OptionsError
from pt_bridge.options.plugin_options import (
    Option,
    escape,
    parse,
    serialize,
    stray_backslash,
)

Pairs = list[tuple[str, str | None]]


def pairs(text: bytes) -> Pairs:
    return [(option.key, option.value) for option in parse(text)]


def test_the_vector_of_the_conformance_list() -> None:
    """OG-01 to OG-04, appendix B: every rule of the grammar in one string."""
    assert pairs(rb"a=1;b\;c=x\=y\\z;;f;k=p==;") == [
        ("a", "1"),
        ("b;c", r"x=y\z"),
        ("f", None),
        ("k", "p=="),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb"a\;b=1", [("a;b", "1")]),
        (rb"a\=b=1", [("a=b", "1")]),
        (rb"a\\b=1", [("a\\b", "1")]),
        (rb"a=\;\=\\", [("a", ";=\\")]),
        (rb"url=https\://e/p", [("url", "https://e/p")]),
        (rb"a=1\,2", [("a", "1,2")]),
        (rb"\a=\b", [("a", "b")]),
        (rb"a=\ ", [("a", " ")]),
        (rb"\=", [("=", None)]),
    ],
)
def test_a_backslash_stands_for_the_byte_behind_it(
    text: bytes, expected: Pairs
) -> None:
    """OG-01."""
    assert pairs(text) == expected


def test_a_backslash_keeps_any_byte_that_is_no_control_character() -> None:
    """OG-01, OG-03: each of the 256 bytes, escaped, in a key and in a value."""
    for byte in range(256):
        text = b"k\\%c=v\\%c" % (byte, byte)
        if byte < 0x20 or byte == 0x7F:
            with pytest.raises(OptionsError):
                parse(text)
            continue
        character = bytes([byte]).decode("utf-8", "surrogateescape")
        assert pairs(text) == [(f"k{character}", f"v{character}")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"cert=abc==", [("cert", "abc==")]),
        (b"a=bc==", [("a", "bc==")]),
        (b"a==", [("a", "=")]),
        (b"a=b=c;d=e", [("a", "b=c"), ("d", "e")]),
        (b"a=", [("a", "")]),
    ],
)
def test_only_the_first_bare_equals_sign_separates(
    text: bytes, expected: Pairs
) -> None:
    """OG-02: base64 ends in '='."""
    assert pairs(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b";", []),
        (b";;;", []),
        (b"a=1;;b=2;", [("a", "1"), ("b", "2")]),
        (b"server;", [("server", None)]),
        (b";server", [("server", None)]),
    ],
)
def test_empty_segments_are_ignored(text: bytes, expected: Pairs) -> None:
    """OG-04, FE-10: no options at all are no options."""
    assert pairs(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b" a = 1 ", [(" a ", " 1 ")]),
        (b"A=X;a=x", [("A", "X"), ("a", "x")]),
        (b"a=%3B%20+", [("a", "%3B%20+")]),
        ("a=é;a=e\u0301".encode(), [("a", "é"), ("a", "e\u0301")]),
        (b"a=\xff\xc3", [("a", "\udcff\udcc3")]),
        (b'a="1"', [("a", '"1"')]),
        (b"transport=obfs4 ", [("transport", "obfs4 ")]),
    ],
)
def test_bytes_are_kept_as_they_are(text: bytes, expected: Pairs) -> None:
    """OG-05, FE-11: nothing trimmed, folded, normalised or percent-decoded."""
    assert pairs(text) == expected


def test_order_and_duplicates_are_kept() -> None:
    """OG-08."""
    assert pairs(b"b=1;a=2;b=3;a") == [("b", "1"), ("a", "2"), ("b", "3"), ("a", None)]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (b"a=1;b=2", [1, 5]),
        (b";;a;b", [3, 5]),
        (rb"a\;b=1;c", [1, 8]),
        ("é=1;b".encode(), [1, 6]),
    ],
)
def test_an_option_knows_its_column_in_bytes(text: bytes, columns: list[int]) -> None:
    """ER-03: what an error points at."""
    assert [option.column for option in parse(text)] == columns


@pytest.mark.parametrize(
    ("text", "column"), [(b"\\", 1), (b"a\\", 2), (b"a=b;c=d\\", 8), (b"a=\\\\\\", 5)]
)
def test_a_lone_backslash_at_the_end_is_refused(text: bytes, column: int) -> None:
    """OG-03, ER-03."""
    with pytest.raises(OptionsError) as caught:
        parse(text)
    assert str(caught.value) == (
        f"the plugin options end with a lone backslash at column {column}: write "
        r"'\\' for a backslash"
    )


@pytest.mark.parametrize(
    ("text", "column"),
    [
        (b"", None),
        (rb"a=b\;c\=d\\e\ f", None),
        (rb"a=WORK\user", 7),
        (rb"a=\\\user", 5),
        (b"a\\", None),
    ],
)
def test_a_backslash_that_stands_for_nothing_is_found(
    text: bytes, column: int | None
) -> None:
    """It is left out; who writes DOMAIN and a backslash means it."""
    assert stray_backslash(text) == column


@pytest.mark.parametrize(
    ("text", "column"), [(b"=v", 1), (b"=", 1), (b"a=1;=s3cret", 5), (b";;==", 3)]
)
def test_an_equals_sign_with_no_key_before_it_is_refused(
    text: bytes, column: int
) -> None:
    """OG-03, ER-03, SE-05: the column, and not the value."""
    with pytest.raises(OptionsError) as caught:
        parse(text)
    assert str(caught.value) == (
        f"the plugin options have a '=' with no key before it at column {column}"
    )


@pytest.mark.parametrize("control", [*range(0x20), 0x7F])
def test_a_control_byte_is_refused_wherever_it_stands(control: int) -> None:
    """OG-03, ER-03, SE-05."""
    for before in (b"", b"ke", b"cert=s3cret", b"a=1;b", b"a=\\"):
        with pytest.raises(OptionsError) as caught:
            parse(before + bytes([control]) + b"x=1")
        assert str(caught.value) == (
            f"the plugin options hold a control character at column {len(before) + 1}: "
            f"were they copied with a line break?"
        )


def test_the_errors_of_options_have_the_exit_code_of_bad_data() -> None:
    """ER-03."""
    with pytest.raises(OptionsError) as caught:
        parse(b"=")
    assert caught.value.exit_code == 65


def test_an_option_shown_by_a_debugger_shows_no_value() -> None:
    """SE-05."""
    assert repr(Option("cert", "s3cret", 7)) == "Option('cert', column=7)"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain", "plain"),
        ("a;b=c\\d", r"a\;b\=c\\d"),
        ("abc==", r"abc\=\="),
        ("https://e.com/p?a=b;c", r"https://e.com/p?a\=b\;c"),
        ("", ""),
    ],
)
def test_what_is_printed_to_be_pasted_is_escaped(text: str, escaped: str) -> None:
    """OG-12: a backslash before each backslash, '=' and ';', and nothing else."""
    assert escape(text) == escaped


@pytest.mark.parametrize(
    ("given_pairs", "text"),
    [
        ([], ""),
        ([("server", None)], "server"),
        ([("transport", "obfs4"), ("cert", "ab=")], r"transport=obfs4;cert=ab\="),
        ([("flag", None), ("empty", "")], "flag;empty="),
    ],
)
def test_options_are_written_as_the_grammar_has_them(
    given_pairs: Pairs, text: str
) -> None:
    """OG-12."""
    assert serialize(given_pairs) == text


# Any bytes that the grammar can hold, text or not.
TEXTS = st.binary(max_size=20).map(
    lambda data: bytes(byte for byte in data if byte >= 0x20 and byte != 0x7F).decode(
        "utf-8", "surrogateescape"
    )
) | st.text(st.sampled_from("\\=; ab"), max_size=8)


@settings(database=None, deadline=None)
@given(st.lists(st.tuples(TEXTS.filter(bool), st.none() | TEXTS), max_size=6))
def test_parsing_undoes_serializing(given_pairs: Pairs) -> None:
    """OG-12: parse(serialize(x)) == x."""
    text = serialize(given_pairs).encode("utf-8", "surrogateescape")
    assert pairs(text) == given_pairs
