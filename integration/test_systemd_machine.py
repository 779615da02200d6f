"""A machine with a systemd of its own leaves nothing, whoever ends it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from integration.support.programs import ROOT, wait_until
from integration.support.systemd_machine import SystemdMachine

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can boot a machine"
)

BOOT = """if True:
    import sys
    from pathlib import Path
    from integration.support.systemd_machine import SystemdMachine
    machine = SystemdMachine(Path(sys.argv[1]))
    print(machine.pid, flush=True)
    sys.stdin.read()
"""


def test_a_machine_leaves_nothing(tmp_path: Path) -> None:
    """No process, and so no namespace; no mount, control group or descriptor."""
    mounts = Path("/proc/self/mountinfo").read_text()
    descriptors = len(os.listdir("/proc/self/fd"))
    folder = tmp_path / "machine"
    folder.mkdir()
    machine = SystemdMachine(folder)
    try:
        machine.run("systemd-run", "--property=DynamicUser=yes", "sleep", "infinity")
        wait_until(lambda: "sleep" in machine.processes(), "sleep runs")
        processes = all_processes(machine.pid)
        assert {"systemd", "sleep"} <= {process.name() for process in processes}
        groups = control_groups(machine.pid)
        assert groups
    finally:
        machine.close()
    assert not [process for process in processes if process.is_running()]
    assert not [group for group in groups if group.exists()]
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert list(folder.iterdir()) == []


def test_a_machine_goes_with_who_made_it(tmp_path: Path) -> None:
    """Even where the tests are killed."""
    folder = tmp_path / "machine"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", BOOT, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as maker:
        assert maker.stdout is not None
        pid = int(maker.stdout.readline())
        processes = all_processes(pid)
        groups = control_groups(pid)
        maker.kill()
    assert groups
    wait_until(
        lambda: not any(process.is_running() for process in processes),
        "the machine's processes are gone",
    )
    wait_until(
        lambda: not any(group.exists() for group in groups),
        "the machine's control group is gone",
    )


def all_processes(pid: int) -> list[psutil.Process]:
    """Return the processes of a machine, given that of its systemd."""
    systemd = psutil.Process(pid)
    return [systemd, *systemd.children(recursive=True)]


def control_groups(pid: int) -> list[Path]:
    """Return the folders of a machine's control group, wherever they are seen."""
    group = Path(f"/proc/{pid}/cgroup").read_text().split("::")[1].split("/")[1]
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4]) for line in lines if " - cgroup2 " in line]
    return [point / group for point in points if (point / group).exists()]
