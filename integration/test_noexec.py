"""Where no program may be run from TMPDIR, from /tmp or from the state directory.

Hardened machines mount these noexec. What is mounted here is seen by the program under
test alone, which has a mount namespace of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from integration.support.endpoints import connect, digest, download, free_port
from integration.support.machine import await_ss_server
from integration.support.pairings import OBFS4PROXY
from integration.support.programs import ROOT, find

if TYPE_CHECKING:
    from integration.support.endpoints import Service
    from integration.support.machine import Machine
    from integration.support.programs import Program

SIZE = 300_000
# Each folder stays what it is, and no program is run from it; those behind "but" are
# within another one, and programs are run from them.
MOUNT = """
flag=noexec
while [ "$1" != -- ]; do
    if [ "$1" = but ]; then
        flag=exec
    else
        mount --bind "$1" "$1" && mount -o "remount,bind,$flag" "$1" || exit 1
    fi
    shift
done
shift
exec "$@"
"""
UNSHARE = ("--mount", "--propagation=private", "sh", "-c", MOUNT, "sh")
EVERYWHERE = ("/tmp", "/var/tmp", "/run")
EXIT_PROGRAM, EXIT_FOLDER = 71, 73
# Where doctor finds no folder that it can start a plugin from: but in HOME it does.
TMPDIR, ALL, ALL_BUT_HOME = "TMPDIR", "all", "all but HOME"


@pytest.fixture(autouse=True)
def _may_mount(tmp_path: os.PathLike[str]) -> None:
    command = ["unshare", *UNSHARE, str(tmp_path), "--", "true"]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount anything")


def start(machine: Machine, folders: tuple[str, ...], *command: str) -> Program:
    """Start a program that may run none from some folders."""
    program = find(command[0])
    return machine.start("unshare", *UNSHARE, *folders, "--", program, *command[1:])


def everywhere() -> tuple[str, ...]:
    """Return all folders for temporary files; what the tests run is none of those."""
    places = [each for each in EVERYWHERE if os.path.isdir(each)]
    return (*places, "but", ROOT)


def side(role: str, options: str, **addresses: tuple[str, int]) -> list[str]:
    flags = [f"--{key}={host}:{port}" for key, (host, port) in addresses.items()]
    return ["pt-bridge", role, f"--plugin-opts={options}", *flags]


def test_both_sides_work_and_the_server_stays_who_it_is(
    machine: Machine, service: Service
) -> None:
    """Their folders are for files alone."""
    folders = tuple(map(str, (machine.folder / "state", machine.temporary)))
    os.mkdir(folders[0])
    local, remote = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
    options = f"transport=obfs4;exec={OBFS4PROXY}"
    lines = []
    for _ in range(2):
        command = side("server", options, local=service.address, remote=remote)
        server = start(machine, folders, *command)
        lines.append(machine.client_options(server))
        if len(lines) == 1:
            server.stop()
    assert lines[0] == lines[1]
    command = side(
        "client", f"{lines[0]};exec={OBFS4PROXY}", local=local, remote=remote
    )
    start(machine, folders, *command).wait_for("ready: ")
    with connect(local) as sock:
        assert download(sock, SIZE) == digest(SIZE)


def test_a_program_that_lies_there_is_told_of_as_what_it_is(machine: Machine) -> None:
    """Its own bits would say that it can be run."""
    folder = machine.folder / "opt"
    folder.mkdir()
    path = shutil.copy(find(OBFS4PROXY), folder)
    place = ("127.0.0.1", 1)
    command = side("server", "transport=obfs4", local=place, remote=place)
    program = start(machine, (str(folder),), *command, f"--exec={path}")
    assert program.wait() == EXIT_PROGRAM
    assert (
        f"{path} is on a file system from which no program may be run" in program.text
    )
    assert "chmod" not in program.text


@pytest.mark.parametrize("where", [TMPDIR, ALL, ALL_BUT_HOME])
def test_doctor_says_what_is_so(machine: Machine, where: str) -> None:
    """It starts shadowsocks with a plugin of its own, which lies in TMPDIR."""
    folders = everywhere() if where != TMPDIR else (str(machine.temporary),)
    if where == ALL_BUT_HOME:
        folders = (*folders, str(machine.folder))
    port = free_port()
    server = machine.ss_server(port, f"server;transport=obfs4;exec={OBFS4PROXY}")
    line = machine.client_options(server)
    await_ss_server(server)
    web = free_port()
    machine.web_server(web)
    path = machine.config_json(port, line)
    command = ("pt-bridge", "doctor", "--json", path, f"--through=127.0.0.1:{web}")
    doctor = start(machine, folders, *command)
    code = doctor.wait()
    steps = [json.loads(line) for line in doctor.stdout.decode().splitlines()]
    last = steps[-1]
    if where == ALL:
        assert code == EXIT_FOLDER
        assert "(all are mounted noexec): set TMPDIR to one from" in last["text"]
    else:
        assert code == 0, steps
        assert "200 OK" in last["text"]
    assert os.listdir(machine.temporary) == []
    assert not list(machine.folder.glob("pt-bridge-client-*"))
