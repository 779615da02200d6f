"""``pt-bridge doctor``, the whole program."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pt_bridge.net.connect import DIAL_LIMIT
from tests.support.processes import CLIENT, SECRET, SERVER
from tests.support.tcp import not_listening

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Bench, Program

ARGUMENTS = f"cert={SECRET};iat-mode=0"
OPTIONS = f"transport=obfs4;{ARGUMENTS}"
PASSWORD = "the-password-of-shadowsocks"
SERVER_ARGUMENTS = ("server;transport=obfs4", "--remote")


def doctor(bench: Bench, *arguments: str) -> Program:
    return bench.standalone("doctor", *arguments)


def told(bench: Bench, program: Program) -> tuple[int, str]:
    """Wait for the end; see that nothing is left; return the code and what was said."""
    code = program.wait()
    assert bench.pt.is_gone()
    assert not list((bench.folder / "tmp").iterdir())
    text = program.output.decode()
    assert "Traceback" not in text + program.text
    assert SECRET not in text + program.text
    assert PASSWORD not in text + program.text
    return code, text


def links(bench: Bench, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Ask as programs do; return the code and the results."""
    program = doctor(bench, "--json", *arguments)
    code, text = told(bench, program)
    assert program.lines == []
    return code, [json.loads(line) for line in text.splitlines()]


def closed_port(bench: Bench) -> str:
    return f"127.0.0.1:{bench.free_port()}"


def place_of(listener: socket.socket) -> str:
    return "{}:{}".format(*listener.getsockname())


def test_a_person_reads_one_line_for_each_link(bench: Bench) -> None:
    """It stops at the first broken one, and says what to try."""
    bench.pt.play(*CLIENT)
    place = closed_port(bench)
    program = doctor(bench, OPTIONS, "--remote", place)
    code, text = told(bench, program)
    assert code == 68
    *lines, last, advice = text.splitlines()
    assert [line.split()[0] for line in lines] == ["ok"] * len(lines)
    assert last.startswith("failed")
    assert place in last  # a person asked for it
    assert advice.strip().startswith("try: ")
    assert program.lines == []


def test_a_program_reads_one_object_for_each_link(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    code, results = links(bench, OPTIONS, "--remote", closed_port(bench))
    assert code == 68
    names = ["options", "program", "state", "start", "server"]
    assert [result["link"] for result in results] == names
    assert [result["verdict"] for result in results] == ["ok"] * 4 + ["failed"]
    assert results[-1]["exit_code"] == 68
    assert all(result["seconds"] >= 0 for result in results)


def test_a_chain_that_holds_ends_with_0(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    place = place_of(bench.listen())
    code, results = links(bench, f"{OPTIONS};session=0", "--remote", place)
    assert code == 0
    assert results[-2]["text"] == "it stays open"


def test_a_server_s_chain_ends_with_0(bench: Bench) -> None:
    bench.pt.play(*SERVER)
    code, results = links(
        bench,
        *SERVER_ARGUMENTS,
        f"127.0.0.1:{bench.port}",
        f"--local={place_of(bench.listen())}",
    )
    assert (code, results[-1]["link"]) == (0, "shadowsocks")
    assert results[0]["text"] == "server, transport=obfs4"


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
    code, results = links(bench, *given[form])
    assert code == 68
    assert results[0]["text"] == "client, transport=obfs4, session=auto"
    assert results[-1]["text"].startswith(f"{place}: ")


def test_a_bridge_of_tor_is_warned_of(bench: Bench) -> None:
    """Such a line is valid, and leads only to Tor."""
    bench.pt.play(*CLIENT)
    line = f"obfs4 {closed_port(bench)} {'A' * 40} cert={SECRET} iat-mode=0"
    _, results = links(bench, line)
    assert (results[0]["verdict"], results[1]["verdict"]) == ("warning", "ok")
    assert "Tor" in results[0]["text"]


def test_a_warning_about_the_options_is_told(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    _, results = links(bench, f"{OPTIONS};crt=x", "--remote", closed_port(bench))
    assert results[0]["verdict"] == "warning"
    assert "did you mean 'cert'" in results[0]["text"]


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
    found, results = links(bench, *arguments)
    assert found == code
    (only,) = results
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
    """A path may be named there."""
    bench.pt.play(*CLIENT)
    _, results = links(
        bench, OPTIONS, f"--exec={bench.pt.path}", "--remote", closed_port(bench)
    )
    assert results[1]["text"].startswith(str(bench.pt.path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_it_finds_nothing_left(bench: Bench, number: signal.Signals) -> None:
    """Everything that it starts is gone, also on Ctrl-C."""
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
    code, results = links(
        bench, OPTIONS, "--timeout=10", "--remote", place_of(bench.listen())
    )
    assert code == 77
    assert results[-1]["link"] == "handshake"
    assert sum(result["seconds"] for result in results) < DIAL_LIMIT  # else it is that


def test_what_a_pt_writes_can_forge_no_line_and_tell_no_secret(bench: Bench) -> None:
    bench.pt.play("write \x1b[2J oh no: " + SECRET, "exit 1")
    code, results = links(bench, OPTIONS, "--remote", "127.0.0.1:9")
    assert code == 76
    assert "\x1b" not in results[-1]["text"]
    assert "oh no: [scrubbed]" in results[-1]["text"]


@pytest.mark.parametrize("password", ["server", "password", "obfs4proxy"])
def test_a_password_that_is_a_word_of_ours_stays_in_our_sentences(
    bench: Bench, password: str
) -> None:
    """SE-06: what is missing there would tell it; what others write is scrubbed."""
    bench.pt.play(f"write oh no: {password}", "exit 1")
    path = config_json(bench.folder, "127.0.0.1:9", password=password)
    code, results = links(bench, path)
    assert code == 76
    *ours, last = results
    assert not any(
        "[scrubbed]" in f"{result['text']}{result['advice']}" for result in ours
    )
    assert "oh no: [scrubbed]" in last["text"]
    assert last["text"].startswith("obfs4proxy ended with")


@pytest.mark.parametrize("keyword", ["bridge=", ""])
def test_a_bridge_line_in_the_options_names_the_server(
    bench: Bench, keyword: str
) -> None:
    """It has the address, which is not asked for again."""
    bench.pt.play(*CLIENT)
    place = closed_port(bench)
    line = f"{keyword}Bridge obfs4 {place} cert={SECRET} iat-mode=0"
    code, results = links(bench, "--plugin-opts", line)
    if keyword:
        assert (code, results[-1]["link"]) == (68, "server")
        assert place in results[-1]["text"]
    else:
        assert code == 65
        assert "write 'bridge=' before it" in results[-1]["text"]


def test_a_bug_is_said_to_be_one(bench: Bench) -> None:
    """ER-01: 70."""
    code = """if True:
        import sys
        from pt_bridge.doctor.request import Request
        from pt_bridge.doctor.run import run
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


def test_each_of_several_ways_is_looked_at(bench: Bench) -> None:
    """One that works is enough; what is said of it has its number."""
    bench.install_plugin("lyrebird", *CLIENT)
    listener = bench.listen()
    lines = f"bridge=obfs3 {closed_port(bench)};bridge=obfs2 {place_of(listener)}"
    arguments = ("--plugin-opts", f"{lines};session=0", "--remote", "192.0.2.1:9")
    code, results = links(bench, *arguments)
    said = [each["text"] for each in results if each["link"] == "ways"]
    assert said == ["way 1 of 2 (obfs3) does not work", "way 2 of 2 (obfs2) works"]
    texts = [each["text"] for each in results]
    assert any(text.startswith("way 1 of 2 (obfs3): ") for text in texts)
    assert code == 0
    with not_listening(listener):
        code, results = links(bench, *arguments)
    assert results[-1]["text"] == "none of the 2 ways works"
    assert code == results[-1]["exit_code"] != 0
