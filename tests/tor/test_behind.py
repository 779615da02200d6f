"""The tor behind a server: found, called, and told of in a bridge line."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import TorUnreached, UsageError
from pt_bridge.options.config import Config
from pt_bridge.protocol import ext_orport
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.frames import Cause
from pt_bridge.protocol.pt_launch import Launch
from pt_bridge.tor.behind import TorBehind, tor_behind
from pt_bridge.tor.ext_orport import TorExtOrPort
from tests.support.fake_tor import CONFIGURATION, INFORMATION, fake_control
from tests.support.tor_orport import COOKIE, FakeTor

if TYPE_CHECKING:
    from pathlib import Path

CLIENT = Address("203.0.113.5", 4321)
VARIABLES = {
    b"SS_REMOTE_HOST": b"0.0.0.0",
    b"SS_REMOTE_PORT": b"443",
    b"SS_LOCAL_HOST": b"127.0.0.1",
    b"SS_LOCAL_PORT": b"9",
    b"SS_PLUGIN_OPTIONS": b"server;transport=obfs4",
}
FINGERPRINT = INFORMATION["fingerprint"]


class Behind:
    """A tor behind, and what was complained of."""

    def __init__(self, *, is_handed_on: bool = False, **values: str) -> None:
        self.complaints: list[str] = []
        flags = {name.replace("_", "-"): value for name, value in values.items()}
        if not is_handed_on:
            flags["front"] = "yes"
        if "tor_control" not in values and "ext_orport" not in values:
            flags["tor-control"] = "/nowhere"
        config = Config(VARIABLES, plugin=False, flags=flags)
        tor = tor_behind(config, self.complaints.append)
        assert tor is not None
        self.tor = tor

    async def find(self) -> TorBehind:
        """Find it, at once or not at all."""
        await self.tor.find(patience=0)
        return self.tor


def by_port(tor: FakeTor, *, is_handed_on: bool = False) -> Behind:
    return Behind(
        ext_orport=str(tor.address),
        ext_orport_cookie=str(tor.path),
        is_handed_on=is_handed_on,
    )


def launch(**arguments: str) -> Launch:
    made = Launch("obfs4proxy", "obfs4", server=True)
    made.arguments.extend(arguments.items())
    return made


async def test_clients_are_announced_to_it(tmp_path: Path) -> None:
    with FakeTor(tmp_path).running() as tor:
        found = await by_port(tor).find()
        got = await found.connect(CLIENT)
        assert not isinstance(got, Cause)
        got.close()
        assert found.handed_on is None
    assert tor.announced == [(CLIENT, "obfs4")]


async def test_the_pt_may_be_told_where_it_is(tmp_path: Path) -> None:
    with FakeTor(tmp_path).running() as tor:
        found = await by_port(tor, is_handed_on=True).find()
    assert found.handed_on == (tor.address, str(tor.path))


async def test_its_fingerprint_is_read_beside_its_cookie(tmp_path: Path) -> None:
    with FakeTor(tmp_path).running() as tor:
        assert (await by_port(tor).find()).fingerprint == ""
        (tmp_path / "fingerprint").write_text(f"nick {FINGERPRINT.lower()}\n")
        assert (await by_port(tor).find()).fingerprint == FINGERPRINT


async def test_a_cookie_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with FakeTor(tmp_path).running() as tor:
        tor.path.unlink()
        behind = by_port(tor)
        found = await behind.find()
        assert await found.connect(CLIENT) is Cause.UNREACHABLE
        tor.write_cookie(COOKIE)
        got = await found.connect(CLIENT)
        assert not isinstance(got, Cause)
        got.close()
    assert behind.complaints == [
        "a client could not be announced to tor: No such file or directory"
    ]


async def test_a_host_that_has_no_address_is_said() -> None:
    behind = Behind(ext_orport="x.invalid:9010", ext_orport_cookie="/x")
    with pytest.raises(TorUnreached) as caught:
        await behind.find()
    assert str(caught.value).startswith("the host of --ext-orport cannot be resolved")


@pytest.mark.parametrize(
    ("answer", "cause", "text"),
    [
        (
            ext_orport.DENY,
            Cause.REFUSED,
            "tor did not take the connection (DENY): tor's own log says why",
        ),
        (
            b"\x10\2\0\0",
            Cause.UNREACHABLE,
            (
                "a client could not be announced to tor: tor answered with the unknown "
                "command 0x1002"
            ),
        ),
    ],
)
async def test_what_tor_does_not_take_is_said(
    tmp_path: Path, answer: bytes, cause: Cause, text: str
) -> None:
    with FakeTor(tmp_path, answer).running() as tor:
        behind = by_port(tor)
        assert await (await behind.find()).connect(CLIENT) is cause
    assert behind.complaints == [text]


async def test_another_tors_cookie_is_said(tmp_path: Path) -> None:
    with FakeTor(tmp_path).running() as tor:
        tor.write_cookie(bytes(32))
        behind = by_port(tor)
        assert await (await behind.find()).connect(CLIENT) is Cause.UNREACHABLE
    assert behind.complaints == [
        f"tor does not know the cookie in {tor.path}: is that another tor's file?"
    ]


async def test_a_tor_that_does_not_listen_is_said(tmp_path: Path) -> None:
    with FakeTor(tmp_path).running() as tor:
        behind = by_port(tor)
        found = await behind.find()
        found.orport._patience = 0
    assert await found.connect(CLIENT) is Cause.REFUSED
    assert behind.complaints[0].startswith("tor's Extended ORPort does not take")


async def test_a_tor_that_takes_clients_is_worth_no_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeTor(tmp_path).running() as tor:
        await (await by_port(tor).find()).warn_unless_it_takes_clients()
        assert not caplog.text
    assert not tor.announced


async def test_one_that_would_take_none_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A tor with another cookie, nobody, another program; a missing file was said."""
    with FakeTor(tmp_path).running() as tor:
        found = await by_port(tor).find()
        tor.cookie = bytes(32)
        await found.warn_unless_it_takes_clients()
        assert "tor does not know the cookie in" in caplog.text
    await found.warn_unless_it_takes_clients()
    assert "does not take connections: is tor running" in caplog.text

    def answer() -> None:
        with listener.accept()[0] as caller:
            caller.sendall(b"HTTP/1.1 400\r\n\r\n")
            while caller.recv(64):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        found.orport.address = Address(*listener.getsockname())
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(answer))
            group.create_task(found.warn_unless_it_takes_clients())
    assert "clients cannot be announced to tor: " in caplog.text
    assert caplog.text.count("; clients are let in once that is right") == 3
    caplog.clear()
    tor.path.unlink()
    await found.warn_unless_it_takes_clients()
    assert not caplog.text


async def test_connections_that_the_pt_hands_on_are_counted_by_the_kernel(
    tmp_path: Path,
) -> None:
    with FakeTor(tmp_path).running() as tor:
        assert not (await by_port(tor).find()).why_uncounted()
        found = await by_port(tor, is_handed_on=True).find()
        assert ", 0 now; nothing else" in found.why_uncounted()
        place = (tor.address.host, tor.address.port)
        with socket.create_connection(place), socket.create_connection(place):
            assert ", 2 now; nothing else" in found.why_uncounted()


def control_of(tor: FakeTor) -> tuple[dict[str, str], dict[str, str]]:
    """Return what a control port says of a tor."""
    return (
        {**CONFIGURATION, "DataDirectory": str(tor.path.parent)},
        {**INFORMATION, "net/listeners/extor": f'"{tor.address}"'},
    )


async def test_it_is_found_over_its_control_port(tmp_path: Path) -> None:
    with FakeTor(tmp_path).running() as tor:
        given, told = control_of(tor)
        with fake_control(configuration=given, information=told) as (host, port):
            found = await Behind(tor_control=f"{host}:{port}").find()
        got = await found.connect(CLIENT)
        assert not isinstance(got, Cause)
        got.close()
    assert found.fingerprint == FINGERPRINT
    line = found.bridge_line(launch(), [Address("0.0.0.0", 443)])
    assert line == f"Bridge obfs4 192.0.2.1:443 {FINGERPRINT}"


async def test_a_tor_that_was_started_elsewhere_is_found_again(tmp_path: Path) -> None:
    """Where torrc says auto."""
    with FakeTor(tmp_path).running() as tor:
        given, told = control_of(tor)
        with fake_control(configuration=given, information=told) as (host, port):
            found = await Behind(tor_control=f"{host}:{port}").find()
            with socket.create_server(("127.0.0.1", 0)) as listener:
                nobody = Address(*listener.getsockname())
            found.orport.address = nobody
            found.orport._patience = 0
            got = await found.connect(CLIENT)
        assert not isinstance(got, Cause)
        got.close()


async def test_all_who_wait_for_a_tor_that_is_elsewhere_ask_once(
    tmp_path: Path,
) -> None:
    with FakeTor(tmp_path).running() as tor:
        given, told = control_of(tor)
        with fake_control(configuration=given, information=told) as (host, port):
            found = await Behind(tor_control=f"{host}:{port}").find()
            with socket.create_server(("127.0.0.1", 0)) as listener:
                nobody = Address(*listener.getsockname())
            found.orport = TorExtOrPort(nobody, str(tor.path), patience=0)
            all_got = await asyncio.gather(*(found.connect(CLIENT) for _ in range(20)))
            replaced = found.orport
            got = await found.connect(CLIENT)
        for each in (*all_got, got):
            assert not isinstance(each, Cause)
            each.close()
    assert found.orport is replaced
    assert len(tor.announced) == 21


async def test_a_tor_that_came_back_without_the_port_is_told_what_it_lacks(
    tmp_path: Path,
) -> None:
    with FakeTor(tmp_path).running() as tor:
        given, told = control_of(tor)
        with fake_control(configuration=given, information=told) as (host, port):
            behind = Behind(tor_control=f"{host}:{port}")
            found = await behind.find()
            told["net/listeners/extor"] = ""
            tor.cookie = bytes(32)  # started anew
            assert await found.connect(CLIENT) is Cause.UNREACHABLE
    (complaint,) = behind.complaints
    assert "tor has no Extended ORPort: write ExtORPort" in complaint


@pytest.mark.parametrize("is_handed_on", [True, False])
async def test_what_is_odd_about_a_tor_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_handed_on: bool
) -> None:
    with FakeTor(tmp_path).running() as tor:
        given, told = control_of(tor)
        given |= {"BridgeRelay": "0", "ExtORPort": "auto"}
        with fake_control(configuration=given, information=told) as (host, port):
            behind = Behind(tor_control=f"{host}:{port}", is_handed_on=is_handed_on)
            await behind.find()
    assert "the tor behind is no bridge" in caplog.text
    assert ("tor's ExtORPort is 'auto'" in caplog.text) == is_handed_on


async def test_a_control_port_where_nobody_listens_is_said(tmp_path: Path) -> None:
    with pytest.raises(TorUnreached) as caught:
        await Behind(tor_control=str(tmp_path / "control")).find()
    assert "is tor running" in str(caught.value)


async def test_a_tor_without_the_port_is_told_what_it_lacks() -> None:
    told = {**INFORMATION, "net/listeners/extor": ""}
    with fake_control(information=told) as (host, port), pytest.raises(UsageError):
        await Behind(tor_control=f"{host}:{port}").find()


@pytest.mark.parametrize(
    ("remotes", "address"),
    [
        ([Address("192.0.2.7", 443)], "192.0.2.7:443"),
        ([Address("::", 443), Address("2001:db8::7", 443)], "[2001:db8::7]:443"),
        ([Address("0.0.0.0", 443)], "<IP ADDRESS>:443"),
    ],
)
def test_a_bridge_line_has_the_address_that_is_known(
    remotes: list[Address], address: str
) -> None:
    line = Behind().tor.bridge_line(launch(cert="A", k="v"), remotes)
    assert line == f"Bridge obfs4 {address} cert=A k=v"


def test_the_bridge_line_is_written_and_its_change_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tor = Behind().tor
    tor.announce(str(tmp_path), "Bridge obfs4 192.0.2.7:443 cert=A")
    assert (tmp_path / "bridge-line.txt").read_text().endswith("cert=A\n")
    assert "it has no fingerprint" in caplog.text
    assert "has changed" not in caplog.text
    tor.fingerprint = FINGERPRINT
    tor.announce(str(tmp_path), "Bridge obfs4 192.0.2.7:443 cert=B")
    assert "this bridge's line has changed" in caplog.text


def test_shadowsocks_is_no_tor() -> None:
    assert tor_behind(Config(VARIABLES), print) is None
