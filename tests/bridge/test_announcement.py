"""What an operator is told of a server's clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge.bridge.announcement import announce
from pt_bridge.options.config import Config
from pt_bridge.protocol.pt_launch import Launch

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = Config(
    {
        b"SS_REMOTE_HOST": b"0.0.0.0",
        b"SS_REMOTE_PORT": b"8388",
        b"SS_LOCAL_HOST": b"127.0.0.1",
        b"SS_LOCAL_PORT": b"9",
        b"SS_PLUGIN_OPTIONS": b"server;transport=obfs4",
    }
)


def launch(cert: str) -> Launch:
    made = Launch("obfs4proxy", "obfs4", server=True)
    made.arguments += [("cert", cert), ("iat-mode", "0")]
    return made


def test_what_clients_need_is_in_a_file_and_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = tmp_path / "obfs4-8388"
    folder.mkdir()
    announce(CONFIG, str(folder), launch("A" * 70), is_new=True, is_first=True)
    path = folder / "client-options.txt"
    assert path.read_text().startswith("transport=obfs4;session=1;cert=AAA")
    assert f"a new server: its clients' plugin options are in {path}" in caplog.text
    caplog.clear()
    announce(CONFIG, str(folder), launch("A" * 70), is_new=False, is_first=True)
    assert f"the clients' plugin options are in {path}" in caplog.text
    caplog.clear()
    announce(CONFIG, str(folder), launch("A" * 70), is_new=False, is_first=False)
    assert caplog.text == ""
    announce(CONFIG, str(folder), launch("B" * 70), is_new=False, is_first=False)
    assert "this server's identity has changed" in caplog.text
    assert "AAA" not in caplog.text


def test_who_shares_a_folder_with_another_transport_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "client-options.txt").write_text("transport=obfs3;session=1")
    announce(CONFIG, str(tmp_path), launch("A" * 70), is_new=False, is_first=True)
    assert "client-options.txt was for transport=obfs3: every client" in caplog.text
    assert "if another server shares the folder, give each a state=" in caplog.text
    assert "identity" not in caplog.text


def test_the_clients_line_has_udp_where_the_server_has_it(tmp_path: Path) -> None:
    options = {
        b"SS_REMOTE_HOST": b"0.0.0.0",
        b"SS_REMOTE_PORT": b"8388",
        b"SS_LOCAL_HOST": b"127.0.0.1",
        b"SS_LOCAL_PORT": b"9",
        b"SS_PLUGIN_OPTIONS": b"server;transport=obfs4;udp",
    }
    announce(
        Config(options), str(tmp_path), launch("A" * 70), is_new=True, is_first=True
    )
    text = (tmp_path / "client-options.txt").read_text()
    assert text.startswith("transport=obfs4;session=1;udp;cert=AAA")


def test_a_change_of_the_plugin_alone_is_no_other_identity(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for form in ("http", "tls"):
        announce(
            CONFIG,
            str(tmp_path),
            launch("A" * 70),
            is_new=False,
            is_first=True,
            via=("obfs-local", f"obfs={form}"),
        )
    assert "what via= asks of clients has changed: every client needs" in caplog.text
    assert "identity" not in caplog.text
