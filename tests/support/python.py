"""A Python of its own for some lines of a test, as what they do is for a process."""

from __future__ import annotations

import subprocess
import sys


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program, given by its text; return how it has ended, and what it wrote."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def printed_by(code: str, *arguments: object) -> str:
    """Run a program that must end well; return what it has printed."""
    done = run_python(code, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
