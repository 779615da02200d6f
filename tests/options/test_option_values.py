"""How the value of each of pt-bridge's own options is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import OptionsError
from pt_bridge.options import option_values
from pt_bridge.options.option_values import SESSIONS, Given
from tests.support.refusals import refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.options.option_values import Values


def nobody(option: str) -> bool:
    """Allow nothing."""
    del option
    return False


def refusal(read: Callable[[], object]) -> str:
    """Return the text of the refusal, which is always one of the options."""
    return refusal_of(OptionsError, read)


# -- reading them ----------------------------------------------------------------------


@pytest.mark.parametrize("level", option_values.LOG_LEVELS)
def test_a_choice_is_one_of_a_few(level: str) -> None:
    values: Values = {"loglevel": level}
    assert option_values.choice(values, "loglevel", option_values.LOG_LEVELS) == level


def test_a_choice_that_was_not_made_is_none() -> None:
    assert option_values.choice({}, "loglevel", option_values.LOG_LEVELS) is None


@pytest.mark.parametrize("level", ["", "INFO", "info ", "warn", "notice", "s3cret"])
def test_any_other_choice_is_refused_with_those_that_there_are(level: str) -> None:
    """ER-03: the allowed values, not the given one."""
    values: Values = {"loglevel": level}
    allowed = option_values.LOG_LEVELS
    assert refusal(lambda: option_values.choice(values, "loglevel", allowed)) == (
        "loglevel= must be one of: error, warning, info, debug"
    )


def a_client(values: Values) -> Given:
    """Return options of a client."""
    return Given(values)


def a_server(values: Values) -> Given:
    """Return options of a server."""
    return Given(values, server=True)


LINE = "obfs4 192.0.2.1:443 cert=a"
TORS_LINE = f"obfs4 192.0.2.1:443 {'0123456789' * 4} cert=a"


@pytest.mark.parametrize("value", SESSIONS)
@pytest.mark.parametrize("line", [LINE, TORS_LINE])
def test_a_client_speaks_the_session_as_it_is_told(line: str, value: str) -> None:
    """Whoever the server is."""
    given = a_client({"session": value, "bridge": line})
    assert option_values.session(given) == value


def test_a_client_that_is_told_nothing_finds_out_whether_its_server_speaks_it() -> None:
    """But for Tor's bridges, of which it is known that they never do."""
    assert option_values.session(a_client({})) == "auto"
    assert option_values.session(a_client({"bridge": LINE})) == "auto"
    assert option_values.session(a_client({"bridge": TORS_LINE})) == "0"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("only", "session=only is for servers: a client takes one of: auto, 1, 0"),
        ("s3cret", "session= must be one of: auto, 1, 0"),
        ("", "session= must be one of: auto, 1, 0"),
    ],
)
def test_a_client_cannot_be_told_anything_else(value: str, message: str) -> None:
    """ER-03, SE-05."""
    given = a_client({"session": value})
    assert refusal(lambda: option_values.session(given)) == message


def test_a_server_turns_clients_without_a_session_away_if_it_is_told_to() -> None:
    """It serves both kinds otherwise."""
    assert option_values.session(a_server({"session": "only"})) == "only"
    assert option_values.session(a_server({})) == "0"  # it opens none


@pytest.mark.parametrize("value", SESSIONS)
def test_what_a_client_is_told_means_nothing_to_a_server(value: str) -> None:
    """ER-03: it does not do what its owner believes, so he is told."""
    given = a_server({"session": value})
    assert refusal(lambda: option_values.session(given)) == (
        f"session={value} is for clients: a server serves those with a session and "
        f"those without, so leave it out, or write session=only"
    )


def test_a_server_cannot_be_told_anything_else() -> None:
    """ER-03, SE-05."""
    given = a_server({"session": "s3cret"})
    assert refusal(lambda: option_values.session(given)) == (
        "session= of a server can only be only, which turns away clients without a "
        "session: write session=only, or leave it out"
    )


@pytest.mark.parametrize(
    ("values", "has_front"),
    [({}, False), ({"front": "no"}, False), ({"front": "yes"}, True)],
)
def test_a_server_listens_in_front_of_its_pt_if_it_is_told_to(
    values: Values, *, has_front: bool
) -> None:
    assert option_values.front(Given(values)) == has_front
    assert refusal(lambda: option_values.front(Given({"front": "s3cret"}))) == (
        "front= must be one of: yes, no"
    )


@pytest.mark.parametrize(
    ("values", "number"),
    [({}, 5), ({"restarts": "0"}, 0), ({"restarts": "1000"}, 1000)],
)
def test_restarts_is_a_number(values: dict[str, str | None], number: int) -> None:
    """5 where it is left out."""
    assert option_values.restarts(Given(values)) == number


@pytest.mark.parametrize(
    "value", ["-1", "1001", "00005", "5.0", "\u0665", "s3cret", ""]
)
def test_anything_else_is_no_number_of_restarts(value: str) -> None:
    """ER-03."""
    assert refusal(lambda: option_values.restarts(Given({"restarts": value}))) == (
        "restarts= must be a number from 0 to 1000"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("10", 10.0),
        ("0.25", 0.25),
        ("007", 7.0),
        ("86400", 86400.0),
        ("86400.000", 86400.0),
        ("1.2345678", 1.2345678),
    ],
)
def test_seconds_may_have_a_fraction(text: str, seconds: float) -> None:
    assert option_values.seconds({"linger": text}, "linger") == seconds


def test_seconds_that_are_not_given_are_none() -> None:
    """Which is not 0: what is usual may depend on more."""
    assert option_values.seconds({"idle": "1"}, "linger") is None


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", ".5", "1.", "1.5.5", "-1", "+1", " 1", "1 ", "1_0", "1e3", "0x1"),
        *("inf", "nan", "86401", "86400.01", "999999999", "0.12345678", "s3cret"),
        *("٣", "²", "1.²", "1.٣", "\udcff"),
    ],
)
def test_anything_else_is_no_number_of_seconds(text: str) -> None:
    """ER-03, FE-02: much of this is fine with float()."""
    values: Values = {"linger": text}
    assert refusal(lambda: option_values.seconds(values, "linger")) == (
        "linger= must be seconds, from 0 to 86400"
    )


@pytest.mark.parametrize(
    "path", ["obfs4", "a/b", "./a", "..a", "a..", "a.b/..c", ".", "~"]
)
def test_a_path_in_plugin_options_is_below_the_state_directory(path: str) -> None:
    """SE-02."""
    values: Values = {"state": path}
    assert option_values.path(values, "state", nobody) == path


@pytest.mark.parametrize(
    "path", ["/", "/etc", "//a", "..", "../a", "a/..", "a/../../b"]
)
def test_a_path_that_leads_out_of_it_is_refused_in_plugin_options(path: str) -> None:
    """ER-03: a link can carry them; the owner's own word is taken."""
    values: Values = {"logfile": path}
    message = refusal(lambda: option_values.path(values, "logfile", nobody))
    assert message == (
        "logfile= in plugin options must stay below the state directory: a relative "
        "path without '..'; for any other, add the line 'AllowPluginOption logfile' to "
        "/etc/pt-bridge.conf or ~/.config/pt-bridge.conf, or use the flag --logfile of "
        "'pt-bridge client' or 'pt-bridge server'"
    )
    asked: list[str] = []

    def owner(option: str) -> bool:
        asked.append(option)
        return True

    assert option_values.path(values, "logfile", owner) == path
    assert asked == ["logfile"]


@pytest.mark.parametrize("values", [{}, {"state": "obfs4"}])
def test_the_owner_is_not_asked_without_need(values: Values) -> None:
    """His files would have to be read, and a host waits for the port."""

    def owner(option: str) -> bool:
        raise AssertionError(option)

    assert option_values.path(values, "state", owner) == values.get("state")


def test_what_only_the_owner_may_ask_for_is_refused_with_the_reason() -> None:
    """ER-03."""
    error = option_values.owner_only("loglevel", "loglevel=debug")
    assert error.exit_code == 65
    assert str(error) == (
        "loglevel=debug is refused in plugin options, since links can carry them: add "
        "the line 'AllowPluginOption loglevel' to /etc/pt-bridge.conf or "
        "~/.config/pt-bridge.conf, or use the flag --loglevel of 'pt-bridge client' or "
        "'pt-bridge server'"
    )


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ({"loglevel": "debug"}, option_values.loglevel),
        ({"unsafe-logging": None}, option_values.unsafe_logging),
        ({"state": "/etc"}, option_values.state),
        ({"logfile": "/etc/x"}, option_values.logfile),
    ],
)
def test_nobody_allows_what_nobody_was_asked_for(
    values: Values, read: Callable[[Given], object]
) -> None:
    """SE-02."""
    assert "'AllowPluginOption " in refusal(lambda: read(Given(values)))


# -- the transport ---------------------------------------------------------------------


def test_the_transport_is_named() -> None:
    """PE-06."""
    assert option_values.transport(Given({"transport": "obfs4"})) == "obfs4"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "the plugin options do not name the transport: add transport=obfs4"),
        ({"transport": "s3cret-"}, "transport= must be a transport's name: letters"),
    ],
)
def test_a_transport_without_a_name_is_refused(values: Values, message: str) -> None:
    """PE-06, ER-03."""
    text = refusal(lambda: option_values.transport(Given(values)))
    assert text.startswith(message)
    assert "s3cret" not in text


def test_a_bridge_line_may_stand_for_the_transport_and_its_arguments() -> None:
    (line,) = option_values.bridge(
        Given({"bridge": "Bridge obfs4 192.0.2.1:443 cert=a=b"})
    )
    assert str(line) == "obfs4 192.0.2.1:443 cert=a=b"
    assert option_values.bridge(Given({"transport": "obfs4"})) == []


ONE, TWO = "obfs4 192.0.2.1:443 cert=a", "obfs4 192.0.2.2:443 cert=b"


@pytest.mark.parametrize("between", ["\n", "\n\n", "\nand this one:\n"])
def test_bridge_lines_may_be_several(between: str) -> None:
    given = Given({"bridge": f"{ONE}{between}{TWO}"})
    assert [str(line) for line in option_values.bridge(given)] == [ONE, TWO]
    assert option_values.transport(given) == "obfs4"


def test_one_line_that_was_broken_is_one() -> None:
    given = Given({"bridge": ONE.replace(" cert", "\ncert")})
    assert [str(line) for line in option_values.bridge(given)] == [ONE]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            f"{ONE}\nobfs4 192.0.2.2:0 cert=s3cret",
            (
                "bridge= number 2 is wrong: the address is wrong: it must be a "
                "port from 1 to 65535"
            ),
        ),
    ],
)
def test_bridge_lines_that_do_not_go_together_are_refused(
    lines: str, message: str
) -> None:
    given = Given({"bridge": lines})
    assert refusal(lambda: option_values.bridge(given)) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"bridge": "192.0.2.1:443 s3cret"},
            (
                "bridge= is wrong: it names no transport: a bridge without one is a "
                "plain Tor relay, which is no way to a shadowsocks server"
            ),
        ),
        (
            {"bridge": "obfs4 192.0.2.1:443 cert=s3cret", "transport": "obfs4"},
            "bridge= names the transport, too: leave out transport=, or bridge=",
        ),
    ],
)
def test_a_bridge_line_that_cannot_be_taken_is_refused(
    values: Values, message: str
) -> None:
    """ER-03, SE-05; two that say the same are two all the same (OG-07)."""
    assert refusal(lambda: option_values.bridge(Given(values))) == message


@pytest.mark.parametrize("mark", [",", "&", " ", "|"])
def test_options_that_are_joined_otherwise_are_told_how(mark: str) -> None:
    """ER-03: as they are in other programs."""
    values: Values = {"transport": f"obfs4{mark}cert=s3cret"}
    assert refusal(lambda: option_values.transport(Given(values))) == (
        "the plugin options must be joined with ';'"
    )


# -- options that may be repeated, and those that are flags alone ----------------------


@pytest.mark.parametrize(
    ("values", "texts"), [({}, []), ({"k": "a"}, ["a"]), ({"k": "a\nb"}, ["a", "b"])]
)
def test_the_values_of_an_option_that_may_be_repeated_keep_their_order(
    values: Values, texts: list[str]
) -> None:
    assert Given(values).texts("k") == texts


def test_a_bridge_line_is_parsed_once() -> None:
    """What cuts it out of other text is slow, and several readers ask for it."""
    given = Given({"bridge": LINE})
    assert given.bridge_lines() is given.bridge_lines()


@pytest.mark.parametrize(
    ("side", "commands"),
    [
        ("", "'pt-bridge client' or 'pt-bridge server'"),
        ("server", "'pt-bridge server'"),
    ],
)
def test_what_is_a_flag_alone_is_refused_with_the_commands_that_take_it(
    side: str, commands: str
) -> None:
    """ER-03."""
    assert str(option_values.flag_only("metrics", side)) == (
        f"'metrics' is refused in plugin options, since links can carry them: use the "
        f"flag --metrics of {commands}"
    )


# -- preconnect ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number"), [(None, None), ("auto", None), ("0", 0), ("4", 4), ("32", 32)]
)
def test_a_client_makes_as_many_ready_as_it_is_told(
    value: str | None, number: int | None
) -> None:
    values: Values = {} if value is None else {"preconnect": value}
    assert option_values.preconnect(a_client(values)) == number
    assert option_values.preconnect(a_server({})) == 0


@pytest.mark.parametrize("value", ["33", "-1", "many", "4.0", "00004", "\u0664"])
def test_any_other_number_is_refused(value: str) -> None:
    given = a_client({"preconnect": value})
    assert refusal(lambda: option_values.preconnect(given)) == (
        "preconnect= must be auto, or a number from 0 to 32"
    )
