"""``pt-bridge doctor`` with real PTs and real hosts, each link broken in turn."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from integration.endpoints import Service, connect, free_port
from integration.machine import METHOD, PASSWORD, await_ss_server
from integration.programs import LYREBIRD_FOLDER, find, wait_until

if TYPE_CHECKING:
    from integration.machine import Machine
    from integration.programs import Program

PTS = ["obfs4proxy", "lyrebird"]
SERVER = "server;transport=obfs4"
OTHER_CERT = "A" * 70  # no server has this one
ONLY_LYREBIRD_KNOWS = "transport=webtunnel;url=https://127.0.0.1:{port}/path"


def doctor(machine: Machine, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Ask as programs do; see that nothing is left; give the code and the steps."""
    before = len(machine.processes().get("obfs4proxy", []))
    program = machine.start("pt-bridge", "doctor", "--json", *arguments)
    code = program.wait()
    steps = [json.loads(line) for line in program.stdout.decode().splitlines()]
    assert len(program.output) == len(steps), program.text  # and nothing on stderr
    wait_until(
        lambda: len(machine.processes().get("obfs4proxy", [])) == before,
        "doctor's own PT to be gone",
    )
    assert not machine.processes().get("ss-local")
    return code, steps


def broken(steps: list[dict[str, Any]], link: str) -> str:
    """See that the last link is the broken one; give what is said of it."""
    assert [step["verdict"] for step in steps].count("failed") == 1
    assert (steps[-1]["link"], steps[-1]["verdict"]) == (link, "failed"), steps[-1]
    return f"{steps[-1]['text']} {steps[-1]['advice']}"


def path_of(pt: str) -> str:
    return find(pt, path=LYREBIRD_FOLDER if pt == "lyrebird" else None)


def web_server(machine: Machine, port: int) -> Program:
    program = machine.start(
        "python3", "-u", "-m", "http.server", str(port), "--bind", "127.0.0.1"
    )
    program.wait_for("Serving HTTP")
    return program


def shadowsocks(machine: Machine, port: int) -> tuple[Program, str]:
    """Start ss-server; give it, and what its clients must use."""
    server = machine.ss_server(port, SERVER)
    options = machine.client_options(server)
    await_ss_server(server)
    return server, options


def config_json(machine: Machine, port: int, options: str, **more: str) -> str:
    path = machine.folder / "config.json"
    values = {
        "server": "127.0.0.1",
        "server_port": port,
        "method": METHOD,
        "password": PASSWORD,
        "plugin": "pt-bridge",
        "plugin_opts": options,
        **more,
    }
    path.write_text(json.dumps(values))
    return str(path)


@pytest.mark.parametrize("pt", PTS)
def test_a_byte_comes_back_through_everything(machine: Machine, pt: str) -> None:
    """Issue 6, item 1: a whole config.json, through ss-local to a web server."""
    port, web = free_port(), free_port()
    web_server(machine, web)
    _, options = shadowsocks(machine, port)
    code, steps = doctor(
        machine,
        config_json(machine, port, options),
        f"--through=127.0.0.1:{web}",
        f"--exec={path_of(pt)}",
    )
    assert code == 0, steps
    assert [step["link"] for step in steps] == [
        *("options", "program", "state", "start", "server"),
        *("handshake", "connection", "answer"),
    ]
    assert {step["verdict"] for step in steps} == {"ok"}
    assert "200 OK" in steps[-1]["text"]
    assert pt in steps[1]["text"]
    assert os.listdir(machine.temporary) == []


@pytest.mark.parametrize("hold", ["both", "plain", "none"])
def test_a_server_that_runs_is_well_and_stays_so(
    machine: Machine, service: Service, hold: str
) -> None:
    """Issue 6, item 1: it is not disturbed by whoever looks at it."""
    port = free_port()
    host, local = service.address
    server = machine.pt_bridge(
        "server",
        f"{SERVER};hold={hold}",
        local=service.address,
        remote=("127.0.0.1", port),
    )
    options = machine.client_options(server)
    lines = len(server.output)
    code, steps = doctor(machine, f"{SERVER};hold={hold}", f"--remote=127.0.0.1:{port}")
    assert code == 0, steps
    verdicts = {step["link"]: step["verdict"] for step in steps}
    assert verdicts == {
        **dict.fromkeys(("options", "program", "state", "start", "shadowsocks"), "ok"),
        "port": "warning",
    }
    assert f"(pid {server.pid})" in steps[2]["text"]
    assert steps[-1]["text"].startswith(f"{host}:{local} takes")
    assert len(server.output) == lines, server.text
    connect(("127.0.0.1", port)).close()
    assert server.stop() == 0
    code, steps = doctor(machine, SERVER, f"--remote=127.0.0.1:{port}")
    assert code == 0
    assert steps[2]["text"] == f"127.0.0.1:{port} is free"
    assert "client-options.txt" in steps[3]["text"]
    assert {step["verdict"] for step in steps[:-1]} == {"ok"}
    (path,) = machine.folder.rglob("client-options.txt")
    assert path.read_text().strip() == options


def test_a_server_that_is_down_is_told_of(machine: Machine) -> None:
    options = f"transport=obfs4;cert={OTHER_CERT};iat-mode=0"
    code, steps = doctor(machine, options, f"--remote=127.0.0.1:{free_port()}")
    assert code == 68
    assert "nothing listens on SS_REMOTE_PORT" in broken(steps, "server")


@pytest.mark.parametrize("pt", PTS)
@pytest.mark.parametrize("hold", ["both", "plain"])
def test_a_cert_of_another_server_is_told_of(
    machine: Machine, pt: str, hold: str
) -> None:
    """SK-11: the PT would take a minute; --timeout makes it shorter."""
    port = free_port()
    shadowsocks(machine, port)
    code, steps = doctor(
        machine,
        f"transport=obfs4;cert={OTHER_CERT};iat-mode=0;hold={hold}",
        f"--remote=127.0.0.1:{port}",
        f"--exec={path_of(pt)}",
        "--timeout=6",
    )
    assert code == 77
    assert "another server's" in broken(steps, "handshake")


def test_another_program_on_the_port_is_told_of(machine: Machine) -> None:
    port = free_port()
    web_server(machine, port)
    options = f"transport=obfs4;cert={OTHER_CERT};iat-mode=0"
    code, steps = doctor(machine, options, f"--remote=127.0.0.1:{port}")
    assert code == 77
    assert "SS_REMOTE_PORT may be another program's" in broken(steps, "handshake")


@pytest.mark.parametrize(
    ("pt", "hold"),
    # lyrebird passes no end on, so a client that holds nothing sees none.
    [("obfs4proxy", "both"), ("obfs4proxy", "plain"), ("lyrebird", "both")],
)
def test_a_shadowsocks_server_that_is_down_is_told_of(
    machine: Machine, pt: str, hold: str
) -> None:
    """SK-12: its pt-bridge lets us in, and cannot go on."""
    port = free_port()
    server = machine.pt_bridge(
        "server", SERVER, local=("127.0.0.1", free_port()), remote=("127.0.0.1", port)
    )
    options = machine.client_options(server)
    code, steps = doctor(
        machine,
        f"{options};hold={hold}",
        f"--remote=127.0.0.1:{port}",
        f"--exec={path_of(pt)}",
    )
    assert code == 66
    assert "the shadowsocks server behind it" in broken(steps, "connection")
    code, steps = doctor(machine, SERVER, f"--remote=127.0.0.1:{port}")
    assert code == 66
    assert "takes no connections" in broken(steps, "shadowsocks")


def test_a_wrong_password_brings_nothing_back(machine: Machine) -> None:
    port, web = free_port(), free_port()
    web_server(machine, web)
    _, options = shadowsocks(machine, port)
    code, steps = doctor(
        machine,
        config_json(machine, port, options, password="of-another-server"),
        f"--through=127.0.0.1:{web}",
        "--timeout=12",
    )
    assert code == 66
    assert "password or method" in broken(steps, "answer")


def test_a_method_that_shadowsocks_does_not_know_is_told_of(machine: Machine) -> None:
    port = free_port()
    _, options = shadowsocks(machine, port)
    code, steps = doctor(
        machine,
        config_json(machine, port, options, method="no-such-cipher"),
        "--through=127.0.0.1:9",
    )
    assert code == 66
    assert "ss-local ended as soon as it was started" in broken(steps, "answer")


def test_a_port_that_another_program_holds_is_told_of(
    machine: Machine, service: Service
) -> None:
    host, port = service.address
    code, steps = doctor(machine, SERVER, f"--remote={host}:{port}")
    assert code == 74
    assert "held by" in broken(steps, "port")


def test_a_transport_that_nobody_offers_is_told_of(machine: Machine) -> None:
    code, steps = doctor(
        machine, "transport=obfs5;exec=obfs4proxy", "--remote=127.0.0.1:9"
    )
    assert code == 69
    assert "cannot offer obfs5" in broken(steps, "start")


def test_what_a_real_pt_logs_is_explained(machine: Machine) -> None:
    """Issue 6, item 1: what answers is no web server that it believes."""
    port = free_port()
    web_server(machine, port)
    code, steps = doctor(
        machine,
        ONLY_LYREBIRD_KNOWS.format(port=port),
        f"--remote=127.0.0.1:{port}",
        f"--exec={path_of('lyrebird')}",
    )
    assert code == 77
    text = broken(steps, "handshake")
    assert "lyrebird: " in text
    assert "speaks no TLS" in text
