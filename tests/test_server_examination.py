"""A server's chain, each of its links broken in turn."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from pt_bridge.config import Config, variables_from_flags
from pt_bridge.diagnosis import Verdict
from pt_bridge.server_examination import ServerExamination
from tests.processes import SERVER, SERVER_OPTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from pt_bridge.diagnosis import Step
    from tests.processes import Bench

LIMIT = 20.0
KEYS = "obfs4_state.json"


async def examined(
    bench: Bench,
    options: str = SERVER_OPTIONS,
    *,
    remote: str = "",
    local: str | None = None,
) -> list[Step]:
    """Walk the chain; see that nothing is left."""
    variables = variables_from_flags(
        local=local or "127.0.0.1:9",
        remote=remote or f"127.0.0.1:{bench.port}",
        plugin_options=options,
    )
    examination = ServerExamination(
        Config(variables, plugin=False),
        {key.encode(): os.fsencode(value) for key, value in bench.variables.items()},
        deadline=asyncio.get_running_loop().time() + LIMIT,
        is_local_known=local is not None,
    )
    async with examination:
        steps = [step async for step in examination.steps()]
    assert not list((bench.folder / "tmp").iterdir())
    return steps


def broken(steps: list[Step], link: str, code: int) -> Step:
    """See that the chain is broken at one link, and that this is the last step."""
    *before, last = steps
    assert (last.link, last.exit_code) == (link, code), last
    assert last.has_failed
    assert not any(step.has_failed for step in before)
    return last


def text_of(steps: list[Step], link: str) -> str:
    (step,) = [step for step in steps if step.link == link]
    return step.text


def state(bench: Bench) -> Path:
    return bench.folder / f"state/pt-bridge/obfs4-{bench.port}"


async def test_a_chain_that_holds_is_walked_to_its_end(bench: Bench) -> None:
    """Issue 6, item 1; nothing is made on the way."""
    bench.pt.play(*SERVER)
    host, port = bench.listen().getsockname()
    steps = await examined(bench, local=f"{host}:{port}")
    links = ["program", "port", "state", "start", "shadowsocks"]
    assert [step.link for step in steps] == links
    assert {step.verdict for step in steps} == {Verdict.OK}
    assert "new server" in text_of(steps, "state")
    assert not list((bench.folder / "state").iterdir())
    assert bench.pt.is_gone()


async def test_each_address_that_is_listened_on_is_tried(bench: Bench) -> None:
    """FE-18."""
    bench.pt.play(*SERVER)
    steps = await examined(bench, remote=f"127.0.0.1|127.0.0.2:{bench.port}")
    assert [step.text for step in steps if step.link == "port"] == [
        f"127.0.0.1:{bench.port} is free",
        f"127.0.0.2:{bench.port} is free",
    ]


async def test_a_port_that_another_program_holds_breaks_the_chain(
    bench: Bench,
) -> None:
    listener = bench.listen()
    port = listener.getsockname()[1]
    steps = await examined(bench, remote=f"127.0.0.1:{port}")
    assert f"(pid {os.getpid()})" in broken(steps, "port", 74).text


@pytest.mark.parametrize("hold", ["both", "plain"])
@pytest.mark.parametrize("plugin", [True, False])
async def test_a_server_that_runs_is_known_and_not_disturbed(
    bench: Bench, hold: str, *, plugin: bool
) -> None:
    """Issue 6, item 1: its own PT goes on, with its keys, and says where it leads."""
    bench.pt.play(*SERVER)
    host, port = bench.listen().getsockname()
    if plugin:
        program = bench.server((host, port), options=f"{SERVER_OPTIONS};hold={hold}")
    else:
        program = bench.standalone(
            "server",
            f"--local={host}:{port}",
            f"--remote=127.0.0.1:{bench.port}",
            f"--plugin-opts={SERVER_OPTIONS};hold={hold}",
        )
    program.said("ready")
    steps = await examined(bench, f"{SERVER_OPTIONS};hold={hold}")
    (step,) = [step for step in steps if step.link == "port"]
    assert step.verdict is Verdict.WARNING
    assert f"(pid {program.process.pid})" in step.text
    assert text_of(steps, "shadowsocks") == f"{host}:{port} takes connections"
    assert bench.pt.event("started", count=2)
    assert [step.exit_code for step in steps] == [0] * 5
    bench.connect(bench.port)
    program.signal(signal.SIGTERM)
    assert program.wait() == 0


async def test_keys_that_are_there_are_used_and_left_alone(bench: Bench) -> None:
    bench.pt.play(*SERVER)
    folder = state(bench)
    folder.mkdir(parents=True, mode=0o700)
    (folder / KEYS).write_text("{}")
    before = (folder / KEYS).stat()
    steps = await examined(bench)
    assert f"keys are in {folder}" in text_of(steps, "state")
    assert bench.pt.state != folder
    assert (folder / KEYS).stat() == before
    assert [path.name for path in folder.iterdir()] == [KEYS]


@pytest.mark.parametrize(
    ("cert", "verdicts"),
    [("AAAA", [Verdict.OK]), ("BBBB", [Verdict.OK, Verdict.WARNING])],
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
    steps = await examined(bench)
    assert str(path) in text_of(steps, "state")
    started = [step for step in steps if step.link == "start"]
    assert [step.verdict for step in started] == verdicts
    assert not any(cert in step.text for step in steps)


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
    assert "chmod 700" in broken(await examined(bench), "state", 73).text


async def test_a_pt_that_does_not_offer_the_transport_breaks_the_chain(
    bench: Bench,
) -> None:
    bench.pt.play("say VERSION 1", "say SMETHODS DONE")
    steps = await examined(bench)
    assert "does not offer obfs4" in broken(steps, "start", 69).text


async def test_a_shadowsocks_server_that_is_down_breaks_the_chain(
    bench: Bench,
) -> None:
    bench.pt.play(*SERVER)
    steps = await examined(bench, local=f"127.0.0.1:{bench.free_port()}")
    last = broken(steps, "shadowsocks", 66)
    assert "connection refused" in last.text
    assert "--local" in last.advice


async def test_a_wildcard_is_connected_to_on_loopback(bench: Bench) -> None:
    bench.pt.play(*SERVER)
    port = bench.listen().getsockname()[1]
    steps = await examined(bench, local=f"0.0.0.0:{port}")
    assert steps[-1].verdict is Verdict.OK


async def test_without_local_there_is_nothing_to_connect_to(bench: Bench) -> None:
    bench.pt.play(*SERVER)
    (*_, last) = await examined(bench)
    assert last.verdict is Verdict.SKIPPED
    assert "--local" in last.advice
