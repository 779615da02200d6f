"""What a browser at the near end of a long path waits for.

Run as a program, isolated: it imports nothing of `bench`. Its arguments are a host and
a port, behind which the far end of `bench.far_end` is, however far, and how many new
connections to make one after the other. It prints as JSON how many seconds the first
byte took on each, and how long a page took, with each of its objects.
"""

from __future__ import annotations

import json
import queue
import socket
import struct
import sys
import threading
import time

HEADER = struct.Struct(">cQ")
GIVE = b"G"
OBJECTS, OBJECT_SIZE, AT_ONCE = 30, 50_000, 6
PATIENCE = 60.0  # how long a connection may say nothing (seconds)
PAUSE = 0.3  # between two of those that are made one after the other (seconds)


def fetch(address: tuple[str, int], number: int) -> float:
    """Fetch so many bytes on a new connection; return the seconds that it took."""
    began = time.perf_counter()
    with socket.create_connection(address, PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(HEADER.pack(GIVE, number))
        while number > 0:
            data = sock.recv(number)
            if not data:
                raise ConnectionError("the connection ended early")
            number -= len(data)
        return time.perf_counter() - began


def page(address: tuple[str, int]) -> tuple[float, list[float]]:
    """Fetch a page's objects, some at a time; return the seconds of all, and of each.

    Raises:
        ConnectionError: an object did not come.
    """
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for _ in range(OBJECTS):
        left.put(OBJECT_SIZE)
    taken: list[float] = []

    def work() -> None:
        while True:
            try:
                number = left.get_nowait()
            except queue.Empty:
                return
            taken.append(fetch(address, number))

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(taken) < OBJECTS:
        raise ConnectionError(f"{OBJECTS - len(taken)} objects did not come")
    return time.perf_counter() - began, taken


def main() -> None:
    """Fetch, and print what was waited for."""
    address = sys.argv[1], int(sys.argv[2])
    firsts = []
    for _ in range(int(sys.argv[3])):
        firsts.append(fetch(address, 1))
        time.sleep(PAUSE)
    whole, objects = page(address)
    json.dump({"firsts": firsts, "page": whole, "objects": objects}, sys.stdout)


if __name__ == "__main__":
    main()
