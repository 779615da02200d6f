"""The Debian package, built and used as it lies on a machine without the network."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from integration.support.programs import ROOT, USUAL_FOLDERS, find
from pt_bridge import __version__

if TYPE_CHECKING:
    from pathlib import Path

# dpkg-buildpackage, lintian and pip (seconds).
BUILD_DEADLINE = 300.0
RUN_DEADLINE = 60.0
FOLDERS = ":".join((*USUAL_FOLDERS, "/usr/sbin", "/sbin"))
CONFIGURATION = (
    '{"server": "192.0.2.1", "server_port": 1, "method": "none", password: "x"}'
)


@pytest.fixture(scope="module")
def package() -> str:
    """Build it; lintian finds nothing that it warns of."""
    done = subprocess.run(
        [f"{ROOT}/scripts/package"],
        capture_output=True,
        text=True,
        timeout=BUILD_DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return f"{ROOT}/dist/pt-bridge_{__version__}_all.deb"


def shell(script: str, **variables: str) -> str:
    """Run a script without a network, with mounts that are its own."""
    done = subprocess.run(
        [find("unshare"), "--mount", "--net", "sh", "-ec", script],
        env={"PATH": FOLDERS, "LANG": "C.UTF-8", **variables},
        capture_output=True,
        text=True,
        timeout=RUN_DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_the_package_runs_from_where_it_is_installed(
    package: str, tmp_path: Path
) -> None:
    """Its libraries, its units and its manual page are in their places."""
    said = shell(
        """
        dpkg -x "$PACKAGE" "$FOLDER"
        mount -t overlay overlay -o lowerdir="$FOLDER/usr:/usr" /usr
        cd /
        pt-bridge --version
        pt-bridge convert "$CONFIGURATION" --to link
        man --where pt-bridge
        /usr/bin/python3 -c 'import sys; sys.path.insert(0, "/usr/lib/pt-bridge")
        import json5, python_socks, psutil, pt_bridge.net.upstream
        print(pt_bridge.__file__)'
        """.replace("\n        import", "\nimport").replace(
            "\n        print", "\nprint"
        ),
        PACKAGE=package,
        FOLDER=str(tmp_path),
        CONFIGURATION=CONFIGURATION,
    )
    assert said.split() == [
        "pt-bridge",
        __version__,
        "ss://bm9uZTp4@192.0.2.1:1",
        "/usr/share/man/man1/pt-bridge.1.gz",
        "/usr/lib/pt-bridge/pt_bridge/__init__.py",
    ]
    units = {path.name for path in (tmp_path / "lib/systemd/system").iterdir()}
    assert units == set(os.listdir(f"{ROOT}/systemd"))


def test_the_package_needs_only_what_debian_has(package: str) -> None:
    """Pip and the network are for who builds it."""
    done = subprocess.run(
        [find("dpkg-deb"), "--field", package, "Depends"],
        capture_output=True,
        text=True,
        timeout=RUN_DEADLINE,
        check=True,
    )
    names = {each.split()[0].removesuffix(":any") for each in done.stdout.split(",")}
    assert names == {"python3", "python3-psutil"}
