"""Where the PT's executable is looked for: real files in real folders."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pt_bridge.errors import ProgramError
from pt_bridge.files.executable import (
    USUAL_FOLDERS,
    explain,
    find,
    package,
    search_path,
)

NAME, OTHER = "pt-bridge-test-pt", "pt-bridge-test-other"


def executable(folder: Path, name: str = NAME, *, bits: int = 0o755) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(bits)
    return str(path)


def path_of(*folders: object) -> dict[bytes, bytes]:
    return {b"PATH": os.fsencode(os.pathsep.join(map(str, folders)))}


def test_folders_are_searched_in_the_order_of_path(tmp_path: Path) -> None:
    """SE-03."""
    first = executable(tmp_path / "a")
    executable(tmp_path / "b")
    folders = path_of(tmp_path / "empty", tmp_path / "a", tmp_path / "b")
    assert find([NAME], folders, "/").path == first


def test_the_preferred_name_comes_before_the_first_folder(tmp_path: Path) -> None:
    """SE-03: obfs4proxy, wherever it is, before lyrebird."""
    executable(tmp_path / "a", OTHER)
    preferred = executable(tmp_path / "b", NAME)
    folders = path_of(tmp_path / "a", tmp_path / "b")
    assert find([NAME, OTHER], folders, "/").path == preferred
    os.unlink(preferred)
    assert find([NAME, OTHER], folders, "/").path == str(tmp_path / "a" / OTHER)


@pytest.mark.parametrize(
    ("path", "here", "searched"),
    [
        ("/here:/usr/bin", "/here", ["/usr/bin"]),
        ("/:/usr/bin", "/", ["/usr/bin"]),
        ("/here", "/here", []),
        ("/usr/bin:/here", "/here", ["/usr/bin"]),
        ("/here:/here/:/here/./:/bin", "/here", ["/bin"]),
        ("/elsewhere:/usr/bin", "/here", ["/elsewhere", "/usr/bin"]),
        (":bin:./x:../y:/bin:", "/here", ["/bin"]),
        ("", "/here", []),
    ],
)
def test_the_working_directory_in_front_of_path_is_not_believed(
    path: str, here: str, searched: list[str]
) -> None:
    """SE-03: shadowsocks-libev puts it there; relative entries mean the same."""
    assert search_path({b"PATH": path.encode()}, here) == searched


def test_a_program_in_the_working_directory_is_not_run(tmp_path: Path) -> None:
    """SE-03: whoever may write there would be us."""
    executable(tmp_path)
    with pytest.raises(ProgramError):
        find([NAME], path_of(tmp_path, ".", ""), str(tmp_path))


def test_the_working_directory_is_known_under_any_name(tmp_path: Path) -> None:
    """SE-03: by a link, by /proc, by a way back, by a name with a link in it."""
    here = tmp_path / "here"
    executable(here)
    (tmp_path / "link").symlink_to(here)
    (tmp_path / "up").symlink_to(tmp_path)
    descriptor = os.open(here, os.O_RDONLY)
    try:
        names = [
            tmp_path / "link",
            f"{here}/../here//.",
            tmp_path / "up/up/here",
            f"/proc/self/fd/{descriptor}",
        ]
        assert search_path(path_of(*names, "/bin"), str(here)) == ["/bin"]
        with pytest.raises(ProgramError, match="there is no program"):
            find([NAME], path_of(*names), str(tmp_path / "link"))
    finally:
        os.close(descriptor)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a folder elsewhere")
def test_the_working_directory_is_known_where_it_is_mounted_twice(
    tmp_path: Path,
) -> None:
    """SE-03: nothing in its path tells."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    code = (
        "import sys; from pt_bridge.files.executable import search_path; "
        "print(search_path({b'PATH': sys.argv[2].encode() + b':/bin'}, sys.argv[1]))"
    )
    script = 'mount --bind "$1" "$2" && exec "$0" -c "$3" "$1" "$2"'
    command = ["unshare", "--mount", "/bin/sh", "-c", script, sys.executable]
    mounted = [*command[:4], 'mount --bind "$1" "$2"', "", str(here), str(there)]
    probe = subprocess.run(mounted, capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"nothing can be mounted here: {probe.stderr}")
    done = subprocess.run(
        [*command, str(here), str(there), code],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout == "['/bin']\n"


def test_without_path_the_usual_folders_are_searched() -> None:
    """FE-15: trojan-go gives us none."""
    found = find(["sh"], {}, "/").path
    assert os.path.dirname(found) in USUAL_FOLDERS
    assert os.access(found, os.X_OK)


def test_tor_browser_at_home_is_searched_last(tmp_path: Path) -> None:
    """SE-03: it brings its own PTs."""
    pts = "tor-browser/Browser/TorBrowser/Tor/PluggableTransports"
    path = executable(tmp_path / pts)
    assert find([NAME], {b"HOME": os.fsencode(tmp_path)}, "/").path == path
    with pytest.raises(ProgramError):
        find([NAME], {b"HOME": b"relative"}, "/")


def test_the_owner_may_name_a_path(tmp_path: Path) -> None:
    """SE-03: PATH is not asked; relative to where the owner stands."""
    path = executable(tmp_path / "bin")
    assert find([path], {}, "/").path == path
    assert find([f"bin/{NAME}"], {}, str(tmp_path)).path == path
    assert (
        find([f"./{NAME}"], {}, str(tmp_path / "bin")).path
        == f"{tmp_path}/bin/./{NAME}"
    )


@pytest.mark.parametrize("bits", [0o644, 0o600, 0o000])
def test_a_file_that_may_not_be_executed_is_told_of(tmp_path: Path, bits: int) -> None:
    """ER-07: what to do, by its path."""
    path = executable(tmp_path, bits=bits)
    for names, variables in (([NAME], path_of(tmp_path)), ([path], {})):
        with pytest.raises(ProgramError) as caught:
            find(names, variables, "/")
        assert str(caught.value).startswith(f"{path} is not executable by this user")
        assert f"'chmod +x {path}'" in str(caught.value)


def test_a_file_that_may_be_executed_comes_before_one_that_may_not(
    tmp_path: Path,
) -> None:
    """ER-07: further down in PATH, too."""
    executable(tmp_path / "a", bits=0o644)
    path = executable(tmp_path / "b")
    assert find([NAME], path_of(tmp_path / "a", tmp_path / "b"), "/").path == path


def test_a_folder_of_that_name_is_no_program(tmp_path: Path) -> None:
    """ER-07."""
    (tmp_path / NAME).mkdir()
    with pytest.raises(ProgramError, match="there is no program"):
        find([NAME], path_of(tmp_path), "/")


def test_where_nothing_is_found_all_that_was_tried_is_listed(tmp_path: Path) -> None:
    """ER-07, LC-02: names and folders, each once, and what to install."""
    variables = {**path_of(tmp_path, "/usr/bin"), b"HOME": b"/home/me"}
    with pytest.raises(ProgramError) as caught:
        find([NAME, OTHER], variables, "/")
    text = str(caught.value)
    folders = text.partition("looked in ")[2].rstrip(")").split(", ")
    assert folders[:2] == [str(tmp_path), "/usr/bin"]
    assert set(folders) > set(USUAL_FOLDERS)
    assert len(set(folders)) == len(folders)
    assert any(each.startswith("/home/me/tor-browser/") for each in folders)
    assert text.startswith(f"there is no program {NAME} or {OTHER}: is it installed? (")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("conjure-client", "install conjure-client (not in Debian 12; later"),
        ("lyrbird", "there is no program lyrbird: did you mean 'lyrebird'? (looked"),
    ],
)
def test_no_package_is_made_up_for_a_name_that_we_do_not_know(
    tmp_path: Path, name: str, words: str
) -> None:
    """ER-07: the flag --exec takes any name, a misspelt one, too."""
    with pytest.raises(ProgramError) as caught:
        find([name], path_of(tmp_path), "/")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("names", "where"),
    [
        (["lyrebird", "obfs4proxy"], "Debian: apt install obfs4proxy"),
        (["snowflake-client", "lyrebird"], "Debian: apt install snowflake-client"),
        (
            ["webtunnel-server"],
            "not in Debian 12; later, perhaps: apt install webtunnel",
        ),
        ([NAME], f"not in Debian 12; later, perhaps: apt install {NAME}"),
    ],
)
def test_it_is_said_where_to_get_a_program(names: list[str], where: str) -> None:
    """ER-07: one that can be had, under the name that its package has."""
    assert package(names) == where


def test_a_path_of_the_owners_that_leads_nowhere_is_named() -> None:
    """ER-07: there is no package for it."""
    with pytest.raises(ProgramError) as caught:
        find(["/nowhere/obfs4proxy"], {}, "/")
    assert str(caught.value) == "there is no PT program /nowhere/obfs4proxy"


# -- what others could have put there --------------------------------------------------


@pytest.mark.parametrize("which", [NAME, "."])
def test_a_program_that_others_may_write_is_not_run(tmp_path: Path, which: str) -> None:
    """Nor one in a folder where they could put another one in its place."""
    path = executable(tmp_path / "a")
    step = tmp_path / "a" if which == "." else Path(path)
    step.chmod(0o777)
    sentence = (
        f"{path} is not run, since others may write to {step}: run 'chmod go-w {step}'"
    )
    for names, variables, whence in (
        ([NAME], path_of(tmp_path / "a"), ""),
        ([path], {}, "/etc/pt-bridge.conf, line 1"),
    ):
        with pytest.raises(ProgramError) as caught:
            find(names, variables, "/", whence)
        assert str(caught.value) == sentence
    # The owner's word of this moment: it is his to choose.
    assert find([path], {}, "/").path == path


def test_another_one_is_run_in_its_place_and_that_is_said(tmp_path: Path) -> None:
    """Whoever may write to a folder of PATH must not stop us either."""
    (tmp_path / "a").mkdir()
    bad = executable(tmp_path / "a")
    (tmp_path / "a").chmod(0o777)
    good = executable(tmp_path / "b")
    found = find([NAME], path_of(tmp_path / "a", tmp_path / "b"), "/")
    assert found.path == good
    (sentence,) = found.passed_over
    assert sentence.startswith(f"{bad} is not run, since others may write")
    found = find([NAME], path_of(tmp_path / "b", tmp_path / "a"), "/")
    assert found == (good, [])


def test_a_link_to_what_others_may_write_is_not_run(tmp_path: Path) -> None:
    """As Debian's alternatives have links, wherever they lead."""
    path = executable(tmp_path / "real")
    for folder in ("bin", "alternatives"):
        (tmp_path / folder).mkdir()
    (tmp_path / "alternatives" / NAME).symlink_to(path)
    link = tmp_path / "bin" / NAME
    link.symlink_to(f"../alternatives/{NAME}")
    assert find([NAME], path_of(tmp_path / "bin"), "/").path == str(link)
    for folder in ("real", "alternatives"):
        (tmp_path / folder).chmod(0o775)
        with pytest.raises(ProgramError, match=f"others may write to .*/{folder}: run"):
            find([NAME], path_of(tmp_path / "bin"), "/")
        (tmp_path / folder).chmod(0o755)


def test_a_path_that_is_named_and_leads_nowhere_says_who_names_it() -> None:
    """ER-07: that is where it can be mended."""
    with pytest.raises(ProgramError) as caught:
        find(["/nowhere/pt"], {}, "/", "/etc/pt-bridge.conf, line 7")
    assert str(caught.value) == (
        "there is no PT program /nowhere/pt, which /etc/pt-bridge.conf, line 7 names"
    )


# -- what the system says --------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, ["permission denied", "AppArmor", "noexec"]),
        (errno.EPERM, ["operation not permitted", "AppArmor", "sandbox"]),
        (errno.ENOENT, ["no such file or directory", "for another machine"]),
        (errno.ENOEXEC, ["exec format error", "for another machine"]),
    ],
)
def test_why_the_system_did_not_start_it_is_told(number: int, words: list[str]) -> None:
    """ER-07: the path, the errno's text, and what it may mean."""
    text = str(explain("/opt/pt", OSError(number, "x")))
    assert text.startswith("cannot start /opt/pt: ")
    assert all(word in text for word in words)


def test_other_trouble_is_told_in_the_systems_words() -> None:
    """ER-07."""
    text = str(explain("/opt/pt", OSError(errno.ENOMEM, "x")))
    assert text == "cannot start /opt/pt: cannot allocate memory"


@pytest.mark.parametrize("content", ["not a program", "#!/nowhere/interpreter\n"])
def test_what_the_system_says_of_a_broken_file_is_understood(
    tmp_path: Path, content: str
) -> None:
    """ER-07: half a download, or one for another machine."""
    path = executable(tmp_path)
    (tmp_path / NAME).write_text(content)
    with pytest.raises(OSError, match=NAME) as caught:
        subprocess.run([path], check=False)
    assert "it is broken, or for another machine" in str(explain(path, caught.value))
