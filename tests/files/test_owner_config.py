"""What the owner's files let plugin options do: real files, real users, real PTs."""

from __future__ import annotations

import ast
import contextlib
import os
import pwd
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import OptionsError, OwnerFileError
from pt_bridge.files.owner_config import (
    MAX_INCLUDED,
    MAX_INCLUDED_SIZE,
    MAX_SIZE,
    SYSTEM_WIDE,
    OwnerConfig,
    files,
)
from pt_bridge.options.config import Config
from pt_bridge.options.option_values import OWNERS_FILES
from pt_bridge.options.plugin_options import Via
from tests.support.processes import (
    CLIENT,
    CLIENT_OPTIONS,
    NOBODY,
    SERVER,
    SERVER_OPTIONS,
    Bench,
    as_ordinary_user,
)
from tests.support.refusals import refusal_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pt_bridge.files.owner_config import ProgramChoice

SOMEBODY = 1  # a user that the tests never run as
TRANSPORT = "transport=obfs3"
ADDRESSES = {
    b"SS_REMOTE_HOST": b"127.0.0.1",
    b"SS_REMOTE_PORT": b"8388",
    b"SS_LOCAL_HOST": b"127.0.0.1",
    b"SS_LOCAL_PORT": b"1984",
}

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root gives a file to another user"
)


def conf(folder: Path, *lines: str, name: str = "pt-bridge.conf") -> str:
    """Write an owner's file that can be believed; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o644)
    return str(path)


def wanted(owner: OwnerConfig, options: str) -> ProgramChoice:
    """Return the program that plugin options get."""
    return owner.program(Config({**ADDRESSES, b"SS_PLUGIN_OPTIONS": options.encode()}))


def refusal(owner: OwnerConfig, options: str) -> str:
    return refusal_of(OptionsError, lambda: wanted(owner, options))


def not_believed(*paths: str) -> str:
    with pytest.raises(OwnerFileError) as caught:
        OwnerConfig(paths)
    assert caught.value.exit_code == 78
    return str(caught.value)


# -- which plugin between the PT and the Internet --------------------------------------


def test_a_plugin_is_one_that_we_know_or_that_a_file_names(tmp_path: Path) -> None:
    path = conf(tmp_path, "SIP003Plugin mine exec /opt/mine -x")
    owner = OwnerConfig([path])
    assert owner.outer_plugin(Via("mine", "")) == (
        ["/opt/mine"],
        ("-x",),
        f"{path}, line 1",
    )
    known = owner.outer_plugin(Via("v2ray-plugin", ""))
    assert known.names == ("v2ray-plugin", "ss-v2ray-plugin")


def test_a_file_comes_before_what_we_know(tmp_path: Path) -> None:
    owner = OwnerConfig([conf(tmp_path, "SIP003Plugin obfs-local exec /opt/obfs")])
    assert owner.outer_plugin(Via("obfs-local", "")).names == ["/opt/obfs"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("sh", "sh"), ("/bin/sh", "NAME"), ("../sh", "NAME"), ("a b", "NAME")],
)
def test_no_other_plugin_is_started_and_the_line_that_would_help_is_told(
    tmp_path: Path, name: str, shown: str
) -> None:
    """SE-04: options travel in links."""
    file = str(tmp_path / "pt-bridge.conf")
    with pytest.raises(OptionsError) as caught:
        OwnerConfig([file]).outer_plugin(Via(name, ""))
    assert str(caught.value).startswith(
        "via= in plugin options, which links can carry, may be one of obfs-local, "
    )
    assert str(caught.value).endswith(
        f"add the line 'SIP003Plugin {shown} exec /PATH/OF/PROGRAM' to {file}"
    )


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("/opt/any", ["/opt/any"]),
        ("mine", ["/opt/mine"]),
        ("obfs-local", ("obfs-local",)),
    ],
)
def test_the_flag_may_name_any_plugin(
    tmp_path: Path, name: str, names: Sequence[str]
) -> None:
    """It is the owner's word of this moment."""
    owner = OwnerConfig([conf(tmp_path, "SIP003Plugin mine exec /opt/mine")])
    assert owner.outer_plugin(Via(name, "", is_flag=True)).names == names


# -- which program ---------------------------------------------------------------------


def test_without_a_file_the_catalogue_is_all_there_is(tmp_path: Path) -> None:
    owner = OwnerConfig(
        [str(tmp_path / "no"), str(tmp_path / "no/such"), "/etc/hosts/x"]
    )
    assert wanted(owner, TRANSPORT).names == ("lyrebird", "obfs4proxy")
    assert wanted(owner, f"{TRANSPORT};exec=obfs4proxy").names == ("obfs4proxy",)
    assert owner.options == set()


def test_a_program_that_the_file_names_is_run_with_its_arguments(
    tmp_path: Path,
) -> None:
    """For its transports and its role, and for nothing else."""
    path = conf(tmp_path, "ClientTransportPlugin x,obfs3 exec /opt/pt -a b --c=d")
    owner = OwnerConfig([path])
    whence = f"{path}, line 1"
    assert wanted(owner, TRANSPORT) == (["/opt/pt"], ("-a", "b", "--c=d"), whence)
    assert wanted(owner, "transport=obfs2").names == ("lyrebird", "obfs4proxy")
    assert wanted(owner, f"server;{TRANSPORT}").names == ("lyrebird", "obfs4proxy")
    assert wanted(owner, "transport=x").names == ["/opt/pt"]


def test_exec_chooses_among_what_is_allowed(tmp_path: Path) -> None:
    """By the whole path, or its last part; else a name of the catalogue's."""
    owner = OwnerConfig(
        [
            conf(
                tmp_path,
                "ClientTransportPlugin obfs3 exec /opt/a/pt 1",
                "ClientTransportPlugin obfs3 exec /opt/b/pt 2",
                "ClientTransportPlugin obfs3 exec /opt/lyrebird 3",
            )
        ]
    )
    for exec_, arguments in (
        ("/opt/a/pt", ("1",)),
        ("/opt/b/pt", ("2",)),
        ("pt", ("1",)),
        ("lyrebird", ("3",)),
        ("/opt/lyrebird", ("3",)),
        ("obfs4proxy", ()),
    ):
        assert wanted(owner, f"{TRANSPORT};exec={exec_}").arguments == arguments
    assert wanted(owner, f"{TRANSPORT};exec=obfs4proxy").names == ("obfs4proxy",)


@pytest.mark.parametrize(
    "exec_",
    [
        "/bin/sh",
        "sh",
        "../pt",
        "./pt",
        "a/pt",
        "/opt/a/../pt",
        "/opt//pt",
        "/opt/pt/",
        "/opt/./pt",
        "//opt/pt",
        "PT",
        "/opt/pt -x",
        "/opt",
        ".",
        "..",
        "-x",
    ],
)
def test_any_other_program_is_refused_with_the_line_that_allows_it(
    tmp_path: Path, exec_: str
) -> None:
    """Exec=/bin/sh, ../x, a relative path, a path that is nearly allowed."""
    own = conf(tmp_path, "ClientTransportPlugin obfs3 exec /opt/pt")
    owner = OwnerConfig([own, "/etc/other.conf"])
    text = refusal(owner, f"{TRANSPORT};exec={exec_}")
    is_plain = exec_.startswith("/") and " " not in exec_
    path = exec_ if is_plain else "/PATH/OF/PROGRAM"
    assert text == (
        "exec= in plugin options, which links can carry, may be one of conjure-client, "
        "lyrebird, meek-client, obfs4proxy, snowflake-client, webtunnel-client, "
        "webtunnel-server, or what the owner of this machine allows for obfs3: add the "
        f"line 'ClientTransportPlugin obfs3 exec {path}' to {own} or /etc/other.conf"
    ) + (f"; there is no {path} yet" if is_plain and not os.path.exists(path) else "")


@pytest.mark.parametrize("options", ["server;transport=obfs3", "transport=obfs2"])
def test_what_is_allowed_for_one_thing_is_not_for_another(
    tmp_path: Path, options: str
) -> None:
    path = conf(tmp_path, "ClientTransportPlugin obfs3 exec /opt/pt")
    keyword = "Server" if options.startswith("server") else "Client"
    assert f"'{keyword}TransportPlugin obfs" in refusal(
        OwnerConfig([path]), f"{options};exec=/opt/pt"
    )


def test_the_line_that_would_help_helps(tmp_path: Path) -> None:
    """It can be copied as it is."""
    for options in (
        f"{TRANSPORT};exec=/opt/x+y@1.2/my_pt",
        "server;transport=meek_lite",
        "server;transport=new;exec=/opt/pt",
    ):
        path = conf(tmp_path)
        text = refusal(OwnerConfig([path]), options)
        line = text.partition("add the line '")[2].partition("' to ")[0]
        conf(tmp_path, line)
        assert wanted(OwnerConfig([path]), options).names == [line.split()[3]]


def test_a_transport_that_we_know_no_server_of_may_have_one_here(
    tmp_path: Path,
) -> None:
    """Else it is refused, as a mistake in the options."""
    path = conf(tmp_path)
    assert refusal(OwnerConfig([path]), "server;transport=snowflake") == (
        "no PT program that pt-bridge knows is a server for snowflake: use another "
        "transport, or name one: add the line 'ServerTransportPlugin snowflake exec "
        f"/PATH/OF/PROGRAM' to {path}"
    )
    conf(tmp_path, "ServerTransportPlugin snowflake exec /opt/proxy")
    assert wanted(OwnerConfig([path]), "server;transport=snowflake").names == [
        "/opt/proxy"
    ]


def test_this_users_own_file_comes_before_the_systems(tmp_path: Path) -> None:
    """Both count; nobody is less safe for what he has written for himself."""
    own = conf(
        tmp_path / "own",
        "ClientTransportPlugin obfs3 exec /own/pt",
        "AllowPluginOption state",
    )
    system = conf(
        tmp_path / "etc",
        "ClientTransportPlugin obfs2,obfs3 exec /system/pt",
        "AllowPluginOption logfile",
    )
    owner = OwnerConfig([own, system])
    assert wanted(owner, TRANSPORT).names == ["/own/pt"]
    assert wanted(owner, "transport=obfs2").names == ["/system/pt"]
    assert wanted(owner, f"{TRANSPORT};exec=/system/pt").names == ["/system/pt"]
    assert owner.options == {"state", "logfile"}


# -- what is included ------------------------------------------------------------------


def tor_browser(folder: Path) -> Path:
    """Unpack what matters of Tor Browser; return its torrc-defaults."""
    pts = folder / "tor-browser/Browser/TorBrowser/Tor/PluggableTransports"
    pts.mkdir(parents=True)
    for name in ("lyrebird", "conjure-client"):
        (pts / name).write_text("#!/bin/sh\n")
    defaults = folder / "tor-browser/Browser/TorBrowser/Data/Tor"
    defaults.mkdir(parents=True)
    place = "./TorBrowser/Tor/PluggableTransports"
    conf(
        defaults,
        "# torrc-defaults for Tor Browser",
        "ControlPort 9151",
        f"ClientTransportPlugin meek_lite,obfs3 exec {place}/lyrebird",
        f"ClientTransportPlugin conjure exec {place}/conjure-client -registerURL u",
        f"ClientTransportPlugin gone exec {place}/gone",
        "%include /etc/passwd",
        name="torrc-defaults",
    )
    return defaults / "torrc-defaults"


@pytest.mark.parametrize("how", ["absolute", "relative", "quoted", "link"])
def test_tor_browsers_own_file_can_be_included(tmp_path: Path, how: str) -> None:
    """Its paths are relative to the browser's folder, three above the file."""
    defaults = tor_browser(tmp_path)
    link = tmp_path / "etc/link"
    link.parent.mkdir()
    link.symlink_to(defaults)
    path = {
        "absolute": str(defaults),
        "relative": os.path.relpath(defaults, tmp_path / "etc"),
        "quoted": f'"{defaults}"  # in ours',
        "link": "link",
    }[how]
    owner = OwnerConfig([conf(tmp_path / "etc", f"%include {path}")])
    pts = defaults.parents[3] / "TorBrowser/Tor/PluggableTransports"
    assert wanted(owner, TRANSPORT).names == [f"{pts}/lyrebird"]
    assert wanted(owner, f"{TRANSPORT};exec={pts}/lyrebird").whence.endswith(", line 3")
    assert wanted(owner, "transport=conjure").arguments == ("-registerURL", "u")
    # What is nowhere is looked for where it should be, and named there.
    (name,) = wanted(owner, "transport=gone").names
    assert name == f"{defaults.parent}/TorBrowser/Tor/PluggableTransports/gone"


def test_the_expert_bundles_own_file_can_be_included(tmp_path: Path) -> None:
    """pt_config.json, and the programs beside it."""
    folder = tmp_path / "tor/pluggable_transports"
    folder.mkdir(parents=True)
    (folder / "lyrebird").write_text("#!/bin/sh\n")
    path = conf(
        folder,
        '{"pluggableTransports": {"lyrebird": "ClientTransportPlugin obfs3,obfs4 exec '
        '${pt_path}lyrebird${pt_extension}"}, "bridges": {}}',
        name="pt_config.json",
    )
    owner = OwnerConfig([conf(tmp_path, f"%include {path}")])
    found = wanted(owner, TRANSPORT)
    assert found.names == [f"{folder}/lyrebird"]
    assert found.whence == f"'lyrebird' in {path}, line 1"


def test_what_stands_before_an_include_comes_before_it(tmp_path: Path) -> None:
    conf(tmp_path, "ClientTransportPlugin obfs2,obfs3 exec /b", name="torrc")
    path = conf(
        tmp_path,
        "ClientTransportPlugin obfs3 exec /a",
        "%include torrc",
        "ClientTransportPlugin obfs2 exec /c",
    )
    owner = OwnerConfig([path])
    assert wanted(owner, TRANSPORT).names == ["/a"]
    assert wanted(owner, "transport=obfs2").names == ["/b"]


def test_a_folder_is_included_as_tor_does(tmp_path: Path) -> None:
    """Its files in order, and neither hidden ones nor other folders."""
    for name, program in (("b", "/b"), ("a", "/a"), (".c", "/c")):
        conf(tmp_path / "d", f"ClientTransportPlugin obfs3 exec {program}", name=name)
    conf(tmp_path / "d/e", "ClientTransportPlugin obfs3 exec /e")
    conf(tmp_path, "ClientTransportPlugin obfs3 exec /f", name="f.torrc")
    for path, programs in (
        (f"{tmp_path}/d", ["/a", "/b"]),
        ("d/", ["/a", "/b"]),
        ("*.torrc", ["/f"]),
        ("d/[ab]", ["/a", "/b"]),
        ("?", ["/a", "/b"]),
        ("*.none", []),
    ):
        owner = OwnerConfig([conf(tmp_path, f"%include {path}")])
        assert [plugin.path for plugin in owner.plugins] == programs


def test_an_include_may_be_in_a_home(tmp_path: Path) -> None:
    """That of the user that we are, whatever HOME says; or somebody's."""
    home = pwd.getpwuid(os.geteuid()).pw_dir
    name = pwd.getpwuid(os.geteuid()).pw_name
    for written in ("~", f"~{name}"):
        path = conf(tmp_path, f"%include {written}/no/such/torrc")
        assert not_believed(path) == (
            f"{path}, line 1 includes {home}/no/such/torrc, which is not there"
        )
    path = conf(tmp_path, "%include ~nobody-of-that-name/torrc")
    assert not_believed(path) == (
        f"{path}, line 1 begins with '~nobody-of-that-name', which is the home of "
        f"nobody here"
    )


def test_a_torrc_with_500_bridges_is_included(tmp_path: Path) -> None:
    """It is larger than a file of ours may be; and there is an end to that."""
    bridge = f"Bridge obfs4 192.0.2.1:443 cert={'A' * 70} iat-mode=0 {'#' * 40}"
    lines = [bridge] * 500
    conf(tmp_path, *lines, "ClientTransportPlugin obfs3 exec /a", name="torrc")
    path = conf(tmp_path, "%include torrc")
    assert [plugin.path for plugin in OwnerConfig([path]).plugins] == ["/a"]
    (tmp_path / "torrc").write_bytes(b"#" * (MAX_INCLUDED_SIZE + 1))
    assert not_believed(path) == (
        f"{tmp_path}/torrc is larger than {MAX_INCLUDED_SIZE} bytes"
    )


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Be nobody for a block, where we are root, who reads every folder."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_folder_that_cannot_be_read_is_named() -> None:
    # pytest's own folders are root's alone.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        path = conf(folder, "%include d")
        (folder / "d").mkdir(mode=0o300)
        with contextlib.suppress(OwnerFileError):
            OwnerConfig([path])  # nobody may not import what it takes
        with ordinary_user():
            assert not_believed(path).startswith(f"cannot read {folder}/d: ")


def test_a_file_that_is_to_be_included_must_be_there(tmp_path: Path) -> None:
    path = conf(tmp_path, "# x", "%include no")
    assert not_believed(path) == (
        f"{path}, line 2 includes {tmp_path}/no, which is not there"
    )


def test_what_is_included_must_be_believed_as_well(tmp_path: Path) -> None:
    """The file; the programs that it names are looked at when they are to be run."""
    defaults = tor_browser(tmp_path)
    path = conf(tmp_path, f"%include {defaults}")
    defaults.parent.chmod(0o777)
    assert not_believed(path) == (
        f"{defaults} is not believed, since others may write to {defaults.parent}: run "
        f"'chmod go-w {defaults.parent}'"
    )


def test_a_mistake_in_what_is_included_is_named_there(tmp_path: Path) -> None:
    other = conf(tmp_path, 'ClientTransportPlugin "x', name="torrc")
    text = not_believed(conf(tmp_path, "%include torrc"))
    assert text == f"{other}, line 1 has no closing quote"


def test_there_is_an_end_to_what_is_included(tmp_path: Path) -> None:
    """Nor does a file that includes itself go round."""
    path = conf(tmp_path, *["%include pt-bridge.conf"] * MAX_INCLUDED)
    assert OwnerConfig([path]).plugins == []
    conf(tmp_path, *["%include pt-bridge.conf"] * (MAX_INCLUDED + 1))
    last = MAX_INCLUDED + 1
    assert not_believed(path) == (
        f"{path}, line {last} includes one file too many: no more than {MAX_INCLUDED} "
        f"may be included"
    )


# -- what is believed ------------------------------------------------------------------


@pytest.mark.parametrize("part", ["pt-bridge.conf", "."])
@pytest.mark.parametrize(("bits", "who"), [(0o020, "g"), (0o002, "o"), (0o022, "go")])
def test_a_file_that_others_may_write_is_not_believed(
    tmp_path: Path, part: str, bits: int, who: str
) -> None:
    """Nor one in a folder that they may write: they could put another one there."""
    path = conf(tmp_path / "etc", "AllowPluginOption state")
    step = tmp_path / "etc" if part == "." else tmp_path / "etc" / part
    step.chmod(step.stat().st_mode | bits)
    assert not_believed(path) == (
        f"{path} is not believed, since others may write to {step}: run 'chmod {who}-w "
        f"{step}'"
    )


@needs_root
def test_a_file_of_another_users_is_not_believed(tmp_path: Path) -> None:
    """Neither root's nor ours."""
    path = conf(tmp_path / "etc", "AllowPluginOption state")
    os.chown(path, SOMEBODY, 0)
    assert not_believed(path).startswith(
        f"{path} is not believed, since {path} belongs to another user ({SOMEBODY}): "
    )


def test_a_link_is_believed_if_all_that_it_leads_through_is(tmp_path: Path) -> None:
    """As with configuration that lives in a repository of its owner's."""
    real = conf(tmp_path / "dotfiles", "AllowPluginOption state", name="x")
    path = tmp_path / "pt-bridge.conf"
    path.symlink_to(real)
    assert OwnerConfig([str(path)]).options == {"state"}
    (tmp_path / "dotfiles").chmod(0o775)
    assert "run 'chmod g-w" in not_believed(str(path))


def test_a_link_that_leads_nowhere_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "pt-bridge.conf"
    path.symlink_to("gone")
    assert OwnerConfig([str(path)]).options == set()


def test_a_link_that_leads_to_itself_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "pt-bridge.conf"
    path.symlink_to(path)
    assert not_believed(str(path)).startswith(f"cannot read {path}: too many levels of")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A FIFO that nobody writes to, a folder, a device, a socket."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert not_believed(str(fifo)) == f"{fifo} is not a file"
    assert not_believed(str(tmp_path)) == f"{tmp_path} is not a file"
    assert "/dev/null" in not_believed("/dev/null")
    listener = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(listener))
        listener.chmod(0o600)
        assert not_believed(str(listener)).startswith(f"cannot read {listener}: ")


def test_a_file_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    """All of our memory, otherwise: a sparse file of 1 TiB."""
    path = tmp_path / "pt-bridge.conf"
    path.write_bytes(b"\n" * MAX_SIZE)
    path.chmod(0o600)
    assert OwnerConfig([str(path)]).options == set()
    os.truncate(path, 1 << 40)
    assert not_believed(str(path)) == f"{path} is larger than {MAX_SIZE} bytes"


def as_bare_nobody(path: str) -> str:
    """Read an owner's file as a user without any right; return what came of it."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            said = f"options: {sorted(OwnerConfig([path]).options)}"
        except OwnerFileError as error:
            said = str(error)
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


@needs_root
def test_in_a_folder_that_is_closed_to_us_nothing_is_ours(tmp_path: Path) -> None:
    """HOME stays root's where a daemon gives up its rights; that stops nothing."""
    tmp_path.chmod(0o700)
    assert as_bare_nobody(conf(tmp_path, "AllowPluginOption state")) == "options: []"


@needs_root
def test_a_file_that_we_may_not_read_is_told_of() -> None:
    """The system's, made with root's umask: it would be passed over in silence."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = conf(Path(folder), "AllowPluginOption state")
        assert as_bare_nobody(path) == "options: ['state']"
        Path(path).chmod(0o600)
        assert as_bare_nobody(path) == (
            f"cannot read {path}: permission denied; see that this user may read it"
        )


# -- where they are --------------------------------------------------------------------


def files_of_ordinary_user(variables: Mapping[str, str]) -> list[str]:
    """Ask a process of an ordinary user's."""
    code = (
        "import os; from pt_bridge.files import owner_config; "
        "print(owner_config.files(os.environb))"
    )
    done = subprocess.run(
        [*as_ordinary_user(), sys.executable, "-c", code],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = ast.literal_eval(done.stdout)
    return found


@pytest.mark.parametrize(
    ("variables", "own"),
    [
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, ["/x/pt-bridge.conf"]),
        ({"HOME": "/h"}, ["/h/.config/pt-bridge.conf"]),
        ({"XDG_CONFIG_HOME": "x", "HOME": "/h"}, ["/h/.config/pt-bridge.conf"]),
        ({"XDG_CONFIG_HOME": "", "HOME": "/h"}, ["/h/.config/pt-bridge.conf"]),
        ({"XDG_CONFIG_HOME": "../x"}, []),
        ({"HOME": "h"}, []),
        ({"HOME": ""}, []),
        ({"HOME": "/"}, []),
        ({}, []),
    ],
)
def test_a_user_has_a_file_of_his_own(
    variables: Mapping[str, str], own: Sequence[str]
) -> None:
    """The XDG base directory specification: what is relative does not count."""
    assert files_of_ordinary_user(variables) == [*own, SYSTEM_WIDE]


def test_what_people_are_told_is_where_they_are() -> None:
    """Before the port is open, nobody knows more than the usual places."""
    own, system = files_of_ordinary_user({"HOME": "/home/me"})[:2]
    assert f"{system} or {own.replace('/home/me', '~')}" == OWNERS_FILES


@needs_root
def test_root_has_the_systems_alone() -> None:
    """Under sudo, HOME may be another user's."""
    variables = {b"XDG_CONFIG_HOME": b"/x", b"HOME": b"/h"}
    assert files(variables) == [SYSTEM_WIDE]


# -- the whole program -----------------------------------------------------------------


def allow(bench: Bench, *lines: str) -> str:
    """Write an ordinary user's own file; return its path."""
    folder = bench.folder / "config"
    bench.variables["XDG_CONFIG_HOME"] = str(folder)
    return conf(folder, *lines)


def allow_root(bench: Bench, *lines: str) -> tuple[str, ...]:
    """Return what to put before a command that finds a system-wide file."""
    conf(bench.folder / "etc", *lines)
    script = 'mount --bind "$0" /etc && exec "$@"'
    before = ("unshare", "--mount", "/bin/sh", "-c", script, str(bench.folder / "etc"))
    able = subprocess.run([*before, "/bin/true"], capture_output=True, check=False)
    if able.returncode:
        pytest.skip(f"there is no other /etc here: {able.stderr.decode()}")
    return before


@pytest.mark.parametrize("role", ["client", "server"])
def test_what_the_file_names_is_run_with_its_arguments(bench: Bench, role: str) -> None:
    """Exactly that path, and nothing through a shell."""
    pt = bench.install("my-pt")
    keyword = f"{role.capitalize()}TransportPlugin"
    path = allow(bench, f"{keyword} x,obfs4 exec {pt.path} -a $HOME ;'b c' *")
    pt.play(*(CLIENT if role == "client" else SERVER))
    before = bench.for_ordinary_user()
    options = (CLIENT_OPTIONS if role == "client" else SERVER_OPTIONS).replace(
        "exec=obfs4proxy", "exec=my-pt"
    )
    start = bench.client if role == "client" else bench.server
    program = start(options=options, before=before)
    program.said(f"starting {pt.path} ({path}, line 1)")
    program.said("ready: my-pt")
    arguments = ["-a", "$HOME", ";'b", "c'", "*"]
    assert pt.report()["arguments"] == [str(pt.path), *arguments]
    bench.stop(program)
    assert bench.pt.named("started") == []


@needs_root
def test_root_has_what_the_systems_file_names(bench: Bench) -> None:
    """Without exec=, in place of what the catalogue would find."""
    pt = bench.install("my-pt")
    before = allow_root(bench, f"ClientTransportPlugin obfs4 exec {pt.path} -a")
    pt.play(*CLIENT)
    program = bench.client(
        options=CLIENT_OPTIONS.replace("exec=obfs4proxy;", ""), before=before
    )
    program.said("ready: my-pt")
    assert pt.report()["arguments"] == [str(pt.path), "-a"]
    bench.stop(program)
    assert bench.pt.named("started") == []


@pytest.mark.parametrize("role", ["", "server;"])
def test_a_program_that_a_link_names_is_not_started(bench: Bench, role: str) -> None:
    """Exec=/bin/sh, by a path, and by ways around."""
    path = allow(bench, "ServerTransportPlugin obfs2 exec /bin/sh")
    bench.pt.play(*CLIENT)
    start = bench.server if role else bench.client
    for exec_ in (str(bench.pt.path), "/bin/sh", "../obfs4proxy/obfs4proxy", "./sh"):
        program = start(
            options=f"{role}transport=obfs3;exec={exec_}",
            before=bench.for_ordinary_user(),
            folder=bench.pt.folder,
        )
        code, sentence = bench.failure(program)
        assert code == 65
        assert f" to {path} or {SYSTEM_WIDE}" in sentence
        assert "starting" not in program.text
    assert bench.pt.named("started") == []
    assert not list((bench.folder / "state").iterdir())


def test_what_lies_in_the_working_directory_is_not_run(bench: Bench) -> None:
    """Shadowsocks-libev puts it on PATH; others have '.' there, or nothing."""
    trap = bench.install("obfs4proxy", folder="here")
    (bench.folder / "link").symlink_to(trap.folder)
    names = [trap.folder, ".", "", "../here", bench.folder / "link", "/proc/self/cwd"]
    bench.variables["PATH"] = ":".join(map(str, [*names, bench.pt.folder]))
    bench.pt.play(*CLIENT)
    program = bench.client(folder=trap.folder)
    program.said(f"starting {bench.pt.path}")
    program.said("ready")
    assert bench.pt.environment["PATH"] == str(bench.pt.folder)
    bench.stop(program)
    assert trap.named("started") == []


def test_what_lies_only_there_is_not_found(bench: Bench) -> None:
    """Nor by an option that names it."""
    trap = bench.install("conjure-client")
    bench.variables["PATH"] = f"{trap.folder}:."
    program = bench.client(
        options="transport=x;exec=conjure-client", folder=trap.folder
    )
    code, sentence = bench.failure(program)
    assert code == 71
    assert sentence.startswith("no PT program was found: install conjure-client")
    assert str(trap.folder) not in sentence
    assert trap.named("started") == []


def test_what_others_could_have_put_on_path_is_not_run(bench: Bench) -> None:
    """It is said, and what comes behind it is run."""
    trap = bench.install("obfs4proxy", folder="writable")
    trap.folder.chmod(0o775)
    bench.variables["PATH"] = f"{trap.folder}:{bench.pt.folder}"
    bench.pt.play(*CLIENT)
    program = bench.client()
    program.said(f"warning: {trap.path} is not run, since others may write to ")
    program.said(f"starting {bench.pt.path}")
    program.said("ready")
    bench.stop(program)
    assert trap.named("started") == []


@pytest.mark.parametrize("role", ["client", "server"])
def test_where_others_could_have_put_all_there_is_nothing_starts(
    bench: Bench, role: str
) -> None:
    """By PATH, and where the owner names it."""
    trap = bench.install("conjure-client")
    trap.folder.chmod(0o775)
    bench.variables["PATH"] = f"{trap.folder}:/usr/bin:/bin"
    allow(bench, f"{role.capitalize()}TransportPlugin y exec {trap.path}")
    start = bench.client if role == "client" else bench.server
    for transport in ("x;exec=conjure-client", "y", f"y;exec={trap.path}"):
        options = f"transport={transport}" + (";server" if role == "server" else "")
        program = start(options=options, before=bench.for_ordinary_user())
        code, sentence = bench.failure(program)
        assert code == 71
        assert sentence == (
            f"{trap.path} is not run, since others may write to {trap.folder}: run "
            f"'chmod g-w {trap.folder}'"
        )
    assert trap.named("started") == []


def test_a_pt_gets_nothing_that_changes_what_it_runs(bench: Bench) -> None:
    """LD_PRELOAD and its like stay with us."""
    bench.pt.play(*CLIENT)
    tricks = ("LD_PRELOAD", "LD_AUDIT", "PYTHONSTARTUP", "BASH_ENV", "ENV", "IFS")
    bench.variables |= dict.fromkeys(tricks, "")
    program = bench.client()
    program.said("ready")
    assert not bench.pt.environment.keys() & set(tricks)
    bench.stop(program)


@pytest.mark.parametrize("role", ["", "server;"])
def test_a_file_that_others_may_write_stops_the_start(bench: Bench, role: str) -> None:
    """Silently passed over, it might be what kept a program from being run."""
    path = allow(bench, f"ClientTransportPlugin obfs3 exec {bench.pt.path}")
    Path(path).chmod(0o666)
    start = bench.server if role else bench.client
    for more in ("", ";state=/x"):
        program = start(
            options=f"{role}transport=obfs3{more}", before=bench.for_ordinary_user()
        )
        code, sentence = bench.failure(program)
        assert code == 78
        assert sentence.endswith(f"others may write to {path}: run 'chmod go-w {path}'")
    assert bench.pt.named("started") == []
    assert not list((bench.folder / "state").iterdir())


@needs_root
def test_a_file_in_another_users_folder_stops_the_start(bench: Bench) -> None:
    """XDG_CONFIG_HOME that names one."""
    allow(bench, f"ClientTransportPlugin obfs3 exec {bench.pt.path}")
    os.chown(bench.folder / "config", SOMEBODY, SOMEBODY)
    program = bench.client(options="transport=obfs3", before=bench.for_ordinary_user())
    code, sentence = bench.failure(program)
    assert code == 78
    assert f"{bench.folder}/config belongs to another user ({SOMEBODY})" in sentence
    assert bench.pt.named("started") == []


def test_the_owner_may_allow_what_links_may_not_ask_for(bench: Bench) -> None:
    """State, logfile, loglevel, unsafe-logging, a line each."""
    allow(
        bench,
        *(
            f"AllowPluginOption {option}"
            for option in ("state", "logfile", "loglevel", "unsafe-logging")
        ),
    )
    bench.pt.play(*CLIENT)
    before = bench.for_ordinary_user()
    state = bench.folder / "state/anywhere"
    log = bench.folder / "state/log"
    program = bench.client(
        options=f"{CLIENT_OPTIONS};state={state};logfile={log};loglevel=debug;"
        f"unsafe-logging",
        before=before,
    )
    program.said("ready")
    bench.stop(program)
    assert bench.pt.state == state
    assert "debug: " in log.read_text()


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        ("state", "logfile=/x/y"),
        ("logfile", "state=/x"),
        ("loglevel", "unsafe-logging"),
    ],
)
def test_what_he_allows_is_that_and_no_more(
    bench: Bench, allowed: str, asked: str
) -> None:
    allow(bench, f"AllowPluginOption {allowed}")
    program = bench.client(
        options=f"{CLIENT_OPTIONS};{asked}", before=bench.for_ordinary_user()
    )
    code, sentence = bench.failure(program)
    assert code == 65
    option = asked.partition("=")[0]
    assert f"add the line 'AllowPluginOption {option}' to" in sentence
    assert bench.pt.named("started") == []


@pytest.mark.parametrize("asked", ["state=out/a", "logfile=out/a", "logfile=out"])
def test_a_link_below_the_state_directory_leads_nowhere(
    bench: Bench, asked: str
) -> None:
    """It points out of it."""
    away = bench.folder / "away"
    away.mkdir(mode=0o700)
    for folder in ("pt-bridge", "pt-bridge/log"):
        path = bench.folder / "state" / folder
        path.mkdir(mode=0o700)
        (path / "out").symlink_to(away / "file" if asked == "logfile=out" else away)
    code, sentence = bench.failure(bench.client(options=f"{CLIENT_OPTIONS};{asked}"))
    assert code == 73
    assert "/out" in sentence
    assert not list(away.iterdir())
    assert bench.pt.named("started") == []


def test_a_flag_needs_no_file(bench: Bench) -> None:
    """It is the owner's own word: any path, even where his file is broken."""
    path = allow(bench, "nonsense")
    bench.pt.play(*CLIENT)
    bench.pt.folder.chmod(0o777)
    program = bench.standalone(
        "client",
        f"--local=127.0.0.1:{bench.port}",
        "--remote=127.0.0.1:9",
        f"--plugin-opts={CLIENT_OPTIONS}",
        f"--exec={bench.pt.path}",
        f"--logfile={bench.folder}/log",
    )
    program.said("ready")
    bench.stop(program)
    assert path not in program.text
