"""Where PTs keep their state: real folders, and real processes that hold them."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import StateError
from pt_bridge.files import state_dir
from pt_bridge.files.state_dir import (
    Lock,
    base,
    file_below,
    look,
    persistent,
)
from pt_bridge.options.config import Config
from tests.support import restricted
from tests.support.processes import PLAIN_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Bench

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


# systemd's link


@pytest.fixture
def systemds(tmp_path: Path) -> Path:
    """Create what systemd makes of StateDirectory=pt-bridge for a DynamicUser=."""
    (tmp_path / "private/pt-bridge").mkdir(parents=True, mode=0o700)
    link = tmp_path / "pt-bridge"
    link.symlink_to("private/pt-bridge")
    return link


def by_systemd(folder: Path) -> dict[bytes, bytes]:
    return {b"STATE_DIRECTORY": os.fsencode(folder)}


@needs_root
def test_the_link_that_systemd_made_is_followed(systemds: Path) -> None:
    """PE-04: Debian's shadowsocks-libev.service has a DynamicUser=."""
    behind = systemds.parent / "private/pt-bridge"
    folder = behind / "obfs4-8388"
    assert look(config(), by_systemd(systemds)) == (str(folder), False)
    assert persistent(config(), by_systemd(systemds)) == str(folder)
    assert look(config(), by_systemd(systemds)) == (str(folder), True)
    log = file_below("x.log", by_systemd(systemds))
    assert log == str(behind / "log/x.log")
    assert systemds.is_symlink()


@needs_root
def test_the_link_of_a_unit_of_another_name_is_followed(tmp_path: Path) -> None:
    """PE-04: StateDirectory=shadowsocks-libev-server/NAME."""
    (tmp_path / "private/name").mkdir(parents=True, mode=0o700)
    (tmp_path / "name").symlink_to("private/name")
    folder = tmp_path / "private/name/pt-bridge/obfs4-8388"
    assert persistent(config(), by_systemd(tmp_path / "name")) == str(folder)


@needs_root
def test_what_systemds_link_leads_to_must_be_ours_alone(systemds: Path) -> None:
    """SE-02: it is judged like a folder that is no link."""
    behind = systemds.parent / "private/pt-bridge"
    behind.chmod(0o702)
    # A folder that others may write to is no place for a link, either.
    with pytest.raises(StateError, match="is a link"):
        persistent(config(), by_systemd(systemds))
    behind.chmod(0o1777)
    with pytest.raises(StateError, match=f"others may write to .* {behind}"):
        persistent(config(), by_systemd(systemds))
    behind.chmod(0o700)
    os.chown(behind, NOBODY, NOBODY)
    with pytest.raises(StateError, match="another user's"):
        persistent(config(), by_systemd(systemds))


@needs_root
@pytest.mark.parametrize("whose", ["pt-bridge", "private"])
def test_a_link_that_another_user_could_have_a_say_in_is_refused(
    systemds: Path, whose: str
) -> None:
    """SE-02: the link itself is another's, or a folder on the way."""
    os.chown(systemds.parent / whose, NOBODY, NOBODY, follow_symlinks=False)
    for do in (persistent, look):
        with pytest.raises(StateError, match="is a link or another user's"):
            do(config(), by_systemd(systemds))


@needs_root
def test_a_link_in_a_folder_that_others_may_write_to_is_refused(systemds: Path) -> None:
    """SE-02: they could have put it there, and have root's moved."""
    systemds.parent.chmod(0o777)
    with pytest.raises(StateError, match="is a link or another user's"):
        persistent(config(), by_systemd(systemds))


@needs_root
@pytest.mark.parametrize("target", ["nowhere", "pt-bridge"])
def test_a_link_of_root_that_leads_nowhere_is_refused(
    tmp_path: Path, target: str
) -> None:
    """ER-08: or to itself."""
    (tmp_path / "pt-bridge").symlink_to(target)
    with pytest.raises(StateError, match="cannot write the state directory"):
        persistent(config(), by_systemd(tmp_path / "pt-bridge"))


@needs_root
def test_only_a_link_that_systemd_names_is_followed(systemds: Path) -> None:
    """SE-02: elsewhere root's is refused like any other."""
    with pytest.raises(StateError, match="is a link or another user's"):
        persistent(config(), xdg(systemds.parent))


@pytest.fixture
def users() -> Iterator[Path]:
    """Return an ordinary user's folder, with a link in it that is the user's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "target").mkdir(mode=0o700)
        (folder / "pt-bridge").symlink_to("target")
        for each in (folder, *folder.iterdir()):
            os.chown(each, NOBODY, NOBODY, follow_symlinks=False)
        yield folder


@needs_root
def test_a_users_own_link_is_not_taken_for_systemds(
    users: Path, request: pytest.FixtureRequest
) -> None:
    """SE-02: root makes systemd's."""
    request.getfixturevalue("no_root")
    with pytest.raises(StateError, match="is a link or another user's"):
        persistent(config(), by_systemd(users / "pt-bridge"))


@needs_root
def test_a_users_own_folder_is_found_behind_roots_link(
    users: Path, request: pytest.FixtureRequest
) -> None:
    """PE-04: as it is with a DynamicUser=."""
    os.chown(users / "pt-bridge", 0, 0, follow_symlinks=False)
    request.getfixturevalue("no_root")
    made = persistent(config(), by_systemd(users / "pt-bridge"))
    assert made == str(users / "target/obfs4-8388")


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
    """Doctor leaves nothing behind."""
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


# Lock


def test_a_lock_is_waited_for_until_the_other_one_lets_it_go(tmp_path: Path) -> None:
    """Two servers may share a folder, but not start at once."""
    first, second = Lock(str(tmp_path)), Lock(str(tmp_path))
    assert first.try_to_take()
    assert first.try_to_take()
    assert not second.try_to_take()
    first.release()
    assert second.try_to_take()
    second.release()


# write_client_options


@pytest.mark.usefixtures("open_umask")
def test_the_clients_options_are_written_for_our_eyes_only(tmp_path: Path) -> None:
    """SV-06, SE-01: 0600; and what stood there before is told."""
    path, before = state_dir.write_client_options(
        str(tmp_path), "transport=obfs4;cert=A"
    )
    assert before is None
    assert path == str(tmp_path / "client-options.txt")
    assert Path(path).read_text() == "transport=obfs4;cert=A\n"
    assert mode(path) == 0o600
    _, before = state_dir.write_client_options(str(tmp_path), "transport=obfs4;cert=B")
    assert before == "transport=obfs4;cert=A"
    assert Path(path).read_text() == "transport=obfs4;cert=B\n"
    assert [each.name for each in tmp_path.iterdir()] == ["client-options.txt"]


def test_what_a_crash_left_of_the_file_is_no_trouble(tmp_path: Path) -> None:
    """HQ-04: neither half a new one, nor an old one that is garbage."""
    (tmp_path / "client-options.txt.new").write_text("transport=ob")
    (tmp_path / "client-options.txt").write_bytes(b"\xff\0")
    path, before = state_dir.write_client_options(str(tmp_path), "transport=obfs4")
    assert before is not None
    assert before != "transport=obfs4"
    assert Path(path).read_text() == "transport=obfs4\n"


def test_the_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    """SE-02: what somebody has left there goes; a pipe would block us for ever."""
    target = tmp_path / "target"
    (tmp_path / "client-options.txt.new").symlink_to(target)
    state_dir.write_client_options(str(tmp_path), "transport=obfs4")
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


@pytest.mark.parametrize("lacking", ["flock", "/proc"])
def test_a_client_works_where_the_system_lacks_something(
    bench: Bench, lacking: str
) -> None:
    """SE-02: its folder is made, and goes."""
    before = restricted.without(lacking)
    bench.pt.play("say VERSION 1", "client", "say CMETHODS DONE")
    listener = bench.listen()
    program = bench.client(
        target=listener.getsockname(), options=PLAIN_OPTIONS, before=before
    )
    program.said("ready:")
    near = bench.connect(bench.port)
    bench.carried(near, listener)
    bench.stop(program)
    assert not bench.pt.state.exists()


def test_client_options_that_are_right_need_no_room(tmp_path: Path) -> None:
    """The disk may be full by the time that a PT is started again."""
    path, _ = state_dir.write_client_options(str(tmp_path), "transport=obfs4;cert=A")
    (tmp_path / "client-options.txt.new").mkdir()  # so that nothing can be written
    again = state_dir.write_client_options(str(tmp_path), "transport=obfs4;cert=A")
    assert again == (path, "transport=obfs4;cert=A")
    with pytest.raises(StateError):
        state_dir.write_client_options(str(tmp_path), "transport=obfs4;cert=B")
