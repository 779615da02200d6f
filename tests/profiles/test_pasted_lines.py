"""Links and bridge lines, in whatever stands around them."""

from __future__ import annotations

import pytest

from pt_bridge.errors import OptionsError
from pt_bridge.formats import bridge_line
from pt_bridge.profiles.forms import TEXT_AROUND
from pt_bridge.profiles.pasted_lines import from_bridge_line, from_lines, from_link
from tests.support.refusals import refusal_of

LINE = f"obfs4 198.51.100.7:8443 cert={'A' * 70} iat-mode=0"
LINK = "ss://YWVzLTI1Ni1nY206cEBzczp3b3Jk@198.51.100.7:8443"


@pytest.mark.parametrize("text", [LINE, LINK])
def test_one_is_found_in_a_text(text: str) -> None:
    alone, within = from_lines(text), from_lines(f"take this:\n{text}\nand go")
    assert alone is not None
    assert within == alone
    assert (alone.hosts, alone.port) == (("198.51.100.7",), 8443)
    assert alone.notes == ()
    assert TEXT_AROUND in within.notes


def test_several_are_counted_and_none_is_none() -> None:
    with pytest.raises(OptionsError, match="these are 1 link and 1 bridge line"):
        from_lines(f"{LINE}\n{LINK}")
    assert from_lines("nothing") is None


def test_an_address_that_stands_for_all_is_left_out() -> None:
    told = from_bridge_line(bridge_line.parse("obfs3 0.0.0.0:443"))
    assert (told.hosts, told.port) == ((), None)
    assert told.notes[0].startswith("left out: an address that stands for all")


@pytest.mark.parametrize("name", ["pt-", "pt-b", "pt-bridg"])
def test_a_link_that_ends_within_our_name_was_not_copied_whole(name: str) -> None:
    """No plugin is called that, and shadowsocks would look for one."""
    assert refusal_of(
        OptionsError, lambda: from_link(f"{LINK}?plugin={name}"), "s3cret"
    ) == (
        f"this shadowsocks link is wrong: its plugin is '{name}', which is how "
        f"'pt-bridge' begins: was it copied whole?"
    )


def test_another_plugin_whose_name_begins_like_ours_is_let_be() -> None:
    assert from_link(f"{LINK}?plugin=pt-b%3Ba=b").plugin == "pt-b"
    assert from_link(f"{LINK}?plugin=pt-bridge").plugin == "pt-bridge"
