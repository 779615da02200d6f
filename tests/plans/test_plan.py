"""One tunnel's table: what it becomes, and what is wrong with it."""

from __future__ import annotations

import pytest

from pt_bridge.errors import OwnerFileError
from pt_bridge.options.config import Config
from pt_bridge.plans import tunnels_file
from tests.plans.test_tunnels_file import CLIENT, SERVER, read
from tests.support.processes import SERVER_CERT

CERT = f"cert={SERVER_CERT}"
LINE = f"obfs4 192.0.2.7:443 {CERT} iat-mode=0"


def config(text: str) -> Config:
    """Return what the only tunnel of a file is to be."""
    (plan,) = read(text).plans
    return Config(plan.variables, plugin=False, flags=plan.flags)


def test_a_server_has_all_its_addresses() -> None:
    (plan,) = read(SERVER).plans
    assert (plan.name, plan.role) == ("home", "server")
    assert list(map(str, plan.listen)) == ["0.0.0.0:443", "[::]:443"]
    made = config(SERVER)
    assert made.server
    assert made.front
    assert made.remote_hosts == ["0.0.0.0", "::"]
    assert (made.remote_port, str(made.local)) == (443, "127.0.0.1:8388")
    assert made.transport == "obfs4"


@pytest.mark.parametrize(
    "how",
    [
        f'plugin-opts = "transport=obfs4;{CERT};iat-mode=0"',
        f'transport = "obfs4"\narguments = {{cert = "{SERVER_CERT}", iat-mode = 0}}',
        f'transport = "obfs4"\nplugin-opts = "{CERT}"\narguments = {{iat-mode = "0"}}',
        f'bridges = ["{LINE.replace("192.0.2.7", "192.0.2.1")}"]',
    ],
)
def test_what_is_for_the_transport_may_stand_in_several_places(how: str) -> None:
    made = config(CLIENT + how)
    assert not made.server
    assert made.transport == "obfs4"
    assert made.arguments == [("cert", SERVER_CERT), ("iat-mode", "0")]
    assert list(map(str, made.remotes)) == ["192.0.2.1:443"]


def test_a_bridge_line_names_the_server() -> None:
    text = CLIENT.replace('server = "192.0.2.1:443"\n', "")
    assert list(map(str, config(f'{text}bridges = "{LINE}"').remotes)) == [
        "192.0.2.7:443"
    ]


def test_a_servers_name_may_stand_for_several_addresses() -> None:
    text = CLIENT.replace("192.0.2.1:", "192.0.2.1|192.0.2.2:")
    made = config(f'{text}plugin-opts = "transport=obfs4;{CERT};iat-mode=0"')
    assert made.remote_hosts == ["192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("accept-proxy = true", "front", True),
        ("accept-proxy = false", "front", False),
        ("front = true", "front", True),
        ("front = false", "front", False),
        ('front = "yes"', "front", True),
        ("restarts = 7", "restarts", 7),
        ("start-timeout = 2.5", "start_timeout", 2.5),
        ('session = "only"', "only_sessions", True),
        ('state = "/somewhere"', "state", "/somewhere"),
        ('exec = "/opt/obfs4proxy"', "is_program_chosen", True),
    ],
)
def test_our_options_are_keys_with_what_a_flag_may_say(
    line: str, name: str, value: object
) -> None:
    text = SERVER.replace(', "[::]:443"', "")
    assert getattr(config(text + line), name) == value


def test_plans_are_equal_where_they_ask_for_the_same() -> None:
    assert read(SERVER).plans == read(f"# a comment\n{SERVER}").plans
    assert read(SERVER).plans != read(f"{SERVER}restarts = 1").plans


WRONG = [
    (f"{SERVER}metrics = ''", "write listen in [metrics], not metrics here"),
    (b"[[server]]", "[[server]] number 1: it needs a name"),
    (b"[[server]]\nname = 1", "[[server]] number 1: it needs a name"),
    (b'[[server]]\nname = " "', "[[server]] number 1: it needs a name"),
    (b'[[server]]\nname = "a\\nb"', "[[server]] number 1: it needs a name"),
    (b'[[server]]\nname = "a"', "[[server]] 'a': it needs listen = "),
    (f"{SERVER}frnot = true", "[[server]] 'home' knows no 'frnot': did you mean"),
    (f"{CLIENT}front = true", "[[client]] 'away' knows no 'front'"),
    (f"{CLIENT}loglevel = 1", "write level in [log], not loglevel here"),
    (f"{SERVER}restarts = []", 'restarts must be a text, as "..."'),
    (SERVER.replace("[::]:443", "[::]:80"), "listen has several ports"),
    (SERVER.replace("[::]:443", "[::]"), "listen is wrong: it must be"),
    (f"{CLIENT.replace('127.0.0.1:1984', 'x')}", "listen is wrong"),
    ('[[client]]\nname = "a"\nlisten = []', "listen must not be empty"),
    (SERVER.replace("service", "#"), "it needs service = "),
    (SERVER.replace("8388", "0"), "service is wrong: "),
    (CLIENT.replace("server =", "#"), "it needs server = "),
    (CLIENT.replace("192.0.2.1:443", "192.0.2.1|::"), ": server is wrong"),
    (f"{CLIENT}socks = '127.0.0.1:1'", "socks is a flag of 'pt-bridge client' alone"),
    (f"{CLIENT}arguments = 1", "arguments must be a table"),
    (f"{CLIENT}arguments = {{a = []}}", "arguments.a must be a text"),
    (f"{CLIENT}bridges = []", "bridges must not be empty"),
    (f'{CLIENT.replace("server =", "#")}bridges = "x"', "bridges is wrong: "),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_what_is_wrong_with_a_table_is_named(text: str | bytes, sentence: str) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(OwnerFileError) as caught:
        tunnels_file.read(data, "the.toml")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SERVER, "deny: no; service, listen"),
        (f'{CLIENT}bridges = "{LINE}"', "deny: no; listen, server"),
    ],
)
def test_a_sentence_about_flags_becomes_one_about_its_keys(
    text: str, words: str
) -> None:
    (plan,) = read(text).plans
    assert plan.in_its_words("--deny: no; --local, --remote") == words


def test_each_bridge_of_a_client_is_a_way() -> None:
    """In their order; without a server the first one's address stands for it."""
    other = LINE.replace("192.0.2.7", "192.0.2.8")
    head = CLIENT.replace('server = "192.0.2.1:443"\n', "")
    made = config(f'{head}bridges = ["{LINE}", "{other}"]')
    assert [list(map(str, way.addresses)) for way in made.ways] == [
        ["192.0.2.7:443"],
        ["192.0.2.8:443"],
    ]
