"""The manual page, and what it is made from."""

from __future__ import annotations

from manual.__main__ import OPTIONS_PAGE, PAGE, TROUBLES_PAGE
from manual.exit_codes import table
from manual.options_page import options_page
from manual.page import text, troff
from pt_bridge.options.own_options import OPTIONS
from pt_bridge.options.transports import TRANSPORTS


def test_the_manual_page_is_what_the_program_says_now() -> None:
    """It cannot drift; scripts/man writes it anew."""
    assert PAGE.read_bytes() == troff()


def test_the_manual_page_has_every_option_and_transport() -> None:
    page = text().replace("\\", "")  # what keeps words from being markup
    for option in OPTIONS.values():
        name = f"{option.name}={option.value}" if option.value else option.name
        assert f"\n{name}\n" in page, name
    for transport in TRANSPORTS:
        assert f"\n{transport}\n" in page, transport


def test_the_page_of_options_is_what_the_program_says_now() -> None:
    """The documentation's, which scripts/man writes, too."""
    assert OPTIONS_PAGE.read_text() == options_page()


def test_the_page_of_troubles_has_every_exit_code() -> None:
    """With what it means, as scripts/man writes it, too."""
    assert f"\n\n{table()}\n\n" in TROUBLES_PAGE.read_text()
