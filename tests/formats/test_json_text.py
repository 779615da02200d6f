"""JSON, and JSON5 where it is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_bridge.errors import ProtocolError
from pt_bridge.formats.json_text import MAX_DEPTH, MAX_LENGTH, NOT_JSON, load, strings
from tests.support.refusals import refusal_of

SECRET = "s3cret"


def refusal(text: str) -> str:
    """Return the text of the refusal, which tells no secret."""
    return refusal_of(ProtocolError, lambda: load(text), SECRET)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, "b", null, true, 1.5]}', {"a": [1, "b", None, True, 1.5]}),
        ('{"a": 1, // x\n"b": 2 /* y */,}', {"a": 1, "b": 2}),
        ("{a: 'b', c: +1, d: .5, e: 0x10}", {"a": "b", "c": 1, "d": 0.5, "e": 16}),
        ('{"a": "b",\n}', {"a": "b"}),
        ("['a',]", ["a"]),
        ("{a: 'b\\\n c'}", {"a": "b c"}),
        ("{'a': 'b\\\\;c', \"d\": 'it\\'s'}", {"a": "b\\;c", "d": "it's"}),
        ("'a'", "a"),
    ],
)
def test_json5_is_read_as_shadowsocks_rust_does(text: str, value: object) -> None:
    """Its own documented config.json has comments and a comma at the end."""
    assert load(text) == value


BROKEN = "it is broken at line"
BACKSLASH = "in JSON, each backslash is written twice: \\\\"
WRONG = {
    f"{BROKEN} 2, column 20: {BACKSLASH}": [
        '{"server": "a.b",\n "plugin_opts": "s=\\;s3cret"}'
    ],
    f"{BROKEN} 1, column 15: {BACKSLASH}": ['{"password": "\\s3cret"}'],
    f"{BROKEN} 2, column 7: {BACKSLASH}": ["{// x\n a: 's\\;3cret'}"],
    f"{BROKEN} 1, column 8: {BACKSLASH}": [r"{a: '\\\;s3cret'}"],
    f"{BROKEN} 1, column 21: a line break or a tab cannot stand between quotes": [
        '{"password": "s3cret\n"}'
    ],
    f"{BROKEN} 1, column 14: the quotes that begin there do not end": [
        '{"password": "s3cret'
    ],
    f"{BROKEN} 1, column 22: there is no ',' before it, or a '\"' too many": [
        '{"password": "s3cre" "method": "s3cret"}',
        '{"password": "s3cret"s3cret"}',
    ],
    f"{BROKEN} 1, column 1: {NOT_JSON}": ["", "s3cret"],
    f"{BROKEN} 1, column 3: it has ended before: a brace too many, or a second "
    f"configuration": ["{}s3cret", "{}}", "{}{}"],
    f"{BROKEN} 2, column 7: True, False and None are Python's: write true, false and "
    f"null": ["{\n'a': None}"],
    f"{BROKEN} 1, column 9: {NOT_JSON}": ["{'a':1,,}"],
    f"{BROKEN} 1, column 4: {NOT_JSON}": ["{a:"],
    f"{BROKEN} 4, column 6: {NOT_JSON}": ["{\n a:'\\\n', // x\n b:  ]}"],
    f'{BROKEN} 1, column 3: the quotes in it must be straight ones: "': [
        "{\u201ca\u201d: 1}"
    ],
    f"{BROKEN} 1, column 11: a comment begins with //, and not with #": [
        '{"a": 1, # s3cret\n"b": 2}'
    ],
    "a number in it is too long": [
        '{"server_port": ' + "9" * 5000 + "}",
        "{server_port: " + "9" * 5000 + "}",
    ],
    "it has NaN, which JSON cannot hold": ['{"server": "s3cret", "timeout": NaN}'],
    "it has Infinity, which JSON cannot hold": ['{"a": "s3cret", "b": -Infinity}'],
    "a number in it is too large for JSON, or is none": [
        '{"server": "s3cret", "timeout": 1e999}',
        '{"server": "s3cret", "timeout": [-1E999]}',
        "{a: NaN}",
        "{a: [Infinity]}",
    ],
    "it has 'a' twice: leave one in it": ['{"a": 1, "a": 2}', "{a: 1, 'a': 2}"],
    "it has a key twice: leave one in it": ['{"a b": 1, "a b": 2}'],
    f"its brackets and braces nest deeper than {MAX_DEPTH}": [
        "[" * 50_000,
        "[" * (MAX_DEPTH + 1) + "1" + "]" * (MAX_DEPTH + 1),
    ],
    f"it is longer than {MAX_LENGTH} characters": ["s3cret" * MAX_LENGTH],
}


@pytest.mark.parametrize(
    ("text", "message"),
    [(text, message) for message, texts in WRONG.items() for text in texts],
    ids=lambda value: value[:60],
)
def test_whatever_is_neither_is_refused_with_the_place(text: str, message: str) -> None:
    """ER-03, SE-05: where it is broken, and no value."""
    assert refusal(text) == message


def test_the_longest_and_the_deepest_are_read() -> None:
    """SE-10: limits that are tested on both of their sides."""
    assert load("1".ljust(MAX_LENGTH)) == 1
    assert load("[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", ["a"]),
        ({"k": ["a", {"l": "b"}], "m": 1}, ["a", "b"]),
        ([None, 1.5, [], {}], []),
    ],
)
def test_every_text_of_a_value_is_found(value: object, expected: list[str]) -> None:
    assert strings(value) == expected


@settings(database=None, deadline=None)
@given(
    st.text(st.sampled_from("{}[]:,'\"\\/* \nab1.e-+x;N\u2028\ud800"), max_size=40)
    | st.text(max_size=20)
)
def test_only_a_protocol_error_ever_comes_out(text: str) -> None:
    """And what is read can be written as JSON."""
    try:
        value = load(text)
    except ProtocolError:
        return
    assert load(json.dumps(value)) == value
