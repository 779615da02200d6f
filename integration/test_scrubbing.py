"""What real programs have us say, whatever goes wrong: no address, no name, no secret.

Loopback stands for the world in the other tests; here the world has addresses that
count (`integration.support.internet`). All scenes are played at once, for most of them
wait.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import integration.support.client_mishaps
import integration.support.server_mishaps  # noqa: F401 - they make the list
from integration.support.endpoints import free_port
from integration.support.internet import Internet
from integration.support.mishaps import KNOWN, MISHAPS, Mishap, filth
from integration.support.needles import Needles
from integration.support.programs import DEADLINE, find
from integration.support.scene import NAMES, How, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from integration.support.machine import Machine

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can make networks and move into them"
)
AT_ONCE = 8  # scenes
PLUGIN_LEVELS = ("error", "warning", "info")  # debug is refused there
# C0, C1 and DEL but for LF, and what turns the direction of text around.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e]")


class Performance:
    """A mishap, as it is played once.

    Attributes:
        mishap: what goes wrong.
    """

    def __init__(self, mishap: Mishap, setting: str, how: How) -> None:
        """Take what makes it different from the others."""
        self.mishap = mishap
        self._setting = setting
        self._how = how

    def __str__(self) -> str:
        setting = f", {self._setting}" if self._setting else ""
        return f"{self.mishap.name}{setting}: {self._how}"

    def run(self, world: Internet, folder: Path) -> tuple[list[str], Needles]:
        """Play it; return what was said, and what must not be in it."""
        folder.mkdir()
        scene = Scene(world, folder, self._how, self.mishap.role, self._setting)
        for secret in KNOWN:
            scene.needles.add(secret)
        try:
            self.mishap.play(scene)
        finally:
            said = scene.end()
        return said, scene.needles


def _performances() -> Iterator[Performance]:
    """List them: by hand with all that can be told, as a plugin with each level."""
    for number, mishap in enumerate(MISHAPS):
        if mishap.hosts:
            for setting, level in zip(mishap.settings, PLUGIN_LEVELS, strict=True):
                yield Performance(mishap, setting, How(level, plugin=True))
            continue
        for setting in mishap.settings:
            yield Performance(mishap, setting, How("debug"))
        setting = mishap.settings[number % len(mishap.settings)]
        level = PLUGIN_LEVELS[number % len(PLUGIN_LEVELS)]
        yield Performance(mishap, setting, How(level, plugin=True))


def _unsafe_performances() -> Iterator[Performance]:
    for mishap in MISHAPS:
        if mishap.tells:
            yield Performance(mishap, mishap.settings[0], How("debug", unsafe=True))


PERFORMANCES = list(_performances())
UNSAFE_PERFORMANCES = list(_unsafe_performances())


class Theatre:
    """Plays every performance that a test will ask for, several at once."""

    def __init__(self, folder: Path, performances: list[Performance]) -> None:
        """Begin with all of them."""
        with contextlib.ExitStack() as stack:
            (folder / "world").mkdir()
            world = Internet(folder / "world")
            stack.callback(world.close)
            pool = ThreadPoolExecutor(AT_ONCE)
            stack.callback(pool.shutdown, cancel_futures=True)
            self._results: dict[str, Future[tuple[list[str], Needles]]] = {
                str(each): pool.submit(each.run, world, folder / str(number))
                for number, each in enumerate(performances)
            }
            self._stack = stack.pop_all()

    def said(self, performance: Performance) -> tuple[list[str], Needles]:
        """Return what was said in the end, and what must not be in it."""
        return self._results[str(performance)].result()

    def close(self) -> None:
        """Wait for those that still play, and take the world down."""
        self._stack.close()


@pytest.fixture(scope="session")
def theatre(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Theatre]:
    """Play what the tests of this session are about."""
    parameters = [
        item.callspec.params.get("performance")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    performances = [each for each in parameters if isinstance(each, Performance)]
    theatre = Theatre(tmp_path_factory.mktemp("theatre"), performances)
    yield theatre
    theatre.close()


def _lines_with(search: Callable[[str], set[str]], said: list[str]) -> list[str]:
    """Return the lines in which something is found, and what."""
    lines = {line for text in said if search(text) for line in text.splitlines()}
    return [f"{found} in: {line}" for line in sorted(lines) if (found := search(line))]


@needs_root
@pytest.mark.parametrize("performance", PERFORMANCES, ids=str)
def test_no_address_no_name_and_no_secret_is_told(
    theatre: Theatre, performance: Performance
) -> None:
    """SE-05, SE-06, SE-08: and no control character."""
    said, needles = theatre.said(performance)
    assert any(said)
    assert _lines_with(needles.addresses_in, said) == []
    assert _lines_with(needles.secrets_in, said) == []
    assert not [text for text in said if CONTROL.search(text)]


@needs_root
@pytest.mark.parametrize("performance", UNSAFE_PERFORMANCES, ids=str)
def test_the_owner_may_see_addresses_but_never_secrets(
    theatre: Theatre, performance: Performance
) -> None:
    """Unsafe-logging; and the search finds what is there."""
    said, needles = theatre.said(performance)
    assert _lines_with(needles.addresses_in, said) != []
    assert _lines_with(needles.secrets_in, said) == []


@needs_root
@pytest.mark.parametrize(
    "performance",
    [
        each
        for each in PERFORMANCES
        if each.mishap.name == "a_pt_writes_control_characters"
    ],
    ids=str,
)
def test_control_characters_of_a_pt_are_told_escaped(
    theatre: Theatre, performance: Performance
) -> None:
    """SE-08: they do come from it."""
    said, _ = theatre.said(performance)
    assert all(r"\x1b[31m" in text for text in said)


@pytest.mark.parametrize("line", filth())
def test_the_search_finds_all_that_the_fake_pt_writes(line: str) -> None:
    """So that the tests above can fail."""
    needles = Needles(names=NAMES, secrets=KNOWN)
    assert needles.addresses_in(line) | needles.secrets_in(line)


def test_the_search_finds_bytes_in_any_spelling() -> None:
    """A cookie, which is random."""
    cookie = bytes(range(100, 228, 4))
    needles = Needles()
    needles.add_bytes(cookie)
    for spelled in (cookie.hex().upper(), repr(cookie), cookie.hex(":")):
        assert needles.secrets_in(f"the cookie is {spelled[:40]}...")
    assert not needles.secrets_in("the cookie is wrong")


def test_what_is_meant_to_be_seen_is_shown_in_full(machine: Machine) -> None:
    """Client-options.txt, and its print on a terminal, beside the log."""
    ours, terminal = os.openpty()
    port = free_port()
    process = subprocess.Popen(
        [
            *(find("pt-bridge"), "server", "--loglevel=debug"),
            *("--local=127.0.0.1:9", f"--remote=127.0.0.1:{port}"),
            "--plugin-opts=transport=obfs4;exec=obfs4proxy",
        ],
        env=machine.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    with process:
        text = _read_until(ours, "ready: ")
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.read() == b""
        assert process.wait(DEADLINE) == 0
    (path,) = machine.folder.rglob("client-options.txt")
    options = path.read_text().strip()
    assert options.startswith("transport=obfs4;session=1;cert=")
    needles = Needles(secrets=[options.partition("cert=")[2].partition(";")[0]])
    assert [line for line in text.splitlines() if needles.secrets_in(line)] == [options]
    os.close(ours)


def _read_until(descriptor: int, words: str) -> str:
    text = ""
    while words not in text:
        data = os.read(descriptor, 4096)
        assert data, f"it ended before it said {words!r}:\n{text}"
        text += data.decode()
    return text
