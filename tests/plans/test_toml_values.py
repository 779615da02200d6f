"""The values of a TOML file: of the type that is asked for, or named as wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import OwnerFileError
from pt_bridge.plans import toml_values

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = {"name": "home", "number": 7, "tables": [{"a": 1}], "place": "192.0.2.1:80"}


def test_values_are_of_the_type_that_is_asked_for() -> None:
    assert toml_values.text(2.5, "there") == "2.5"
    assert toml_values.texts("one", "there") == ["one"]
    assert toml_values.texts(["one", 2], "there") == ["one", "2"]
    assert toml_values.flag(True, "there")
    assert toml_values.table(TABLE, "there") == TABLE
    assert toml_values.tables(TABLE, "tables") == [{"a": 1}]
    assert toml_values.tables(TABLE, "others") == []
    assert toml_values.optional_text(TABLE, "number", "there") == "7"
    assert toml_values.optional_text(TABLE, "nothing", "there") is None
    assert str(toml_values.address(TABLE, "place", "there")) == "192.0.2.1:80"
    toml_values.check_keys(TABLE, TABLE, "there")


@pytest.mark.parametrize(
    ("read", "sentence"),
    [
        (lambda: toml_values.text(True, "there"), 'there must be a text, as "..."'),
        (lambda: toml_values.texts([], "there"), "there must not be empty"),
        (lambda: toml_values.flag(1, "there"), "there must be true or false"),
        (lambda: toml_values.table([], "there"), "there must be a table"),
        (lambda: toml_values.tables(TABLE, "name"), "write [[name]], with two"),
        (
            lambda: toml_values.optional_text(TABLE, "tables", "there"),
            "there: tables must be a text",
        ),
        (lambda: toml_values.address(TABLE, "at", "there"), "there: it needs at = "),
        (lambda: toml_values.address(TABLE, "name", "there"), "there: name is wrong: "),
        (
            lambda: toml_values.check_keys(TABLE, ["named"], "there"),
            "there knows no 'name': did you mean 'named'?",
        ),
        (
            lambda: toml_values.check_keys(TABLE, ["x"], "there"),
            "there knows no 'name' (it knows: x)",
        ),
    ],
)
def test_what_is_of_another_type_is_named(
    read: Callable[[], object], sentence: str
) -> None:
    with pytest.raises(OwnerFileError) as caught:
        read()
    assert str(caught.value).startswith(sentence)
