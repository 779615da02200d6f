"""A PT server, started by `PtServer`."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pt_bridge.errors import ListenError, NotOffered, StateError
from pt_bridge.files import state_dir, temporary_dir
from pt_bridge.files.owner_config import ProgramChoice
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.protocol.address import Address
from pt_bridge.pt import program
from pt_bridge.pt.running_pt import PtSetup
from pt_bridge.pt.server import PtServer
from tests.support.processes import DEADLINE, SERVER

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pt_bridge.protocol.ext_orport import Request
    from pt_bridge.pt.process import PtProcess
    from tests.support.processes import Bench

LOOPBACK = "127.0.0.1"
ORPORT = Address(LOOPBACK, 9)


def server_of(
    bench: Bench,
    *steps: str,
    port: int = 0,
    on_started: Callable[[PtProcess], None] | None = None,
    **keywords: Any,
) -> PtServer:
    """Prepare to run the fake PT."""
    bench.pt.play(*(steps or SERVER))
    options = "server;transport=obfs4"
    given = variables_from_flags(
        local=str(ORPORT), remote=f"{LOOPBACK}:2", plugin_options=options
    )
    setup = PtSetup(
        Config(given),
        {key.encode(): value.encode() for key, value in bench.variables.items()},
        lambda: program.find(ProgramChoice([str(bench.pt.path)]), {}),
        DEADLINE,
        on_started=on_started,
    )
    return PtServer(
        setup,
        bind=Address(LOOPBACK, port),
        orport=ORPORT,
        **keywords,
    )


def path_of(server: PtServer, name: str) -> Path:
    return Path(server.folder, name)


def on_accepted(sock: socket.socket, request: Request) -> None:
    raise AssertionError("nobody has called")


async def test_its_folder_is_the_users_and_stays(bench: Bench) -> None:
    """SV-02: its keys are in there."""
    async with server_of(bench) as server:
        given = bench.pt.report()["environment"]
        assert os.fsdecode(given[b"TOR_PT_STATE_LOCATION"]) == server.folder
        assert server.folder.startswith(bench.variables["XDG_STATE_HOME"])
        assert server.is_new
    path_of(server, "key").touch()
    async with server_of(bench) as server:
        assert not server.is_new


async def test_a_folder_that_is_given_comes_before_the_users(bench: Bench) -> None:
    """Doctor changes nothing in the user's own."""
    async with server_of(bench, folder=str(bench.folder)) as server:
        given = bench.pt.report()["environment"]
    assert given[b"TOR_PT_STATE_LOCATION"] == os.fsencode(bench.folder)
    assert server.folder == str(bench.folder)
    assert not any((bench.folder / "state").iterdir())


async def test_keys_that_were_deleted_are_there_before_it_starts(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Or it would make new ones, and every client would be locked out."""
    keys = {"a.json": b"A", "b.json": b"B"}
    async with server_of(bench, keys=keys) as server:
        assert not server.is_new
    for name, content in keys.items():
        assert path_of(server, name).read_bytes() == content
    assert caplog.messages == [
        "somebody has deleted a.json, b.json in the state directory: written again"
    ]
    caplog.clear()
    async with server_of(bench, keys=keys):
        assert caplog.messages == []


async def test_a_folder_that_is_gone_is_an_error(bench: Bench) -> None:
    folder = str(bench.folder / "gone")
    with pytest.raises(StateError, match=folder):
        async with server_of(bench, folder=folder):
            raise AssertionError("it has started")


async def test_without_anybody_to_take_its_connections_there_is_no_extended_orport(
    bench: Bench,
) -> None:
    async with server_of(bench):
        given = bench.pt.report()["environment"]
    assert given[b"TOR_PT_EXTENDED_SERVER_PORT"] == b""
    assert given[b"TOR_PT_ORPORT"] == str(ORPORT).encode()
    assert b"TOR_PT_AUTH_COOKIE_FILE" not in given


async def test_it_gets_the_extended_orport_with_its_cookie(bench: Bench) -> None:
    """EO-01: by a descriptor that it inherits."""
    async with server_of(bench, on_accepted=on_accepted):
        report = bench.pt.report()
        given = report["environment"]
        host, _, port = given[b"TOR_PT_EXTENDED_SERVER_PORT"].decode().rpartition(":")
        assert host == LOOPBACK
        bench.connect(int(port)).close()
        cookie = given[b"TOR_PT_AUTH_COOKIE_FILE"].decode()
        assert int(os.path.basename(cookie)) in report["descriptors"]
    with pytest.raises(ConnectionRefusedError):
        bench.connect(int(port))


async def test_a_port_that_is_taken_is_an_error_of_the_port(bench: Bench) -> None:
    """SV-08: in the sentence that we have for our own ports."""
    why = "listen tcp 192.0.2.1:8388: bind: address already in use"
    steps = ["say VERSION 1", f"say SMETHOD-ERROR obfs4 {why}", "say SMETHODS DONE"]
    with pytest.raises(ListenError):
        async with server_of(bench, *steps, port=8388):
            raise AssertionError("it is ready")
    with pytest.raises(NotOffered):
        async with server_of(bench, "say VERSION 1", "say SMETHODS DONE"):
            raise AssertionError("it is ready")
    assert bench.pt.is_gone()


async def test_two_start_in_one_folder_one_after_the_other(bench: Bench) -> None:
    """Both would make keys where there are none."""
    started = asyncio.Event()
    async with server_of(bench) as first:
        pass
    server = server_of(bench, on_started=lambda _: started.set())
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        with contextlib.closing(Held(first.folder)):
            task = group.create_task(server.__aenter__())
            for _ in range(100):
                await asyncio.sleep(0)
            assert not started.is_set()
        await task
        await server.__aexit__(None, None, None)
    assert started.is_set()
    assert bench.pt.is_gone()


async def test_a_folder_of_its_own_may_be_locked_already(bench: Bench) -> None:
    """As a temporary one is, which doctor makes."""
    with temporary_dir.temporary({b"TMPDIR": os.fsencode(bench.folder)}) as folder:
        async with server_of(bench, folder=folder) as server:
            assert server.folder == folder


class Held:
    """A folder's lock that somebody else has."""

    def __init__(self, folder: str) -> None:
        self._lock = state_dir.Lock(folder)
        assert self._lock.try_to_take()

    def close(self) -> None:
        """Let it go."""
        self._lock.release()
