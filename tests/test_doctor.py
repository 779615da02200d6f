"""``pt-bridge doctor``, the whole program."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import CLIENT, SECRET, SERVER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes import Bench, Program

ARGUMENTS = f"cert={SECRET};iat-mode=0"
OPTIONS = f"transport=obfs4;{ARGUMENTS}"
PASSWORD = "the-password-of-shadowsocks"
SERVER_ARGUMENTS = ("server;transport=obfs4", "--remote")


def doctor(bench: Bench, *arguments: str) -> Program:
    return bench.standalone("doctor", *arguments)


def told(bench: Bench, program: Program) -> tuple[int, str]:
    """Wait for the end; see that nothing is left; give the code and what was said."""
    code = program.wait()
    assert bench.pt.is_gone()
    assert not list((bench.folder / "tmp").iterdir())
    text = program.output.decode()
    assert "Traceback" not in text + program.text
    assert SECRET not in text + program.text
    assert PASSWORD not in text + program.text
    return code, text


def links(bench: Bench, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Ask as programs do; give the code and the steps."""
    program = doctor(bench, "--json", *arguments)
    code, text = told(bench, program)
    assert program.lines == []
    return code, [json.loads(line) for line in text.splitlines()]


def closed_port(bench: Bench) -> str:
    return f"127.0.0.1:{bench.free_port()}"


def place_of(listener: socket.socket) -> str:
    return "{}:{}".format(*listener.getsockname())


def test_a_person_reads_one_line_for_each_link(bench: Bench) -> None:
    """Issue 6, item 1: stops at the first broken one, and says what to try."""
    bench.pt.play(*CLIENT)
    place = closed_port(bench)
    program = doctor(bench, OPTIONS, "--remote", place)
    code, text = told(bench, program)
    assert code == 68
    *lines, last, advice = text.splitlines()
    assert [line.split()[0] for line in lines] == ["ok"] * len(lines)
    assert last.startswith("failed")
    assert place in last  # a person asked for it: design 4
    assert advice.strip().startswith("try: ")
    assert program.lines == []


def test_a_program_reads_one_object_for_each_link(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    code, steps = links(bench, OPTIONS, "--remote", closed_port(bench))
    assert code == 68
    names = ["options", "program", "state", "start", "server"]
    assert [step["link"] for step in steps] == names
    assert [step["verdict"] for step in steps] == ["ok"] * 4 + ["failed"]
    assert steps[-1]["exit_code"] == 68
    assert all(step["seconds"] >= 0 for step in steps)


def test_a_chain_that_holds_ends_with_0(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    code, steps = links(bench, OPTIONS, "--remote", place_of(bench.listen()))
    assert code == 0
    assert steps[-2]["text"] == "it stays open"


def test_a_server_s_chain_ends_with_0(bench: Bench) -> None:
    bench.pt.play(*SERVER)
    code, steps = links(
        bench,
        *SERVER_ARGUMENTS,
        f"127.0.0.1:{bench.port}",
        f"--local={place_of(bench.listen())}",
    )
    assert (code, steps[-1]["link"]) == (0, "shadowsocks")
    assert steps[0]["text"] == "server, transport=obfs4, hold=both"


def config_json(folder: Path, place: str, **more: str) -> str:
    host, _, port = place.rpartition(":")
    path = folder / "config.json"
    values = {
        "server": host,
        "server_port": int(port),
        "method": "aes-128-gcm",
        "password": PASSWORD,
        "plugin": "pt-bridge",
        "plugin_opts": OPTIONS,
        **more,
    }
    path.write_text(json.dumps(values))
    return str(path)


@pytest.mark.parametrize("form", ["options", "flags", "bridge", "json"])
def test_whatever_people_paste_is_understood(bench: Bench, form: str) -> None:
    bench.pt.play(*CLIENT)
    place = closed_port(bench)
    given = {
        "options": [OPTIONS, "--remote", place],
        "flags": ["--transport=obfs4", f"--plugin-opts={ARGUMENTS}", "--remote", place],
        "bridge": ["Bridge", "obfs4", place, f"cert={SECRET}", "iat-mode=0"],
        "json": [config_json(bench.folder, place)],
    }
    code, steps = links(bench, *given[form])
    assert code == 68
    assert steps[0]["text"] == "client, transport=obfs4, hold=both"
    assert steps[-1]["text"].startswith(f"{place}: ")


def test_a_bridge_of_tor_is_warned_of(bench: Bench) -> None:
    """Issue 6, item 2: such a line is valid, and leads only to Tor."""
    bench.pt.play(*CLIENT)
    line = f"obfs4 {closed_port(bench)} {'A' * 40} cert={SECRET} iat-mode=0"
    _, steps = links(bench, line)
    assert (steps[0]["verdict"], steps[1]["verdict"]) == ("warning", "ok")
    assert "Tor" in steps[0]["text"]


def test_a_warning_about_the_options_is_told(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    _, steps = links(bench, f"{OPTIONS};crt=x", "--remote", closed_port(bench))
    assert steps[0]["verdict"] == "warning"
    assert "did you mean 'cert'" in steps[0]["text"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["transport=obfs4", "--remote=127.0.0.1:9"], 65, "needs cert="),
        ([OPTIONS], 64, "--remote HOST:PORT"),
        ([OPTIONS, "--remote=x"], 64, "--remote"),
        (["gibberish"], 65, "this is no bridge line"),
        ([f"{OPTIONS};loglevel=debug", "--remote=127.0.0.1:9"], 65, "loglevel"),
        (["{", "--remote=127.0.0.1:9"], 65, "line 1, column 2"),
    ],
)
def test_what_is_not_understood_breaks_the_chain_at_its_start(
    bench: Bench, arguments: list[str], code: int, words: str
) -> None:
    found, steps = links(bench, *arguments)
    assert found == code
    (only,) = steps
    assert (only["link"], only["verdict"]) == ("options", "failed")
    assert words in only["text"]


def test_another_plugin_s_configuration_is_refused(bench: Bench) -> None:
    path = config_json(bench.folder, "127.0.0.1:9", plugin="v2ray-plugin")
    code, (only,) = links(bench, path)
    assert code == 65
    assert "v2ray-plugin" in only["text"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--timeout=0"], "--timeout"),
        (["--timeout=1e9"], "--timeout"),
        (["--through=x"], "--through"),
        (["/nowhere.json"], "/nowhere.json"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_command_line_that_is_wrong_is_an_error_like_all_others(
    bench: Bench, arguments: list[str], words: str
) -> None:
    code, text = bench.failure(doctor(bench, *arguments))
    assert code == 64
    assert words in text


def test_a_flag_is_the_owner_s_own_word(bench: Bench) -> None:
    """Design 4: a path may be named there."""
    bench.pt.play(*CLIENT)
    _, steps = links(
        bench, OPTIONS, f"--exec={bench.pt.path}", "--remote", closed_port(bench)
    )
    assert steps[1]["text"].startswith(str(bench.pt.path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_it_finds_nothing_left(bench: Bench, number: signal.Signals) -> None:
    """Issue 6, item 1: everything that it starts is gone, also on Ctrl-C."""
    bench.pt.play("say VERSION 1", "client socks5 silent", "say CMETHODS DONE")
    program = doctor(bench, OPTIONS, "--remote", place_of(bench.listen()))
    bench.pt.event("accepted")
    program.signal(number)
    code, text = told(bench, program)
    assert code == 128 + number
    assert "handshake" not in text


def test_the_time_that_it_takes_is_limited(bench: Bench) -> None:
    """Every wait has a limit, and all together have one."""
    bench.pt.play("say VERSION 1", "client socks5 silent", "say CMETHODS DONE")
    code, steps = links(
        bench, OPTIONS, "--timeout=4", "--remote", place_of(bench.listen())
    )
    assert code == 77
    assert steps[-1]["link"] == "handshake"
    assert sum(step["seconds"] for step in steps) < 6


def test_what_a_pt_writes_can_forge_no_line_and_tell_no_secret(bench: Bench) -> None:
    bench.pt.play("write \x1b[2J oh no: " + SECRET, "exit 1")
    code, steps = links(bench, OPTIONS, "--remote", "127.0.0.1:9")
    assert code == 76
    assert "\x1b" not in steps[-1]["text"]
    assert "oh no: [scrubbed]" in steps[-1]["text"]


def test_a_bug_is_said_to_be_one(bench: Bench) -> None:
    """ER-01: 70."""
    code = """if True:
        import sys
        from pt_bridge.doctor import Request, run
        def write(text):
            raise ValueError("odd")
        sys.exit(run(Request(text="transport=obfs3"), {}, write))
    """
    program = bench.run([sys.executable, "-c", code], bench.variables)
    assert program.wait() == 70
    assert "a bug in pt-bridge" in program.lines[0]
    assert "ValueError: odd" in program.lines[0]


def test_a_reader_that_goes_away_does_not_matter(bench: Bench) -> None:
    """`pt-bridge doctor ... | head -n 1`."""
    bench.pt.play(*CLIENT)
    command = [sys.executable, "-m", "pt_bridge", "doctor", OPTIONS, "--remote"]
    command.append(closed_port(bench))
    program = bench.run(
        ["sh", "-c", f"{shlex.join(command)} | head -n 1"], bench.variables
    )
    code, text = told(bench, program)
    assert code == 0  # head's
    assert text.count("\n") == 1
    assert program.lines == []
