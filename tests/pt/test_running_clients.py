"""Which PT client offers a transport, and which of them have died."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pt_bridge.files.owner_config import ProgramChoice
from pt_bridge.net.resolve import Resolver
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.pt import program
from pt_bridge.pt.client import ProxyUrl, PtClient
from pt_bridge.pt.running_clients import RunningClients
from pt_bridge.pt.running_pt import PtSetup
from tests.support.processes import DEADLINE

if TYPE_CHECKING:
    from tests.support.processes import Bench, FakePt

CONFIG = Config(
    variables_from_flags(
        local="127.0.0.1:1", remote="127.0.0.1:2", plugin_options="transport=obfs3"
    )
)


def client_of(bench: Bench, pt: FakePt, *transports: str, steps: str = "") -> PtClient:
    pt.play("say VERSION 1", steps or "client", "say CMETHODS DONE")
    setup = PtSetup(
        CONFIG,
        {key.encode(): value.encode() for key, value in bench.variables.items()},
        lambda: program.find(ProgramChoice([str(pt.path)]), {}),
        DEADLINE,
    )
    return PtClient(setup, ProxyUrl(None, Resolver()), transports=transports)


async def test_each_transport_is_offered_by_one_of_them(bench: Bench) -> None:
    other = bench.install("webtunnel-client")
    async with (
        client_of(bench, bench.pt, "obfs4", "obfs3") as first,
        client_of(bench, other, "webtunnel") as second,
        asyncio.TaskGroup() as tasks,
    ):
        running = RunningClients(asyncio.get_running_loop())
        assert not running
        assert running.have_died()
        for each in (first, second):
            running.add(each, spawn=tasks.create_task)
        assert len(running) == 2
        assert [running.of(each) for each in ("obfs3", "obfs4", "webtunnel")] == [
            first,
            first,
            second,
        ]
        assert running.of("snowflake") is None
        assert running.why_not("snowflake") == "no PT for snowflake runs"
        assert running.why_not("webtunnel") == ""
        other.event("started")
        second.process.kill()
        await second.wait()
        assert running.why_not("webtunnel") == "no PT for webtunnel runs"
        assert not running.have_died()
        running.remove(second)
        assert running.of("webtunnel") is None
        running.on_failed("obfs4")
        running.on_failed()
        for transport in ("obfs4", "webtunnel"):
            running.on_succeeded(transport)
        running.remove(first)


async def test_what_a_pt_does_not_offer_is_told_of(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    line = "say CMETHOD obfs3 socks4 127.0.0.1:1"  # and none to ask if it lives
    async with (
        client_of(bench, bench.pt, "obfs4", "obfs3", steps=line) as client,
        asyncio.TaskGroup() as tasks,
    ):
        running = RunningClients(asyncio.get_running_loop())
        running.add(client, spawn=tasks.create_task)
        assert running.of("obfs4") is None
        running.on_failed()
        running.on_succeeded("obfs3")
        running.remove(client)
    assert "obfs4proxy does not offer obfs4" in caplog.text
