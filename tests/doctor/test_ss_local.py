"""shadowsocks's client run in private: a stand-in for it, and this very pt-bridge."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pt_bridge.doctor import ss_local
from pt_bridge.doctor.ss_local import SsLocal
from pt_bridge.errors import DidNotStart
from pt_bridge.formats.profile import Profile
from pt_bridge.protocol.address import Address
from tests.support.processes import CLIENT, PLAIN_OPTIONS

if TYPE_CHECKING:
    from tests.support.processes import Bench

TARGET = Address("web.example", 80)
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
LIMIT = 20.0


def variables(bench: Bench, **more: str) -> dict[bytes, bytes]:
    given = {**bench.variables, **more}
    return {key.encode(): os.fsencode(value) for key, value in given.items()}


def profile(
    listener: socket.socket, method: str = "plain", options: str = PLAIN_OPTIONS
) -> Profile:
    host, port = listener.getsockname()
    return Profile(
        hosts=(host,),
        port=port,
        method=method,
        password="a-long-password",
        plugin="/somewhere/pt-bridge",
        plugin_opts=options,
        local_port=1080,
        others={"mode": "tcp_only", "user": "nobody"},
    )


def nothing_is_left(bench: Bench) -> None:
    assert bench.pt.is_gone()
    assert not list((bench.folder / "tmp").iterdir())


@pytest.mark.parametrize("flags", [(), ("--loglevel=warning", "--state={folder}/keys")])
async def test_a_request_goes_through_shadowsocks_and_its_plugin(
    bench: Bench, flags: tuple[str, ...]
) -> None:
    """With flags, too, which are no plugin options."""
    bench.pt.play(*CLIENT)
    listener = bench.listen()
    host, port = listener.getsockname()
    words = [each.format(folder=bench.folder) for each in flags]
    if words:
        words.insert(0, f"--remote={host}:{port}")
    asked: list[bytes] = []

    def be_web_server() -> None:
        sock = bench.accept(listener)
        asked.append(sock.recv(4096))
        sock.sendall(ANSWER)

    running = SsLocal(
        bench.install_ss_local(), profile(listener), words, variables(bench)
    )
    async with asyncio.timeout(LIMIT), running, asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(be_web_server))
        assert await running.ask(TARGET) == ANSWER
    lines = asked[0].split(b"\r\n")
    assert lines[0] == b"HEAD / HTTP/1.1"
    assert b"Host: web.example:80" in lines
    assert running.complaint == ""
    if flags:
        assert bench.pt.state == bench.folder / "keys"
    nothing_is_left(bench)


async def test_a_server_that_hangs_up_gives_no_answer(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    listener = bench.listen()

    def hang_up() -> None:
        sock = bench.accept(listener)
        sock.recv(4096)
        sock.close()

    running = SsLocal(bench.install_ss_local(), profile(listener), (), variables(bench))
    async with asyncio.timeout(LIMIT), running, asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(hang_up))
        assert await running.ask(TARGET) == b""


async def test_what_others_must_not_see_is_in_files_that_are_ours(
    bench: Bench,
) -> None:
    """Command lines can be read by all users, and so can /tmp."""
    bench.pt.play(*CLIENT)
    running = SsLocal(
        bench.install_ss_local(),
        profile(bench.listen()),
        (),
        variables(bench, SS_X="1"),
    )
    async with asyncio.timeout(LIMIT), running:
        (folder,) = (
            each
            for each in (bench.folder / "tmp").iterdir()
            if each.joinpath("config.json").exists()
        )
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for file in folder.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0
        written = json.loads((folder / "config.json").read_text())
        assert written["mode"] == "tcp_only"  # as the user has it
        assert "user" not in written
    nothing_is_left(bench)


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("refused", PLAIN_OPTIONS, "Invalid cipher name"),
        ("plain", "transport=obfs4", "error: obfs4 needs cert= and iat-mode="),
    ],
)
async def test_one_that_does_not_start_says_why(
    bench: Bench, method: str, options: str, words: str
) -> None:
    """What its pt-bridge says comes before what shadowsocks makes of it."""
    running = SsLocal(
        bench.install_ss_local(),
        profile(bench.listen(), method, options),
        (),
        variables(bench),
    )
    with pytest.raises(DidNotStart, match=words):
        async with asyncio.timeout(LIMIT), running:
            pass
    nothing_is_left(bench)


async def test_one_that_ignores_its_end_ends_all_the_same(bench: Bench) -> None:
    """And its plugin with it."""
    bench.pt.play(*CLIENT)
    running = SsLocal(
        bench.install_ss_local(), profile(bench.listen(), "deaf"), (), variables(bench)
    )
    async with asyncio.timeout(LIMIT), running:
        pass
    nothing_is_left(bench)


@pytest.mark.parametrize("name", ss_local.NAMES)
def test_either_shadowsocks_will_do(bench: Bench, name: str) -> None:
    path = bench.install_ss_local(name)
    assert ss_local.find({b"PATH": os.fsencode(bench.pt.folder)}) in (
        path,
        "/usr/bin/ss-local",
    )


def test_one_that_others_could_have_put_there_is_none(bench: Bench) -> None:
    """SE-03."""
    path = Path(bench.install_ss_local())
    path.chmod(0o777)
    assert ss_local.find({b"PATH": os.fsencode(bench.pt.folder)}) != str(path)
