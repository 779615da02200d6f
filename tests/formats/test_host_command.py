"""The command that starts shadowsocks."""

from __future__ import annotations

import pytest

from pt_bridge.errors import ProtocolError
from pt_bridge.formats.host_command import find, parse

OPTIONS = "transport=obfs4;cert=A;iat-mode=0"
WHOLE = {
    "server": "192.0.2.1",
    "server_port": "8388",
    "local_port": "1080",
    "password": "p w",
    "method": "aes-256-gcm",
    "plugin": "pt-bridge",
    "plugin_opts": OPTIONS,
}
RUST = {**WHOLE, "local_address": "127.0.0.1"}


@pytest.mark.parametrize(
    ("line", "values", "link", "left_out"),
    [
        (
            (
                "ss-local -s 192.0.2.1 -p 8388 -l 1080 -k 'p w' -m aes-256-gcm "
                f'--plugin pt-bridge --plugin-opts "{OPTIONS}"'
            ),
            *(WHOLE, "", []),
        ),
        (
            (
                "/usr/bin/ss-local -s192.0.2.1 -p8388 -l1080 --password='p w' "
                f"-maes-256-gcm --plugin=pt-bridge --plugin-opts='{OPTIONS}' -u -t 60 "
                "--acl /x --fast-open &"
            ),
            *(WHOLE, "", ["-u", "-t", "--acl", "--fast-open"]),
        ),
        (
            (
                "sslocal -b 127.0.0.1:1080 -s 192.0.2.1:8388 -k 'p w' -m aes-256-gcm "
                f"--plugin pt-bridge --plugin-opts '{OPTIONS}' 2>&1"
            ),
            *(RUST, "", []),
        ),
        (
            "sslocal --server-url ss://x -b [::1]:1080",
            {"local_address": "::1", "local_port": "1080"},
            *("ss://x", []),
        ),
        (
            f"pt-bridge client --remote 192.0.2.1:8388 --plugin-opts '{OPTIONS}'",
            {"server": "192.0.2.1", "server_port": "8388", "plugin_opts": OPTIONS},
            *("", []),
        ),
        ("ss-local -c x.json -s 192.0.2.1", {"server": "192.0.2.1"}, "", []),
        ("ss-local -s 192.0.2.1 -v", {"server": "192.0.2.1"}, "", ["-v"]),
        ("ss-local -s a.b --key AAAA", {"server": "a.b", "key": "AAAA"}, "", []),
    ],
)
def test_a_command_says_what_config_json_would(
    line: str, values: dict[str, str], link: str, left_out: list[str]
) -> None:
    """What it says else is named."""
    assert parse(line) == (values, link, left_out)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "ss-local -k 's3cret",
            "its quotes do not end: was it copied whole?",
        ),
        ("ss-local -s", "'-s' in it has no value"),
        ("ss-local -k s3cret -k s3cre7", "'-k' is in it twice: leave one"),
        (
            "ss-local -c /etc/s3cret.json -v",
            "what it says stands in the file behind -c: give that file's name",
        ),
        ("sslocal -s s3cret:x", "it must be a port from 1 to 65535"),
    ],
)
def test_what_is_wrong_with_a_command_is_said(line: str, message: str) -> None:
    """ER-03, SE-05."""
    with pytest.raises(ProtocolError) as caught:
        parse(line)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("ss-local -s a", ["ss-local -s a"]),
        ("$ sudo ss-local -s a", ["ss-local -s a"]),
        ("# nohup /opt/bin/ss-server -s a &", ["/opt/bin/ss-server -s a &"]),
        ("[Service]\nExecStart=/usr/bin/ss-local -s a\n", ["/usr/bin/ss-local -s a"]),
        ("X=1 env Y=2 sslocal -s a", ["sslocal -s a"]),
        ("docker run -p 1:1 image ss-server -s a", ["ss-server -s a"]),
        ("ss-local -s a \\\n   -p 1", ["ss-local -s a  -p 1"]),
        (
            "ss-server -s a\nss-local -s a\nss-local -s a",
            ["ss-server -s a", "ss-local -s a"],
        ),
        ("pt-bridge client --local a:1", ["pt-bridge client --local a:1"]),
        ("C:\\ss\\sslocal.exe -s a", ["C:\\ss\\sslocal.exe -s a"]),
        ("use ss-local -s a", []),
        ('"plugin": "pt-bridge"', []),
        ("ss-local is a program", []),
        ("", []),
    ],
)
def test_commands_are_found_where_a_line_begins(text: str, commands: list[str]) -> None:
    """Behind a prompt, in a unit, or over several lines."""
    assert find(text) == commands
