"""SS_*: where both ends are, as shadowsocks says it, or our flags for it."""

from __future__ import annotations

import pytest

from pt_bridge.errors import UsageError
from pt_bridge.options import ss_variables
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.protocol.address import Address


def test_what_flags_make_is_read_as_it_was_written() -> None:
    made = variables_from_flags(
        local="[::1]:1984", remote="a.example|192.0.2.1:8388", plugin_options="x"
    )
    assert ss_variables.read(made) == (
        ["a.example", "192.0.2.1"],
        8388,
        Address("::1", 1984),
    )


@pytest.mark.parametrize(
    ("local", "remote", "variables"),
    [
        (
            "127.0.0.1:1984",
            "192.0.2.1:8388",
            [b"127.0.0.1", b"1984", b"192.0.2.1", b"8388"],
        ),
        ("[::1]:1", "[2001:DB8::1]:2", [b"::1", b"1", b"[2001:DB8::1]", b"2"]),
        ("localhost:1", "a|b:2", [b"localhost", b"1", b"a|b", b"2"]),
        ("h:1", "0.0.0.0|[::]:2", [b"h", b"1", b"0.0.0.0|[::]", b"2"]),
        ("h:1", "bücher.example:2", [b"h", b"1", "bücher.example".encode(), b"2"]),
    ],
)
def test_flags_make_the_variables_that_a_host_would_have_made(
    local: str, remote: str, variables: list[bytes]
) -> None:
    """FE-03: the alternatives are joined with '|' here, too."""
    made = variables_from_flags(local=local, remote=remote, plugin_options="a=\udcff")
    assert made == {
        b"SS_LOCAL_HOST": variables[0],
        b"SS_LOCAL_PORT": variables[1],
        b"SS_REMOTE_HOST": variables[2],
        b"SS_REMOTE_PORT": variables[3],
        b"SS_PLUGIN_OPTIONS": b"a=\xff",
    }


NOT_BOTH = "it must be HOST:PORT, an IPv6 address in brackets"
NO_BRACKETS = "an IPv6 address must stand in brackets: [::1]:443"
NO_HOST = "it must be a valid host name or IP address"
NO_PORT = "it must be a port from 1 to 65535"


@pytest.mark.parametrize(
    ("local", "remote", "why"),
    [
        ("1984", "h:1", f"--local is wrong: {NOT_BOTH}"),
        ("h:0", "h:1", f"--local is wrong: {NO_PORT}"),
        ("::1:80", "h:1", f"--local is wrong: {NO_BRACKETS}"),
        ("a|b:1", "h:1", f"--local is wrong: {NO_HOST}"),
        ("h", "h", f"--local is wrong: {NOT_BOTH}"),
        ("h:1", "h", f"--remote is wrong: {NOT_BOTH}"),
        ("h:1", "", f"--remote is wrong: {NOT_BOTH}"),
        ("h:1", ":1", f"--remote is wrong: {NOT_BOTH}"),
        ("h:1", "h:", f"--remote is wrong: {NO_PORT}"),
        ("h:1", "a||b:1", f"--remote is wrong: {NO_HOST}"),
        ("h:1", "::1:80", f"--remote is wrong: {NO_BRACKETS}"),
        ("h:1", "::1|::2:80", f"--remote is wrong: {NO_BRACKETS}"),
        ("h:1", "\udcff:80", "--remote is wrong: it must be a valid host name"),
    ],
)
def test_flags_that_are_no_addresses_are_refused(
    local: str, remote: str, why: str
) -> None:
    """ER-02, FE-02, FE-03: the flag is named, what is in it is not shown."""
    with pytest.raises(UsageError) as caught:
        variables_from_flags(local=local, remote=remote, plugin_options="")
    assert caught.value.exit_code == 64
    assert str(caught.value) == why
