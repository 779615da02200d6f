"""What kills a plugin when we have died: real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pt_bridge.plugin.guard import Guard, is_needed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def plugin() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that leads a group of its own, and would go on for ever."""
    with subprocess.Popen(
        ["/bin/sh", "-c", "trap '' HUP INT TERM; sleep 1000 & wait"], process_group=0
    ) as process:
        yield process
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_it_kills_the_group_when_we_have_died(plugin: subprocess.Popen[bytes]) -> None:
    """LC-03: by SIGKILL, which nobody can answer."""
    code = f"""if True:
        import os, signal
        from pt_bridge.plugin.guard import Guard
        with Guard({plugin.pid}):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert plugin.wait(60) == -signal.SIGKILL


def test_it_kills_nobody_when_its_block_ends(plugin: subprocess.Popen[bytes]) -> None:
    with Guard(plugin.pid) as guard:
        shell = guard._shell
        assert shell.poll() is None
    assert shell.returncode == -signal.SIGKILL
    assert plugin.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_it_is_needed_for_what_the_kernel_lets_outlive_us(tmp_path: Path) -> None:
    """Not for root, whom such files give nothing."""
    tmp_path.chmod(0o755)
    for folder in list(tmp_path.parents)[:-2]:
        folder.chmod(folder.stat().st_mode | 0o111)
    plain, with_rights, of_a_group = (tmp_path / name for name in "abc")
    for each in (plain, with_rights, of_a_group):
        shutil.copy("/bin/true", each)
    # capabilities(7): version 2, effective, CAP_NET_BIND_SERVICE.
    rights = bytes.fromhex("0100000200040000" + "00" * 12)
    os.setxattr(with_rights, "security.capability", rights)
    of_a_group.chmod(0o2755)
    paths = [plain, with_rights, of_a_group, tmp_path / "missing"]
    assert not any(is_needed(str(each)) for each in paths)
    os.seteuid(65534)
    try:
        needed = [is_needed(str(each)) for each in paths]
    finally:
        os.seteuid(0)
    assert needed == [False, True, True, False]
