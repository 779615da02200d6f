"""The forms that a way to a server may have."""

from __future__ import annotations

import pytest

from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.profiles.forms import BRIDGE, FORMS, JSON, LINK, NAMES, OPTIONS, named


def test_every_form_has_a_name_for_sentences() -> None:
    assert set(FORMS) == {BRIDGE, OPTIONS, LINK, JSON} == set(NAMES)


@pytest.mark.parametrize(("form", "name"), [(LINK, NAMES[LINK]), ("text", "text")])
def test_an_error_says_in_which_form_it_is(form: str, name: str) -> None:
    def parse() -> None:
        raise ProtocolError("it is broken")

    with pytest.raises(OptionsError) as caught:
        named(form, parse)
    assert str(caught.value) == f"this {name} is wrong: it is broken"
