"""The plugin outside the PT, by SIP003: real processes, real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import (
    ListenError,
    ProgramError,
    PtExitedBeforeReady,
    PtStartTimeout,
)
from pt_bridge.files import program
from pt_bridge.files.owner_config import ProgramChoice
from pt_bridge.plugin.outer import OuterPlugin
from pt_bridge.protocol.address import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pt_bridge.plugin.process import PluginProcess
    from tests.support.processes import Bench, FakePt

LIMIT = 30.0
# For one that never listens: how long it takes to say why depends on the machine.
LIMITS = 1.5, 10.0, 60.0
OPTIONS = "obfs=http;a\\;b=\\\\c"


def outer(
    plugin: FakePt,
    remote: Address,
    local: Address | None = None,
    *,
    options: str = OPTIONS,
    limit: float = LIMIT,
    name: str = "obfs-local",
    started: list[PluginProcess] | None = None,
) -> OuterPlugin:
    return OuterPlugin(
        name,
        options,
        program.find(
            ProgramChoice([str(plugin.path)], ["-x"]), {b"LANG": b"C", b"SS_X": b"y"}
        ),
        remote=remote,
        local=local,
        limit=limit,
        on_started=None if started is None else started.append,
    )


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[tuple[socket.socket, Address]]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock, Address(*sock.getsockname())


async def carries(entry: Address, server: socket.socket) -> None:
    """Check that what is said at its port comes out at the other end."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(LIMIT):
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (entry.host, entry.port))
            await loop.sock_sendall(sock, b"hello")
            # The first that comes: nobody has connected to see whether it listens.
            far, _ = await loop.sock_accept(server)
            with far:
                data = await loop.sock_recv(far, 16)
    assert data == b"hello"


async def test_a_client_s_listens_on_loopback_and_goes_on_to_the_server(
    bench: Bench,
) -> None:
    """FE-05, PE-01: SIP003's variables, and no others of that kind."""
    plugin = bench.install("obfs-local")
    plugin.play("plugin")
    started: list[PluginProcess] = []
    async with listening() as (server, remote):
        async with outer(plugin, remote, started=started) as running:
            assert started == [running.process]
            assert running.listener.host == "127.0.0.1"
            await carries(running.listener, server)
            assert not running.is_ending()
            report = plugin.report()
        assert plugin.is_gone()
    assert report["arguments"][1:] == ["-x"]
    told = report["environment"]
    assert {name: told[name] for name in told if name.startswith(b"SS_")} == {
        b"SS_REMOTE_HOST": b"127.0.0.1",
        b"SS_REMOTE_PORT": str(remote.port).encode(),
        b"SS_LOCAL_HOST": b"127.0.0.1",
        b"SS_LOCAL_PORT": str(running.listener.port).encode(),
        b"SS_PLUGIN_OPTIONS": OPTIONS.encode(),
    }
    assert told[b"LANG"] == b"C"


async def test_a_servers_listens_where_clients_connect_and_goes_on_to_the_pt(
    bench: Bench,
) -> None:
    plugin = bench.install("obfs-server")
    plugin.play("plugin server")
    remote = Address("0.0.0.0", bench.free_port("0.0.0.0"))
    async with (
        listening() as (pt, local),
        outer(plugin, remote, local, options="") as running,
    ):
        assert running.listener == Address("127.0.0.1", remote.port)
        await carries(running.listener, pt)
        report = plugin.report()
    told = report["environment"]
    assert told[b"SS_REMOTE_HOST"] == b"0.0.0.0"
    assert told[b"SS_LOCAL_PORT"] == str(local.port).encode()
    assert b"SS_PLUGIN_OPTIONS" not in told  # FE-10


async def test_its_port_is_waited_for(bench: Bench) -> None:
    plugin = bench.install("obfs-local")
    plugin.play("await", "plugin")
    async with listening() as (_, remote), asyncio.TaskGroup() as group:
        is_ready = asyncio.Event()

        async def start() -> None:
            async with outer(plugin, remote):
                is_ready.set()
                await plugin.heard("listens")  # at the block's end it is killed

        group.create_task(start())
        await plugin.heard("started")
        await asyncio.sleep(0)
        assert not is_ready.is_set()
        plugin.open_gate()
    assert is_ready.is_set()


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ("transport=x", ["plugin", "await", "write pt-bridge[x]: ready: obfs4proxy"]),
        ("transport=x;loglevel=error", ["await", "plugin"]),
    ],
)
async def test_a_pt_bridge_is_ready_when_it_says_so(
    bench: Bench, options: str, steps: list[str]
) -> None:
    """It listens at once; one that says little is taken by that."""
    plugin = bench.install("pt-bridge")
    plugin.play(*steps)
    async with listening() as (_, remote), asyncio.TaskGroup() as group:
        is_ready = asyncio.Event()

        async def start() -> None:
            async with outer(plugin, remote, name="pt-bridge", options=options):
                is_ready.set()

        group.create_task(start())
        await plugin.heard("started" if steps[0] == "await" else "listens")
        await asyncio.sleep(0)
        assert not is_ready.is_set()
        plugin.open_gate()
    assert is_ready.is_set()


async def test_a_pt_bridge_that_ends_before_it_is_ready_was_none(bench: Bench) -> None:
    plugin = bench.install("pt-bridge")
    plugin.play("plugin", "write pt-bridge[x]: error: no such transport", "exit 69")
    async with listening() as (_, remote):
        with pytest.raises(PtExitedBeforeReady) as caught:
            async with outer(plugin, remote, name="pt-bridge", options="transport=x"):
                pass
    assert "error: no such transport" in str(caught.value)


async def test_one_that_does_not_listen_in_time_is_ended(bench: Bench) -> None:
    plugin = bench.install("obfs-local")
    plugin.play("write error: no luck")
    for limit in LIMITS:
        async with listening() as (_, remote):
            with pytest.raises(PtStartTimeout) as caught:
                async with outer(plugin, remote, limit=limit):
                    pass
        assert plugin.is_gone()
        text = str(caught.value)
        if "it wrote" in text:
            break
    assert "did not listen on port" in text
    assert f"within {limit:g} seconds (start-timeout= sets the limit)" in text
    assert text.endswith("it wrote: error: no luck")


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (["write why", "exit 3"], "ended with exit code 3 before it listened: why ("),
        (["exit 0"], "ended with exit code 0 before it listened and wrote nothing ("),
        # The first of several errors says what is wrong.
        (
            ["say fine", "write ERROR: one", "write FATAL: two", "exit 1"],
            "ended with exit code 1 before it listened: ERROR: one (",
        ),
        (["say error", "write bye", "die 9"], "was killed by SIGKILL"),
    ],
)
async def test_one_that_dies_before_it_listens_is_an_error(
    bench: Bench, steps: list[str], words: str
) -> None:
    plugin = bench.install("obfs-local")
    plugin.play(*steps)
    async with listening() as (_, remote):
        with pytest.raises(PtExitedBeforeReady) as caught:
            async with outer(plugin, remote):
                pass
    assert str(caught.value).startswith(f"obfs-local {words}")
    assert caught.value.is_temporary


async def test_a_servers_port_in_use_is_told_as_ours_would_be(bench: Bench) -> None:
    """SV-08: another program that listens there is not taken for the plugin."""
    plugin = bench.install("obfs-server")
    plugin.play("plugin server")
    async with listening() as (_, taken):
        with pytest.raises(ListenError, match=f"cannot listen on port {taken.port}"):
            async with outer(plugin, taken, Address("127.0.0.1", 1)):
                pass
    assert not plugin.named("started")


async def test_an_address_that_is_not_ours_is_told_of(bench: Bench) -> None:
    plugin = bench.install("obfs-server")
    with pytest.raises(ListenError, match="cannot listen on port 443"):
        async with outer(plugin, Address("192.0.2.1", 443), Address("127.0.0.1", 1)):
            pass


async def test_a_port_that_it_may_not_use_is_told_in_its_own_words(
    bench: Bench,
) -> None:
    """SV-08: whatever their case; we may have fewer rights than it."""
    plugin = bench.install("obfs-server")
    plugin.play("write ERROR: bind: Permission denied", "write ERROR", "exit 1")
    port = bench.free_port()
    with pytest.raises(ListenError, match=f"cannot listen on port {port}"):
        async with outer(plugin, Address("127.0.0.1", port), Address("127.0.0.1", 1)):
            pass


async def test_its_death_is_an_error_that_says_how(bench: Bench) -> None:
    plugin = bench.install("obfs-local")
    plugin.play(
        "plugin", "await", "write panic: bad luck", "write main.main()", "exit 2"
    )
    async with listening() as (_, remote), outer(plugin, remote) as running:
        plugin.open_gate()
        error = await running.wait()
        assert running.is_ending()
    assert str(error) == (
        "obfs-local ended with exit code 2; it wrote: panic: bad luck"
    )


async def test_one_that_cannot_be_started_is_an_error(bench: Bench) -> None:
    plugin = bench.install("obfs-local")
    plugin.path.write_text("#!/no/such/interpreter\n", encoding="utf-8")
    async with listening() as (_, remote):
        with pytest.raises(ProgramError, match="cannot start"):
            async with outer(plugin, remote):
                pass


async def test_our_sudden_end_is_its_end(bench: Bench) -> None:
    """LC-03: nobody is left to stop it."""
    plugin = bench.install("obfs-local")
    plugin.play("deaf", "plugin")
    code = f"""if True:
        import asyncio, os, signal
        from pt_bridge.files import program
        from pt_bridge.files.owner_config import ProgramChoice
        from pt_bridge.plugin.outer import OuterPlugin
        from pt_bridge.protocol.address import Address

        async def main():
            async with OuterPlugin(
                "x", "",
                program.find(ProgramChoice([{str(plugin.path)!r}]), {{}}),
                remote=Address("127.0.0.1", 9), limit=30.0,
            ):
                os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main())
    """
    import sys

    process = bench.run([sys.executable, "-c", code], dict(os.environ))
    assert process.wait() == -signal.SIGKILL
    assert plugin.is_gone()
