"""A tor's control port, through stem, against one that a test plays."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import UsageError
from pt_bridge.protocol.address import Address
from pt_bridge.tor.control import MAX_ANSWERS, TorFacts, ask
from tests.support.fake_tor import CONFIGURATION, INFORMATION, fake_control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FACTS = TorFacts(
    ext_orport=Address("127.0.0.1", 9010),
    cookie_path="/var/lib/tor/extended_orport_auth_cookie",
    fingerprint="0123456789ABCDEF0123456789ABCDEF01234567",
    host="192.0.2.1",
    version="0.4.9.11",
    progress=100,
    is_bridge=True,
    is_port_auto=False,
)


async def test_tor_says_where_its_extended_orport_is_and_who_it_is() -> None:
    with fake_control() as address:
        assert await ask(Address(*address)) == FACTS


async def test_torrc_may_say_where_the_cookie_is() -> None:
    given = {
        **CONFIGURATION,
        "ExtORPortCookieAuthFile": "/run/tor/cookie",
        "ExtORPort": "auto",
    }
    with fake_control(configuration=given) as address:
        facts = await ask(Address(*address))
    assert facts.cookie_path == "/run/tor/cookie"
    assert facts.is_port_auto


async def test_a_tor_that_is_no_relay_yet_has_no_fingerprint() -> None:
    told = {"net/listeners/extor": INFORMATION["net/listeners/extor"]}
    with fake_control(configuration={}, information=told) as address:
        facts = await ask(Address(*address))
    assert (facts.fingerprint, facts.host, facts.version) == ("", "", "")
    assert (facts.progress, facts.is_bridge) == (0, False)


@pytest.mark.parametrize("listening", ["", '"unix:/run/tor/extor"'])
async def test_a_tor_without_an_extended_orport_is_told_what_it_lacks(
    listening: str,
) -> None:
    told = {**INFORMATION, "net/listeners/extor": listening}
    with fake_control(information=told) as address, pytest.raises(UsageError) as caught:
        await ask(Address(*address))
    assert "write ExtORPort 127.0.0.1:9010" in str(caught.value)


async def test_a_tor_that_wants_a_password_is_told_what_to_have_instead() -> None:
    with (
        fake_control(methods="HASHEDPASSWORD") as address,
        pytest.raises(UsageError) as caught,
    ):
        await ask(Address(*address))
    assert "tor does not let us in at its control port" in str(caught.value)
    assert "CookieAuthentication 1" in str(caught.value)


async def test_a_port_where_nobody_listens_is_no_tor(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(*listener.getsockname())
    with pytest.raises(ConnectionRefusedError):
        await ask(address)
    with pytest.raises(FileNotFoundError):
        await ask(str(tmp_path / "control"))


async def test_what_answers_as_no_tor_does_is_none() -> None:
    with (
        fake_control(methods="NULL\r\nX") as address,
        pytest.raises(OSError, match="what listens there does not speak"),
    ):
        await ask(Address(*address))


@contextlib.contextmanager
def hostile(speak: Callable[[socket.socket], None]) -> Iterator[Address]:
    """Serve one caller, who hangs up in the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as caller, contextlib.suppress(OSError):
                speak(caller)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Address(*listener.getsockname())
        finally:
            thread.join()


def say_nothing(caller: socket.socket) -> None:
    while caller.recv(4096):
        pass


def say_one_byte_after_the_other(caller: socket.socket) -> None:
    caller.settimeout(0.02)
    while True:
        caller.sendall(b"2")
        with contextlib.suppress(TimeoutError):
            if not caller.recv(4096):
                return


@pytest.mark.parametrize("speak", [say_nothing, say_one_byte_after_the_other])
async def test_one_who_answers_late_is_waited_for_no_longer_than_the_limit(
    speak: Callable[[socket.socket], None],
) -> None:
    """And no thread goes on waiting: the end of the test would wait for that."""
    with hostile(speak) as address, pytest.raises(OSError, match="no answer in time"):
        await ask(address, limit=0.2)


async def test_a_stop_waits_for_no_answer() -> None:
    has_been_asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen(caller: socket.socket) -> None:
        caller.recv(1)
        loop.call_soon_threadsafe(has_been_asked.set)
        say_nothing(caller)

    with hostile(listen) as address:
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask(address))
            await has_been_asked.wait()
            asking.cancel()
    assert asking.cancelled()


@pytest.mark.parametrize(
    "what",
    [b"2", b"250-x\r\n", b"650 " + b"x" * 1000 + b"\r\n"],
    ids=["a line", "an answer", "events"],
)
async def test_one_who_says_too_much_is_heard_no_longer(what: bytes) -> None:
    """A line without an end, an answer without one, and events without one."""
    said = 0

    def speak(caller: socket.socket) -> None:
        nonlocal said
        while True:
            said += caller.send(what * 1000)

    with hostile(speak) as address, pytest.raises(OSError, match="tor's control port"):
        await ask(address, limit=60)
    assert said < 64 * MAX_ANSWERS  # the rest was in buffers of the system's


async def test_one_who_hangs_up_at_once_is_no_control_port() -> None:
    """As tor's ORPort does."""
    with (
        hostile(lambda caller: None) as address,
        pytest.raises(OSError, match="does not speak as tor's control port"),
    ):
        await ask(address)


def test_without_stem_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    code = """if True:
        import asyncio, sys
        sys.modules["stem"] = None
        from pt_bridge.errors import UsageError
        from pt_bridge.tor.control import ask
        try:
            asyncio.run(ask(sys.argv[1]))
        except UsageError as error:
            print(error)
    """
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        done = subprocess.run(
            [sys.executable, "-c", code, path],
            capture_output=True,
            text=True,
            check=True,
        )
    assert "pip install 'pt-bridge[tor]'" in done.stdout
