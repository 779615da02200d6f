"""What a server's clients need, out of its configuration and its state."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pt_bridge.cli import hand_out
from pt_bridge.errors import UsageError
from pt_bridge.formats.profile import Profile

if TYPE_CHECKING:
    from pathlib import Path

LINE = "transport=obfs4;session=1;cert=A;iat-mode=0"
SERVER = Profile(
    hosts=("0.0.0.0",),
    port=8388,
    method="none",
    password="x",
    plugin="/usr/bin/pt-bridge",
    plugin_opts="server;transport=obfs4",
)


def state_of(folder: Path) -> dict[bytes, bytes]:
    """Make a state directory with a server's line."""
    state = folder / "pt-bridge" / "obfs4-8388"
    state.mkdir(parents=True, mode=0o700)
    folder.joinpath("pt-bridge").chmod(0o700)
    (state / "client-options.txt").write_text(f"{LINE}\n")
    return {b"XDG_STATE_HOME": os.fsencode(folder)}


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (SERVER, True),
        (Profile(plugin="pt-bridge", plugin_opts=LINE), False),
        (Profile(plugin="v2ray-plugin", plugin_opts="server"), False),
        (Profile(), False),
    ],
)
def test_a_servers_own_is_told_from_its_clients(
    profile: Profile,
    expected: bool,  # noqa: FBT001
) -> None:
    assert hand_out.is_server(profile) == expected


def test_the_line_is_where_the_server_has_written_it(tmp_path: Path) -> None:
    """The address that stands for all of the server's own is none of it."""
    found = hand_out.of_profile(SERVER, variables=state_of(tmp_path))
    assert (found.hosts, found.port, found.plugin) == ((), 8388, "pt-bridge")
    assert found.plugin_opts == LINE
    assert (found.method, found.password) == ("none", "x")


def test_the_line_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "copied"
    path.write_text(f"{LINE}\n")
    assert hand_out.of_profile(SERVER, str(path)).plugin_opts == LINE


def test_a_line_that_is_not_there_is_said_with_its_place(tmp_path: Path) -> None:
    place = f"{tmp_path}/pt-bridge/obfs4-8388/client-options.txt"
    with pytest.raises(UsageError) as caught:
        hand_out.of_profile(
            SERVER, variables={b"XDG_STATE_HOME": os.fsencode(tmp_path)}
        )
    assert place in str(caught.value)
    assert "--client-options FILE" in str(caught.value)
    with pytest.raises(UsageError, match=r"cannot read .*: is a directory"):
        hand_out.read_line(str(tmp_path))


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (Profile(plugin="pt-bridge", plugin_opts="server"), "does not say its port"),
        (
            Profile(port=1, plugin="pt-bridge", plugin_opts="server;restarts=x"),
            "the server's options are wrong",
        ),
    ],
)
def test_options_that_are_wrong_are_said_to_be(profile: Profile, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        hand_out.of_profile(profile)
