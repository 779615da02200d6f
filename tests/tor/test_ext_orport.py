"""A tor's Extended ORPort, against one that has our own other half."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import CookieRefused, Denied, UsageError
from pt_bridge.protocol import ext_orport
from pt_bridge.protocol.address import Address
from pt_bridge.tor.ext_orport import TorExtOrPort
from tests.support.tor_orport import COOKIE, FakeTor

if TYPE_CHECKING:
    from pathlib import Path


CLIENT = Address("203.0.113.5", 4321)
OTHER = bytes(32)


def calls(tor: FakeTor) -> TorExtOrPort:
    """Return what calls a tor."""
    return TorExtOrPort(tor.address, str(tor.path), patience=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def test_a_client_is_announced_and_its_bytes_are_left_alone(
    folder: Path,
) -> None:
    """EO-07: with its address; what comes behind OKAY is the tunnel's."""
    tor = FakeTor(folder, ext_orport.OKAY)
    with tor.running():
        orport = calls(tor)
        sock = await orport.connect(CLIENT, "obfs4")
        with sock:
            received = await asyncio.get_running_loop().sock_recv(sock, 100)
        assert received == b"hello"
        (await orport.connect(None, "meek")).close()
    assert tor.announced == [(CLIENT, "obfs4"), (None, "meek")]


async def test_a_new_cookie_is_read_when_the_old_one_is_refused(folder: Path) -> None:
    """Tor writes one at each start."""
    tor = FakeTor(folder, ext_orport.OKAY)
    tor.cookie = OTHER
    tor.write_cookie(OTHER)
    with tor.running():
        orport = calls(tor)
        (await orport.connect(CLIENT, "obfs4")).close()
        tor.cookie = COOKIE
        tor.write_cookie(COOKIE)
        (await orport.connect(CLIENT, "obfs4")).close()
    assert len(tor.announced) == 2


async def test_a_cookie_that_stays_wrong_is_said(folder: Path) -> None:
    """It is another tor's file."""
    tor = FakeTor(folder, ext_orport.OKAY)
    tor.write_cookie(OTHER)
    with tor.running():
        orport = calls(tor)
        with pytest.raises(CookieRefused):
            await orport.connect(CLIENT, "obfs4")
        with pytest.raises(CookieRefused):
            await orport.prove()
    assert tor.announced == []


async def test_a_deny_is_said(folder: Path) -> None:
    """EO-09: that is tor's decision, and no new cookie's."""
    tor = FakeTor(folder, ext_orport.DENY)
    with tor.running(), pytest.raises(Denied):
        await calls(tor).connect(CLIENT, "obfs4")
    assert len(tor.announced) == 1


async def test_it_can_be_proven_that_the_cookie_is_right(folder: Path) -> None:
    """For doctor, who announces nobody."""
    tor = FakeTor(folder, ext_orport.OKAY)
    with tor.running():
        orport = calls(tor)
        await orport.prove()
    assert tor.announced == []


async def test_a_tor_that_is_not_there_cannot_be_reached(folder: Path) -> None:
    """For a moment it is waited for; here for none."""
    tor = FakeTor(folder, ext_orport.OKAY)
    with tor.running():
        orport = calls(tor)
    with pytest.raises(ConnectionRefusedError):
        await orport.connect(CLIENT, "obfs4")


def test_a_cookie_file_is_looked_at_before_it_is_needed(folder: Path) -> None:
    """A tor that is started later has none yet; another file is a mistake."""
    path = folder / "cookie"
    orport = TorExtOrPort(Address("127.0.0.1", 1), str(path))
    assert not orport.check_cookie_file()
    path.write_bytes(ext_orport.cookie_file(COOKIE))
    assert orport.check_cookie_file()
    path.write_bytes(b"x")
    with pytest.raises(UsageError) as caught:
        orport.check_cookie_file()
    assert str(caught.value) == (
        f"tor's cookie file {path} is wrong: it is not the cookie file of an Extended "
        f"ORPort"
    )


def test_a_cookie_file_that_cannot_be_read_is_told_how(folder: Path) -> None:
    """Debian's tor lets nobody but itself read it."""
    path = folder / "loop"
    path.symlink_to(path)
    with pytest.raises(UsageError) as caught:
        TorExtOrPort(Address("127.0.0.1", 1), str(path)).check_cookie_file()
    assert "ExtORPortCookieAuthFileGroupReadable 1" in str(caught.value)


def test_what_is_no_file_is_no_cookie_file(folder: Path) -> None:
    """A FIFO would be waited for."""
    path = folder / "fifo"
    os.mkfifo(path)
    with pytest.raises(UsageError) as caught:
        TorExtOrPort(Address("127.0.0.1", 1), str(path)).check_cookie_file()
    assert str(caught.value).endswith("is wrong: it is no file")
