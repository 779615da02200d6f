"""Where the numbers are served: a port, or a Unix socket, its owner's alone."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ListenError
from pt_bridge.metrics import service
from pt_bridge.protocol.address import Address
from tests.support.python import printed_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER_LIMIT = 60.0  # seconds: generous
PRIVATE_UMASK = 0o077


@pytest.fixture
def socket_path(tmp_path: Path) -> Iterator[str]:
    """Return a path for a socket, where new files are their owner's alone."""
    before = os.umask(PRIVATE_UMASK)
    yield str(tmp_path / "metrics")
    os.umask(before)


def put_file(path: str) -> None:
    with open(path, "w") as file:
        file.write("somebody's")


def is_there(path: str) -> bool:
    return os.path.exists(path)


async def page(place: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(place)
    writer.write(GET)
    answer = await asyncio.wait_for(reader.read(), ANSWER_LIMIT)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_unix_socket_is_its_owners_and_goes_with_the_block(
    socket_path: str,
) -> None:
    async with service.serving(socket_path, list):
        assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o700
        assert b" 200 " in await page(socket_path)
    assert not is_there(socket_path)


async def test_a_port_is_served() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    async with service.serving(Address("127.0.0.1", port), list):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        assert b"pt_bridge_info" in await asyncio.wait_for(reader.read(), ANSWER_LIMIT)
        writer.close()
        await writer.wait_closed()


async def test_a_stale_socket_is_no_reason_to_fail(socket_path: str) -> None:
    """A pt-bridge that was killed leaves one behind."""
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(socket_path)
    async with service.serving(socket_path, list):
        assert b" 200 " in await page(socket_path)


async def test_a_socket_that_another_listens_on_is_left_to_it(
    socket_path: str,
) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(socket_path)
        other.listen()
        with pytest.raises(ListenError, match="cannot be listened on: address already"):
            async with service.serving(socket_path, list):
                pass
        assert is_there(socket_path)


async def test_a_file_that_is_no_socket_is_left_alone(socket_path: str) -> None:
    put_file(socket_path)
    with pytest.raises(ListenError, match="cannot be listened on: file exists"):
        async with service.serving(socket_path, list):
            pass
    assert is_there(socket_path)


async def test_what_stands_in_a_sockets_place_by_then_is_left(
    socket_path: str,
) -> None:
    """Another pt-bridge may have begun there meanwhile."""
    async with service.serving(socket_path, list):
        os.unlink(socket_path)
        put_file(socket_path)
    assert is_there(socket_path)


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="cannot be listened on: no such file"):
        async with service.serving(str(tmp_path / "absent" / "m"), list):
            pass


@pytest.mark.parametrize("library", ["h11", "prometheus_client"])
def test_a_library_that_is_missing_is_said_in_a_sentence(library: str) -> None:
    """It is an extra, which most do without."""
    code = f"""if True:
        import asyncio, sys
        sys.modules[{library!r}] = None
        from pt_bridge.errors import UsageError
        from pt_bridge.metrics import service

        async def main():
            async with service.serving("/absent/x", list):
                pass

        try:
            asyncio.run(main())
        except UsageError as error:
            print(error)
    """
    assert printed_by(code).strip() == service.MISSING.format(name="--metrics")
