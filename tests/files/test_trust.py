"""Who could have changed a file: real owners, modes, links, users and namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pt_bridge.files import trust
from pt_bridge.files.trust import unsafe_because
from tests.support.processes import NOBODY, as_ordinary_user

if TYPE_CHECKING:
    from collections.abc import Sequence

SOMEBODY = 1  # a user that the tests never run as, and a group
CODE = (
    "import sys; from pt_bridge.files import trust; "
    "print(end=trust.unsafe_because(sys.argv[1]))"
)

PYTHON = "/usr/bin/python3"

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root gives a file to another user"
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A file a/b/file of ours, that nobody else may change."""
    path = tmp_path / "a/b/file"
    path.parent.mkdir(parents=True)
    path.write_text("x")
    for each in (path.parent.parent, path.parent):
        each.chmod(0o755)
    path.chmod(0o644)
    return path


def flaw_for(before: Sequence[str], path: object) -> str:
    """Ask another process, which runs behind some command."""
    command = [*before, sys.executable, "-c", CODE, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_what_is_ours_alone_has_no_flaw(place: Path) -> None:
    assert unsafe_because(str(place)) == ""
    assert unsafe_because(f"{place.parent}/./../b//file") == ""
    assert unsafe_because(str(place.parent)) == ""


def test_what_the_system_has_installed_has_no_flaw() -> None:
    """Debian's alternatives among it: links out of /usr/bin, to /etc and back."""
    assert unsafe_because("/usr/bin/env") == ""
    links = [
        entry.path
        for entry in os.scandir("/usr/bin")
        if entry.is_symlink() and os.path.exists(entry.path)
    ]
    assert any(os.readlink(link).startswith("/etc/alternatives/") for link in links)
    assert [why for link in links if (why := unsafe_because(link))] == []


@pytest.mark.parametrize(
    ("bits", "who"), [(0o020, "g"), (0o002, "o"), (0o022, "go"), (0o7022, "go")]
)
@pytest.mark.parametrize("part", ["a/b/file", "a/b", "a"])
def test_what_others_may_write_is_named_with_the_chmod_that_helps(
    place: Path, part: str, bits: int, who: str
) -> None:
    step = place.parents[2] / part
    if step.is_dir():
        bits &= ~0o1000  # the sticky bit is another matter
    step.chmod(step.stat().st_mode | bits)
    assert unsafe_because(str(place)) == (
        f"others may write to {step}: run 'chmod {who}-w {step}'"
    )
    subprocess.run(["/bin/chmod", f"{who}-w", step], check=True)
    assert unsafe_because(str(place)) == ""


def test_in_a_sticky_folder_only_the_owner_changes_what_is_his(place: Path) -> None:
    """/tmp; and /nix/store, which a group may write."""
    place.parent.chmod(0o1777)
    assert unsafe_because(str(place)) == ""


@needs_root
@pytest.mark.parametrize("part", ["a/b/file", "a/b", "a"])
def test_what_belongs_to_somebody_else_is_named_with_the_chown_that_helps(
    place: Path, part: str
) -> None:
    """Also where its mode lets nobody write: its owner may change that."""
    step = place.parents[2] / part
    os.chown(step, SOMEBODY, 0)
    assert unsafe_because(str(place)) == (
        f"{step} belongs to another user ({SOMEBODY}): have root run 'chown root "
        f"{step}', or put it elsewhere"
    )
    subprocess.run(["/bin/chown", "root", step], check=True)
    assert unsafe_because(str(place)) == ""


@needs_root
def test_a_strangers_file_in_a_sticky_folder_is_a_strangers(place: Path) -> None:
    """Everybody may put one there."""
    place.parent.chmod(0o1777)
    os.chown(place, SOMEBODY, 0)
    assert unsafe_because(str(place)).startswith(f"{place} belongs to another user")


@needs_root
def test_to_an_ordinary_user_what_is_his_and_roots_has_no_flaw(place: Path) -> None:
    """A PT in his home; what another ordinary user has is a stranger's."""
    assert flaw_for(as_ordinary_user(), place) == ""
    for step in (place.parent, place):
        os.chown(step, NOBODY, NOBODY)
    assert flaw_for(as_ordinary_user(), place) == ""
    os.chown(place.parent, SOMEBODY, SOMEBODY)
    assert flaw_for(as_ordinary_user(), place).startswith(f"{place.parent} belongs to")
    # And root does not run what a user has.
    assert unsafe_because(str(place)).startswith(
        f"{place.parent} belongs to another user"
    )


# -- links -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["a/b/file", "./a/../a/b/file", "{}/a/b/file", "second", "folder/file"]
)
def test_a_link_is_followed(place: Path, target: str) -> None:
    """Relative, absolute, by way of another one, with a folder that is one."""
    folder = place.parents[2]
    (folder / "second").symlink_to("a/b/file")
    (folder / "folder").symlink_to(folder / "a/b")
    link = folder / "link"
    link.symlink_to(target.format(folder))
    assert unsafe_because(str(link)) == ""
    place.parent.chmod(0o777)
    assert unsafe_because(str(link)).startswith(f"others may write to {place.parent}: ")
    place.parent.chmod(0o755)
    place.chmod(0o666)
    assert unsafe_because(str(link)).startswith(f"others may write to {place}: ")


def test_a_way_back_is_seen_as_the_kernel_goes_it(place: Path, tmp_path: Path) -> None:
    """`..` behind a link leads above what it leads to, not above the link."""
    elsewhere = tmp_path / "elsewhere/deep"
    elsewhere.mkdir(parents=True)
    (elsewhere.parent / "file").write_text("x")
    (place.parent / "link").symlink_to(elsewhere)
    path = f"{place.parent}/link/../file"
    assert unsafe_because(path) == ""
    elsewhere.parent.chmod(0o777)
    assert unsafe_because(path).startswith(f"others may write to {elsewhere.parent}: ")


def test_the_folders_that_only_hold_a_link_count(place: Path, tmp_path: Path) -> None:
    """Whoever may write there can put another link in its place."""
    links = tmp_path / "links"
    links.mkdir()
    (links / "pt").symlink_to(place)
    assert unsafe_because(str(links / "pt")) == ""
    links.chmod(0o777)
    assert unsafe_because(str(links / "pt")) == (
        f"others may write to {links}: run 'chmod go-w {links}'"
    )


@needs_root
def test_a_strangers_link_is_a_strangers_wherever_it_leads(place: Path) -> None:
    """In /tmp; he can make it anew."""
    place.parent.chmod(0o1777)
    link = place.parent / "link"
    link.symlink_to("/usr/bin/env")
    os.chown(link, SOMEBODY, 0, follow_symlinks=False)
    assert unsafe_because(str(link)).endswith(
        f"have root run 'chown -h root {link}', or put it elsewhere"
    )


def test_links_that_lead_to_each_other_are_a_flaw(tmp_path: Path) -> None:
    for name, target in (("one", "two"), ("two", "one")):
        (tmp_path / name).symlink_to(target)
    path = tmp_path / "one"
    assert unsafe_because(str(path)) == (
        f"{path} cannot be looked at: Too many levels of symbolic links"
    )


@pytest.mark.parametrize(
    ("path", "why"),
    [("a/b/nothing", "No such file or directory"), ("a/b/file/x", "Not a directory")],
)
def test_what_is_not_there_is_a_flaw(place: Path, path: str, why: str) -> None:
    missing = place.parents[2] / path
    assert unsafe_because(str(missing)) == f"{missing} cannot be looked at: {why}"


# -- other systems ---------------------------------------------------------------------


@needs_root
def test_androids_own_user_and_group_are_as_good_as_root(place: Path) -> None:
    """Termux: what is an app's lies below /data/data, which is system's (1000)."""
    folder = place.parent.parent
    os.chown(folder, 1000, 1000)
    folder.chmod(0o771)
    assert unsafe_because(str(place), system=frozenset({1000})) == ""
    assert unsafe_because(str(place)) != ""
    folder.chmod(0o777)
    assert unsafe_because(str(place), system=frozenset({1000})) == (
        f"others may write to {folder}: run 'chmod o-w {folder}'"
    )


def test_where_root_is_in_another_user_namespace_its_files_are_still_its_own() -> None:
    """A sandbox that knows one user: all other owners look alike there."""
    # No capability goes along, and the Python that runs the tests may be root's alone.
    inside = [*as_ordinary_user(), "unshare", "--user", "--map-user=1000"]
    probe = subprocess.run([*inside, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"user namespaces are not allowed here: {probe.stderr!r}")
    source = Path(trust.__file__).read_text(encoding="utf-8")
    ids = (
        "print(os.geteuid(), os.stat('/').st_uid, unsafe_because('/usr/bin/env'), "
        "sep='|')"
    )
    done = subprocess.run(
        [*inside, PYTHON, "-c", f"{source}\n{ids}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    us, root, why = done.stdout.strip().split("|")
    assert us == "1000"
    assert root not in ("0", "1000")
    assert why == ""
