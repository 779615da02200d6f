"""The catalogue of transports: whom it names, and what it asks for."""

from __future__ import annotations

import re

import pytest

from pt_bridge.options.transports import (
    COPYING,
    LYREBIRD,
    OBFS4PROXY,
    PROGRAMS,
    PROGRAMS_FOR_UNKNOWN,
    TRANSPORTS,
    Shape,
    Side,
    Transport,
    side_of,
)

SIDES = [
    (name, side)
    for name, transport in TRANSPORTS.items()
    for side in (transport.client, transport.server)
    if side is not None
]


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_transport_has_a_name_that_a_pt_can_have(name: str) -> None:
    """PE-06: pt-spec 3.1."""
    assert re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name)


@pytest.mark.parametrize(("name", "side"), SIDES)
def test_a_side_is_offered_by_a_program_and_takes_what_it_needs(
    name: str, side: Side
) -> None:
    """SK-14: an entry that contradicts itself would refuse every line."""
    assert side.programs, name
    assert PROGRAMS.issuperset(side.programs)
    for need in side.needs:
        assert need, name
        assert need <= side.takes


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_a_program_is_a_name_and_no_path(program: str) -> None:
    """SE-03: it is searched for, so nothing in a link can point at a file."""
    assert "/" not in program
    assert not program.startswith(("-", "."))


@pytest.mark.parametrize(
    ("name", "programs"),
    [
        ("obfs4", (LYREBIRD, OBFS4PROXY)),
        ("webtunnel", (LYREBIRD, "webtunnel-client")),
        ("snowflake", ("snowflake-client", LYREBIRD)),
        ("conjure", ("conjure-client",)),
    ],
)
def test_a_client_knows_its_programs_the_preferred_one_first(
    name: str, programs: tuple[str, ...]
) -> None:
    """PF-1 to PF-5."""
    side = side_of(name, server=False)
    assert side is not None
    assert side.programs == programs


def test_a_servers_programs_may_be_others_than_a_clients() -> None:
    """PF-4."""
    side = side_of("webtunnel", server=True)
    assert side is not None
    assert side.programs == ("webtunnel-server",)


@pytest.mark.parametrize("name", ["snowflake", "meek", "meek_lite", "conjure"])
def test_a_transport_may_have_no_server_that_we_know(name: str) -> None:
    """The catalogue says so, and does not guess."""
    assert side_of(name, server=True) is None


@pytest.mark.parametrize("server", [False, True])
def test_a_transport_that_is_not_known_is_passed_through(*, server: bool) -> None:
    """It needs nothing, and its programs are those that offer the most."""
    side = side_of("tomorrow", server=server)
    assert side is not None
    assert side.programs == PROGRAMS_FOR_UNKNOWN
    assert (side.needs, side.takes) == ((), frozenset())
    assert side.missing(set()) == []


@pytest.mark.parametrize(
    ("name", "given", "missing"),
    [
        ("obfs4", "", ["cert", "iat-mode"]),
        ("obfs4", "cert", ["iat-mode"]),
        ("obfs4", "iat-mode", ["cert"]),
        ("obfs4", "cert iat-mode", []),
        ("obfs4", "node-id public-key", ["iat-mode"]),
        ("obfs4", "node-id iat-mode", ["public-key"]),
        ("obfs4", "node-id public-key iat-mode", []),
        ("obfs4", "cert iat-mode node-id other", []),
        ("snowflake", "", ["ice", "url"]),
        ("snowflake", "ice", ["url"]),
        ("snowflake", "url", ["ice"]),
        ("snowflake", "url ice", []),
        ("webtunnel", "", ["url"]),
        ("webtunnel", "url", []),
        ("meek_lite", "front", ["url"]),
        ("meek", "", ["url"]),
        ("scramblesuit", "", ["password"]),
        ("obfs2", "", []),
        ("obfs3", "", []),
    ],
)
def test_what_a_client_still_needs_is_named_for_the_nearest_way(
    name: str, given: str, missing: list[str]
) -> None:
    """SK-14, PF-6: cert and iat-mode, or node-id, public-key and iat-mode."""
    side = side_of(name, server=False)
    assert side is not None
    assert side.missing(set(given.split())) == missing


@pytest.mark.parametrize(
    ("name", "missing"),
    [("obfs4", []), ("obfs3", []), ("obfs2", []), ("webtunnel", ["url"])],
)
def test_what_a_server_needs_is_not_what_a_client_needs(
    name: str, missing: list[str]
) -> None:
    """PF-4, PO-08: webtunnel-server without url ends with exit code 0."""
    side = side_of(name, server=True)
    assert side is not None
    assert side.missing(set()) == missing


def test_a_side_takes_what_it_needs_and_what_else_is_named() -> None:
    """SK-14."""
    side = Side(("p",), needs=[frozenset({"a"}), frozenset({"b", "c"})], takes="d e")
    assert side.takes == {"a", "b", "c", "d", "e"}
    assert not side.shapes
    assert side.missing({"b", "c"}) == []
    assert side.missing({"d"}) == ["a"]


# -- what values look like -------------------------------------------------------------


def shape_of(transport: str, argument: str, *, server: bool = False) -> Shape:
    """Return a shape that there is."""
    side = side_of(transport, server=server)
    assert side is not None
    return side.shapes[argument]


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("abc", True),
        ("aaa", True),
        ("ab", False),
        ("abca", False),
        ("abd", False),
        ("ABC", False),
        ("ab ", False),
        ("", False),
        ("ab\udcff", False),
    ],
)
def test_a_shape_is_a_length_and_some_characters(value: str, *, fits: bool) -> None:
    """SK-14."""
    shape = Shape(3, "abc", "3 of a to c")
    assert shape.fits(value) is fits
    assert shape.what == "3 of a to c"


# As a PT would make it.
CERT = "c3RhcnRpbmcvd2l0aCtzb21lL2J5dGVzK29mL2EvcHVibGljK2tleS9hbmQvbm9kZStpZA"


@pytest.mark.parametrize(
    ("transport", "argument", "server", "value"),
    [
        ("obfs4", "cert", False, CERT),
        *(("obfs4", "iat-mode", server, v) for server in (False, True) for v in "012"),
        ("obfs4", "node-id", False, "0123456789abcdefABCDEF0123456789abcdef01"),
        ("obfs4", "public-key", False, "0123456789abcdef" * 4),
        ("obfs4", "node-id", True, "0123456789ABCDEF01234567" + "0" * 16),
        ("obfs4", "private-key", True, "0123456789abcdef" * 4),
        ("obfs4", "drbg-seed", True, "0123456789abcdef" * 3),
        ("scramblesuit", "password", False, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    ],
)
def test_what_pts_make_of_their_own_has_the_shape(
    transport: str, argument: str, value: str, *, server: bool
) -> None:
    """SK-14: and, but for a mode, not a character less or more, nor another."""
    shape = shape_of(transport, argument, server=server)
    assert shape.fits(value)
    for other in (value[1:], f"{value}{value[0]}", f"{value[1:]}=", f"{value[1:]}\n"):
        assert not shape.fits(other)


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_shape_is_that_of_an_argument_that_the_transport_takes(name: str) -> None:
    """SK-14: a misspelt one would never be looked at."""
    transport: Transport = TRANSPORTS[name]
    sides = [transport.client, *filter(None, [transport.server])]
    taken = frozenset().union(*(side.takes for side in sides))
    for side in sides:
        assert taken.issuperset(side.shapes)
        assert all(shape.what for shape in side.shapes.values())


def test_a_transport_with_sessions_is_not_taken_for_a_copying_one() -> None:
    """An EOF may end the session before it has carried all."""
    assert set(TRANSPORTS) > COPYING
    assert not COPYING & {"meek", "meek_lite", "snowflake", "conjure"}
