"""A server's chain, each of its links broken in turn."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from pt_bridge.doctor.report import Verdict
from pt_bridge.doctor.server import ServerChecks
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from tests.support.check_results import the_failed
from tests.support.processes import SERVER, SERVER_CLIENT_OPTIONS, SERVER_OPTIONS
from tests.support.tor_orport import FakeTor

if TYPE_CHECKING:
    from pathlib import Path

    from pt_bridge.doctor.report import CheckResult
    from tests.support.processes import Bench

LIMIT = 120.0  # seconds; only a broken test, or a very busy machine, needs them
KEYS = "obfs4_state.json"


async def examined(
    bench: Bench,
    options: str = SERVER_OPTIONS,
    *,
    remote: str = "",
    local: str | None = None,
) -> list[CheckResult]:
    """Walk the chain; see that nothing is left."""
    variables = variables_from_flags(
        local=local or "127.0.0.1:9",
        remote=remote or f"127.0.0.1:{bench.port}",
        plugin_options=options,
    )
    checks = ServerChecks(
        Config(variables, plugin=False),
        {key.encode(): os.fsencode(value) for key, value in bench.variables.items()},
        deadline=asyncio.get_running_loop().time() + LIMIT,
        is_local_known=local is not None,
    )
    async with checks:
        results = [result async for result in checks.results()]
    assert not list((bench.folder / "tmp").iterdir())
    return results


def text_of(results: list[CheckResult], link: str) -> str:
    (result,) = [result for result in results if result.link == link]
    return result.text


def state(bench: Bench) -> Path:
    return bench.folder / f"state/pt-bridge/obfs4-{bench.port}"


async def test_a_chain_that_holds_is_walked_to_its_end(bench: Bench) -> None:
    """Nothing is made on the way."""
    bench.pt.play(*SERVER)
    host, port = bench.listen().getsockname()
    results = await examined(bench, local=f"{host}:{port}")
    links = ["program", "port", "state", "start", "shadowsocks"]
    assert [result.link for result in results] == links
    assert {result.verdict for result in results} == {Verdict.OK}
    assert "new server" in text_of(results, "state")
    assert not list((bench.folder / "state").iterdir())
    assert bench.pt.is_gone()


async def test_each_address_that_is_listened_on_is_tried(bench: Bench) -> None:
    """FE-18."""
    bench.pt.play(*SERVER)
    results = await examined(bench, remote=f"127.0.0.1|127.0.0.2:{bench.port}")
    assert [result.text for result in results if result.link == "port"] == [
        f"127.0.0.1:{bench.port} is free",
        f"127.0.0.2:{bench.port} is free",
    ]


async def test_a_port_that_another_program_holds_breaks_the_chain(
    bench: Bench,
) -> None:
    listener = bench.listen()
    port = listener.getsockname()[1]
    results = await examined(bench, remote=f"127.0.0.1:{port}")
    assert f"(pid {os.getpid()})" in the_failed(results, "port", 74).text


@pytest.mark.parametrize(
    "options", [SERVER_OPTIONS, f"{SERVER_OPTIONS};session=only;front=yes"]
)
@pytest.mark.parametrize("plugin", [True, False])
async def test_a_server_that_runs_is_known_and_not_disturbed(
    bench: Bench, options: str, *, plugin: bool
) -> None:
    """Its own PT goes on, with its keys, and says where it leads."""
    bench.pt.play(*SERVER)
    host, port = bench.listen().getsockname()
    if plugin:
        program = bench.server((host, port), options=options)
    else:
        program = bench.standalone(
            "server",
            f"--local={host}:{port}",
            f"--remote=127.0.0.1:{bench.port}",
            f"--plugin-opts={options}",
        )
    program.said("ready")
    results = await examined(bench, options)
    (result,) = [result for result in results if result.link == "port"]
    assert result.verdict is Verdict.WARNING
    assert f"(pid {program.process.pid})" in result.text
    assert text_of(results, "shadowsocks") == f"{host}:{port} takes connections"
    assert bench.pt.event("started", count=2)
    assert [result.exit_code for result in results] == [0] * 5
    bench.connect(bench.port)
    program.signal(signal.SIGTERM)
    assert program.wait() == 0


async def test_keys_that_are_there_are_used_and_left_alone(bench: Bench) -> None:
    bench.pt.play(*SERVER)
    folder = state(bench)
    folder.mkdir(parents=True, mode=0o700)
    (folder / KEYS).write_text("{}")
    before = (folder / KEYS).stat().st_mtime_ns
    results = await examined(bench)
    assert f"keys are in {folder}" in text_of(results, "state")
    assert bench.pt.state != folder
    assert (folder / KEYS).stat().st_mtime_ns == before
    assert [path.name for path in folder.iterdir()] == [KEYS]


async def test_a_folder_that_another_transport_shares_is_no_other_server_s(
    bench: Bench,
) -> None:
    """Two servers with the same state=: each writes its clients' line there."""
    bench.pt.play(*SERVER)
    folder = bench.folder / "state/pt-bridge/shared"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "client-options.txt").write_text("transport=obfs3;session=1\n")
    (folder / KEYS).write_text("{}")
    results = await examined(bench, f"{SERVER_OPTIONS};state=shared")
    (result,) = [result for result in results if result.link == "state"]
    assert result.verdict is Verdict.WARNING
    assert "is for transport=obfs3" in result.text
    assert "a state= of its own" in result.advice
    assert [result.verdict for result in results if result.link == "start"] == [
        Verdict.OK
    ]


@pytest.mark.parametrize(
    ("cert", "verdicts"),
    [("A" * 70, [Verdict.OK]), ("B" * 70, [Verdict.OK, Verdict.WARNING])],
)
async def test_the_line_that_clients_have_is_compared_with_the_keys(
    bench: Bench, cert: str, verdicts: list[Verdict]
) -> None:
    bench.pt.play(*SERVER)
    folder = state(bench)
    folder.mkdir(parents=True, mode=0o700)
    (folder / KEYS).write_text("{}")
    path = folder / "client-options.txt"
    path.write_text(f"transport=obfs4;cert={cert};iat-mode=0\n")
    results = await examined(bench)
    assert str(path) in text_of(results, "state")
    started = [result for result in results if result.link == "start"]
    assert [result.verdict for result in started] == verdicts
    assert not any(cert in result.text for result in results)


async def test_a_folder_that_is_empty_makes_a_new_server(bench: Bench) -> None:
    bench.pt.play(*SERVER)
    state(bench).mkdir(parents=True, mode=0o700)
    assert "new server" in text_of(await examined(bench), "state")


async def test_a_folder_that_others_may_write_to_breaks_the_chain(
    bench: Bench,
) -> None:
    """SE-02."""
    folder = state(bench)
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert "chmod 700" in the_failed(await examined(bench), "state", 73).text


async def test_a_pt_that_does_not_offer_the_transport_breaks_the_chain(
    bench: Bench,
) -> None:
    bench.pt.play("say VERSION 1", "say SMETHODS DONE")
    results = await examined(bench)
    assert "does not offer obfs4" in the_failed(results, "start", 69).text


async def test_a_shadowsocks_server_that_is_down_breaks_the_chain(
    bench: Bench,
) -> None:
    bench.pt.play(*SERVER)
    results = await examined(bench, local=f"127.0.0.1:{bench.free_port()}")
    last = the_failed(results, "shadowsocks", 66)
    assert "connection refused" in last.text
    assert "--local" in last.advice


async def test_a_wildcard_is_connected_to_on_loopback(bench: Bench) -> None:
    bench.pt.play(*SERVER)
    port = bench.listen().getsockname()[1]
    results = await examined(bench, local=f"0.0.0.0:{port}")
    assert results[-1].verdict is Verdict.OK


async def test_without_local_there_is_nothing_to_connect_to(bench: Bench) -> None:
    bench.pt.play(*SERVER)
    (*_, last) = await examined(bench)
    assert last.verdict is Verdict.SKIPPED
    assert "--local" in last.advice


@pytest.mark.parametrize("is_there", [True, False])
def test_the_tor_behind_is_looked_at(bench: Bench, *, is_there: bool) -> None:
    """In the place of shadowsocks; it is told of nobody."""
    bench.pt.play("say VERSION 1", "server ARGS:cert=A,iat-mode=0", "say SMETHODS DONE")
    with FakeTor(bench.folder).in_thread() as tor:
        if not is_there:
            tor.write_cookie(bytes(32))
        program = bench.standalone(
            "doctor",
            "--json",
            "--plugin-opts=server;transport=obfs4;exec=obfs4proxy",
            f"--remote=127.0.0.1:{bench.port}",
            f"--ext-orport={tor.address}",
            f"--ext-orport-cookie={tor.path}",
        )
        program.wait()
        assert tor.announced == []
    lines = [json.loads(each) for each in program.output.decode().splitlines()]
    found = [each for each in lines if each["link"] == "tor"]
    assert found[0]["verdict"] == ("ok" if is_there else "failed"), lines
    assert [each["link"] for each in lines].count("shadowsocks") == 0


# -- another plugin between the PT and the Internet ------------------------------------

VIA = ";via=obfs-server;via-opts=obfs\\=http"


async def test_the_plugin_outside_is_a_link_of_the_chain(bench: Bench) -> None:
    """It is not started where clients connect: a server may be running."""
    bench.pt.play(*SERVER)
    plugin = bench.install_plugin("obfs-server", "plugin server")
    results = await examined(bench, SERVER_OPTIONS + VIA)
    links = ["program", "plugin", "port", "state", "start", "shadowsocks"]
    assert [result.link for result in results] == links
    assert text_of(results, "plugin") == f"obfs-server listens ({plugin.path})"
    assert plugin.environment["SS_REMOTE_PORT"] != str(bench.port)
    assert plugin.is_gone()


@pytest.mark.parametrize(
    ("via", "code", "words"),
    [
        (VIA, 76, "obfs-server ended with exit code 1 before it listened: no luck"),
        (";via=v2ray-plugin", 65, "via-opts= must have 'server'"),
        (";via=ck-server", 71, "no plugin was found: install ck-server"),
    ],
)
async def test_a_plugin_that_cannot_be_used_breaks_the_chain(
    bench: Bench, via: str, code: int, words: str
) -> None:
    bench.pt.play(*SERVER)
    bench.install_plugin("obfs-server", "write no luck", "exit 1")
    results = await examined(bench, SERVER_OPTIONS + via)
    assert words in the_failed(results, "plugin", code).text


@pytest.mark.parametrize(
    ("line", "is_the_same"),
    [("obfs-local;via-opts=obfs\\=http", True), ("obfs-local", False)],
)
async def test_a_line_for_clients_of_another_plugin_is_told_of(
    bench: Bench, line: str, *, is_the_same: bool
) -> None:
    bench.pt.play(*SERVER)
    bench.install_plugin("obfs-server", "plugin server")
    folder = state(bench)
    folder.mkdir(parents=True, mode=0o700)
    for each in (folder.parent.parent, folder.parent):
        each.chmod(0o700)
    text = SERVER_CLIENT_OPTIONS.rstrip("\n")
    (folder / "client-options.txt").write_text(f"{text};via={line}\n")
    results = await examined(bench, SERVER_OPTIONS + VIA)
    texts = [result.text for result in results if result.link == "start"]
    assert any("does not fit: via=" in text for text in texts) is not is_the_same
