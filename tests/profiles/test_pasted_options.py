"""Plugin options that people paste, and the bridge line among them."""

from __future__ import annotations

import pytest

from pt_bridge.errors import OptionsError
from pt_bridge.formats.profile import Profile
from pt_bridge.options.option_values import BETWEEN
from pt_bridge.profiles.forms import TEXT_AROUND
from pt_bridge.profiles.pasted_options import (
    bridge_of,
    from_bare_options,
    from_options,
    from_options_within,
    sorted_options,
)

OPTIONS = "transport=obfs3;k=v"
LINE = f"obfs4 198.51.100.7:8443 cert={'A' * 70} iat-mode=0"


@pytest.mark.parametrize("text", [OPTIONS, f" '{OPTIONS}' ", f"pt-bridge;{OPTIONS}"])
def test_options_that_are_all_of_a_text_are_read(text: str) -> None:
    assert from_bare_options(text) == Profile(plugin="pt-bridge", plugin_opts=OPTIONS)


@pytest.mark.parametrize("text", ["ss://x", f"see {OPTIONS}", "<k=v>", "word"])
def test_what_is_more_or_something_else_is_not_read_as_options(text: str) -> None:
    assert from_bare_options(text) is None


def test_options_within_a_text_are_found_and_the_rest_is_told_of() -> None:
    found = from_options_within(f"write {OPTIONS}, and go")
    assert found is not None
    assert (found.plugin_opts, found.notes) == (OPTIONS, (TEXT_AROUND,))
    assert from_options_within("nothing") is None
    with pytest.raises(OptionsError, match="these are 2 strings of plugin options"):
        from_options_within(f"{OPTIONS} {OPTIONS}2")


def test_another_plugins_options_are_not_ours_to_sort() -> None:
    ours = Profile(plugin="/a/pt-bridge", plugin_opts=OPTIONS)
    assert sorted_options(ours) == ({"transport": "obfs3"}, [("k", "v")])
    assert sorted_options(Profile(plugin="other", plugin_opts=OPTIONS)) == ({}, [])


def test_options_with_a_bridge_line_tell_the_server_too() -> None:
    """And stay as they are."""
    text = f"bridge=Bridge {LINE};idle=60"
    profile = from_options(text)
    assert (profile.hosts, profile.port) == (("198.51.100.7",), 8443)
    assert profile.plugin_opts == text


def test_several_bridge_lines_in_options_say_where_the_first_server_is() -> None:
    options = "bridge=obfs3 192.0.2.7:443;bridge=obfs3 192.0.2.8:80"
    profile = from_options(options)
    assert (profile.hosts, profile.port) == (("192.0.2.7",), 443)
    assert profile.plugin_opts == options


def test_a_file_of_bridge_lines_in_options_says_nothing_of_a_server() -> None:
    """It is the owner's, and not read here."""
    assert from_options("bridges=home").hosts == ()


def test_several_bridge_lines_are_counted_where_one_is_wanted() -> None:
    line = f"obfs4 192.0.2.7:443 cert={'A' * 70} iat-mode=0"
    with pytest.raises(OptionsError, match="there are 2 bridge lines: give one here"):
        bridge_of({"bridge": f"{line}{BETWEEN}{line.replace('.7', '.8')}"}, [])
