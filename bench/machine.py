"""Where it was measured, and what: the machine, and the versions of all programs."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path

from bench.contestants import ROOT, VENVS
from bench.processes import Unavailable, find

# Above this, something else has the CPUs, and the numbers are noise.
QUIET_LOAD = 0.5


def facts() -> dict[str, str]:
    """Return what the report states, each by its name."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "congestion control": _congestion_control(),
        "load before": load(),
        "python": platform.python_version(),
        "pt-bridge": _commit(),
        "HAProxy": _version("haproxy", "-v", 2),
        "ptadapter": _installed("ptadapter"),
        "obfs4proxy": _version("obfs4proxy", "-version", 0).removeprefix("obfs4proxy-"),
        "socat": _version("socat", "-V", -1, "socat version "),
    }


def load() -> str:
    """Return the load of the last minute, and of the last five."""
    return "{:.2f} and {:.2f}".format(*os.getloadavg()[:2])


def is_busy() -> bool:
    """Return whether something else runs, or did a moment ago."""
    return max(os.getloadavg()[:2]) > QUIET_LOAD


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _congestion_control() -> str:
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


def _commit() -> str:
    commit = _output("git", "rev-parse", "--short", "HEAD").strip()
    changed = _output("git", "status", "--porcelain", "pt_bridge").strip()
    return f"{commit or 'unknown'}{' with changes' if changed else ''}"


def _installed(package: str) -> str:
    pattern = f"{package}/lib/python*/site-packages/{package}-*.dist-info"
    for path in VENVS.glob(pattern):
        return path.name.removeprefix(f"{package}-").removesuffix(".dist-info")
    return "unknown"


def _version(program: str, flag: str, word: int, after: str = "") -> str:
    """Return a word of what a program says about itself.

    Args:
        program: its name.
        flag: what makes it say so.
        word: which word, or -1 for the one that follows `after`.
        after: what stands before the version.
    """
    text = _output(program, flag)
    words = text.partition(after)[2].split() if word < 0 else text.split()
    return words[max(word, 0)] if len(words) > word else "unknown"


def _output(program: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [find(program), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=10,
            cwd=ROOT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, Unavailable):
        return ""
    return done.stdout if done.returncode == 0 else ""
