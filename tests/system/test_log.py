"""The log: what a line looks like, where it goes, and what it never does."""

from __future__ import annotations

import logging
import os
import select
import socket
import stat
import subprocess
import sys
import threading
import warnings
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import StateError
from pt_bridge.options.option_values import LOG_LEVELS
from pt_bridge.system import log
from pt_bridge.system.log import (
    MAX_LINE,
    PREFIXES,
    SEVERITIES,
    DescriptorHandler,
    FileHandler,
    Formatter,
    logger,
)
from pt_bridge.system.scrubber import Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "SecretOfThe/Server+Cert"


@pytest.fixture
def scrub() -> Scrubber:
    scrubber = Scrubber()
    scrubber.add(secrets=[SECRET])
    return scrubber


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """What `log.start` sets for a whole program is set back."""
    level, raises = logging.getLogger().level, logging.raiseExceptions
    yield
    log.stop()
    logging.getLogger().setLevel(level)
    logging.raiseExceptions = raises


def record(
    text: str, *arguments: object, level: int = logging.INFO, error: bool = False
) -> logging.LogRecord:
    info = sys.exc_info() if error else None
    return logging.LogRecord("pt_bridge", level, __file__, 1, text, arguments, info)


def handler(descriptor: int) -> DescriptorHandler:
    made = DescriptorHandler(descriptor)
    made.setFormatter(Formatter("obfs4", Scrubber()))
    return made


def fill(descriptor: int) -> None:
    """Write until there is no room, and leave the descriptor blocking."""
    os.set_blocking(descriptor, False)
    for size in (64 * 1024, 1):
        try:
            while True:
                os.write(descriptor, b"x" * size)
        except BlockingIOError:
            pass
    os.set_blocking(descriptor, True)


# What a line looks like


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (logging.ERROR, "pt-bridge[obfs4]: error: 1 of 2"),
        (logging.WARNING, "pt-bridge[obfs4]: warning: 1 of 2"),
        (logging.INFO, "pt-bridge[obfs4]: 1 of 2"),
        (logging.DEBUG, "pt-bridge[obfs4]: debug: 1 of 2"),
    ],
)
def test_a_line_says_who_speaks_and_how_serious_it_is(
    scrub: Scrubber, level: int, line: str
) -> None:
    """ER-01 to ER-15: 'pt-bridge: error: <text>', the transport named."""
    made = Formatter("obfs4", scrub).format(record("%d of %d", 1, 2, level=level))
    assert made == line


def test_without_a_transport_there_is_only_our_name(scrub: Scrubber) -> None:
    """FE-19: an error in the options comes before it is known."""
    assert Formatter("", scrub).format(record("text")) == "pt-bridge: text"


def test_every_level_and_severity_has_its_place() -> None:
    """PO-14: pt-spec's five severities, our four levels."""
    levels = {getattr(logging, name.upper()) for name in LOG_LEVELS}
    assert set(PREFIXES) | {logging.INFO} == levels
    assert set(SEVERITIES) == {"error", "warning", "notice", "info", "debug"}
    assert set(SEVERITIES.values()) == levels


def test_secrets_and_addresses_are_taken_out_last(scrub: Scrubber) -> None:
    """SE-05, SE-06: wherever in the line they come from."""
    made = Formatter(SECRET, scrub).format(record("%s at %s", SECRET, "198.51.100.7"))
    assert made == "pt-bridge[[scrubbed]]: [scrubbed] at [scrubbed]"


def test_a_traceback_is_scrubbed_and_stays_on_one_line(scrub: Scrubber) -> None:
    """SE-05, SE-06: our own tracebacks included."""
    try:
        raise ValueError(f"cert={SECRET} of 2001:db8::7")
    except ValueError:
        made = Formatter("obfs4", scrub).format(record("a bug", error=True))
    assert "Traceback" in made
    assert "ValueError: cert=[scrubbed] of [scrubbed]" in made
    assert "\n" not in made
    assert SECRET not in made


def test_control_characters_are_escaped(scrub: Scrubber) -> None:
    """SE-08: nothing can forge a line, nor colour or clear a terminal."""
    text = "a\nb\rc\x1b[2Jd\x00e\x85f\u2028g\udc80h\x7f"
    made = Formatter("obfs4", scrub).format(record("%s", text))
    escaped = r"a\nb\rc\x1b[2Jd\x00e\x85f\u2028g\udc80h\x7f"
    assert made == f"pt-bridge[obfs4]: {escaped}"


# What never gets in the way


def test_a_full_pipe_that_nobody_reads_blocks_nobody() -> None:
    """FE-19: a host that does not read its plugin's stderr."""
    reader, writer = os.pipe()
    fill(writer)
    for _ in range(3):
        handler(writer).handle(record("lost"))
    os.close(writer)
    with open(reader, "rb") as file:
        assert b"lost" not in file.read()


def test_a_pipe_with_little_room_blocks_nobody() -> None:
    """FE-19: the room is less than the line; not a part of it is written."""
    reader, writer = os.pipe()
    fill(writer)
    os.read(reader, MAX_LINE - 1)
    handler(writer).handle(record("x" * MAX_LINE))
    os.close(writer)
    with open(reader, "rb") as file:
        assert b"pt-bridge" not in file.read()


def test_a_full_socket_that_nobody_reads_blocks_nobody() -> None:
    """FE-19: under systemd, stderr is one."""
    ours, other = socket.socketpair()
    with ours, other:
        fill(ours.fileno())
        handler(ours.fileno()).handle(record("lost"))


def test_a_reader_that_is_gone_is_no_trouble() -> None:
    """FE-19: EPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    handler(writer).handle(record("lost"))
    os.close(writer)


def test_a_closed_descriptor_is_no_trouble() -> None:
    """FE-16, FE-19: EBADF."""
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    handler(writer).handle(record("lost"))


def test_a_full_disk_is_no_trouble() -> None:
    """FE-19: ENOSPC."""
    with open("/dev/full", "wb", buffering=0) as file:
        handler(file.fileno()).handle(record("lost"))


def test_a_line_that_nobody_can_put_together_is_no_trouble() -> None:
    """FE-19: a mistake in a call for the log ends no tunnel."""
    logging.raiseExceptions = False
    with open(os.devnull, "wb", buffering=0) as file:
        handler(file.fileno()).handle(record("%d", "no number"))


def test_a_line_that_is_too_long_is_cut_and_says_so() -> None:
    """FE-19, SE-10: a pipe takes no more at once."""
    reader, writer = os.pipe()
    for text in ("x" * 100_000, "\u00e9" * 100_000, "x" * 5 + "\u00e9" * 100_000):
        handler(writer).handle(record("%s", text))
        line = os.read(reader, 2 * MAX_LINE)
        assert len(line) <= MAX_LINE == select.PIPE_BUF
        assert line.decode().endswith("...\n")
        assert line.count(b"\n") == 1
    os.close(reader)
    os.close(writer)


# Where it goes


def test_everything_goes_to_stderr_and_nothing_to_stdout(
    scrub: Scrubber, capfd: pytest.CaptureFixture[str]
) -> None:
    """FE-19: stdout is the host's own; other libraries' records are scrubbed, too."""
    log.start("info", "obfs4", scrub)
    logger.info("ready")
    logger.debug("not asked for")
    logging.getLogger("asyncio").error("from %s", "198.51.100.7")
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "pt-bridge[obfs4]: ready\npt-bridge[obfs4]: error: from [scrubbed]\n"


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_a_level_lets_through_what_is_at_least_as_serious(
    scrub: Scrubber, capfd: pytest.CaptureFixture[str], level: str
) -> None:
    """SE-05: loglevel=."""
    log.start(level, "obfs4", scrub)
    for name in LOG_LEVELS:
        logger.log(getattr(logging, name.upper()), "told")
    shown = capfd.readouterr().err.count("told")
    assert shown == LOG_LEVELS.index(level) + 1


def test_a_log_file_gets_the_same_and_is_private(
    scrub: Scrubber, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """FE-19, SE-01: 0600 whatever the umask; what is there is kept."""
    path = tmp_path / "pt-bridge.log"
    before = os.umask(0)
    try:
        log.start("info", "obfs4", scrub)
        log.add_file(str(path), "obfs4", scrub)
    finally:
        os.umask(before)
    logger.warning("%s", SECRET)
    log.stop()
    logger.warning("not logged any more")
    log.start("info", "obfs4", scrub)
    log.add_file(str(path), "obfs4", scrub)
    logger.info("again")
    lines = ["pt-bridge[obfs4]: warning: [scrubbed]", "pt-bridge[obfs4]: again"]
    assert capfd.readouterr().err.splitlines() == lines
    timed = [line.split(" ", 1) for line in path.read_text().splitlines()]
    assert [text for _, text in timed] == lines
    for when, _ in timed:
        ago = datetime.now(UTC) - datetime.strptime(when, "%Y-%m-%dT%H:%M:%S%z")
        assert abs(ago) < timedelta(hours=1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """SE-02: it would write where somebody else wants it."""
    target = tmp_path / "target"
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(StateError, match=r"cannot write the log file .*link: too many"):
        FileHandler(str(tmp_path / "link"))
    assert not target.exists()


@pytest.mark.parametrize("path", ["/proc/nope/x", "/dev/null/x", "/tmp"])
def test_a_log_file_that_cannot_be_written_is_an_error(path: str) -> None:
    """ER-08: the path, and the errno's text."""
    with pytest.raises(StateError, match=f"cannot write the log file {path}: "):
        FileHandler(path)


def test_a_log_file_that_was_moved_away_is_opened_anew(
    scrub: Scrubber, tmp_path: Path
) -> None:
    """FE-19: what logrotate asks for; where it cannot be, the old one is kept."""
    path, old = tmp_path / "log", tmp_path / "log.1"
    log.start("info", "obfs4", scrub)
    log.add_file(str(path), "obfs4", scrub)
    logger.info("first")
    path.rename(old)
    logger.info("second")
    log.reopen_files()
    logger.info("third")
    path.unlink()
    path.mkdir()
    with pytest.raises(StateError, match="cannot write the log file"):
        log.reopen_files()
    log.stop()
    assert [line.split()[-1] for line in old.read_text().splitlines()] == [
        "first",
        "second",
    ]


def test_a_fifo_for_a_log_file_waits_for_nobody(tmp_path: Path) -> None:
    """FE-19: not for one who opens it, nor for one who reads what is in it."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    made = FileHandler(str(path))
    made.setFormatter(Formatter("obfs4", Scrubber()))
    for _ in range(100):  # more than it holds
        made.handle(record("x" * MAX_LINE))
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    made.close()
    with open(reader, encoding="ascii") as file:
        assert file.readline().startswith("pt-bridge[obfs4]: x")


# What the journal reads

JOURNAL = """
import logging, os, sys
from pt_bridge.system import log
found = os.fstat({descriptor})
os.environb[b"JOURNAL_STREAM"] = b"%d:%d" % (found.st_dev, found.st_ino)
log.start("debug", "obfs4", str)
for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
    logging.getLogger().log(level, "told")
log.report("asked for")
log.stop()
log.say("the end", logging.ERROR)
log.say("no level")
"""


@pytest.mark.parametrize(("descriptor", "is_journal"), [(2, True), (1, False)])
def test_the_journal_is_told_how_serious_a_line_is(
    descriptor: int, *, is_journal: bool
) -> None:
    """FE-19: sd-daemon(3); not where stderr is something else than systemd has made."""
    program = [sys.executable, "-c", JOURNAL.format(descriptor=descriptor)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    marks = [line.partition(">")[0] for line in done.stderr.splitlines()]
    if is_journal:
        assert marks == ["<7", "<6", "<4", "<3", "<6", "<3", "no level"]
    else:
        assert "<" not in done.stderr


def in_a_thread(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def fail() -> None:
    raise ValueError(f"cert={SECRET} of 198.51.100.7")


class Failing:
    """What cannot be forgotten without a word."""

    def __del__(self) -> None:
        fail()


def test_what_python_itself_would_print_is_scrubbed_too(
    scrub: Scrubber, capfd: pytest.CaptureFixture[str]
) -> None:
    """SE-05, SE-06: warnings, and exceptions that nobody is there to catch."""
    log.start("info", "obfs4", scrub)
    with warnings.catch_warnings():  # else pytest makes it an error
        warnings.simplefilter("always")
        warnings.warn(f"{SECRET} of 198.51.100.7", stacklevel=1)
    in_a_thread(fail)
    Failing()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    for line, text in zip(
        lines, ("UserWarning", "a thread", "nobody hears"), strict=True
    ):
        assert line.startswith("pt-bridge[obfs4]: ")
        assert text in line
        assert "[scrubbed] of [scrubbed]" in line
        assert SECRET not in line
        assert "198.51.100.7" not in line


def test_stopping_gives_python_its_own_ways_back(scrub: Scrubber) -> None:
    """RL-10: for what comes after us in the same process."""
    log.start("info", "obfs4", scrub)
    log.stop()
    assert threading.excepthook is threading.__excepthook__
    assert sys.unraisablehook is sys.__unraisablehook__


def test_stopping_takes_nothing_away_but_our_own_handlers(scrub: Scrubber) -> None:
    """RL-10: and can be done again."""
    root = logging.getLogger()
    before = root.handlers[:]
    log.start("info", "obfs4", scrub)
    assert len(root.handlers) == len(before) + 1
    log.stop()
    log.stop()
    assert root.handlers == before
