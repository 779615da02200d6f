"""The program as a plugin: what hosts do to it, and how it ends when it must."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import (
    CLIENT,
    PLAIN_OPTIONS,
    SECRET,
    SERVER,
    SERVER_OPTIONS,
    as_ordinary_user,
    mode,
    until,
)

if TYPE_CHECKING:
    from tests.support.processes import Bench

VERSION, DONE = "say VERSION 1", "say CMETHODS DONE"
ADDRESSES = {
    "SS_REMOTE_HOST": "192.0.2.77",
    "SS_REMOTE_PORT": "443",
    "SS_LOCAL_HOST": "127.0.0.1",
    "SS_LOCAL_PORT": "9",
}
# Hosts listen for their plugin's end only a while after they have started it; it is
# 200 ms, counted from when Python has come to our first line.
MIN_LIFE = 0.15


# -- wrong usage and wrong options -----------------------------------------------------


@pytest.mark.parametrize(
    "options",
    ["", "transport=obfs4", f"{PLAIN_OPTIONS};flag", "server;transport=obfs4;x"],
)
def test_nothing_is_started_where_the_options_are_wrong(
    bench: Bench, options: str
) -> None:
    """LC-01: all is validated before the first process, port or folder."""
    bench.pt.play(*CLIENT)
    code, _ = bench.failure(bench.client(options=options))
    assert code == 65
    assert bench.pt.named("started") == []
    assert not (bench.folder / "state/pt-bridge").exists()


@pytest.mark.parametrize(
    ("name", "value"), [*((name, None) for name in ADDRESSES), ("SS_LOCAL_PORT", "")]
)
def test_a_variable_that_is_missing_is_named(
    bench: Bench, name: str, value: str | None
) -> None:
    """FE-01, ER-02."""
    variables = {**ADDRESSES, "SS_PLUGIN_OPTIONS": PLAIN_OPTIONS, name: value or ""}
    if value is None:
        del variables[name]
    code, sentence = bench.failure(bench.plugin(variables))
    assert code == 64
    assert sentence.startswith(f"{name} is not set and must be a ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SS_REMOTE_PORT", "0"),
        ("SS_LOCAL_PORT", " 80 "),
        ("SS_LOCAL_PORT", "\u0663"),
        ("SS_LOCAL_HOST", "not a host"),
        ("SS_REMOTE_HOST", "192.0.2.77|"),
        ("SS_REMOTE_HOST", "\udcff"),
    ],
)
def test_a_variable_that_is_wrong_is_named_and_not_shown(
    bench: Bench, name: str, value: str
) -> None:
    """FE-02, FE-03, FE-11, ER-02."""
    variables = {**ADDRESSES, "SS_PLUGIN_OPTIONS": PLAIN_OPTIONS, name: value}
    code, sentence = bench.failure(bench.plugin(variables))
    assert code == 64
    assert sentence.startswith(f"{name} ")
    assert " is wrong: it must be " in sentence
    assert "192.0.2" not in sentence


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (f"transport=obfs4;cert={SECRET}\\", "lone backslash at column 92"),
        (f"transport=obfs4;cert={SECRET}\n", "control character at column 92"),
        (f"transport=obfs4;cert={SECRET}", "obfs4 needs iat-mode="),
        ("transport=obfs4;transport=obfs3", "'transport' is given twice, again at col"),
        (f"transport=no;cert={SECRET}\u20ac", "'cert' at column 14 is not printable"),
        (f"transport=no;cert={'x' * 510}", "515 bytes long, and no more than 510"),
        ("transport=no;loglevel=debug", "loglevel=debug is refused in plugin options"),
        (
            "transport=no;exec=/tmp/evil",
            "exec= in plugin options, which links can carry, m",
        ),
        (
            "transport=no;state=/etc",
            "state= in plugin options must stay below the state",
        ),
        ("transport=no;upstream-proxy=ftp://192.0.2.7:1", "must begin with one of"),
        ("server;transport=webtunnel", "webtunnel needs url="),
    ],
)
def test_options_that_are_wrong_are_explained(
    bench: Bench, options: str, text: str
) -> None:
    """ER-03, OG-03, OG-07, OG-13, SK-14: where, and never the value.

    One of each kind; the rest is for the tests of the modules that read them.
    """
    variables = {**ADDRESSES, "SS_PLUGIN_OPTIONS": options}
    code, sentence = bench.failure(bench.plugin(variables))
    assert code == 65
    assert text in sentence
    assert bench.pt.named("started") == []


def test_options_that_are_absent_are_empty(bench: Bench) -> None:
    """FE-10."""
    code, sentence = bench.failure(bench.plugin(ADDRESSES))
    assert code == 65
    assert 'no plugin options came: in config.json their key is "plugin_opts"' in (
        sentence
    )


def test_what_is_not_utf_8_is_no_traceback(bench: Bench) -> None:
    """FE-11: in the C locale, too."""
    variables = {
        **{os.fsencode(k): os.fsencode(v) for k, v in ADDRESSES.items()},
        b"LC_ALL": b"C",
        b"PYTHONCOERCECLOCALE": b"0",
        b"PYTHONUTF8": b"0",
        b"UNRELATED": b"\xff\xfe",
        b"SS_PLUGIN_OPTIONS": b"transport=no;cert=\xff\xfe",
    }
    command = [sys.executable, "-m", "pt_bridge"]
    code, sentence = bench.failure(bench.run(command, variables))
    assert code == 65
    assert "the value of 'cert' at column 14 is not printable ASCII" in sentence


# -- what hosts do to a plugin ---------------------------------------------------------


def test_it_works_where_the_environment_is_not_utf_8(bench: Bench) -> None:
    """FE-11."""
    bench.pt.play(*CLIENT)
    bench.variables |= {"LC_ALL": "C", "HOME": "/\udcff", "X\udcff": "\udcfe"}
    del bench.variables["LANG"]
    program = bench.client()
    program.said("ready")
    bench.stop(program)
    assert bench.pt.environment["HOME"] == "/\udcff"


def test_it_accepts_what_android_puts_on_the_command_line(bench: Bench) -> None:
    """FE-12, HQ-11."""
    bench.pt.play(*CLIENT)
    program = bench.run(
        [sys.executable, "-m", "pt_bridge", "-V", "--fast-open"],
        {
            **ADDRESSES,
            **bench.variables,
            "SS_LOCAL_PORT": str(bench.port),
            "SS_PLUGIN_OPTIONS": f"__android_vpn=;{PLAIN_OPTIONS}",
        },
    )
    program.said("ready")
    bench.stop(program)


@pytest.mark.parametrize("arguments", [["-x"], ["-V", "-x"], ["strange"], ["--local"]])
def test_any_other_argument_is_an_error(bench: Bench, arguments: list[str]) -> None:
    """FE-12, ER-02."""
    program = bench.run(
        [sys.executable, "-m", "pt_bridge", *arguments],
        {**ADDRESSES, **bench.variables, "SS_PLUGIN_OPTIONS": PLAIN_OPTIONS},
    )
    code, sentence = bench.failure(program)
    assert code == 64
    assert "see 'pt-bridge --help'" in sentence


def test_it_works_with_next_to_nothing(bench: Bench) -> None:
    """FE-15: no PATH, no TMPDIR, cwd /, umask 0, its output thrown away."""
    pt = bench.install("meek-client")
    pt.play(*CLIENT)
    home = bench.folder / "home"
    place = home / "tor-browser/Browser/TorBrowser/Tor/PluggableTransports"
    place.parent.mkdir(parents=True)
    place.symlink_to(pt.folder)
    bench.variables = {"HOME": str(home)}
    listener = bench.listen()
    program = bench.client(
        listener.getsockname(),
        options="transport=meek;url=https://e/;session=0",
        folder="/",
        umask=0,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    near = bench.connect_when_open(bench.port)
    bench.carried(near, listener)
    assert mode(pt.state) == 0o700
    bench.stop(program)
    assert not pt.state.exists()


def test_it_works_with_no_variable_at_all(bench: Bench) -> None:
    """FE-15: as trojan-go has it; a PT cannot be found then, but nothing else fails."""
    bench.variables = {}
    code, sentence = bench.failure(
        bench.client(options="transport=conjure", folder="/", umask=0)
    )
    assert code == 71
    assert sentence == (
        "no PT program was found: install conjure-client (not in Debian 12; later, "
        "perhaps: apt install conjure-client); looked in /usr/local/bin, /usr/bin, "
        "/bin, /opt/tor-browser/Browser/TorBrowser/Tor/PluggableTransports"
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_it_works_with_closed_descriptors(bench: Bench, closed: str) -> None:
    """FE-16: a socket must not become stdout."""
    bench.pt.play(*CLIENT, "write noise", "say noise", "tell done")
    listener = bench.listen()
    program = bench.client(
        listener.getsockname(), before=["/bin/sh", "-c", f'exec "$@" {closed}', "host"]
    )
    bench.pt.event("done")
    near = bench.connect_when_open(bench.port)
    bench.carried(near, listener)
    descriptors = Path(f"/proc/{program.process.pid}/fd")
    names = [os.readlink(descriptors / str(number)) for number in range(3)]
    assert names.count("/dev/null") >= len(closed.split())
    bench.stop(program)


def test_an_error_with_closed_descriptors_has_its_code(bench: Bench) -> None:
    """FE-16: nobody can hear it."""
    program = bench.client(
        options="", before=["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "host"]
    )
    assert program.wait() == 65


def test_a_stderr_that_nobody_reads_any_more_does_no_harm(bench: Bench) -> None:
    """FE-19: EPIPE."""
    bench.pt.play(*CLIENT, "await", "say LOG SEVERITY=error MESSAGE=x", "tell done")
    listener = bench.listen()
    read, write = os.pipe()
    program = bench.client(listener.getsockname(), stderr=write)
    os.close(write)
    os.close(read)
    bench.pt.open_gate()
    bench.pt.event("done")
    near = bench.connect_when_open(bench.port)
    bench.carried(near, listener)
    bench.stop(program)


def test_a_stderr_that_nobody_reads_for_now_does_no_harm(bench: Bench) -> None:
    """FE-19: a full pipe; lines are given up rather than waited for."""
    lines = ["say LOG SEVERITY=error MESSAGE=" + "x" * 1000] * 200
    bench.pt.play(*CLIENT, *lines, "tell done")
    listener = bench.listen()
    program = bench.client(listener.getsockname())
    bench.pt.event("done")
    near = bench.connect(bench.port)
    bench.carried(near, listener)
    bench.stop(program)
    assert program.text.count("xxx") > 1


@pytest.mark.parametrize(
    "options", ["", PLAIN_OPTIONS, "transport=conjure", SERVER_OPTIONS]
)
def test_an_error_exit_is_not_too_soon_for_the_host(bench: Bench, options: str) -> None:
    """HQ-02, ER-14: ss-local would miss it, and live on with a dead plugin."""
    bench.pt.play("exit 1")
    program = bench.client(options=options)
    code, _ = bench.failure(program)
    assert code in (65, 71, 76)
    assert time.monotonic() - program.started >= MIN_LIFE


def test_a_signal_ends_the_wait_before_an_error_exit(bench: Bench) -> None:
    """ER-14, HQ-03: whether it comes before or after the 200 ms, it is the end."""
    program = bench.client(options="")
    program.said("error: ")
    program.signal(signal.SIGTERM)
    assert bench.end(program) == 65


def test_a_signal_before_anything_was_started_is_the_end(bench: Bench) -> None:
    """ER-01, LC-08: while the port is tried again."""
    port = bench.listen().getsockname()[1]
    bench.port = port
    program = bench.client()
    # It has begun to try once it has taken the signal for its own.
    status = Path(f"/proc/{program.process.pid}/status")
    until(lambda: catches(status.read_text(), signal.SIGTERM))
    program.signal(signal.SIGTERM)
    assert bench.end(program) == 0
    assert program.lines == []


@pytest.mark.parametrize("program", ["bin/pt-bridge", "debian/pt-bridge.program"])
def test_ctrl_c_before_anything_was_imported_is_the_end(
    tmp_path: Path, program: str
) -> None:
    """Without a traceback: what takes long to import is a package that waits."""
    package = tmp_path / "pt_bridge"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "main.py").write_text("import sys; print(flush=True); sys.stdin.read()")
    text = (Path(__file__).parents[1] / program).read_text()
    script = tmp_path / "program"
    script.write_text(text.replace("/usr/lib/pt-bridge", str(tmp_path)))
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate() == (b"", b"")
    assert process.returncode == -signal.SIGINT


def catches(status: str, number: signal.Signals) -> bool:
    (line,) = (line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(line.split()[1], 16) & 1 << (number - 1))


# -- the port --------------------------------------------------------------------------


def test_a_port_in_use_is_tried_again(bench: Bench) -> None:
    """FE-07: the host has let go of it a moment before, or not yet."""
    bench.pt.play(*CLIENT)
    listener = bench.listen()
    bench.port = listener.getsockname()[1]
    program = bench.client()
    status = Path(f"/proc/{program.process.pid}/status")
    until(lambda: catches(status.read_text(), signal.SIGTERM))
    listener.close()
    program.said("ready")
    bench.stop(program)


def test_a_port_in_use_is_an_error_that_names_the_holder(bench: Bench) -> None:
    """FE-07, ER-09: which is the host itself where 'server' was forgotten."""
    bench.port = bench.listen().getsockname()[1]
    shell = ["/bin/sh", "-c", '"$@"; exit $?', "host"]
    programs = [bench.client(before=before) for before in ([], shell)]
    for program, what in zip(
        programs,
        (
            (
                "which started pt-bridge: this looks like the server side, so add "
                "'server' to the plugin options"
            ),
            "stop it, or choose another port",
        ),
        strict=True,
    ):
        code, sentence = bench.failure(program)
        assert code == 74
        assert sentence.startswith(
            f"cannot listen on port {bench.port}: address already in use, held by "
        )
        assert f"(pid {os.getpid()})" in sentence
        assert sentence.endswith(what)


def test_a_low_port_needs_a_right(bench: Bench) -> None:
    """ER-09."""
    first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if int(first.read_text()) <= 443:
        pytest.skip("every user may listen on port 443 here")
    bench.port = 443
    code, sentence = bench.failure(bench.client(before=as_ordinary_user()))
    assert code == 74
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in sentence
    assert "sysctl net.ipv4.ip_unprivileged_port_start=443" in sentence


def test_an_address_of_another_machine_is_an_error(bench: Bench) -> None:
    """ER-09."""
    variables = {
        **ADDRESSES,
        "SS_LOCAL_HOST": "192.0.2.1",
        "SS_PLUGIN_OPTIONS": PLAIN_OPTIONS,
    }
    code, sentence = bench.failure(bench.plugin(variables))
    assert code == 74
    assert "cannot assign requested address" in sentence


# -- the PT's program ------------------------------------------------------------------


def test_a_pt_that_is_not_there_is_looked_for_everywhere(bench: Bench) -> None:
    """ER-07: the names, and the folders."""
    bench.variables["PATH"] = "/nowhere/bin"
    code, sentence = bench.failure(
        bench.client(options="transport=meek;url=https://e/")
    )
    assert code == 71
    assert sentence.startswith(
        "no PT program was found: install meek-client (not in Debian 12; later, "
        "perhaps: apt install meek-client); looked in /nowhere/bin, /usr/local/bin, "
    )


@pytest.mark.parametrize(
    ("content", "mode_bits", "text"),
    [
        ("#!/bin/sh\n", 0o644, "is not executable by this user: run 'chmod +x "),
        ("#!/nowhere/sh\n", 0o755, "no such file or directory: it is broken, or for"),
        ("nothing\n", 0o755, "exec format error: it is broken, or for another machin"),
    ],
)
def test_a_pt_that_cannot_be_started_is_explained(
    bench: Bench, content: str, mode_bits: int, text: str
) -> None:
    """ER-07."""
    path = bench.folder / "meek-client"
    path.write_text(content)
    path.chmod(mode_bits)
    bench.variables["PATH"] = f"{bench.folder}:/bin"
    code, sentence = bench.failure(
        bench.client(options="transport=meek;url=https://e/")
    )
    assert code == 71
    assert str(path) in sentence
    assert text in sentence


# -- the PT's start --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "code", "text"),
    [
        (
            [VERSION, "say CMETHOD-ERROR obfs4 no such transport", DONE],
            69,
            "obfs4proxy cannot offer obfs4: no such transport",
        ),
        ([VERSION, DONE], 69, "obfs4proxy does not offer obfs4"),
        (
            [VERSION, "say CMETHOD obfs3 socks5 127.0.0.1:9", DONE],
            69,
            "obfs4proxy does not offer obfs4",
        ),
        (
            [f"write cert={SECRET} at 192.0.2.77"],
            75,
            "obfs4proxy was not ready within 0.3 seconds (start-timeout= sets the limi",
        ),
        (
            ["exit 0"],
            76,
            (
                "obfs4proxy ended with exit code 0 before it was ready, without a "
                "word: is it a pluggable transport?"
            ),
        ),
        (
            ["write No state directory: mkdir /proc/nope", "exit 1"],
            76,
            "obfs4proxy ended with exit code 1 before it was ready; it wrote: No state",
        ),
        (
            ["die 11"],
            76,
            "obfs4proxy was killed by SIGSEGV before it was ready",
        ),
        (
            ["say VERSION-ERROR no-version"],
            76,
            "does not speak version 1 of the PT protocol: VERSION-ERROR no-version",
        ),
        (["say VERSION 2"], 76, "obfs4proxy speaks version 2 of the PT protocol"),
        (
            [f"say ENV-ERROR bad cert={SECRET} for 192.0.2.77:443", "exit 1"],
            76,
            "ENV-ERROR bad cert=[scrubbed] for [scrubbed]:443",
        ),
        (
            [VERSION, "say ENV-ERROR after VERSION", "exit 1"],
            76,
            "ENV-ERROR after VERSION",
        ),
        (
            [VERSION, "say CMETHOD obfs4 socks5 192.0.2.77:80", DONE],
            76,
            "obfs4proxy listens for obfs4 on an address that is not loopback",
        ),
        ([DONE], 76, "obfs4proxy printed CMETHODS DONE before VERSION"),
        ([VERSION, "say CMETHOD obfs4"], 76, "printed a line 'CMETHOD' with fewer"),
        (
            [r"raw ENV-ERROR \x1b[31mred\x07\n"],
            76,
            r"ENV-ERROR \x1b[31mred\x07",
        ),
    ],
)
def test_a_pt_that_fails_to_start_ends_it(
    bench: Bench, steps: list[str], code: int, text: str
) -> None:
    """ER-04, ER-10, ER-11, ER-15, PO-03 to PO-09, SE-05, SE-08."""
    bench.pt.play(*steps)
    options = PLAIN_OPTIONS
    if code == 75:
        options += ";start-timeout=0.3"
    got, sentence = bench.failure(bench.client(options=options))
    assert got == code
    assert text in sentence
    assert bench.pt.is_gone(within=0)


def test_what_nobody_foresaw_is_an_internal_error(bench: Bench) -> None:
    """ER-06: here, that there are too few descriptors to read its own modules."""
    before = ["/bin/sh", "-c", 'ulimit -n 7; exec "$@"', "host"]
    program = bench.client(before=before)
    assert program.wait() == 70
    assert program.lines[-1] == (
        "pt-bridge[obfs4]: error: internal error: please report the lines above"
    )
    assert "OSError: [Errno 24]" in program.text
    assert SECRET not in program.text


# psutil is asked who holds a port, and this one tells all that it was given.
BROKEN_LIBRARY = """\
import os, sys
raise RuntimeError(f"{sys.argv!r} {dict(os.environ)!r}")
"""


@pytest.mark.parametrize("by_hand", [False, True], ids=["plugin", "by hand"])
def test_a_traceback_from_before_there_is_a_log_is_scrubbed(
    bench: Bench, *, by_hand: bool
) -> None:
    """ER-06, SE-05, SE-06: a library is broken, and the port is in use."""
    target = "heron.example"
    bench.variables["PYTHONPATH"] = str(bench.folder)
    (bench.folder / "psutil.py").write_text(BROKEN_LIBRARY)
    bench.listen(port=bench.port)
    if by_hand:
        program = bench.standalone(
            *("client", f"--local=127.0.0.1:{bench.port}", f"--remote={target}:443"),
            f"--plugin-opts={PLAIN_OPTIONS}",
        )
    else:
        program = bench.client((target, 443))
    assert program.wait() == 70
    first, last = program.lines
    assert first.startswith("pt-bridge: error: a bug in pt-bridge\\nTraceback")
    assert "RuntimeError: [" in first
    assert last == "pt-bridge: error: internal error: please report the lines above"
    assert SECRET not in program.text
    assert target not in program.text


# -- what it says ----------------------------------------------------------------------


def test_it_says_what_happens_and_nothing_of_each_connection(bench: Bench) -> None:
    """FE-19, SE-06: start, ready, stop."""
    bench.pt.play(*CLIENT)
    listener = bench.listen()
    program = bench.client(listener.getsockname())
    near = bench.connect_when_open(bench.port)
    bench.carried(near, listener)
    bench.stop(program)
    assert program.lines == [
        f"pt-bridge[obfs4]: starting {bench.pt.path}",
        f"pt-bridge[obfs4]: ready: obfs4proxy, listening on port {bench.port}",
        "pt-bridge[obfs4]: stopped",
    ]


def test_it_is_silent_when_it_is_told_to_be(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    listener = bench.listen()
    options = f"{PLAIN_OPTIONS};loglevel=warning"
    program = bench.client(listener.getsockname(), options=options)
    near = bench.connect_when_open(bench.port)
    near.sendall(b"x")
    assert bench.accept(listener).recv(1) == b"x"
    bench.stop(program)
    assert program.lines == []


def test_it_logs_to_a_file_below_the_state_directory(bench: Bench) -> None:
    """FE-19, SE-01: where a host has thrown stderr away."""
    bench.pt.play(*CLIENT)
    options = f"{PLAIN_OPTIONS};logfile=logs/bridge.log"
    program = bench.client(options=options, umask=0)
    program.said("ready")
    bench.stop(program)
    path = bench.folder / "state/pt-bridge/log/logs/bridge.log"
    logged = [line.partition(" ") for line in path.read_text().splitlines()]
    assert [line for _, _, line in logged] == program.lines
    assert all(datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z") for time, _, _ in logged)
    assert mode(path) == 0o600


def test_a_log_file_that_cannot_be_written_is_an_error(bench: Bench) -> None:
    """ER-08."""
    for folder in ("pt-bridge", "pt-bridge/log", "pt-bridge/log/logs"):
        (bench.folder / "state" / folder).mkdir(mode=0o700)
    code, sentence = bench.failure(
        bench.client(options=f"{PLAIN_OPTIONS};logfile=logs")
    )
    assert code == 73
    assert "cannot write the log file" in sentence
    assert bench.pt.named("started") == []


def test_nowhere_to_keep_the_state_is_an_error(bench: Bench) -> None:
    """ER-08: a client's with state=, as a server's without."""
    del bench.variables["XDG_STATE_HOME"]
    bench.variables["HOME"] = "/"
    code, sentence = bench.failure(
        bench.client(options=f"{PLAIN_OPTIONS};state=x", before=as_ordinary_user())
    )
    assert code == 73
    assert "set HOME or XDG_STATE_HOME" in sentence


def test_a_server_is_never_silent_about_its_role(bench: Bench) -> None:
    """FE-06: the role comes from the option, and from nothing else."""
    bench.pt.play(*SERVER)
    program = bench.server(host="127.0.0.1")
    program.said("serving port")
    bench.stop(program)
    assert "TOR_PT_CLIENT_TRANSPORTS" not in bench.pt.environment
