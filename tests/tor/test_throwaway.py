"""A tor for a moment, played by a program that has its control port and no more."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ProgramError
from pt_bridge.protocol.address import Address
from pt_bridge.tor.bootstrap import DONE, LET_IN
from pt_bridge.tor.throwaway import ThrowawayTor, find, quoted
from tests.support import fake_tor

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 30.0
BRIDGE = 'obfs4 192.0.2.1:443 cert=A\\"# iat-mode=0'
STUCK = (
    'STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=10 TAG=conn_done SUMMARY="Connected"\n'
    "STATUS_GENERAL WARN CLOCK_SKEW SKEW=-172779 SOURCE=CONSENSUS"
)


def program(folder: Path) -> str:
    """Create a program called tor."""
    path = folder / "tor"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {fake_tor.__file__} "$@"\n')
    path.chmod(0o700)
    return str(path)


def throwaway(
    folder: Path, events: str | None, path: str = "", defaults: str | None = None
) -> ThrowawayTor:
    variables = {**os.environb}
    if events is not None:
        variables[fake_tor.EVENTS.encode()] = events.encode()
    own = folder / "own"
    own.mkdir(mode=0o700)
    return ThrowawayTor(
        path or program(folder),
        variables,
        str(own),
        bridge=BRIDGE,
        transport="obfs4",
        protocol="socks5",
        pt=Address("127.0.0.1", 1984),
        defaults=defaults,
    )


async def test_it_tells_how_far_it_comes(tmp_path: Path) -> None:
    async with throwaway(tmp_path, STUCK) as tor:
        assert await tor.wait(lambda tor: tor.progress >= LET_IN, limit=LIMIT)
        assert await tor.wait(lambda tor: tor.skew != 0, limit=LIMIT)
        assert not await tor.wait(lambda tor: tor.progress >= DONE, limit=0)
        assert await tor.clock_error(datetime.now(UTC)) == -172_779


async def test_a_clock_that_nobody_called_wrong_may_be_right(tmp_path: Path) -> None:
    async with throwaway(tmp_path, "") as tor:
        assert await tor.clock_error(datetime.now(UTC)) == 0


async def test_it_has_one_bridge_and_listens_nowhere(tmp_path: Path) -> None:
    async with throwaway(tmp_path, ""):
        torrc = (tmp_path / "own" / "torrc").read_text().splitlines()
    assert f"DataDirectory {tmp_path}/own/data" in torrc
    assert "SocksPort 0" in torrc
    assert r'Bridge "obfs4 192.0.2.1:443 cert=A\\\"# iat-mode=0"' in torrc
    assert "ClientTransportPlugin obfs4 socks5 127.0.0.1:1984" in torrc


def test_a_value_of_torrc_may_hold_anything() -> None:
    r"""Tor ends a bare one at a ``#``."""
    assert quoted('a#b "c" \\') == '"a#b \\"c\\" \\\\"'


async def test_what_it_says_as_it_ends_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProgramError) as caught:
        async with throwaway(tmp_path, None):
            pass
    assert str(caught.value) == "tor does not start: Failed to parse: Bridge line"


async def test_a_program_that_says_nothing_is_none(tmp_path: Path) -> None:
    with pytest.raises(ProgramError) as caught:
        async with throwaway(tmp_path, "", "/bin/true"):
            pass
    assert str(caught.value) == "tor does not start: it said nothing"


async def test_what_is_no_program_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ProgramError) as caught:
        async with throwaway(tmp_path, "", str(tmp_path / "missing")):
            pass
    assert str(caught.value).startswith("tor does not start: No such file")


def test_a_tor_is_found_where_users_have_no_path_to_it(tmp_path: Path) -> None:
    path = program(tmp_path)
    assert find({b"PATH": os.fsencode(tmp_path)}) == path
