"""What a server's clients need for its outer plugin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pt_bridge.files.program import FoundProgram
from pt_bridge.files.whole_file import write_whole
from pt_bridge.options.plugin_options import Via
from pt_bridge.plugin.client_line import ClientLine
from pt_bridge.protocol.address import Address

if TYPE_CHECKING:
    from pathlib import Path

REMOTE = Address("127.0.0.1", 8388)
LIMIT = 30.0
SERVER = "server;transport=obfs4"


def lives() -> bool:
    return False


def program(folder: Path) -> FoundProgram:
    inherited = {b"STATE_DIRECTORY": str(folder).encode()}
    return FoundProgram("/x", [], "", inherited, [])


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("obfs-server", "obfs=http", ("obfs-local", "obfs=http")),
        ("ck-server", "", None),
    ],
)
async def test_what_we_know_of_others_is_told(
    tmp_path: Path, name: str, options: str, expected: tuple[str, str] | None
) -> None:
    line = ClientLine(Via(name, options), program(tmp_path), REMOTE)
    assert await line.read(LIMIT, has_ended=lives) == expected


async def test_a_pt_bridge_writes_it_itself_once_it_is_ready(tmp_path: Path) -> None:
    """Whatever it had written before is another one's."""
    folder = tmp_path / "pt-bridge/obfs4-8388"
    folder.mkdir(parents=True)
    for each in (tmp_path, folder.parent, folder):
        each.chmod(0o700)
    path = folder / "client-options.txt"
    path.write_text("transport=old\n")
    line = ClientLine(Via("pt-bridge", SERVER), program(tmp_path), REMOTE)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(line.read(LIMIT, has_ended=lives))
        await asyncio.sleep(0)
        assert not reading.done()
        write_whole(str(path), b"transport=obfs4;cert=c\n")
    assert reading.result() == ("pt-bridge", "transport=obfs4;cert=c")


@pytest.mark.parametrize("options", [SERVER, "server"])
async def test_one_that_does_not_write_it_is_not_waited_for_for_ever(
    tmp_path: Path, options: str
) -> None:
    line = ClientLine(Via("pt-bridge", options), program(tmp_path), REMOTE)
    assert await line.read(0.1, has_ended=lives) is None


async def test_one_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    line = ClientLine(Via("pt-bridge", SERVER), program(tmp_path), REMOTE)
    assert await line.read(LIMIT, has_ended=lambda: True) is None
