"""One way to the server."""

from __future__ import annotations

import pytest

from pt_bridge.errors import OptionsError
from pt_bridge.formats.way import Way
from pt_bridge.protocol.address import Address

SERVER = Address("192.0.2.1", 443)


def test_a_way_has_its_arguments_as_the_pt_wants_them() -> None:
    way = Way("obfs4", [("cert", "a;b"), ("iat-mode", "0")], [SERVER])
    assert way.encoded_arguments == b"cert=a\\;b;iat-mode=0"
    assert way.addresses == [SERVER]


def test_arguments_that_are_too_long_are_refused() -> None:
    with pytest.raises(OptionsError, match="the plugin options"):
        Way("obfs4", [("cert", "x" * 600)], [SERVER])


def test_no_secret_is_shown() -> None:
    assert repr(Way("obfs4", [("cert", "s3cret")], [SERVER])) == "Way('obfs4')"
