"""pt-bridge's own options: which there are, and where each may stand."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import OptionsError
from pt_bridge.options import own_options
from pt_bridge.options.client_options import client_line
from pt_bridge.options.config import Config
from pt_bridge.options.option_values import Given, server
from pt_bridge.options.own_options import CLIENT, GONE, OPTIONS, SERVER, OwnOption
from pt_bridge.options.plugin_options import Option
from pt_bridge.options.transports import TRANSPORTS
from tests.options.test_option_values import refusal

if TYPE_CHECKING:
    from pt_bridge.options.option_values import Values

# NAME, HOST:PORT or unix:PATH, which stand for a value; or a word, which is one.
VALUE = re.compile(r"(?:[a-z]+:)?[A-Z:]+|[a-z]+|[01]")
# OG-06's list of arguments that PTs are known to take.
PT_ARGUMENTS = (
    "cert iat-mode node-id public-key private-key drbg-seed password shared-secret url "
    "front fronts ice max ampcache sqsqueue sqscreds utls utls-nosni utls-imitate "
    "fingerprint proxy addr servername ver version"
)


# -- the set ---------------------------------------------------------------------------


def test_the_set_of_our_own_options_is_closed() -> None:
    """OG-06: a new one is a change of the contract."""
    assert " ".join(OPTIONS) == (
        "server transport bridge bridges exec state upstream-proxy via via-opts "
        "session preconnect udp front linger idle restarts start-timeout loglevel "
        "logfile unsafe-logging metrics geoip send-proxy-v2 accept-proxy deny allow "
        "max-per-source socks ext-orport ext-orport-cookie tor-control"
    )


def test_no_option_of_ours_has_the_name_of_a_pts_argument() -> None:
    """OG-06, FE-06: nor of one that hosts keep for themselves.

    front= is a client's argument, and an option of servers, whose PTs know no such one.
    """
    assert OPTIONS.keys() & PT_ARGUMENTS.split() == {"front"}
    assert OPTIONS["front"].side == SERVER
    for transport in TRANSPORTS.values():
        assert transport.server is None or "front" not in transport.server.takes
    assert "mode" not in OPTIONS


def test_an_argument_of_the_catalogue_that_has_our_name_needs_the_prefix() -> None:
    """OG-06: conjure's transport=, which arg-transport= sends, and a client's front."""
    taken = {
        argument
        for transport in TRANSPORTS.values()
        for side in (transport.client, transport.server)
        if side is not None
        for argument in side.takes
    }
    assert taken & OPTIONS.keys() == {"transport", "front"}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_described(name: str) -> None:
    """What 'pt-bridge help options' prints is made from this."""
    option = OPTIONS[name]
    assert option.name == name
    assert option.side in ("", CLIENT, SERVER)
    for word in option.value.split("|") if option.value else ():
        assert VALUE.fullmatch(word)
    assert 0 < len(option.meaning) <= 72


# -- taking them -----------------------------------------------------------------------


def test_options_are_put_together_whatever_their_order() -> None:
    """OG-11: Android's order is that of a hash map."""
    options = [Option("server", None, 1), Option("transport", "obfs4", 8)]
    for order in (options, options[::-1]):
        values: dict[str, str | None] = {}
        for option in order:
            OPTIONS[option.key].add(values, option)
        assert values == {"server": None, "transport": "obfs4"}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            Option("bridge", None, 3),
            "'bridge' at column 3 needs a value: bridge=LINE",
        ),
        (
            Option("session", "auto", 9),
            "'session' is given twice, again at column 9: leave one out",
        ),
        (
            Option("transport", None, 1),
            "'transport' at column 1 needs a value: transport=NAME",
        ),
        (
            Option("upstream-proxy", "", 5),
            "'upstream-proxy' at column 5 needs a value: upstream-proxy=URL",
        ),
        (
            Option("server", "s3cret", 2),
            "'server' at column 2 takes no value: write it without '='",
        ),
        (
            Option("unsafe-logging", "", 2),
            "'unsafe-logging' at column 2 takes no value: write it without '='",
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, Option) else "",
)
def test_an_option_that_cannot_be_taken_is_named_with_its_column(
    option: Option, message: str
) -> None:
    """OG-07, ER-03, SE-05: and never its value."""
    values: dict[str, str | None] = {"session": "1"}
    assert refusal(lambda: OPTIONS[option.key].add(values, option)) == message
    assert values == {"session": "1"}


def test_the_same_value_twice_is_given_twice_all_the_same() -> None:
    """OG-07."""
    values: dict[str, str | None] = {}
    OPTIONS["server"].add(values, Option("server", None, 1))
    with pytest.raises(OptionsError):
        OPTIONS["server"].add(values, Option("server", None, 8))


MANY = OwnOption("many", SERVER, "X", "", server, is_repeatable=True)
FLAG = OwnOption("flag", CLIENT, "X", "", server, is_flag_only=True)


def test_an_option_that_may_be_repeated_keeps_its_values_in_order() -> None:
    values: dict[str, str | None] = {}
    for column, value in enumerate(("a", "b", "a"), 1):
        MANY.add(values, Option("many", value, column))
    assert Given(values).texts("many") == ["a", "b", "a"]
    assert MANY.words(values["many"]) == ["--many=a", "--many=b", "--many=a"]
    assert refusal(lambda: MANY.add(values, Option("many", None, 7))) == (
        "'many' at column 7 needs a value: many=X"
    )


def test_an_option_that_is_a_flag_alone_is_refused_in_plugin_options() -> None:
    """SE-02: a link can carry them."""
    values: dict[str, str | None] = {}
    text = refusal(lambda: FLAG.add(values, Option("flag", "s3cret", 3)))
    assert text == (
        "'flag' is refused in plugin options, since links can carry them: use the flag "
        "--flag of 'pt-bridge client'"
    )
    assert not values


def test_an_option_is_written_as_flags_have_it() -> None:
    assert OPTIONS["server"].words(None) == ["--server"]
    assert OPTIONS["state"].words("a\nb") == ["--state=a\nb"]


@pytest.mark.parametrize(
    ("option", "limits"),
    [
        (OPTIONS["state"], ""),
        (OPTIONS["front"], " (server only)"),
        (MANY, " (server only, may be repeated)"),
        (FLAG, " (client only, as a flag only)"),
    ],
)
def test_where_an_option_may_stand_is_said_behind_its_meaning(
    option: OwnOption, limits: str
) -> None:
    assert option.limits == limits


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_a_value_has_the_type_of_its_attribute_and_a_line_of_documentation(
    option: OwnOption,
) -> None:
    """`Config` sets them all in one loop, which no type checker looks into."""
    name = option.attribute
    returned = option.read.__annotations__["return"]
    assert Config.__annotations__[name] == returned
    assert f"    {name}: " in (inspect.getdoc(Config) or "")


def test_an_option_without_a_meaning_for_the_server_is_refused_there() -> None:
    """ER-03."""
    values: Values = {"upstream-proxy": "1"}
    own_options.check_side(values, CLIENT)
    assert refusal(lambda: own_options.check_side(values, SERVER)) == (
        "'upstream-proxy' has a meaning on the client side only"
    )


def test_an_option_without_a_meaning_for_the_client_is_refused_there() -> None:
    """ER-03."""
    values: Values = {"front": "yes"}
    own_options.check_side(values, SERVER)
    assert refusal(lambda: own_options.check_side(values, CLIENT)) == (
        "'front' has a meaning on the server side only"
    )


def test_all_other_options_have_a_meaning_on_both_sides() -> None:
    """FE-05: the roles are alike in all else."""
    both = {key: "1" for key in OPTIONS if not OPTIONS[key].side}
    own_options.check_side(both, SERVER)
    own_options.check_side(both, CLIENT)
    own_options.check_side({}, SERVER)


def test_what_an_older_version_knew_is_answered_with_what_to_write_now() -> None:
    """In one sentence that names it."""
    assert GONE.keys().isdisjoint(OPTIONS)
    assert GONE["hold"] == (
        "'hold' is gone: leave it out, for the two pt-bridges now tell each other "
        "where a connection ends (a client's session=, a server's session=only and "
        "front=)"
    )


# -- the line for clients --------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "arguments", "line"),
    [
        ("obfs3", [], "transport=obfs3"),
        (
            "obfs4",
            [("cert", "ab/+"), ("iat-mode", "0")],
            "transport=obfs4;cert=ab/+;iat-mode=0",
        ),
        (
            "webtunnel",
            [("url", "https://e.com/p?a=b;c"), ("ver", "0.0.7")],
            r"transport=webtunnel;url=https://e.com/p?a\=b\;c;ver=0.0.7",
        ),
        ("t", [("server", "1"), ("a", "")], "transport=t;arg-server=1;a="),
        ("t", [("bridge", "1")], "transport=t;arg-bridge=1"),
        ("t", [("arg-x", "1"), ("a\\b", "2")], r"transport=t;arg-arg-x=1;a\\b=2"),
    ],
)
def test_what_a_server_prints_becomes_the_options_of_its_clients(
    transport: str, arguments: list[tuple[str, str]], line: str
) -> None:
    """SV-06, OG-06, OG-12: an argument with a name of ours gets the prefix."""
    assert client_line(transport, arguments) == line
