"""README and ``docs/`` keep their word: their commands, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from integration.support.documents import (
    PAGES,
    README,
    blocks,
    commands,
    every_block,
    replace,
)
from integration.support.endpoints import free_port, payload
from integration.support.machine import PASSWORD, await_ss_local, await_ss_server
from integration.support.programs import ROOT, find
from integration.support.web import Web
from pt_bridge import __version__
from pt_bridge.cli.parser import command_line
from pt_bridge.files.owner_config import OwnerConfig
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.support.machine import Machine
    from integration.support.programs import Program

TRANSPORTS = "docs/transports.rst"
CLIENT = "docs/client.rst"
INSTALL = "docs/install.rst"
CERT = "A" * 70
NGINX_FOLDERS = f"{ROOT}/.nginx/usr/sbin:/usr/sbin"
SIZE = 100_000  # bytes of a web page
# For commands of pip; a machine without its cache fetches packages (seconds).
PIP_DEADLINE = 300.0


@pytest.fixture
def web() -> Iterator[Web]:
    """Return a web server, which stands for all the others."""
    web = Web()
    yield web
    web.close()


class Ports(NamedTuple):
    """In the place of the examples' ports.

    Attributes:
        server: the server's.
        socks: ss-local's.
    """

    server: int
    socks: int


@pytest.fixture
def ports() -> Ports:
    """Return ports that nothing listens on."""
    return Ports(free_port(), free_port())


def run(
    machine: Machine, command: str, variables: dict[str, str] | None = None
) -> Program:
    """Start a command as a shell does."""
    return machine.start("sh", "-c", f"exec {command}", variables=variables)


def shown(program: Program) -> str:
    """Return what a command prints, which may be a secret: it was asked for."""
    assert program.wait() == 0, program.text
    program.output.clear()
    return program.stdout.decode()


def curl(machine: Machine, command: str, ports: Ports, web: Web) -> None:
    """Run an example's curl, and look at the page that it fetches."""
    host, port = web.address
    command = replace(
        command,
        {
            ":1080": f":{ports.socks}",
            "https://example.com/": f"http://{host}:{port}/{SIZE}",
        },
    )
    done = run(machine, f"{command} --silent --show-error")
    assert done.wait() == 0, done.text
    assert done.stdout == b"".join(payload(SIZE))


@pytest.mark.parametrize(
    ("page", "title"), [(README, "obfs4 in two commands"), (TRANSPORTS, "obfs4")]
)
def test_obfs4_takes_two_commands_a_side(
    machine: Machine, ports: Ports, web: Web, page: str, title: str
) -> None:
    """The example's options are what the server writes, but for the cert."""
    server_side, client_side = blocks(page, title)
    start, show = commands(server_side)
    start = replace(
        start,
        {"-s 0.0.0.0 -p 8388": f"-s 127.0.0.1 -p {ports.server}", "PASSWORD": PASSWORD},
    )
    server = run(machine, start)
    options = machine.client_options(server)
    await_ss_server(server)
    folder = f"{machine.variables()['XDG_STATE_HOME']}/pt-bridge/obfs4-{ports.server}"
    show = replace(show, {"/var/lib/pt-bridge/obfs4-8388": folder})
    assert shown(run(machine, show)) == f"{options}\n"

    start, fetch = commands(client_side)
    example = re.sub("cert=[^;]+", "cert=...", options)
    start = replace(
        start,
        {
            "-s SERVER -p 8388": f"-s 127.0.0.1 -p {ports.server}",
            "-l 1080": f"-l {ports.socks}",
            "PASSWORD": PASSWORD,
            f'"{example}"': f'"{options}"',
        },
    )
    await_ss_local(run(machine, start))
    curl(machine, fetch, ports, web)


def test_the_same_works_from_a_config_json(
    machine: Machine, ports: Ports, web: Web
) -> None:
    """The README's file, and a client's made as it says."""
    (text,) = blocks(README, "config.json")
    file = json.loads(replace(text, {"PASSWORD": PASSWORD}))
    file.update(server="127.0.0.1", server_port=ports.server)
    path = machine.folder / "config.json"
    path.write_text(json.dumps(file))
    server = run(machine, "ss-server -c config.json")
    options = machine.client_options(server)
    await_ss_server(server)
    file.update(local_port=ports.socks, plugin_opts=options)
    path.write_text(json.dumps(file))
    await_ss_local(run(machine, "ss-local -c config.json"))
    fetch = commands(blocks(README, "obfs4 in two commands")[1])[1]
    curl(machine, fetch, ports, web)


def test_ss_local_listens_where_browsers_ask_though_the_server_has_ipv6(
    machine: Machine, ports: Ports, web: Web
) -> None:
    server = machine.ss_server(ports.server, "server;transport=obfs4", hosts=["::1"])
    options = machine.client_options(server)
    await_ss_server(server)
    (start,) = commands(blocks(CLIENT, "ss-local with an IPv6 server")[0])
    start = replace(
        start,
        {
            "-s 2001:db8::1 -p 8388": f"-s ::1 -p {ports.server}",
            "-l 1080": f"-l {ports.socks}",
            "PASSWORD": PASSWORD,
            "transport=obfs4;session=1;cert=...;iat-mode=0": options,
        },
    )
    await_ss_local(run(machine, start))
    fetch = commands(blocks(README, "obfs4 in two commands")[1])[1]
    curl(machine, fetch, ports, web)


NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        ssl_certificate cert.pem;
        ssl_certificate_key key.pem;
        location / {{ return 200 "a website"; }}
        {location}
    }}
}}
"""
MAKE_CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 "
    "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
)


def test_webtunnel_works_behind_nginx(machine: Machine, ports: Ports, web: Web) -> None:
    """The recipe's own lines for nginx, with TLS; lyrebird is the client."""
    make_path, location, server_side, client_side = blocks(TRANSPORTS, "webtunnel")
    path, behind = shown(run(machine, make_path)).strip(), free_port()
    machine.secrets.add(path)

    here = {"SECRET-PATH": path, "15000": str(behind)}
    assert run(machine, MAKE_CERTIFICATE).wait() == 0
    (machine.folder / "nginx.conf").write_text(
        NGINX.format(
            folder=machine.folder,
            port=ports.server,
            location=replace(location, here),
        )
    )
    nginx = find("nginx", path=NGINX_FOLDERS)
    run(machine, f"{nginx} -p . -c nginx.conf -e stderr")

    variables = machine.with_lyrebird()
    variables["SSL_CERT_FILE"] = str(machine.folder / "cert.pem")
    here |= {"PASSWORD": PASSWORD, "DOMAIN": f"localhost:{ports.server}"}
    start, show = commands(server_side)
    server = run(machine, replace(start, here), variables)
    options = machine.client_options(server)
    await_ss_server(server)
    assert f"webtunnel-{behind}" in replace(show, {"15000": str(behind)})

    start, fetch = commands(client_side)
    # What the server writes has its version besides.
    (example,) = re.findall('"(transport=.*)"', replace(start, {"SECRET-PATH": path}))
    real = replace(example, {"DOMAIN": f"localhost:{ports.server}"})
    assert options.startswith(f"{real};ver=")
    start = replace(
        start,
        {
            "-s DOMAIN -p 443 -l 1080": (
                f"-s localhost -p {ports.server} -l {ports.socks}"
            ),
            "DOMAIN": f"localhost:{ports.server}",
            "SECRET-PATH": path,
            "PASSWORD": PASSWORD,
        },
    )
    client = run(machine, start, variables)
    client.wait_for("ready: lyrebird")
    await_ss_local(client)
    curl(machine, fetch, ports, web)
    # Whoever does not know the path sees a website.
    visit = f"curl -sS --cacert cert.pem https://localhost:{ports.server}/"
    visitor = run(machine, visit)
    assert visitor.wait() == 0
    assert visitor.stdout == b"a website"


def test_the_example_of_pt_bridge_conf_is_understood(tmp_path: Path) -> None:
    """And allows what the text beside it says."""
    (example,) = blocks("docs/security.rst", "What plugin options may start")
    path = tmp_path / "pt-bridge.conf"
    path.write_text(example)
    owner = OwnerConfig([str(path)])
    assert owner.options == {"state"}
    assert [plugin.server for plugin in owner.plugins] == [False, True]
    assert {plugin.path for plugin in owner.plugins} == {"/opt/lyrebird"}


# -- what is looked at, and not run ----------------------------------------------------


def ours() -> list[tuple[str, str]]:
    """List every command of pt-bridge's own that stands somewhere."""
    return [
        (page, command.removeprefix("$ "))
        for page in PAGES
        for _, block in every_block(page)
        for command in commands(block)
        if re.match(r"(\$ )?pt-bridge \S", command)
    ]


@pytest.mark.parametrize(("page", "command"), ours())
def test_a_command_is_one_that_pt_bridge_knows(page: str, command: str) -> None:
    command_line().parse_args(shlex.split(command)[1:])


def plugin_options() -> list[tuple[str, str]]:
    """List all plugin options that stand somewhere as an example."""
    return [
        (page, options)
        for page in PAGES
        for _, block in every_block(page)
        for options in re.findall(
            r"""["'\s]((?:server;)?transport=[^"'\s]+)""", f" {block}"
        )
        if not re.search(r"^ok ", block, re.MULTILINE)  # what doctor prints
    ]


@pytest.mark.parametrize(("page", "options"), plugin_options())
def test_plugin_options_are_understood(page: str, options: str) -> None:
    """They would start, and nothing in them is misspelt."""
    variables = variables_from_flags(
        local="127.0.0.1:8388",
        remote="192.0.2.1:8388",
        plugin_options=options.replace("cert=...", f"cert={CERT}"),
    )
    flags = {} if "cert=" in options or "url=" in options else {"server": None}
    assert Config(variables, flags=flags).warnings == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_files_that_are_there(page: str) -> None:
    text = Path(ROOT, page).read_text(encoding="utf-8")
    named = re.findall(r"``((?:docs|scripts|bench|systemd)/[\w./]*)``", text)
    named += [f"docs/{name}.rst" for name in re.findall(r":doc:`(\w+)`", text)]
    assert [name for name in named if not os.path.exists(Path(ROOT, name))] == []


# -- installation ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the folder of packages, as the page says."""
    folder = tmp_path_factory.mktemp("offline")
    make, _ = blocks(INSTALL, "Without the Internet")
    script = replace(make, {"packages .": f"packages {ROOT}"})
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    shell(script, folder, {**os.environ, **quiet})
    return folder / "packages"


def shell(script: str, folder: Path, variables: dict[str, str]) -> str:
    """Run a script; return what it prints."""
    done = subprocess.run(
        [find("sh"), "-e", "-c", script],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=PIP_DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


WHERE_IT_SAYS = {"root": (README, "Install"), "user": (INSTALL, "As an ordinary user")}


@pytest.mark.parametrize("who", WHERE_IT_SAYS)
def test_what_is_installed_is_found_by_the_shell_and_by_man(
    tmp_path: Path, packages: Path, who: str
) -> None:
    """Without the Internet, since only pip's own line differs then."""
    page, title = WHERE_IT_SAYS[who]
    (script,) = blocks(page, title)
    _, offline = blocks(INSTALL, "Without the Internet")
    if who == "root":
        script = script.split("\n", 1)[1]  # apt install
        script = script.replace("/opt/", f"{tmp_path}/opt/")
        script = script.replace("/usr/local/", f"{tmp_path}/usr/local/")
        bin_folder = tmp_path / "usr/local/bin"
        bin_folder.mkdir(parents=True)
    else:
        bin_folder = tmp_path / ".local/bin"
    offline = replace(offline, {" packages ": f" {packages} "})
    variables = {
        "PATH": f"{bin_folder}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "PIP_NO_COMPILE": "1",  # nothing but time: each program is started once
    }
    shell(replace(script, {"pip install .": offline}), tmp_path, variables)
    program = bin_folder / "pt-bridge"
    assert shell("command -v pt-bridge", tmp_path, variables).strip() == str(program)
    said = shell("pt-bridge --version", tmp_path, variables)
    assert said == f"pt-bridge {__version__}\n"
    man = os.path.realpath(bin_folder.parent / "share/man/man1/pt-bridge.1")
    assert shell("man -w pt-bridge", tmp_path, variables).strip() == man


def test_the_source_distribution_has_all_that_the_repository_has(
    tmp_path: Path,
) -> None:
    """The units, the documentation, and the tests with what they need."""
    if not os.path.exists(Path(ROOT, ".git")):
        pytest.skip("this is no repository")
    listed = shell("git ls-files", Path(ROOT), dict(os.environ)).split()
    program = (
        "import sys, setuptools.build_meta as it; print(it.build_sdist(sys.argv[1]))"
    )
    clone = tmp_path / "clone"
    shell(f"git clone -q {ROOT} {clone}", tmp_path, dict(os.environ))
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=PIP_DEADLINE,
        check=True,
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    has = shell(f"tar -tf {archive}", tmp_path, dict(os.environ)).split()
    names = {name.partition("/")[2] for name in has}
    assert set(listed) - names == {".gitignore"}
