"""sd_notify(3)."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from pt_bridge.system.systemd import notify

if TYPE_CHECKING:
    from pathlib import Path


def heard(address: str | bytes, variable: bytes) -> bytes:
    """Be systemd; return what was said."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.setblocking(False)
        notify({b"NOTIFY_SOCKET": variable}, "READY=1")
        return sock.recv(100)


def test_a_state_is_sent_to_a_socket_in_a_folder(tmp_path: Path) -> None:
    """Systemd for its services."""
    path = tmp_path / "notify"
    assert heard(str(path), bytes(path)) == b"READY=1"


def test_a_state_is_sent_to_an_abstract_socket() -> None:
    """Systemd for a user's, and containers."""
    name = b"pt-bridge-test-%d" % os.getpid()
    assert heard(b"\0" + name, b"@" + name) == b"READY=1"


@pytest.mark.parametrize("variable", [b"", b"relative", b"vsock:2:1234"])
def test_where_nobody_listens_nothing_is_said(variable: bytes) -> None:
    """Another service manager, or none."""
    notify({b"NOTIFY_SOCKET": variable}, "READY=1")
    notify({}, "READY=1")


def test_a_socket_that_is_gone_or_full_disturbs_nothing(tmp_path: Path) -> None:
    """Tunnels come first."""
    path = tmp_path / "notify"
    notify({b"NOTIFY_SOCKET": bytes(path)}, "READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        for _ in range(10_000):  # far more than it holds
            notify({b"NOTIFY_SOCKET": bytes(path)}, "READY=1")
        assert sock.recv(100) == b"READY=1"
