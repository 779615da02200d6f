"""The commands for people: the same bridge, started by hand."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pt_bridge import __version__
from pt_bridge.cli import option_help
from pt_bridge.files.owner_config import SYSTEM_WIDE
from pt_bridge.formats.torrc import OWNERS_OPTIONS
from pt_bridge.options.own_options import GONE, OPTIONS
from pt_bridge.options.transports import TRANSPORTS
from tests.support.processes import (
    CLIENT,
    SECRET,
    SERVER,
    SERVER_CLIENT_OPTIONS,
    mode,
    until,
)

if TYPE_CHECKING:
    import socket

    from tests.support.processes import Bench, Program

ARGUMENTS = f"cert={SECRET};iat-mode=0"


def client(bench: Bench, remote: object, *more: str) -> Program:
    return bench.standalone(
        "client", "--local", f"127.0.0.1:{bench.port}", "--remote", str(remote), *more
    )


def place_of(listener: socket.socket) -> str:
    return "{}:{}".format(*listener.getsockname())


def printed(bench: Bench, *arguments: str) -> str:
    """Run pt-bridge for what it prints."""
    program = bench.standalone(*arguments)
    assert program.wait() == 0
    assert program.lines == []
    return program.output.decode()


# -- client and server -----------------------------------------------------------------


def test_a_client_is_what_the_plugin_is(bench: Bench) -> None:
    """FE-05."""
    bench.pt.play(*CLIENT)
    listener = bench.listen()
    options = f"transport=obfs4;exec=obfs4proxy;{ARGUMENTS}"
    where = ("--session=0", "--plugin-opts", options)
    program = client(bench, place_of(listener), *where)
    program.said("ready")
    near = bench.connect(bench.port)
    bench.carried(near, listener)
    host, port = listener.getsockname()
    assert bench.pt.event("asked") == f"{host} {port} {ARGUMENTS.encode()!r}"
    bench.stop(program)


def test_a_server_is_what_the_plugin_is(bench: Bench) -> None:
    """FE-05, SV-06."""
    bench.pt.play(*SERVER)
    listener = bench.listen()
    program = bench.standalone(
        "server",
        f"--local={place_of(listener)}",
        f"--remote=127.0.0.1:{bench.port}",
        "--transport=obfs4",
        "--exec=obfs4proxy",
        f"--state={bench.folder}/keys",
    )
    program.said("ready")
    near = bench.connect(bench.port)
    bench.carried(near, listener)
    bench.stop(program)
    path = bench.folder / "keys/client-options.txt"
    assert path.read_text() == SERVER_CLIENT_OPTIONS
    assert mode(path) == 0o600
    assert bench.pt.state == bench.folder / "keys"


@pytest.mark.parametrize("flag", ["--hold", "--hold=plain", "--hold=s3cret"])
@pytest.mark.parametrize("command", ["client", "server", "doctor"])
def test_a_flag_of_an_older_version_is_answered_with_what_to_write(
    bench: Bench, command: str, flag: str
) -> None:
    """In the same words as the plugin option."""
    places = ("--local=127.0.0.1:1", "--remote=127.0.0.1:2")
    program = bench.standalone(command, *places, flag)
    assert bench.failure(program) == (64, GONE["hold"])


def test_several_servers_are_joined_as_in_the_variable(bench: Bench) -> None:
    """FE-03, FE-17."""
    bench.pt.play(*CLIENT)
    listener = bench.listen("127.0.0.3")
    port = listener.getsockname()[1]
    options = f"transport=obfs4;exec=obfs4proxy;{ARGUMENTS}"
    hosts = "[::1]|127.0.0.2|127.0.0.3"
    where = ("--session=0", "--plugin-opts", options)
    program = client(bench, f"{hosts}:{port}", *where)
    program.said("ready")
    bench.speak()
    assert bench.accept(listener).recv(1) == b"x"
    asked = [line.split()[0] for line in bench.pt.named("asked")]
    assert asked == ["::1", "127.0.0.2", "127.0.0.3"]
    bench.stop(program)


def test_a_flag_comes_before_the_plugin_options(bench: Bench) -> None:
    """Flags are the owner's own word, so they may do more, too."""
    bench.pt.play(*CLIENT, "write noise", "tell done")
    options = f"transport=obfs3;exec=lyrebird;loglevel=error;state=x;{ARGUMENTS}"
    program = client(
        bench,
        "127.0.0.1:9",
        f"--plugin-opts={options}",
        "--transport=obfs4",
        f"--exec={bench.pt.path}",
        "--loglevel=debug",
        f"--logfile={bench.folder}/log",
        f"--state={bench.folder}/keys",
    )
    program.said("debug: obfs4proxy: noise")
    bench.stop(program)
    assert bench.pt.environment["TOR_PT_CLIENT_TRANSPORTS"] == "obfs4"
    assert bench.pt.state == bench.folder / "keys"
    lines = (bench.folder / "log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == program.lines  # behind the time
    assert SECRET not in program.text


def test_addresses_are_shown_when_the_owner_says_so(bench: Bench) -> None:
    """And secrets never."""
    bench.pt.play(*CLIENT, "await", "write to 192.0.2.7 with " + SECRET)
    program = client(
        bench,
        "192.0.2.7:9",
        f"--plugin-opts=transport=obfs4;{ARGUMENTS}",
        f"--exec={bench.pt.path}",
        "--unsafe-logging",
        "--loglevel=debug",
    )
    program.said("ready")
    bench.pt.open_gate()
    program.said("obfs4proxy: to 192.0.2.7 with [scrubbed]")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert SECRET not in program.text


@pytest.mark.parametrize("stdin", [subprocess.PIPE, subprocess.DEVNULL])
def test_the_end_of_stdin_means_nothing(bench: Bench, stdin: int) -> None:
    """LC-06: only a host's plugin looks at it."""
    bench.pt.play(*CLIENT)
    listener = bench.listen()
    program = bench.standalone(
        "client",
        f"--local=127.0.0.1:{bench.port}",
        f"--remote={place_of(listener)}",
        f"--plugin-opts=transport=obfs4;exec=obfs4proxy;{ARGUMENTS}",
        "--session=0",
        stdin=stdin,
    )
    program.said("ready")
    if program.process.stdin is not None:
        program.process.stdin.close()
    near = bench.connect(bench.port)
    bench.carried(near, listener)
    bench.stop(program)
    assert "the host" not in program.text


def test_it_works_with_no_variable_at_all(bench: Bench) -> None:
    """FE-15: no PATH, no HOME, no TMPDIR, cwd /, umask 0, its output thrown away."""
    bench.pt.play(*CLIENT)
    bench.variables = {}
    listener = bench.listen()
    program = bench.standalone(
        "client",
        f"--local=127.0.0.1:{bench.port}",
        f"--remote={place_of(listener)}",
        f"--plugin-opts=transport=obfs4;{ARGUMENTS}",
        f"--exec={bench.pt.path}",
        "--session=0",
        folder="/",
        umask=0,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    near = bench.connect_when_open(bench.port)
    bench.carried(near, listener)
    assert mode(bench.pt.state) == 0o700
    bench.stop(program)
    assert not bench.pt.state.exists()


def test_the_death_of_the_pt_is_an_error_here_too(bench: Bench) -> None:
    """ER-10."""
    bench.pt.play(*CLIENT, "exit 1")
    program = client(
        bench,
        "127.0.0.1:9",
        "--restarts=0",
        f"--plugin-opts=transport=obfs4;exec=obfs4proxy;{ARGUMENTS}",
    )
    code, text = bench.failure(program)
    assert code == 75
    assert text.startswith("obfs4proxy ended with exit code 1; restarts=0")


# -- mistakes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 64, "SS_REMOTE_HOST is not set and must be a host"),
        (
            ["--unknown"],
            64,
            "unrecognized arguments: --unknown; see 'pt-bridge --help'",
        ),
        (
            ["clent"],
            64,
            "there is no such command: say client, server, run, convert, show, ",
        ),
        (
            ["client", "--local=9", "--remote=9", f"--chert={SECRET}", SECRET],
            64,
            "unrecognized arguments: --chert; see 'pt-bridge client --help'",
        ),
        (
            ["doctor", f"--remtoe={SECRET}"],
            64,
            "--remtoe: did you mean '--remote'?; see 'pt-bridge doctor --help'",
        ),
        (
            ["help", "optoins"],
            64,
            "say 'pt-bridge help options'; see 'pt-bridge help --help'",
        ),
        (["client"], 64, "the following arguments are required: --local, --remote"),
        (["server", "--upstream-proxy=x"], 64, "see 'pt-bridge server --help'"),
        (["client", "--loc=1"], 64, "see 'pt-bridge client --help'"),
        (
            ["client", "--local=9", "--remote=192.0.2.7:9"],
            64,
            "--local is wrong: it must be HOST:PORT",
        ),
        (
            ["client", "--local=[::1]:9", "--remote=::1:9"],
            64,
            "an IPv6 address must stand in brackets",
        ),
        (
            ["client", "--local=127.0.0.1:9", "--remote=192.0.2.7:9"],
            65,
            "the plugin options do not name the transport",
        ),
        (
            [
                "client",
                "--local=127.0.0.1:9",
                "--remote=192.0.2.7:9",
                "--transport=obfs4",
                f"cert={SECRET}",
            ],
            64,
            "unrecognized arguments: flags are --name VALUE, and nothing else is; see",
        ),
        (
            [
                "client",
                "--local=127.0.0.1:9",
                "--remote=192.0.2.7:9",
                "--transport=obfs3",
                "--plugin-opts=server",
            ],
            64,
            "the plugin options say 'server' and the command says 'client'",
        ),
        (
            [
                "server",
                "--local=127.0.0.1:9",
                "--remote=127.0.0.1:9",
                "--transport=obfs3",
                "--exec=/nowhere/pt",
            ],
            71,
            "there is no PT program /nowhere/pt",
        ),
    ],
)
def test_mistakes_are_explained(
    bench: Bench, arguments: list[str], code: int, text: str
) -> None:
    """ER-02, ER-03, ER-07, SE-05: with the exit codes of the plugin."""
    got, sentence = bench.failure(bench.standalone(*arguments))
    assert got == code
    assert text in sentence


# -- convert ---------------------------------------------------------------------------

LINE = f"obfs4 198.51.100.7:8443 cert={'A' * 70} iat-mode=0"
AS_OPTIONS = f"transport=obfs4;cert={'A' * 70};iat-mode=0"


def test_a_bridge_line_is_converted(bench: Bench) -> None:
    """What was asked for is shown in full, and nothing else on stdout."""
    program = bench.standalone("convert", f"Bridge {LINE}", "--to=options")
    assert program.wait() == 0
    assert program.output.decode() == f"{AS_OPTIONS}\n"
    assert program.lines == [
        (
            "pt-bridge: note: the address is no part of the options: set shadowsocks's "
            "server and server_port to it"
        )
    ]


def test_a_line_that_lacks_its_quotes_is_put_together_again(bench: Bench) -> None:
    """What the shell has split at its blanks."""
    flags = ("--method=none", "--password=", "--local=127.0.0.1:9", "--to", "json")
    text = printed(bench, "convert", "Bridge", *LINE.split(), *flags)
    assert json.loads(text) == {
        "server": "198.51.100.7",
        "server_port": 8443,
        "local_address": "127.0.0.1",
        "local_port": 9,
        "method": "none",
        "password": "",
        "plugin": "pt-bridge",
        "plugin_opts": AS_OPTIONS,
    }


def test_a_file_and_standard_input_are_converted(bench: Bench) -> None:
    """The way through all four and back."""
    flags = ("--remote=198.51.100.7:8443", "--method=none", f"--password={SECRET}")
    path = bench.folder / "config.json"
    path.write_text(printed(bench, "convert", AS_OPTIONS, "--to=json", *flags))
    link = printed(bench, "convert", str(path), "--to=link")
    program = bench.standalone("convert", "-", "--to=bridge", stdin=subprocess.PIPE)
    assert program.process.stdin is not None
    program.process.stdin.write(link.encode())
    program.process.stdin.close()
    assert program.wait() == 0
    assert program.output.decode() == f"{LINE}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["convert"], 64, "the following arguments are required: TEXT, --to"),
        (["convert", LINE], 64, "the following arguments are required: --to"),
        (
            ["convert", LINE, "--to=yaml"],
            64,
            "--to must be one of: bridge, options, link, json, qr; see",
        ),
        (
            ["convert", LINE, "--to=link"],
            64,
            (
                "a shadowsocks link needs more than this holds: add --method NAME "
                "--password TEXT"
            ),
        ),
        (
            ["convert", LINE, "--to=json", "--remote=9"],
            64,
            "--remote is wrong: it must be HOST:PORT, an IPv6 address in brackets",
        ),
        (
            ["convert", "./nowhere.json", "--to=json"],
            64,
            "cannot read ./nowhere.json: No such file or directory",
        ),
        (
            ["convert", f"obfs4 198.51.100.7:1 {SECRET}", "--to=json"],
            65,
            (
                "this bridge line is wrong: what follows the address is neither a "
                "fingerprint of 40 hexadecimal digits nor key=value"
            ),
        ),
    ],
)
def test_what_cannot_be_converted_is_explained(
    bench: Bench, arguments: list[str], code: int, text: str
) -> None:
    """ER-02, ER-03, SE-05: and nothing is printed."""
    program = bench.standalone(*arguments)
    assert (program.wait(), program.output) == (code, b"")
    assert text in program.text
    assert SECRET not in program.text
    assert len(program.lines) == 1


PRINTING = [("convert", LINE, "--to=bridge"), ("--help",), ("--version",)]


@pytest.mark.parametrize("arguments", PRINTING)
def test_an_output_that_is_full_is_an_error(
    bench: Bench, arguments: tuple[str, ...]
) -> None:
    """Else a script would go on with half of it."""
    with open("/dev/full", "wb") as full:
        program = bench.standalone(*arguments, stdout=full)
    assert bench.failure(program) == (
        64,
        "cannot write to standard output: No space left on device",
    )


def test_an_output_that_somebody_made_non_blocking_is_whole(bench: Bench) -> None:
    """As whoever shares a pipe or a terminal with us may have done."""
    reader, writer = os.pipe()
    size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    program = bench.standalone("help", "options", stdout=writer)
    until(lambda: unread(reader) == size)
    os.close(writer)
    with open(reader, "rb") as pipe:
        text = pipe.read().decode()
    assert program.wait() == 0
    assert len(text) > size
    assert text == option_help.help_options()


@pytest.mark.parametrize("arguments", PRINTING)
def test_an_output_that_nobody_reads_is_none(
    bench: Bench, arguments: tuple[str, ...]
) -> None:
    """`... | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    program = bench.standalone(*arguments, stdout=writer)
    os.close(writer)
    assert program.wait() == 0
    assert program.lines == []


def test_ctrl_c_ends_a_conversion_that_waits_for_its_text(bench: Bench) -> None:
    """Without a traceback."""
    program = bench.standalone("convert", "-", "--to=bridge", stdin=subprocess.PIPE)
    assert program.process.stdin is not None
    pipe = program.process.stdin.fileno()
    os.write(pipe, b"Bridge ")
    until(lambda: not unread(pipe))
    program.signal(signal.SIGINT)
    assert program.wait() == -signal.SIGINT
    assert program.text == ""


def unread(pipe: int) -> int:
    """Return how many bytes wait in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_the_page_on_clients_shows_what_convert_prints(bench: Bench) -> None:
    text = (Path(__file__).parents[2] / "docs/client.rst").read_text()
    examples = re.findall(
        r"^    \$ pt-bridge (convert .+)\n    (.+)$", text, re.MULTILINE
    )
    assert examples
    for command, expected in examples:
        assert printed(bench, *shlex.split(command)) == f"{expected}\n"


# -- what it explains ------------------------------------------------------------------


def test_the_version_is_printed(bench: Bench) -> None:
    assert printed(bench, "--version") == f"pt-bridge {__version__}\n"


@pytest.mark.parametrize("role", ["client", "server"])
def test_the_help_of_a_command_has_its_options(bench: Bench, role: str) -> None:
    text = printed(bench, role, "--help")
    shown = {name for name in OPTIONS if f"--{name}" in text.split()}
    sides = ("", role)
    expected = {name for name, option in OPTIONS.items() if option.side in sides}
    assert shown == expected - {"server"}


def test_the_help_has_the_commands_and_the_exit_codes(bench: Bench) -> None:
    text = printed(bench, "--help")
    for words in (
        "client",
        "server",
        "convert",
        "help",
        "exit codes: 0 asked to stop; 64 usage",
    ):
        assert words in text


@pytest.mark.parametrize("arguments", [["help"], ["help", "options"]])
def test_the_options_are_explained(bench: Bench, arguments: list[str]) -> None:
    """All of ours, and what the transports need."""
    text = printed(bench, *arguments)
    for name in (*OPTIONS, *TRANSPORTS):
        assert f"\n  {name}" in text


def test_it_is_explained_how_the_owner_allows_more(bench: Bench) -> None:
    """Where, and in which words."""
    words = set(printed(bench, "help", "options").replace(",", " ").split())
    assert words >= {SYSTEM_WIDE, "ClientTransportPlugin", "ServerTransportPlugin"}
    assert words >= {"AllowPluginOption", *OWNERS_OPTIONS, "%include"}


def test_the_options_may_come_from_the_environment_which_ps_hides(
    bench: Bench,
) -> None:
    """SE-04: a cert on a command line can be read by every user of the machine."""
    bench.pt.play(*CLIENT)
    bench.variables["SS_PLUGIN_OPTIONS"] = (
        f"transport=obfs4;exec=obfs4proxy;{ARGUMENTS}"
    )
    program = bench.standalone(
        "client", f"--local=127.0.0.1:{bench.port}", "--remote=127.0.0.1:9"
    )
    program.said("ready: obfs4proxy")
    bench.stop(program)
