"""The transport's arguments: what is a mistake, what may be one, and what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import OptionsError
from pt_bridge.options import pt_arguments
from pt_bridge.options.own_options import OPTIONS
from pt_bridge.options.plugin_options import Option
from pt_bridge.options.pt_arguments import (
    KNOWN,
    MAX_SHOWN,
    address,
    shown,
)
from pt_bridge.options.transports import TRANSPORTS, side_of
from tests.support.refusals import refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.options.transports import Side

SECRET = "s3cret"
CERT = "C" * 70
COLUMN = 17


def refusal(read: Callable[[], object]) -> str:
    """Return the text of the refusal, which is always one of the options."""
    return refusal_of(OptionsError, read)


def refused(key: str, value: str | None = SECRET) -> str:
    """Return the text of the refusal of one option."""
    text = refusal(lambda: pt_arguments.read(Option(key, value, COLUMN)))
    assert SECRET not in text
    return text


def side(transport: str, *, server: bool = False) -> Side:
    """Return a side that there is."""
    found = side_of(transport, server=server)
    assert found is not None
    return found


def needs(transport: str, *given: tuple[str, str], server: bool = False) -> str:
    """Return the text of the refusal of too few arguments."""
    return refusal(
        lambda: pt_arguments.check_needs(
            transport, side(transport, server=server), list(given), server=server
        )
    )


def warnings(
    transport: str, *given: tuple[str, str], server: bool = False
) -> list[str]:
    """Return what is said of arguments that are there."""
    known = side(transport, server=server)
    return pt_arguments.warnings(transport, known, list(given), server=server)


# -- reading one -----------------------------------------------------------------------

# What PTs take, or may take one day: OG-06's list, and what else is near one of ours.
PASSED = """
    addr ampcache cert crt drbg-seed fingerprint front fronts host iat-mode iatmode ice
    id level link log max mode node-id password port private-key proxy public-key
    servername shared-secret sqscreds sqsqueue url utls utls-imitate utls-nosni ver
    version x
"""


@pytest.mark.parametrize("key", sorted({*PASSED.split(), *KNOWN}))
def test_what_is_not_ours_is_an_argument(key: str) -> None:
    """OG-06: the set of our own is closed, and near them there is little."""
    assert pt_arguments.read(Option(key, "any = thing", COLUMN)) == (key, "any = thing")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("arg-upstream_proxy", "upstream_proxy"),
        ("arg-server", "server"),
        ("arg-bridge", "bridge"),
        ("arg-arg-x", "arg-x"),
        ("arg-server ", "server "),
        ('arg-"cert"', '"cert"'),
    ],
)
def test_the_prefix_sends_whatever_stands_behind_it(key: str, name: str) -> None:
    """OG-06: arg-NAME=VALUE, however near to one of ours."""
    assert pt_arguments.read(Option(key, "", COLUMN)) == (name, "")


MISSPELT = {
    "upstream-proxy": "upstream_proxy upstream-prox Upstream-Proxy UPSTREAM_PROXY "
    "upstreamproxy upstream-proxy: upstream--proxy upstream-proxies -upstream-proxy",
    "transport": "trasport transprot Transport transports --transport",
    "logfile": "logfil log-file log_file",
    "loglevel": "log-level loglvl LogLevel",
    "state": "statee State",
    "server": "servr servre Server sever --server",
    "start-timeout": "start_timeout starttimeout",
    "unsafe-logging": "unsafe_logging unsafe-loging",
    "idle": "Idle",
    "session": "sesion sessions Session",
    "linger": "lingr",
    "exec": "exe",
    "restarts": "restart",
}


@pytest.mark.parametrize("value", [SECRET, None], ids=["value", "bare"])
@pytest.mark.parametrize(
    ("key", "ours"),
    [(key, ours) for ours in MISSPELT for key in MISSPELT[ours].split()],
)
def test_what_is_nearly_one_of_ours_is_refused(
    key: str, ours: str, value: str | None
) -> None:
    """OG-06, ER-03: it was meant for us, and the PT would say nothing."""
    assert refused(key, value) == (
        f"there is no option '{shown(key)}' (column 17): did you mean '{ours}'? "
        f"(arg-NAME=VALUE sends any name to the PT)"
    )


def slips(word: str) -> set[str]:
    """Return all words with one letter missing, twice, or in its neighbour's place."""
    found = set()
    for i in range(len(word)):
        before, after = word[:i], word[i + 1 :]
        found |= {before + after, before + 2 * word[i] + after}
        found.add(before + after[:1] + word[i] + after[1:])
    return found - {word}


@pytest.mark.parametrize("key", sorted(slips("upstream-proxy")))
def test_no_slip_of_the_finger_leaves_the_proxy_out(key: str) -> None:
    """SE-05, ER-03: or all would go past it, and its password to the PT."""
    assert refused(key).endswith(
        "did you mean 'upstream-proxy'? (arg-NAME=VALUE sends any name to the PT)"
    )


@pytest.mark.parametrize(
    ("key", "bare"),
    [
        (" transport", "transport"),
        ("transport ", "transport"),
        ('"transport', "transport"),
        ("'transport'", "transport"),
        ("server ", "server"),
        (" server", "server"),
        ('server"', "server"),
        (' "upstream-proxy', "upstream-proxy"),
        (" cert", "cert"),
        ("'iat-mode", "iat-mode"),
        ('url"', "url"),
    ],
)
@pytest.mark.parametrize("value", [SECRET, None], ids=["value", "bare"])
def test_a_blank_or_a_quote_beside_a_name_is_refused(
    key: str, bare: str, value: str | None
) -> None:
    """OG-06, ER-03: it was copied along; nothing is trimmed (OG-05)."""
    assert refused(key, value) == (
        f"'{bare}' at column 17 has a blank or a quote beside it: leave it out"
    )


@pytest.mark.parametrize("key", [" x", "x ", '"x"', " zzz '"])
def test_a_blank_beside_a_name_that_nobody_knows_stays(key: str) -> None:
    """OG-05, OG-06: it may be meant."""
    assert pt_arguments.read(Option(key, "1", COLUMN)) == (key, "1")


@pytest.mark.parametrize(
    ("key", "named", "hint"),
    [
        ("cert", "cert", ""),
        ("iat-mode", "iat-mode", ""),
        ("arg-server", "arg-server", ": did you mean 'server'?"),
        ("level", "level", ": did you mean 'loglevel'?"),
        (f"cert {SECRET}", "cert", ""),
        (f"cert={SECRET}", "cert", ""),
        (f"arg-cert:{SECRET}", "arg-cert", ""),
        (f"https://e.example/{SECRET}", "...", ""),
        (f"'{SECRET}'", "...", ""),
        ("hunter2", "...", ""),
        ("Mq5iT3+WgO1/8fC9j", "...", ""),
    ],
)
def test_an_argument_without_a_value_is_refused(
    key: str, named: str, hint: str
) -> None:
    """OG-09, ER-03, SE-05: never forwarded bare; what may be a value is not shown."""
    assert refused(key, None) == (
        f"'{named}' at column 17 needs a '=' and a value behind it{hint}"
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "obfs4",
            "'obfs4' at column 17 is the name of a transport: write transport=obfs4",
        ),
        (
            "obfs4proxy",
            (
                "'obfs4proxy' at column 17 is the name of a program: write "
                "transport=NAME;exec=obfs4proxy"
            ),
        ),
        (
            "transport:obfs3",
            "'transport:' at column 17 must be 'transport=': write transport=obfs3",
        ),
        (
            f"transport:{SECRET}",
            "'transport:' at column 17 must be 'transport=': write transport=...",
        ),
        (
            f"cert: {SECRET}",
            "'cert:' at column 17 must be 'cert=': write cert=...",
        ),
        (
            f"upstream-proxy:socks5://u:{SECRET}@h:1",
            (
                "'upstream-proxy:' at column 17 must be 'upstream-proxy=': write "
                "upstream-proxy=..."
            ),
        ),
    ],
)
def test_a_name_without_its_equals_sign_is_told_how_to_be_written(
    key: str, message: str
) -> None:
    """ER-03, SE-05: 'obfs4;cert=...', and what one writes after some JSON."""
    assert refused(key, None) == message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (" ", None, None),
        ("", None, None),
        (" iat-mode", "0 ", ("iat-mode", "0")),
        ("transport ", " obfs4", ("transport", "obfs4")),
        (" server ", None, ("server", None)),
        (" zzz", " 1 ", ("zzz", " 1 ")),
    ],
)
def test_blanks_beside_a_semicolon_are_no_part_of_an_option(
    key: str, value: str | None, expected: tuple[str, str | None] | None
) -> None:
    """Those around the value of what nobody knows stay: they may be meant."""
    found = pt_arguments.trimmed(Option(key, value, COLUMN))
    assert expected == (found and (found.key, found.value))


@pytest.mark.parametrize("value", [SECRET, None], ids=["value", "bare"])
@pytest.mark.parametrize("key", ["arg-", "ä", "arg-ä", "\udcff", "a\u0660", "sërver"])
def test_a_name_that_is_not_printable_ascii_is_refused(
    key: str, value: str | None
) -> None:
    """OG-13, ER-03: nor an empty one."""
    assert refused(key, value) == (
        "the key at column 17 is not a name in printable ASCII"
    )


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("url", "url"),
        ("arg-x", "x"),
        (f"cert {SECRET}", "cert"),
        ("node-id", "node-id"),
    ],
)
@pytest.mark.parametrize("value", [f"{SECRET}é", f"{SECRET}\udcff", f"\t{SECRET}"])
def test_a_value_that_is_not_printable_ascii_is_refused(
    key: str, named: str, value: str
) -> None:
    """OG-13, ER-03, SE-05: the key is named, the value is not."""
    assert refused(key, value) == (
        f"the value of '{named}' at column 17 is not printable ASCII"
    )


# -- those that are needed -------------------------------------------------------------

CUT_NOWHERE = "A" * 70  # as long as a cert
COPY = "copy the server's line (and on the server side, add 'server')"


@pytest.mark.parametrize(
    ("transport", "given", "missing"),
    [
        ("obfs4", "", "cert= and iat-mode="),
        ("obfs4", "cert", "iat-mode="),
        ("obfs4", "iat-mode", "cert="),
        ("obfs4", "node-id public-key", "iat-mode="),
        ("webtunnel", "ver", "url="),
        ("meek_lite", "front", "url="),
        ("scramblesuit", "", "password="),
    ],
)
def test_a_client_without_a_needed_argument_is_refused(
    transport: str, given: str, missing: str
) -> None:
    """SK-14, ER-03: and maybe this was to be the server."""
    assert needs(transport, *((key, CUT_NOWHERE) for key in given.split())) == (
        f"{transport} needs {missing} in the plugin options: {COPY}"
    )


WHOLE = (
    "copy the bridge line whole, or see that the owner's ClientTransportPlugin line "
    "has them as flags"
)


@pytest.mark.parametrize(
    ("transport", "given", "missing"),
    [
        ("snowflake", "", "ice= and url="),
        ("snowflake", "ice", "url="),
        ("snowflake", "ice sqscreds", "sqsqueue="),
        ("meek", "front", "url="),
    ],
)
def test_flags_of_the_owners_line_may_be_what_is_needed(
    transport: str, given: str, missing: str
) -> None:
    """Snowflake's README, and Entware's torrc: -url, -front and -ice stand there."""
    assert needs(transport, *((key, CUT_NOWHERE) for key in given.split())) == (
        f"{transport} needs {missing} in the plugin options: {WHOLE}"
    )


@pytest.mark.parametrize(
    ("transport", "given", "flags", "note"),
    [
        ("snowflake", "", ["-url", "u", "-ice", "i"], None),
        ("snowflake", "", ["--url=u", "--ice=i"], None),
        ("snowflake", "ice", ["-url", "u"], None),
        ("snowflake", "sqsqueue sqscreds ice", [], None),
        ("snowflake", "url", [], "ice="),
        ("snowflake", "sqsqueue", [], "ice= and sqscreds="),
        ("snowflake", "ampcache ice", [], "url="),
        ("snowflake", "", ["-log", "f"], "ice= and url="),
        ("meek", "", ["--url", "u"], None),
        ("meek", "", ["--helper", "h"], "url="),
    ],
)
def test_what_some_pts_do_without_is_no_error(
    transport: str, given: str, flags: list[str], note: str | None
) -> None:
    """The catalogue is never stricter than the PTs: lyrebird needs no ice= (seen)."""
    found = pt_arguments.check_needs(
        *(transport, side(transport), [(key, SECRET) for key in given.split()]),
        server=False,
        flags=lambda: flags,
    )
    some = f"{transport} may need {note}, too: some PTs end at the first connection"
    assert found == ([f"{some} without"] if note else [])


def test_a_server_without_a_needed_argument_is_refused() -> None:
    """SK-14: there is nobody to copy it from."""
    assert needs("webtunnel", server=True) == (
        "webtunnel needs url= in the plugin options: it is the server's own"
    )


@pytest.mark.parametrize(
    ("transport", "keys", "hints"),
    [
        ("obfs4", "crt iat-mode", "; it takes no 'crt': did you mean 'cert'?"),
        ("obfs4", "crt crt iat-mode", "; it takes no 'crt': did you mean 'cert'?"),
        ("obfs4", "CERT iat-mode", "; it takes no 'CERT': did you mean 'cert'?"),
        ("obfs4", "zzz iat-mode", ""),
        ("obfs4", "iat-mode node-id", ""),
        (
            "obfs4",
            "crt iatmode",
            (
                "; it takes no 'crt': did you mean 'cert'?"
                "; it takes no 'iatmode': did you mean 'iat-mode'?"
            ),
        ),
    ],
)
def test_a_needed_argument_may_be_there_misspelt(
    transport: str, keys: str, hints: str
) -> None:
    """SK-14, ER-03: each is named once, in an order that is always the same."""
    for given in (keys.split(), keys.split()[::-1]):
        text = needs(transport, *((key, SECRET) for key in given))
        assert text.startswith(f"{transport} needs ")
        assert text.endswith(f"{COPY}{hints}")
        assert SECRET not in text


def test_a_misspelt_argument_is_shown_only_as_far_as_it_is_a_name() -> None:
    """SE-05: 'urll s3' is one key, and 's3' may be secret."""
    assert needs("webtunnel", ("urll s3", "1")).endswith(
        "; it takes no 'urll': did you mean 'url'?"
    )


@pytest.mark.parametrize(
    ("transport", "keys"),
    [
        ("obfs4", "cert iat-mode"),
        ("obfs4", "node-id public-key iat-mode"),
        ("snowflake", "url ice"),
        ("webtunnel", "url"),
        ("obfs3", ""),
        ("conjure", "zzz"),
    ],
)
def test_with_all_that_is_needed_nothing_is_refused(transport: str, keys: str) -> None:
    """SK-14: whatever the values are."""
    given = [(key, "") for key in keys.split()]
    known = (transport, side(transport), given)
    assert pt_arguments.check_needs(*known, server=False) == []


# -- what may be a mistake -------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "given", "server"),
    [
        ("obfs4", [("cert", CERT), ("iat-mode", "0")], False),
        ("obfs4", [("cert", "aZ09+/" * 11 + "aZ09"), ("iat-mode", "1")], False),
        (
            "obfs4",
            [("node-id", "aB3" + "0" * 37), ("public-key", "f" * 64)],
            False,
        ),
        ("obfs4", [("private-key", "0" * 64), ("drbg-seed", "F" * 48)], True),
        ("scramblesuit", [("password", "AZ27" * 8)], False),
        ("webtunnel", [("url", ""), ("ver", "any"), ("addr", "thing")], False),
        ("snowflake", [("url", "u"), ("ice", "i"), ("utls-imitate", "x")], False),
        ("conjure", [("transport", "min")], False),
        ("webtunnel", [("url", "u")], True),
        ("obfs3", [], True),
    ],
)
def test_arguments_that_look_right_are_taken_in_silence(
    transport: str, given: list[tuple[str, str]], *, server: bool
) -> None:
    """SK-14: only of some it is known what they look like."""
    assert warnings(transport, *given, server=server) == []


@pytest.mark.parametrize("server", [False, True])
def test_what_makes_a_pt_crash_is_warned_of(*, server: bool) -> None:
    """SK-14: it is taken all the same, for few servers' keys have it."""
    (sentence,) = warnings("obfs4", ("iat-mode", "2"), server=server)
    assert "crash" in sentence
    assert "use iat-mode=1" in sentence


@pytest.mark.parametrize(
    ("transport", "key", "what", "values"),
    [
        ("obfs4", "iat-mode", "0, 1 or 2", ["", "3", "00", "-1", "true", "O"]),
        ("obfs4", "node-id", "40 hexadecimal digits", ["0" * 39, "g" * 40, "0" * 41]),
        ("obfs4", "public-key", "64 hexadecimal digits", ["0" * 40, "x" * 64]),
    ],
)
def test_a_value_that_looks_wrong_is_warned_of(
    transport: str, key: str, what: str, values: list[str]
) -> None:
    """SK-14, SE-05: it may have been cut; it is not shown."""
    for value in values:
        assert warnings(transport, (key, value)) == [
            f"the value of '{key}' is not {what}: was it copied whole?"
        ]


@pytest.mark.parametrize(
    ("transport", "key", "what", "values"),
    [
        (
            "obfs4",
            "cert",
            "70 characters of base64",
            ["", SECRET, CERT[1:], f"{CERT}C", f"{CERT[2:]}==", f"{CERT[1:]} "],
        ),
        ("scramblesuit", "password", "32 characters of base32", ["a" * 32, SECRET]),
    ],
)
def test_a_value_that_no_pt_takes_is_refused(
    transport: str, key: str, what: str, values: list[str]
) -> None:
    """SK-14, SE-05: each connection would fail, and only much later say why."""
    for value in values:
        given = [(key, value), (key, CERT)]
        assert refusal(lambda: pt_arguments.check_shapes(side(transport), given)) == (  # noqa: B023
            f"the value of '{key}' must be {what}, and has {len(value)} characters: "
            f"was it copied whole?"
        )
        assert warnings(transport, (key, value)) == []
    pt_arguments.check_shapes(side(transport), [("iat-mode", "9"), ("zzz", "")])


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("private-key", "64 hexadecimal digits"),
        ("drbg-seed", "48 hexadecimal digits"),
        ("iat-mode", "0, 1 or 2"),
    ],
)
def test_a_servers_own_value_that_looks_wrong_is_warned_of(key: str, what: str) -> None:
    """SK-14, SE-05."""
    assert warnings("obfs4", (key, SECRET), server=True) == [
        f"the value of '{key}' is not {what}: was it copied whole?"
    ]


@pytest.mark.parametrize(
    ("transport", "key", "hint"),
    [
        ("obfs4", "crt", ": did you mean 'cert'?"),
        ("obfs4", "iatmode", ": did you mean 'iat-mode'?"),
        ("obfs4", "Cert", ": did you mean 'cert'?"),
        ("obfs4", "zzz", ""),
        ("obfs4", "server", ""),
        ("obfs4", "drbg-seed", ""),
        ("webtunnel", "urls", ": did you mean 'url'?"),
        ("obfs3", "cert", ""),
    ],
)
def test_an_argument_that_a_client_does_not_take_is_warned_of(
    transport: str, key: str, hint: str
) -> None:
    """SK-14, SE-05: what the value looks like is then no matter."""
    assert warnings(transport, (key, SECRET)) == [f"{transport} takes no '{key}'{hint}"]


@pytest.mark.parametrize(
    ("transport", "key"),
    [("obfs4", "cert"), ("obfs4", "public-key"), ("webtunnel", "ver")],
)
def test_a_clients_argument_on_the_server_side_may_be_a_wrong_role(
    transport: str, key: str
) -> None:
    """SK-14: the server's line was copied, and 'server' left in it."""
    assert warnings(transport, (key, SECRET), server=True) == [
        (
            f"{transport} takes no '{key}' on the server side: if this is the client, "
            f"leave out 'server'"
        )
    ]


@pytest.mark.parametrize(
    ("key", "hint"), [("private_key", ": did you mean 'private-key'?"), ("zzz", "")]
)
def test_an_argument_that_neither_side_takes_is_warned_of(key: str, hint: str) -> None:
    """SK-14."""
    assert warnings("obfs4", (key, SECRET), server=True) == [
        f"obfs4 takes no '{key}'{hint}"
    ]


def test_each_argument_is_warned_of_once_and_in_order() -> None:
    """SK-14: of equal ones, the first holds."""
    assert warnings(
        "obfs4", ("zzz", "1"), ("iat-mode", ""), ("zzz", "2"), ("q", "3")
    ) == [
        "obfs4 takes no 'zzz'",
        "the value of 'iat-mode' is not 0, 1 or 2: was it copied whole?",
        "obfs4 takes no 'q'",
    ]
    assert warnings("obfs4", ("iat-mode", "0"), ("iat-mode", "")) == []


def test_a_strange_argument_is_shown_only_as_far_as_it_is_a_name() -> None:
    """SE-05."""
    assert warnings("obfs3", (f"cert {SECRET}", "1"), (f"'{SECRET}", "1")) == [
        "obfs3 takes no 'cert'",
        "obfs3 takes no '...'",
    ]


# -- what is shown ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("cert", "cert"),
        ("utls-imitate", "utls-imitate"),
        ("disableHPKP", "disableHPKP"),
        ("a_b-9", "a_b-9"),
        (f"cert:{SECRET}", "cert"),
        (f"cert {SECRET}", "cert"),
        (f"cert={SECRET}", "cert"),
        (f"cert\\{SECRET}", "cert"),
        (f" {SECRET}", "..."),
        (f'"{SECRET}"', "..."),
        (f"ä{SECRET}", "..."),
        ("", "..."),
        ("Mq5iT3+WgO1/8fC9j", "..."),
        ("ss@heron.example:1080", "..."),
        ("crt:" + SECRET, "crt"),
        ("x" * MAX_SHOWN, "x" * MAX_SHOWN),
        ("x" * (MAX_SHOWN + 1), "..."),
    ],
)
def test_a_key_is_shown_as_far_as_it_is_surely_a_name(key: str, name: str) -> None:
    """SE-05, ER-03."""
    assert shown(key) == name


@pytest.mark.parametrize("key", sorted({*KNOWN, *OPTIONS}))
def test_all_names_that_there_are_can_be_shown_whole(key: str) -> None:
    """ER-03: none is too long."""
    assert shown(key) == key


def test_every_argument_of_the_catalogue_is_known() -> None:
    """OG-06: on either side, of any transport."""
    assert {"cert", "private-key", "password", "url", "utls", "stun"} <= KNOWN
    assert not KNOWN & {"", "server", "upstream-proxy"}


# -- where a client's PT connects to ---------------------------------------------------

URL = "https://tunnel.example/path"


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ([("url", URL)], "tunnel.example:443"),
        ([("url", "http://tunnel.example/path")], "tunnel.example:80"),
        ([("url", "HTTPS://Tunnel.Example")], "tunnel.example:443"),
        ([("url", "https://tunnel.example:8443/path")], "tunnel.example:8443"),
        ([("url", "https://tunnel.example:/path")], "tunnel.example:443"),
        ([("url", "https://tunnel.example?path=a:b/c@d")], "tunnel.example:443"),
        ([("url", "https://u:p@tunnel.example:1/a@b:2")], "tunnel.example:1"),
        ([("url", "https://192.0.2.1/path")], "192.0.2.1:443"),
        ([("url", "https://[2001:db8::1]/path")], "[2001:db8::1]:443"),
        ([("url", "https://[2001:db8::1]:8443/path")], "[2001:db8::1]:8443"),
        ([("url", URL), ("addr", "192.0.2.1:8443")], "192.0.2.1:8443"),
        ([("addr", "[2001:db8::1]:1"), ("url", URL)], "[2001:db8::1]:1"),
        ([("addr", "a.example:1"), ("addr", "b.example:2")], "a.example:1"),
        ([("url", URL), ("url", "https://b.example/")], "tunnel.example:443"),
    ],
)
def test_a_clients_arguments_tell_where_its_pt_connects_to(
    given: list[tuple[str, str]], place: str
) -> None:
    """The addr= or else the url's host; of equal ones, the first."""
    found = address(given)
    assert str(found) == place


@pytest.mark.parametrize(
    "given",
    [
        [],
        [("cert", CERT)],
        [("url", "")],
        [("url", "tunnel.example/path")],
        [("url", "ftp://tunnel.example/path")],
        [("url", "https:///path")],
        [("url", "https://tunnel.example:0/")],
        [("url", "https://tunnel.example:\u00b2/")],
        [("url", "https://2001:db8::1/")],
        [("addr", "192.0.2.1")],
        [("addr", ""), ("url", URL)],
        [("addr", "nowhere"), ("addr", "192.0.2.1:1"), ("url", URL)],
    ],
)
def test_what_we_do_not_understand_is_no_address(given: list[tuple[str, str]]) -> None:
    """It is for the PT to say what is wrong with it."""
    assert address(given) is None


@pytest.mark.parametrize(
    "key", ["Bridge obfs4 192.0.2.1:443 cert", "bridge  x y", "obfs4 [::1]:443 cert"]
)
def test_a_bridge_line_as_it_is_needs_its_key(key: str) -> None:
    """ER-03: it is pasted where options belong."""
    with pytest.raises(OptionsError) as caught:
        pt_arguments.read(Option(key, "s3cret", 8))
    assert str(caught.value) == (
        "at column 8 stands a bridge line: write 'bridge=' before it, and leave out "
        "transport="
    )


@pytest.mark.parametrize("key", ["Bridge", "obfs4", "obfs4 cert"])
def test_what_only_begins_like_a_bridge_line_is_none(key: str) -> None:
    with pytest.raises(OptionsError) as caught:
        pt_arguments.read(Option(key, None, 1))
    assert "bridge line" not in str(caught.value)


def test_a_line_that_was_cut_within_a_value_is_said_to_be() -> None:
    """ER-03: what is missing stood behind the cut."""
    side = TRANSPORTS["obfs4"].client
    with pytest.raises(OptionsError) as caught:
        pt_arguments.check_needs("obfs4", side, [("cert", "A" * 30)], server=False)
    assert str(caught.value).endswith(
        "; the value of 'cert' must be 70 characters of base64, and has 30 characters: "
        "was it copied whole?"
    )
