#!/usr/bin/env python3
"""A stand-in for ss-local, as far as its plugin goes: it starts it, and uses it.

``ss-local -c FILE``: the method says what it does. ``plain`` carries the bytes of its
SOCKS clients through the plugin as they are, with nothing of shadowsocks around them;
``refused`` is unknown to it, and it ends; ``deaf`` listens and ignores SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading

LOOPBACK = "127.0.0.1"


def main() -> None:
    """Run until it is told to end."""
    with open(sys.argv[2], encoding="utf-8") as file:
        given = json.load(file)
    if given["method"] == "refused":
        sys.exit("Invalid cipher name")
    with socket.create_server((LOOPBACK, 0)) as sock:
        port = sock.getsockname()[1]
    plugin = subprocess.Popen(
        ["/bin/sh", "-c", f"exec {given['plugin']}"],
        env={
            **os.environ,
            "SS_REMOTE_HOST": given["server"],
            "SS_REMOTE_PORT": str(given["server_port"]),
            "SS_LOCAL_HOST": LOOPBACK,
            "SS_LOCAL_PORT": str(port),
            "SS_PLUGIN_OPTIONS": given["plugin_opts"],
        },
    )
    if given["method"] == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listener = socket.create_server((given["local_address"], given["local_port"]))
    threading.Thread(target=end_with, args=(plugin,), daemon=True).start()
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=carry, args=(sock, port), daemon=True).start()


def end_with(plugin: subprocess.Popen[bytes]) -> None:
    """End when the plugin does."""
    plugin.wait()
    sys.stderr.write("plugin service exit unexpectedly\n")
    os._exit(255)


def carry(near: socket.socket, port: int) -> None:
    """Take a SOCKS client in, and join it with the plugin."""
    hello = near.recv(2)
    if not hello:
        return
    near.recv(hello[1])
    near.sendall(b"\5\0")
    near.recv(1024)
    near.sendall(b"\5\0\0\1" + bytes(6))
    far = socket.create_connection((LOOPBACK, port))
    threading.Thread(target=copy, args=(far, near), daemon=True).start()
    copy(near, far)


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Copy one way, and pass the end on."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()


if __name__ == "__main__":
    main()
