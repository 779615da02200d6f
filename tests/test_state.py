"""Where PTs keep their state: real folders, and real processes that hold them."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pt_bridge import state
from pt_bridge.config import Config
from pt_bridge.errors import StateError
from pt_bridge.state import Lock, base, file_below, look, persistent, temporary

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
ADDRESSES = {
    b"SS_REMOTE_HOST": b"0.0.0.0",
    b"SS_REMOTE_PORT": b"8388",
    b"SS_LOCAL_HOST": b"127.0.0.1",
    b"SS_LOCAL_PORT": b"1984",
}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change users")


def config(options: str = "server;transport=obfs4", **flags: str) -> Config:
    variables = {**ADDRESSES, b"SS_PLUGIN_OPTIONS": options.encode()}
    return Config(variables, flags=flags)


def xdg(folder: Path) -> dict[bytes, bytes]:
    return {b"XDG_STATE_HOME": os.fsencode(folder)}


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """What ss-local gives its plugin (FE-15)."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def no_root() -> Iterator[None]:
    """Be an ordinary user for the length of a test."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    yield
    if is_root:
        os.seteuid(0)


# base


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"STATE_DIRECTORY": "/s", "XDG_STATE_HOME": "/x", "HOME": "/h"},
            "/s/pt-bridge",
        ),
        ({"STATE_DIRECTORY": "/s:/t", "HOME": "/h"}, "/s/pt-bridge"),
        ({"STATE_DIRECTORY": "/var/lib/pt-bridge"}, "/var/lib/pt-bridge"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/pt-bridge"),
        ({"STATE_DIRECTORY": "s", "XDG_STATE_HOME": "/x"}, "/x/pt-bridge"),
        ({"XDG_STATE_HOME": "x", "HOME": "/h"}, "/h/.local/state/pt-bridge"),
        ({"HOME": "/h"}, "/h/.local/state/pt-bridge"),
    ],
)
@pytest.mark.usefixtures("no_root")
def test_the_state_directory_is_the_first_that_is_named(
    variables: dict[str, str], expected: str
) -> None:
    """PE-04: by systemd, by the user, by the home; relative ones do not count."""
    assert base({k.encode(): v.encode() for k, v in variables.items()}) == expected


@needs_root
def test_root_keeps_state_where_daemons_do() -> None:
    """PE-04: without HOME surprises; what is named outright comes first."""
    assert base({b"HOME": b"/root"}) == "/var/lib/pt-bridge"
    assert base({}) == "/var/lib/pt-bridge"
    assert base({b"XDG_STATE_HOME": b"/x", b"HOME": b"/h"}) == "/x/pt-bridge"


@pytest.mark.parametrize("home", ["/", "//", "relative"])
@pytest.mark.usefixtures("no_root")
def test_a_home_that_is_none_is_an_error_that_helps(home: str) -> None:
    """PE-04, ER-08: better no server than one whose identity is lost."""
    with pytest.raises(StateError) as caught:
        base({b"HOME": home.encode()})
    assert f"HOME being '{home}'" in str(caught.value)
    assert "'systemctl edit UNIT'" in str(caught.value)
    assert "'StateDirectory=pt-bridge'" in str(caught.value)


@pytest.mark.usefixtures("no_root")
def test_without_home_the_system_is_asked() -> None:
    """FE-15: hosts may give us no HOME."""
    home = pwd.getpwuid(os.geteuid()).pw_dir
    if not home.strip("/"):
        pytest.skip(f"this user's home is {home!r}")
    assert base({}) == f"{home}/.local/state/pt-bridge"


@needs_root
def test_a_user_whom_the_system_does_not_know_has_no_home() -> None:
    """PE-04: containers run with such numbers."""
    os.seteuid(54321)
    try:
        with pytest.raises(StateError, match="HOME being ''"):
            base({})
    finally:
        os.seteuid(0)


def test_a_folder_that_is_not_utf_8_can_be_named() -> None:
    """FE-11."""
    assert os.fsencode(base({b"STATE_DIRECTORY": b"/\xff"})) == b"/\xff/pt-bridge"


# persistent


@pytest.mark.usefixtures("open_umask")
def test_a_server_has_one_private_folder_per_transport_and_port(tmp_path: Path) -> None:
    """PE-03, PE-04, SE-01: 0700 whatever the umask, and so all that was made."""
    folder = persistent(config(), xdg(tmp_path / "not" / "yet"))
    assert folder == str(tmp_path / "not/yet/pt-bridge/obfs4-8388")
    made = [folder, *map(str, Path(folder).parents)]
    for each in made[: made.index(str(tmp_path))]:
        assert mode(each) == 0o700
    assert persistent(config(), xdg(tmp_path / "not" / "yet")) == folder


def test_state_names_a_folder_below(tmp_path: Path) -> None:
    """SE-04: what a link can ask for stays there."""
    own = config("server;transport=obfs4;state=shared//keys")
    folder = persistent(own, xdg(tmp_path))
    assert folder == str(tmp_path / "pt-bridge/shared/keys")
    assert mode(folder) == 0o700
    assert mode(tmp_path / "pt-bridge/shared") == 0o700


def test_the_owner_may_name_any_folder(tmp_path: Path) -> None:
    """SE-04: --state is the owner's own word."""
    wanted = str(tmp_path / "anywhere")
    assert persistent(config(state=wanted), {}) == wanted
    assert mode(wanted) == 0o700


def test_one_may_look_and_leave_nothing(tmp_path: Path) -> None:
    """Issue 6, item 1: doctor leaves nothing behind."""
    for given in (config(), config("server;transport=obfs4;state=a/b")):
        path, is_there = look(given, xdg(tmp_path / "new"))
        assert not is_there
        assert not (tmp_path / "new").exists()
        assert persistent(given, xdg(tmp_path / "new")) == path
        assert look(given, xdg(tmp_path / "new")) == (path, True)
        shutil.rmtree(tmp_path / "new")


def test_who_only_looks_is_told_what_who_makes_would_be(tmp_path: Path) -> None:
    """SE-02, ER-07."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot write the state directory"):
        look(config(), xdg(tmp_path / "file"))
    folder = Path(persistent(config(), xdg(tmp_path)))
    folder.chmod(0o777)
    with pytest.raises(StateError, match="chmod 700"):
        look(config(), xdg(tmp_path))


@pytest.mark.parametrize("place", ["/proc", "/sys"])
def test_where_nothing_can_be_made_a_look_tells(place: str) -> None:
    """ER-07: root's rights do not help there."""
    with pytest.raises(StateError, match="cannot write the state directory"):
        look(config(), {b"XDG_STATE_HOME": place.encode()})


def test_a_folder_that_others_can_only_read_is_good_enough(tmp_path: Path) -> None:
    """SE-02: systemd makes StateDirectory= 0755, and it is not ours to change."""
    (tmp_path / "pt-bridge").mkdir(mode=0o755)
    (tmp_path / "pt-bridge").chmod(0o755)
    persistent(config(), xdg(tmp_path))
    assert mode(tmp_path / "pt-bridge") == 0o755


@pytest.mark.parametrize("bits", [0o770, 0o702, 0o777, 0o1777])
@pytest.mark.parametrize("which", ["pt-bridge", "pt-bridge/obfs4-8388"])
def test_a_folder_that_others_may_write_to_is_refused(
    tmp_path: Path, which: str, bits: int
) -> None:
    """SE-02: they could have put something into it."""
    folder = tmp_path / which
    folder.mkdir(parents=True)
    folder.chmod(bits)
    with pytest.raises(StateError) as caught:
        persistent(config(), xdg(tmp_path))
    assert f"'chmod 700 {folder}'" in str(caught.value)


@pytest.mark.parametrize("which", ["pt-bridge", "pt-bridge/obfs4-8388"])
def test_a_folder_that_is_a_link_is_refused(tmp_path: Path, which: str) -> None:
    """SE-02: wherever it points to."""
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    link = tmp_path / which
    link.parent.mkdir(exist_ok=True, mode=0o700)
    link.symlink_to(target)
    with pytest.raises(StateError, match="is a link or another user's: set STATE"):
        persistent(config(), xdg(tmp_path))


@needs_root
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    """SE-02."""
    folder = tmp_path / "pt-bridge"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(StateError, match="another user's: set STATE"):
        persistent(config(), xdg(tmp_path))


@pytest.mark.parametrize("place", ["/proc/nope", "/dev/null"])
def test_where_nothing_can_be_written_the_error_helps(place: str) -> None:
    """ER-08: the path, the errno's text, and systemd's drop-in."""
    with pytest.raises(StateError) as caught:
        persistent(config(), xdg(Path(place)))
    text = str(caught.value)
    assert text.startswith(f"cannot write the state directory {place}/pt-bridge: ")
    assert "no such file or directory" in text or "not a directory" in text
    assert "'systemctl edit UNIT' and add '[Service]' and 'StateDirectory=" in text


def test_a_file_in_the_place_of_the_folder_is_told_of(tmp_path: Path) -> None:
    """ER-08."""
    (tmp_path / "pt-bridge").touch()
    with pytest.raises(StateError, match=r"pt-bridge: file exists"):
        persistent(config(), xdg(tmp_path))


# temporary

CLIENT = """if True:
    import os, sys
    from pt_bridge.state import temporary
    with temporary({b"TMPDIR": os.fsencode(sys.argv[1])}) as folder:
        print(folder, flush=True)
        input()
"""


@contextlib.contextmanager
def client(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run another pt-bridge's client, which holds a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(parent)],
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
    """Design 2: no temporary file is left behind."""
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
        from pt_bridge.state import temporary
        os.chroot(sys.argv[1])
        try:
            with temporary({}):
                pass
        except StateError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, check=True
    )
    assert b"there is nowhere to make a temporary folder (" in done.stdout


# Lock


def test_a_lock_is_waited_for_until_the_other_one_lets_it_go(tmp_path: Path) -> None:
    """Design 4: two servers may share a folder, but not start at once."""
    first, second = Lock(str(tmp_path)), Lock(str(tmp_path))
    assert first.try_to_take()
    assert first.try_to_take()
    assert not second.try_to_take()
    first.release()
    assert second.try_to_take()
    second.release()


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    """HQ-04: so no stale one can be left."""
    with client(tmp_path) as (child, folder):
        lock = Lock(str(folder))
        assert not lock.try_to_take()
        child.kill()
        child.wait()
        assert lock.try_to_take()
        lock.release()


# write_client_options


@pytest.mark.usefixtures("open_umask")
def test_the_clients_options_are_written_for_our_eyes_only(tmp_path: Path) -> None:
    """SV-06, SE-01: 0600; and what stood there before is told."""
    path, before = state.write_client_options(str(tmp_path), "transport=obfs4;cert=A")
    assert before is None
    assert path == str(tmp_path / "client-options.txt")
    assert Path(path).read_text() == "transport=obfs4;cert=A\n"
    assert mode(path) == 0o600
    _, before = state.write_client_options(str(tmp_path), "transport=obfs4;cert=B")
    assert before == "transport=obfs4;cert=A"
    assert Path(path).read_text() == "transport=obfs4;cert=B\n"
    assert [each.name for each in tmp_path.iterdir()] == ["client-options.txt"]


def test_what_a_crash_left_of_the_file_is_no_trouble(tmp_path: Path) -> None:
    """HQ-04: neither half a new one, nor an old one that is garbage."""
    (tmp_path / "client-options.txt.new").write_text("transport=ob")
    (tmp_path / "client-options.txt").write_bytes(b"\xff\0")
    path, before = state.write_client_options(str(tmp_path), "transport=obfs4")
    assert before is not None
    assert before != "transport=obfs4"
    assert Path(path).read_text() == "transport=obfs4\n"


def test_the_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    """SE-02: what somebody has left there goes; a pipe would block us for ever."""
    target = tmp_path / "target"
    (tmp_path / "client-options.txt.new").symlink_to(target)
    state.write_client_options(str(tmp_path), "transport=obfs4")
    assert not target.exists()
    assert (tmp_path / "client-options.txt").read_text() == "transport=obfs4\n"


# file_below


def test_a_log_file_lies_below_the_state_directory(tmp_path: Path) -> None:
    """SE-04: its folder is made, and is private; the file is the log's to make."""
    path = file_below("logs//client.log", xdg(tmp_path))
    assert path == str(tmp_path / "pt-bridge/log/logs/client.log")
    assert mode(tmp_path / "pt-bridge/log/logs") == 0o700
    assert not os.path.exists(path)
    assert file_below("x.log", xdg(tmp_path)) == str(tmp_path / "pt-bridge/log/x.log")
