"""What stands for --local and --remote where a tor is before or behind."""

from __future__ import annotations

import pytest

from pt_bridge.cli.places import NOWHERE, of
from pt_bridge.errors import OptionsError, UsageError

LOCAL, REMOTE = "127.0.0.1:1984", "192.0.2.1:443"


def test_both_are_what_was_said() -> None:
    assert of("client", LOCAL, REMOTE, {}) == (LOCAL, REMOTE)


def test_a_pt_for_tor_listens_for_socks_and_goes_where_it_is_told() -> None:
    assert of("client", None, None, {"socks": LOCAL}) == (LOCAL, NOWHERE)
    flags = {"socks": "public:0.0.0.0:9050"}
    assert of("client", None, None, flags) == ("0.0.0.0:9050", NOWHERE)


def test_a_tor_behind_is_where_connections_go() -> None:
    flags = {"ext-orport": "127.0.0.1:9010", "ext-orport-cookie": "/x"}
    assert of("server", None, REMOTE, flags) == ("127.0.0.1:9010", REMOTE)
    assert of("server", None, REMOTE, {"tor-control": "/x"}) == (NOWHERE, REMOTE)


@pytest.mark.parametrize(
    ("command", "local", "remote", "flags", "text"),
    [
        ("client", LOCAL, None, {"socks": LOCAL}, "leave --local and --remote out"),
        ("client", None, REMOTE, {"socks": LOCAL}, "leave --local and --remote out"),
        ("server", LOCAL, REMOTE, {"tor-control": "/x"}, "leave --local out"),
        (
            "server",
            None,
            None,
            {"tor-control": "/x"},
            (
                "the following arguments are required: --remote; see 'pt-bridge server "
                "--help'"
            ),
        ),
        (
            "client",
            None,
            None,
            {},
            (
                "the following arguments are required: --local, --remote; see "
                "'pt-bridge client --help'"
            ),
        ),
        (
            "server",
            None,
            REMOTE,
            {},
            (
                "the following arguments are required: --local (or, for a tor behind, "
                "--tor-control); see 'pt-bridge server --help'"
            ),
        ),
    ],
)
def test_what_is_missing_or_too_much_is_said(
    command: str,
    local: str | None,
    remote: str | None,
    flags: dict[str, str | None],
    text: str,
) -> None:
    with pytest.raises(UsageError) as caught:
        of(command, local, remote, flags)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("command", "flag"), [("client", "socks"), ("server", "ext-orport")]
)
def test_a_flag_that_stands_for_local_is_called_by_its_own_name(
    command: str, flag: str
) -> None:
    with pytest.raises(OptionsError) as caught:
        of(command, None, None, {flag: "1984"})
    assert str(caught.value).startswith(f"--{flag} is wrong: it must be HOST:PORT")
