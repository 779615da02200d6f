"""What the units in ``systemd/`` say: systemd understands it, and it fits pt-bridge.

`test_real_systemd.py` starts them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from integration.support.programs import DEADLINE, ROOT, find
from pt_bridge import errors
from pt_bridge.options.own_options import OPTIONS

ANALYZE = "systemd-analyze"
UNITS = Path(ROOT, "systemd")
OURS = [f"pt-bridge-{role}@.service" for role in ("client", "server")]
DROP_INS = sorted(path.parent.name for path in UNITS.glob("*.d/pt-bridge.conf"))
DEBIANS = Path("/lib/systemd/system")

pytestmark = pytest.mark.skipif(
    shutil.which(ANALYZE) is None, reason="systemd's own programs are not installed"
)


def _setting(role: str, key: str) -> str:
    """Return the value of a key that one of our units has once."""
    text = (UNITS / f"pt-bridge-{role}@.service").read_text()
    (value,) = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    return str(value)


def _verify(folder: Path, unit: str) -> str:
    """Return what systemd says of a unit: nothing, or it is wrong."""
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", "--recursive-errors=no", str(folder / unit)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    complaints = done.stdout + done.stderr
    assert (done.returncode == 0) == (not complaints), complaints
    return complaints


def _installed(folder: Path, unit: str) -> Path:
    """Install a unit, or Debian's with our drop-in; return the file that is ours."""
    if unit in OURS:
        text = (UNITS / unit).read_text()
        # systemd looks for it in its own PATH, where it need not be here.
        text = text.replace("ExecStart=pt-bridge ", f"ExecStart={find('pt-bridge')} ")
        (folder / unit).write_text(text)
        return folder / unit
    if not (DEBIANS / unit).exists():
        pytest.skip("Debian's shadowsocks-libev is not installed")
    shutil.copyfile(DEBIANS / unit, folder / unit)
    shutil.copytree(UNITS / f"{unit}.d", folder / f"{unit}.d")
    return folder / f"{unit}.d" / "pt-bridge.conf"


@pytest.mark.parametrize("unit", [*OURS, *(name[:-2] for name in DROP_INS)])
def test_systemd_understands_every_line_of(tmp_path: Path, unit: str) -> None:
    """What it does not understand, it leaves out with a warning."""
    ours = _installed(tmp_path, unit)
    assert _verify(tmp_path, unit) == ""
    # It has read what is ours, too: its silence means something.
    ours.write_text(ours.read_text().replace("LimitNOFILE=", "LimitNOFILE=many"))
    assert "Failed to parse resource value" in _verify(tmp_path, unit)


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_unit_is_not_restarted_for_what_its_owner_must_mend(role: str) -> None:
    """Nor is it given up for what may pass."""
    for_the_owner: set[type[errors.ConfigError] | type[errors.TransportError]] = {
        errors.UsageError,
        errors.OptionsError,
        errors.NotOffered,
        errors.ProxyRefused,
        errors.OwnerFileError,
    }
    given = _setting(role, "RestartPreventExitStatus").split()
    assert {int(code) for code in given} == {each.exit_code for each in for_the_owner}


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_unit_waits_longer_than_pt_bridge_does(role: str) -> None:
    """Else systemd would kill what was about to say why it is late."""
    default = re.search(r"\((\d+)\)", OPTIONS["start-timeout"].meaning)
    assert default
    assert int(_setting(role, "TimeoutStartSec")) > int(default[1])
