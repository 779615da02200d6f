"""The forms that a way to a server may have."""

from __future__ import annotations

from pt_bridge.profiles.forms import BRIDGE, FORMS, JSON, LINK, NAMES, OPTIONS


def test_every_form_has_a_name_for_sentences() -> None:
    assert set(FORMS) == {BRIDGE, OPTIONS, LINK, JSON} == set(NAMES)
