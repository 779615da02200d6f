"""``pt-bridge doctor`` with real PTs and real hosts, each link broken in turn."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from chaos.remains import descriptors
from integration.support.endpoints import Service, connect, free_port
from integration.support.machine import METHOD, PASSWORD, await_ss_server
from integration.support.programs import LYREBIRD_FOLDER, find, wait_until
from tests.support.child_processes import children

if TYPE_CHECKING:
    from integration.support.machine import Machine
    from integration.support.programs import Program

PTS = ["obfs4proxy", "lyrebird"]
SERVER = "server;transport=obfs4"
OTHER_CERT = "A" * 70  # no server has this one
ONLY_LYREBIRD_KNOWS = "transport=webtunnel;url=https://127.0.0.1:{port}/path"


def doctor(machine: Machine, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Ask as programs do; see that nothing is left; return the code and the steps."""
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
    """Check that the last link is the broken one; return what is said of it."""
    assert [step["verdict"] for step in steps].count("failed") == 1
    assert (steps[-1]["link"], steps[-1]["verdict"]) == (link, "failed"), steps[-1]
    return f"{steps[-1]['text']} {steps[-1]['advice']}"


def path_of(pt: str) -> str:
    return find(pt, path=LYREBIRD_FOLDER if pt == "lyrebird" else None)


def shadowsocks(machine: Machine, port: int) -> tuple[Program, str]:
    """Start ss-server; return it, and what its clients must use."""
    server = machine.ss_server(port, SERVER)
    options = machine.client_options(server)
    await_ss_server(server)
    return server, options


@pytest.mark.parametrize("pt", PTS)
def test_a_byte_comes_back_through_everything(machine: Machine, pt: str) -> None:
    """A whole config.json, through ss-local to a web server."""
    port, web = free_port(), free_port()
    machine.web_server(web)
    _, options = shadowsocks(machine, port)
    code, steps = doctor(
        machine,
        machine.config_json(port, options),
        f"--through=127.0.0.1:{web}",
        f"--exec={path_of(pt)}",
    )
    assert code == 0, steps
    assert [step["link"] for step in steps] == [
        *("options", "program", "state", "start", "server"),
        *("handshake", "session", "answer"),
    ]
    assert {step["verdict"] for step in steps} == {"ok"}
    assert "200 OK" in steps[-1]["text"]
    assert pt in steps[1]["text"]
    assert os.listdir(machine.temporary) == []


@pytest.mark.parametrize("options", [SERVER, f"{SERVER};session=only;front=yes"])
def test_a_server_that_runs_is_well_and_stays_so(
    machine: Machine, service: Service, options: str
) -> None:
    """It is not disturbed by whoever looks at it."""
    port = free_port()
    host, local = service.address
    server = machine.pt_bridge(
        "server",
        options,
        local=service.address,
        remote=("127.0.0.1", port),
    )
    clients = machine.client_options(server)
    lines = len(server.output)
    code, steps = doctor(machine, options, f"--remote=127.0.0.1:{port}")
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
    assert path.read_text().strip() == clients


def test_a_server_that_is_down_is_told_of(machine: Machine) -> None:
    options = f"transport=obfs4;cert={OTHER_CERT};iat-mode=0"
    code, steps = doctor(machine, options, f"--remote=127.0.0.1:{free_port()}")
    assert code == 68
    assert "nothing listens on that port" in broken(steps, "server")


@pytest.mark.waits(62)
def test_a_cert_of_another_server_is_told_of(machine: Machine) -> None:
    """SK-11: it takes the PT a minute."""
    port = free_port()
    shadowsocks(machine, port)
    options = f"transport=obfs4;cert={OTHER_CERT};iat-mode=0"
    code, steps = doctor(machine, options, f"--remote=127.0.0.1:{port}")
    assert code == 77
    text = broken(steps, "handshake")
    assert "another server's" in text
    assert "may be down" not in text  # doctor has seen that it is not


@pytest.mark.waits(20)
@pytest.mark.parametrize("pt", PTS)
def test_in_less_time_it_is_not_proven(machine: Machine, pt: str) -> None:
    """SK-11: the network may be slow."""
    port = free_port()
    shadowsocks(machine, port)
    code, steps = doctor(
        machine,
        f"transport=obfs4;cert={OTHER_CERT};iat-mode=0",
        f"--remote=127.0.0.1:{port}",
        f"--exec={path_of(pt)}",
        "--timeout=20",
    )
    assert code == 67
    assert "not proven within" in broken(steps, "handshake")


def test_another_program_on_the_port_is_told_of(machine: Machine) -> None:
    port = free_port()
    machine.web_server(port)
    options = f"transport=obfs4;cert={OTHER_CERT};iat-mode=0"
    code, steps = doctor(machine, options, f"--remote=127.0.0.1:{port}", "--timeout=20")
    assert code == 77
    text = broken(steps, "handshake")
    assert "the server speaks, but not this transport" in text
    assert "the server's port may be another program's" in text


@pytest.mark.waits
@pytest.mark.parametrize(
    ("pt", "session", "link", "words"),
    [
        ("obfs4proxy", "1", "session", "nothing listens behind it"),
        ("lyrebird", "auto", "session", "nothing listens behind it"),
        # lyrebird passes no end on, so a client without a session sees none.
        ("obfs4proxy", "0", "connection", "the shadowsocks server behind it"),
    ],
)
def test_a_shadowsocks_server_that_is_down_is_told_of(
    machine: Machine, pt: str, session: str, link: str, words: str
) -> None:
    """SK-12: its pt-bridge lets us in, and cannot go on."""
    port = free_port()
    server = machine.pt_bridge(
        "server", SERVER, local=("127.0.0.1", free_port()), remote=("127.0.0.1", port)
    )
    options = machine.client_options(server)
    code, steps = doctor(
        machine,
        options,
        f"--session={session}",
        f"--remote=127.0.0.1:{port}",
        f"--exec={path_of(pt)}",
    )
    assert code == 66
    assert words in broken(steps, link)
    code, steps = doctor(machine, SERVER, f"--remote=127.0.0.1:{port}")
    assert code == 66
    assert "takes no connections" in broken(steps, "shadowsocks")


@pytest.mark.waits
@pytest.mark.parametrize("pt", PTS)
@pytest.mark.parametrize("kind", ["bytes", "nothing"])
def test_nothing_of_a_look_is_left_at_the_server(
    machine: Machine, service: Service, pt: str, kind: str
) -> None:
    """Not in its pt-bridge, and not in its PT; lyrebird keeps what is not ended well.

    Args:
        machine: where everything runs.
        service: shadowsocks's stand-in, which ends when its client has ended.
        pt: the PT on both sides.
        kind: whether something listens behind the server.
    """
    port = free_port()
    local = service.address if kind == "bytes" else ("127.0.0.1", free_port())
    exec_pt = f"--exec={path_of(pt)}"
    server = machine.pt_bridge(
        "server", SERVER, exec_pt, local=local, remote=("127.0.0.1", port)
    )
    options = machine.client_options(server)
    bridge = psutil.Process(server.pid)
    (child,) = children(bridge.pid)

    def sockets() -> list[int]:
        return [descriptors(each)["socket"] for each in (bridge, child)]

    before = sockets()
    doctor(machine, options, f"--remote=127.0.0.1:{port}", exec_pt)
    wait_until(lambda: sockets() == before, "the server to be as it was")


@pytest.mark.waits(15)
@pytest.mark.parametrize(("session", "verdict"), [("auto", "warning"), ("0", "")])
def test_a_server_without_a_session_is_well_all_the_same(
    machine: Machine, session: str, verdict: str
) -> None:
    """A bare PT in front of a bare ss-server."""
    port, web = free_port(), free_port()
    machine.web_server(web)
    options = bare_server(machine, port)
    code, steps = doctor(
        machine,
        machine.config_json(port, f"{options};exec=obfs4proxy"),
        f"--session={session}",
        f"--through=127.0.0.1:{web}",
    )
    assert code == 0, steps
    verdicts = {step["link"]: step["verdict"] for step in steps}
    assert verdicts.get("session", "") == verdict
    assert verdicts["connection"] == verdicts["answer"] == "ok"


@pytest.mark.waits
def test_a_server_without_a_session_is_told_of_where_one_is_asked_for(
    machine: Machine,
) -> None:
    port = free_port()
    options = bare_server(machine, port)
    code, steps = doctor(machine, f"{options};session=1", f"--remote=127.0.0.1:{port}")
    assert code == 66
    assert "that is no pt-bridge with a session" in broken(steps, "session")


def bare_server(machine: Machine, port: int) -> str:
    """Start obfs4proxy with ss-server behind it; return what its clients must use."""
    behind = free_port()
    shadowsocks = machine.start(
        *("ss-server", "-s", "127.0.0.1", "-p", str(behind)),
        *("-k", PASSWORD, "-m", METHOD),
    )
    await_ss_server(shadowsocks)
    state = machine.folder / "bare"
    state.mkdir()
    told = machine.folder / "bare.told"  # its cert is for clients, and for no log
    machine.start(
        *("sh", "-c", f"exec obfs4proxy >{told}"),
        variables={
            **machine.variables(),
            "TOR_PT_MANAGED_TRANSPORT_VER": "1",
            "TOR_PT_STATE_LOCATION": str(state),
            "TOR_PT_SERVER_TRANSPORTS": "obfs4",
            "TOR_PT_SERVER_BINDADDR": f"obfs4-127.0.0.1:{port}",
            "TOR_PT_ORPORT": f"127.0.0.1:{behind}",
        },
    )
    wait_until(
        lambda: told.exists() and "SMETHODS DONE\n" in told.read_text(), "the bare PT"
    )
    arguments = told.read_text().partition("ARGS:")[2].partition("\n")[0]
    return f"transport=obfs4;{arguments.replace(',', ';')}"


@pytest.mark.waits(20)
def test_a_wrong_password_brings_nothing_back(machine: Machine) -> None:
    port, web = free_port(), free_port()
    machine.web_server(web)
    _, options = shadowsocks(machine, port)
    code, steps = doctor(
        machine,
        machine.config_json(port, options, password="of-another-server"),
        f"--through=127.0.0.1:{web}",
        "--timeout=30",
    )
    assert code == 66
    assert "password or method" in broken(steps, "answer")


def test_a_method_that_shadowsocks_does_not_know_is_told_of(machine: Machine) -> None:
    port = free_port()
    _, options = shadowsocks(machine, port)
    code, steps = doctor(
        machine,
        machine.config_json(port, options, method="no-such-cipher"),
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
    """What answers is no web server that it believes."""
    port = free_port()
    machine.web_server(port)
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
