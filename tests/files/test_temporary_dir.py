"""A folder for a while, and for one pt-bridge."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pt_bridge.files.state_dir import Lock
from pt_bridge.files.temporary_dir import temporary
from tests.files.test_state_dir import (
    NOBODY,
    mode,
    needs_root,
    open_umask,  # noqa: F401 - a fixture
)
from tests.support.python import printed_by

if TYPE_CHECKING:
    from collections.abc import Iterator


KILLED_CLIENT = """if True:
    import os, sys
    from pt_bridge.files.temporary_dir import temporary
    with temporary({b"TMPDIR": os.fsencode(sys.argv[1])}) as folder:
        print(folder, flush=True)
        input()
"""


@contextlib.contextmanager
def client(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run another pt-bridge's client, which holds a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_CLIENT, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            yield child, Path(child.stdout.readline().strip())
        finally:
            child.kill()


def tmpdir(folder: Path) -> dict[bytes, bytes]:
    return {b"TMPDIR": os.fsencode(folder)}


@pytest.mark.usefixtures("open_umask")
def test_a_temporary_folder_is_private_and_goes_with_its_block(tmp_path: Path) -> None:
    """PE-03, SE-01: with all that the PT put there."""
    with temporary(tmpdir(tmp_path)) as folder:
        assert Path(folder).parent == tmp_path
        assert mode(folder) == 0o700
        (Path(folder) / "pt").mkdir()
        (Path(folder) / "pt" / "state").write_text("secret")
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_goes_whatever_ends_its_block(tmp_path: Path) -> None:
    """No temporary file is left behind."""
    with pytest.raises(KeyboardInterrupt), temporary(tmpdir(tmp_path)):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_already_is_no_trouble(tmp_path: Path) -> None:
    """HQ-04: somebody has cleaned up behind us."""
    with temporary(tmpdir(tmp_path)) as folder:
        Path(folder).rmdir()


def test_the_folder_of_a_client_that_was_killed_is_removed(tmp_path: Path) -> None:
    """HQ-04: hosts kill; the next client cleans up. One that lives keeps its own."""
    with client(tmp_path) as (killed, stale), client(tmp_path) as (_, used):
        killed.kill()
        killed.wait()
        (stale / "file").touch()
        with temporary(tmpdir(tmp_path)) as ours:
            assert not stale.exists()
            assert used.is_dir()
            assert Path(ours).is_dir()


def test_what_only_looks_like_a_stale_folder_is_left_alone(tmp_path: Path) -> None:
    """SE-02: a link, a file, other programs' folders."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "pt-bridge-client-link").symlink_to(elsewhere)
    (tmp_path / "pt-bridge-client-file").touch()
    before = set(tmp_path.iterdir())
    with temporary(tmpdir(tmp_path)):
        pass
    assert set(tmp_path.iterdir()) == before


@needs_root
def test_the_folder_of_another_user_is_left_alone(tmp_path: Path) -> None:
    """SE-02: even where we could remove it."""
    foreign = tmp_path / "pt-bridge-client-foreign"
    foreign.mkdir()
    os.chown(foreign, NOBODY, NOBODY)
    with temporary(tmpdir(tmp_path)):
        pass
    assert foreign.is_dir()


@pytest.mark.parametrize("bad", ["relative", "/proc/nope", "/dev/null", ""])
def test_a_parent_that_is_no_use_is_passed_over(tmp_path: Path, bad: str) -> None:
    """FE-15: the next one is taken; the system's own come last."""
    variables = {b"RUNTIME_DIRECTORY": bad.encode(), **tmpdir(tmp_path)}
    with temporary(variables) as folder:
        assert Path(folder).parent == tmp_path
    with temporary({b"TMPDIR": bad.encode()}) as folder:
        assert folder.startswith("/tmp/")


def test_the_run_time_directory_comes_first(tmp_path: Path) -> None:
    """FE-15: systemd's, then the session's, then TMPDIR."""
    names = [b"RUNTIME_DIRECTORY", b"XDG_RUNTIME_DIR", b"TMPDIR"]
    variables = {}
    for name in reversed(names):
        parent = tmp_path / name.decode()
        parent.mkdir()
        variables[name] = os.fsencode(parent)
        with temporary(variables) as folder:
            assert Path(folder).parent == parent


@needs_root
def test_with_nowhere_to_write_there_is_an_error(tmp_path: Path) -> None:
    """ER-08: a root file system without /tmp."""
    code = """if True:
        import os, sys
        from pt_bridge.errors import StateError
        from pt_bridge.files.temporary_dir import temporary
        os.chroot(sys.argv[1])
        try:
            with temporary({}):
                pass
        except StateError as error:
            print(error)
    """
    said = printed_by(code, tmp_path)
    assert "there is nowhere to make a temporary folder (" in said


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    """HQ-04: so no stale one can be left."""
    with client(tmp_path) as (child, folder):
        lock = Lock(str(folder))
        assert not lock.try_to_take()
        child.kill()
        child.wait()
        assert lock.try_to_take()
        lock.release()
