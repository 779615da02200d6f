"""The file of ``pt-bridge run``: what belongs to all tunnels, and what must differ."""

from __future__ import annotations

import pytest

from pt_bridge.errors import OwnerFileError
from pt_bridge.plans import tunnels_file
from pt_bridge.plans.tunnels_file import TunnelsFile

SERVER = """\
[[server]]
name = "home"
listen = ["0.0.0.0:443", "[::]:443"]
service = "127.0.0.1:8388"
transport = "obfs4"
"""
CLIENT = """\
[[client]]
name = "away"
listen = "127.0.0.1:1984"
server = "192.0.2.1:443"
"""


def read(text: str) -> TunnelsFile:
    return tunnels_file.read(text.encode(), "the.toml")


def test_the_log_is_the_whole_process_s() -> None:
    file = read(f'{SERVER}[log]\nlevel = "debug"\nfile = "/a/log"\nunsafe = true')
    assert file[1:] == ("debug", "/a/log", True, None)
    assert read(SERVER)[1:] == ("info", None, False, None)


@pytest.mark.parametrize("place", ["127.0.0.1:9100", "unix:/run/numbers"])
def test_numbers_are_the_whole_process_s(place: str) -> None:
    file = read(f'{SERVER}[metrics]\nlisten = "{place}"')
    assert str(file.metrics) == place.removeprefix("unix:")


def test_servers_come_before_clients() -> None:
    assert [plan.name for plan in read(CLIENT + SERVER).plans] == ["home", "away"]


TWO = CLIENT + CLIENT.replace("away", "other")
WRONG = [
    (b"\xff", "it must be UTF-8 text"),
    (b"a = ", "it must be TOML: "),
    (b"", "it names no tunnel"),
    (b"[[servers]]", "the file knows no 'servers': did you mean 'server'?"),
    (b"what = 1", "the file knows no 'what' (it knows: server, client, log, metrics)"),
    (b"log = 1", "[log] must be a table"),
    (b"[log]\nlevle = 1", "[log] knows no 'levle': did you mean 'level'?"),
    (b"[log]\nlevel = 1", "[log]: level must be one of: error, "),
    (b"[log]\nfile = true\n", "the.toml: it names no tunnel"),
    (f"{SERVER}[log]\nfile = true", '[log]: file must be a text, as "..."'),
    (f"{SERVER}[log]\nunsafe = 1", "[log]: unsafe must be true or false"),
    (f"{SERVER}[metrics]\nlisten = '192.0.2.1:1'", "would let other machines read"),
    (f"{SERVER}[metrics]\nlsten = ''", "[metrics] knows no 'lsten': did you mean"),
    (b"[server]", "write [[server]], with two brackets"),
    (b"server = [1]", "[[server]] must be a table"),
    (TWO.replace("other", "away"), "two tunnels are called 'away'"),
    (TWO, "[[client]] 'away' and [[client]] 'other' both listen on port 1984"),
    (
        f'{CLIENT}state = "a"\n{TWO[len(CLIENT) :].replace("1984", "1")}state = "a"',
        "[[client]] 'away' and [[client]] 'other' have the same state",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_what_is_wrong_is_named(text: str | bytes, sentence: str) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(OwnerFileError) as caught:
        tunnels_file.read(data, "the.toml")
    assert str(caught.value).startswith("the.toml: ")
    assert sentence in str(caught.value)


def two(one: str, other: str) -> str:
    """Return a file of two clients."""
    return CLIENT.replace("127.0.0.1", one) + CLIENT.replace(
        "127.0.0.1", other
    ).replace("away", "other")


@pytest.mark.parametrize(
    ("one", "other"),
    [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("[::]", "[::1]")],
)
def test_a_port_is_listened_on_once(one: str, other: str) -> None:
    with pytest.raises(OwnerFileError, match="both listen on port 1984"):
        read(two(one, other))


@pytest.mark.parametrize(
    ("one", "other"), [("127.0.0.1", "127.0.0.2"), ("[::]", "127.0.0.1")]
)
def test_a_port_of_two_addresses_is_two(one: str, other: str) -> None:
    assert len(read(two(one, other)).plans) == 2


def test_a_crowd_of_tunnels_is_refused() -> None:
    text = "".join(
        f'[[client]]\nname = "{n}"\nlisten = "127.0.0.1:{n}"\nserver = "a:1"\n'
        for n in range(1, tunnels_file.MAX_TUNNELS + 2)
    )
    with pytest.raises(OwnerFileError, match="more than 1000 tunnels"):
        read(text)


def test_a_mark_at_its_begin_is_no_key() -> None:
    """Windows puts a BOM there."""
    (plan,) = tunnels_file.read(b"\xef\xbb\xbf" + SERVER.encode(), "the.toml").plans
    assert plan.name == "home"


@pytest.mark.parametrize(
    ("more", "tables"),
    [
        ("", []),
        ('[log]\nlevel = "debug"', ["[log]"]),
        ('[log]\nfile = "x"', ["[log]"]),
        ('[metrics]\nlisten = "127.0.0.1:1"', ["[metrics]"]),
        ("[log]\nunsafe = true\n[metrics]\nlisten = 'unix:/x'", ["[log]", "[metrics]"]),
    ],
)
def test_what_only_a_restart_changes_is_told(more: str, tables: list[str]) -> None:
    notes = read(SERVER + more).notes_on_change(read(SERVER))
    assert notes == [
        f"{each} has changed: restart pt-bridge for that" for each in tables
    ]
