"""The owner's file in torrc's syntax: bytes in, what it says out."""

from __future__ import annotations

import json

import pytest

from pt_bridge.errors import OwnerFileError
from pt_bridge.formats.torrc import (
    OWNERS_OPTIONS,
    Entry,
    Include,
    Permission,
    Plugin,
    Sip003Plugin,
    parse,
    parse_pt_config,
)
from tests.support.refusals import refusal_of

# As Tor Browser has it, comments and foreign lines included.
TOR_BROWSER = b"""\
# torrc-defaults for Tor Browser
AvoidDiskWrites 1
CookieAuthentication 1
DormantCanceledByStartup 1
ControlPort 9151
## fteproxy configuration
Bridge obfs4 192.0.2.1:443 cert=AAAA iat-mode=0
ClientTransportPlugin meek_lite,obfs4 exec ./TorBrowser/Tor/PTs/lyrebird

## conjure configuration
ClientTransportPlugin conjure exec ./PTs/conjure-client -registerURL https://e.example/
"""


def plugins(data: bytes) -> list[Plugin]:
    """Read a file that holds nothing but plugins."""
    entries = parse(data, "f")
    return [entry for entry in entries if isinstance(entry, Plugin)]


def values(data: bytes) -> list[str]:
    """Return the arguments of each plugin, joined."""
    return ["|".join((each.path, *each.arguments)) for each in plugins(data)]


def refusal(data: bytes, *, included: bool = False) -> str:
    return refusal_of(OwnerFileError, lambda: parse(data, "/etc/f", included=included))


# -- what a line says ------------------------------------------------------------------


def test_a_plugin_is_a_program_for_some_transports_and_one_role() -> None:
    """The lines that tor knows (its manual)."""
    data = (
        b"ClientTransportPlugin obfs4,webtunnel exec /opt/lyrebird -enableLogging -l\n"
        b"ServerTransportPlugin obfs4 exec /opt/obfs4proxy\n"
    )
    assert parse(data, "/etc/f") == [
        Plugin(
            "/etc/f, line 1",
            False,
            ("obfs4", "webtunnel"),
            "/opt/lyrebird",
            ("-enableLogging", "-l"),
        ),
        Plugin("/etc/f, line 2", True, ("obfs4",), "/opt/obfs4proxy", ()),
    ]


def test_another_plugin_is_a_program_with_a_name() -> None:
    data = b"sip003plugin my-plugin exec /opt/my -fast a=b\n"
    plugin = Sip003Plugin("f, line 1", "my-plugin", "/opt/my", ("-fast", "a=b"))
    assert parse(data, "f") == [plugin]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"SIP003Plugin x /opt/x", " must be SIP003Plugin NAME exec PATH ARGUMENTS"),
        (b"SIP003Plugin x exec x", ": the program's path must begin with '/'"),
    ],
)
def test_another_plugin_that_is_not_well_named_is_an_error(
    line: bytes, sentence: str
) -> None:
    assert refusal(line) == f"/etc/f, line 1{sentence}"


@pytest.mark.parametrize("option", OWNERS_OPTIONS)
def test_an_option_is_allowed_on_a_line_of_its_own(option: str) -> None:
    assert parse(b"AllowPluginOption " + option.encode(), "f") == [Permission(option)]


@pytest.mark.parametrize("path", ["/opt/a torrc", "torrc", "../torrc-defaults"])
def test_another_file_may_be_included(path: str) -> None:
    """All of the value is its path, as with tor."""
    data = b"\n\n%include " + path.encode()
    assert parse(data, "f") == [Include("f, line 3", path)]


def test_the_order_of_the_lines_is_kept() -> None:
    """What comes first counts first."""
    data = b"AllowPluginOption state\n%include x\nAllowPluginOption logfile\n"
    assert parse(data, "f") == [
        Permission("state"),
        Include("f, line 2", "x"),
        Permission("logfile"),
    ]


@pytest.mark.parametrize("data", [b"", b"\n\r\n", b" \t# nothing\n#", b"\xef\xbb\xbf"])
def test_a_file_may_say_nothing(data: bytes) -> None:
    assert parse(data, "f") == []


# -- how lines are cut, which was compared with what tor 0.4.9.11 makes of them --------


@pytest.mark.parametrize(
    "keyword",
    [
        b"ClientTransportPlugin",
        b"clienttransportplugin",
        b"CLIENTTRANSPORTPLUGIN",
        b"+ClientTransportPlugin",
        b" \tClientTransportPlugin",
        b"\xef\xbb\xbfClientTransportPlugin",
    ],
)
def test_keywords_are_taken_in_any_case(keyword: bytes) -> None:
    """And with tor's '+', which appends to what a defaults file says."""
    assert values(keyword + b" x exec /a b") == ["/a|b"]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b"x exec /a b", "/a|b"),
        (b"x exec /a b\r\n", "/a|b"),
        (b"\t x \texec  /a\tb \n", "/a|b"),
        (b"x exec /a # b", "/a"),
        (b"x exec /a#b \\\n", "/a"),
        (b'x exec /a "b c"', '/a|"b|c"'),
        (b"x exec /a '\\n\\\\'", "/a|'\\n\\\\'"),
        (b"x exec /a\\ b", "/a\\|b"),
        (b"x exec /a\xc3\xa9", "/a\u00e9"),
        (b"x exec /a\xff", "/a\udcff"),
        (b"x exec /a\xc2\xa0b", "/a\u00a0b"),
    ],
)
def test_a_value_is_cut_at_its_blanks(value: bytes, read: str) -> None:
    """Nothing but a blank divides; quotes and backslashes are what they look like."""
    assert values(b"ClientTransportPlugin " + value) == [read]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b"x exec \\\n/a b", "/a|b"),
        (b"\\\nx exec\\\n /a b", "/a|b"),
        (b"x exec /a\\\nb", "/ab"),
        (b"x exec /a \\\r\nb", "/a|b"),
        (b"x exec /a \\\n# said between\nb", "/a|b"),
        (b"x exec /a \\\nb # said behind\nc\n", "/a|b|c"),
        (b"x exec /a \\\nb \\# said behind\nc\n", "/a|b|\\c"),
        (b"x exec /a \\\n\\\n\\\nb", "/a|b"),
        (b"x exec /a \\", "/a"),
        (b"x exec /a \\\n", "/a"),
        (b"x exec /a \\\nb #", "/a|b"),
    ],
)
def test_a_value_goes_on_behind_a_backslash_at_a_lines_end(
    value: bytes, read: str
) -> None:
    """A comment then ends nothing, and the line behind it belongs to the value, too."""
    assert values(b"ClientTransportPlugin " + value) == [read]
    assert values(b"ClientTransportPlugin\\\n " + value) == [read]


def test_a_backslash_with_a_blank_behind_it_ends_with_its_line() -> None:
    """Invisible, and so a trap; but tor has it so."""
    data = b"ClientTransportPlugin x exec /a \\ \nAllowPluginOption state"
    assert values(data) == ["/a|\\"]
    assert Permission("state") in parse(data, "f")


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    """Lines that were joined, comments and empty ones included."""
    data = b"\r\n# x\nClientTransportPlugin x \\\r\n  exec /a\n\nAllowPluginOption x"
    assert refusal(data).startswith("/etc/f, line 6: ")
    assert plugins(data[:-20])[0].where == "f, line 3"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b'"x exec /a b"', "/a|b"),
        (b'"x exec /a#b" # said behind', "/a#b"),
        (b'"x exec /a b"\r\n', "/a|b"),
        (rb'"x exec /a \"b\" \'c\' \\"', "/a|\"b\"|'c'|\\"),
        (rb'"x\texec\n/a\rb"', "/a|b"),
        (rb'"x exec /\x61 \x5C \101\60 \0607"', "/a|\\|A0|07"),
        (b'"x exec /a \\303\\251\xc3\xa9"', "/a|\u00e9\u00e9"),
    ],
)
def test_a_value_may_stand_in_quotes_with_cs_escapes(value: bytes, read: str) -> None:
    assert values(b"ClientTransportPlugin " + value) == [read]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b'"x exec /a', "has no closing quote"),
        (b'"x exec /a\\"', "has no closing quote"),
        (b'"x exec /a\\\n"', "has a backslash in its quotes that means nothing"),
        (b'"x exec" /a', "goes on behind its closing quote"),
        (rb'"x exec /a\q"', "has a backslash in its quotes that means nothing"),
        (rb'"x exec /a\x4"', "has a backslash in its quotes that means nothing"),
        (rb'"x exec /a\xg0"', "has a backslash in its quotes that means nothing"),
        (rb'"x exec /a\777"', "has a backslash in its quotes that means nothing"),
        (rb'"x exec /a\8"', "has a backslash in its quotes that means nothing"),
        (b'"x exec /a\\', "has a backslash in its quotes that means nothing"),
        (rb'"x exec /a\0"', "holds a control character"),
        (b"x exec /a\0", "holds a control character"),
        (b"x exec /a\x1b[2J", "holds a control character"),
        (b"x exec /\x7f", "holds a control character"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(value: bytes, why: str) -> None:
    data = b"# x\nServerTransportPlugin " + value + b"\nAllowPluginOption state"
    for included in (False, True):
        text = refusal(data, included=included)
        assert text.startswith("/etc/f, line 2 ")
        assert why in text


# -- what is not understood ------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"SocksPort 9050",
        b"ClientTransportPlugn obfs4 exec /a",
        b"/ClientTransportPlugin",
        b"ClientTransportPlugin\xe9 obfs4 exec /a",
        b"%include2 x",
        b'"ClientTransportPlugin" obfs4 exec /a',
        b"\\\nClientTransportPlugin obfs4 exec /a",
    ],
)
def test_any_other_line_is_an_error_in_our_own_file(line: bytes) -> None:
    """Who misspells a line of safety's must hear of it."""
    assert refusal(b"\n" + line) == (
        "/etc/f, line 2 is none of ClientTransportPlugin, ServerTransportPlugin, "
        "SIP003Plugin, AllowPluginOption and %include"
    )
    assert parse(line, "f", included=True) == []


@pytest.mark.parametrize(
    "value",
    [b"obfs4", b"obfs4 exec", b"obfs4 /a", b"obfs4 socks5 127.0.0.1:1", b"x Exec /a"],
)
def test_a_plugin_without_a_program_is_an_error_in_our_own_file(value: bytes) -> None:
    """For tor, it may name a PT that somebody else runs; we run our own."""
    assert refusal(b"ClientTransportPlugin " + value) == (
        "/etc/f, line 1 must be KEYWORD NAME[,NAME] exec PATH ARGUMENTS"
    )


@pytest.mark.parametrize(
    "names", [b"obfs4,", b",", b"a,,b", b"a-b", b"*", b"\xc3\xa9", b"\xff", b"a;b"]
)
def test_a_transports_name_is_checked(names: bytes) -> None:
    """Pt-spec 3.1."""
    for keyword in (b"ClientTransportPlugin ", b"ServerTransportPlugin "):
        text = refusal(keyword + names + b" exec /a", included=True)
        assert text.startswith("/etc/f, line 1: a transport's name is made of letters")


@pytest.mark.parametrize("path", [b"lyrebird", b"./lyrebird", b"~/lyrebird", b"../x"])
def test_our_own_file_names_programs_by_absolute_paths(path: bytes) -> None:
    """Relative to what? A bundle's file knows, since it lies beside them."""
    line = b"ClientTransportPlugin obfs4 exec " + path
    assert refusal(line) == ("/etc/f, line 1: the program's path must begin with '/'")
    (entry,) = parse(line, "f", included=True)
    assert isinstance(entry, Plugin)
    assert entry.path == path.decode()


@pytest.mark.parametrize(
    "value", [b"exec", b"State", b"state logfile", b"state,logfile", b"unsafe_logging"]
)
def test_no_other_option_can_be_allowed(value: bytes) -> None:
    """And one a line."""
    assert refusal(b"AllowPluginOption " + value) == (
        "/etc/f, line 1: AllowPluginOption needs one of state, logfile, loglevel, "
        "unsafe-logging"
    )


@pytest.mark.parametrize("keyword", [b"AllowPluginOption", b"%include"])
@pytest.mark.parametrize("rest", [b"", b" ", b" # state", b' ""', b" \\\n"])
def test_a_keyword_without_a_value_is_an_error(keyword: bytes, rest: bytes) -> None:
    assert refusal(keyword + rest) == "/etc/f, line 1 has a keyword and no value"


# -- other programs' files -------------------------------------------------------------


def test_of_a_file_of_tors_only_the_programs_are_taken() -> None:
    """Tor Browser's: its paths are relative, and its other lines are not for us."""
    assert parse(TOR_BROWSER, "f", included=True) == [
        Plugin(
            "f, line 8",
            False,
            ("meek_lite", "obfs4"),
            "./TorBrowser/Tor/PTs/lyrebird",
            (),
        ),
        Plugin(
            "f, line 11",
            False,
            ("conjure",),
            "./PTs/conjure-client",
            ("-registerURL", "https://e.example/"),
        ),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"ClientTransportPlugin obfs4 socks5 127.0.0.1:1",
        b"ServerTransportPlugin obfs4 proxy 127.0.0.1:1",
        b"ClientTransportPlugin obfs4",
        b"%include /etc/torrc.d/*.conf",
    ],
)
def test_what_tor_can_do_and_we_cannot_is_passed_over_there(line: bytes) -> None:
    """What is included includes nothing."""
    data = line + b"\nAllowPluginOption state"
    assert parse(data, "f", included=True) == [Permission("state")]


def test_the_expert_bundles_programs_lie_beside_its_file() -> None:
    """pt_config.json, which Tor Browser's builds make."""
    config = {
        "recommendedDefault": "obfs4",
        "pluggableTransports": {
            "lyrebird": "ClientTransportPlugin meek_lite,obfs4 exec "
            "${pt_path}lyrebird${pt_extension}",
            "conjure": "ClientTransportPlugin conjure exec "
            "${pt_path}conjure-client${pt_extension} -registerURL https://e.example/",
        },
        "bridges": {"obfs4": ["obfs4 192.0.2.1:443 cert=AAAA iat-mode=0"]},
    }
    found: list[Entry] = [
        Plugin(
            "'lyrebird' in p.json, line 1",
            False,
            ("meek_lite", "obfs4"),
            "./lyrebird",
            (),
        ),
        Plugin(
            "'conjure' in p.json, line 1",
            False,
            ("conjure",),
            "./conjure-client",
            ("-registerURL", "https://e.example/"),
        ),
    ]
    assert parse_pt_config(json.dumps(config).encode(), "p.json") == found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ClientTransportPlugin obfs4 exec /a",
        b"[]",
        b"{}",
        b'"pluggableTransports"',
        b'{"pluggableTransports": []}',
        b'{"pluggableTransports": null}',
        b'{"pluggableTransports": {"a": 1}}',
        b'{"pluggableTransports": {"a": ["x"]}}',
        b'{"pluggableTransports": {"a": "\\ud800"}}',
        b'{"pluggableTransports": {"a": "x"}',
        b"\xff",
        b"[" * 60_000,
    ],
)
def test_what_is_no_such_file_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(OwnerFileError) as caught:
        parse_pt_config(data, "/x/p.json")
    assert str(caught.value) == (
        "/x/p.json is no pt_config.json: it has no 'pluggableTransports'"
    )


def test_a_line_in_it_that_cannot_be_read_is_named() -> None:
    data = b'{"pluggableTransports": {"a": "ClientTransportPlugin * exec /a"}}'
    with pytest.raises(OwnerFileError, match=r"^'a' in p\.json, line 1: a tr"):
        parse_pt_config(data, "p.json")
