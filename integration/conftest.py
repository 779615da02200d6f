"""What the integration tests share, and the slow tests that run beside the others."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, TypeVar

import pytest
from xdist.scheduler import LoadScopeScheduling

from integration.support.background import Background
from integration.support.chaos_runs import ChaosRuns
from integration.support.endpoints import Service
from integration.support.kills import Kills
from integration.support.left import Left
from integration.support.machine import Machine
from integration.support.outages import Outages
from integration.support.tor_network import TorNetwork
from integration.support.waiting import MARK, Waiting, waits
from integration.support.wrong_cert import WrongCert
from tests.support.termination import end_like_an_interrupt, pass_on_no_ignored_signal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# Fixtures that begin something which takes minutes of waiting.
SLOW = {"wrong_cert", "outages", "kills", "left", "tor_network", "chaos_runs"}
# The files with tests that use them go to the same worker, with others for it to run in
# the meantime: some three minutes in all. Where a test waits for one of those, three
# others of these files follow: the worker is given the next file when two are left.
SLOW_FILES = {
    "test_errors.py",
    "test_hosts.py",
    "test_real_systemd.py",
    "test_session_kills.py",
    "test_session_left.py",
    "test_session_outages.py",
    "test_tor.py",
}
LONG_FILES = {
    "test_chaos.py",
    "test_fuzz.py",
    "test_scrubbing.py",
    "test_session_ends.py",
}
# Many of their tests wait, beside each other.
WAITING_FILES = {
    "test_doctor.py",
    "test_front.py",
    "test_session_auto.py",
    "test_via.py",
}
# They build something in the project's folder, which two cannot do at a time.
BUILDERS = {"test_package.py", "test_documents.py"}
GROUPS = (LONG_FILES, SLOW_FILES, WAITING_FILES, BUILDERS)

# What they assert is to be explained, too.
pytest.register_assert_rewrite(
    "integration.support.client_mishaps",
    "integration.support.scene",
    "integration.support.server_mishaps",
)


def pytest_configure(config: pytest.Config) -> None:
    """Leave nothing running when the run is ended from outside."""
    end_like_an_interrupt()
    pass_on_no_ignored_signal()
    config.addinivalue_line(
        "markers", f"{MARK}: it waits for longer than it works, beside its like"
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run say that everything is there which a test could miss."""
    parser.addoption(
        "--no-skips", action="store_true", help="fail a test that would be skipped"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test where nothing may be skipped: a gap must not look green."""
    report = yield
    return _refuse_skip(report, item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a skipped file likewise."""
    report = yield
    return _refuse_skip(report, collector.config)


def _refuse_skip(report: Report, config: pytest.Config) -> Report:
    if report.outcome == "skipped" and config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"it was skipped, which --no-skips forbids: {report.longrepr}"
    return report


# Whether other workers run the other tests (pytest-xdist).
IS_SHARED = "PYTEST_XDIST_WORKER" in os.environ


class FilesTogether(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a worker a file at a time, and some files together to one worker.

    What a file's tests share is so made once. Some workers have all that takes minutes
    of waiting, which goes on while they run the tests of the same files that take none;
    and one has all that builds something in the project's folder.
    """

    def _split_scope(self, nodeid: str) -> str:
        return min(_group(nodeid.partition("::")[0].rpartition("/")[2]))  # any one


def _group(name: str) -> set[str]:
    """Return the files that go to the same worker as one of them."""
    return next((group for group in GROUPS if name in group), {name})


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FilesTogether:
    """Say which tests go to the same worker."""
    return FilesTogether(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Judge what takes minutes last: it goes on beside all the others.

    Where workers share the tests, the files with it come first.
    """
    items.sort(key=_is_slow)
    if IS_SHARED:
        for first in reversed(GROUPS):
            items.sort(key=lambda item: item.path.name not in first)


def _is_slow(item: pytest.Item) -> bool:
    return waits(item) or not SLOW.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.fixture(autouse=True)
def _slow_ones_begin_first(
    request: pytest.FixtureRequest, waiting: dict[str, Waiting]
) -> None:
    group = _group(request.node.path.name)
    items = [
        item
        for item in request.session.items
        if not IS_SHARED or item.path.name in group
    ]
    used = {
        name
        for item in items
        for name in SLOW.intersection(getattr(item, "fixturenames", ()))
    }
    for name in sorted(used):
        request.getfixturevalue(name)
    begin = [
        item
        for item in items
        if waits(item) and isinstance(item, pytest.Function)
        if item.nodeid not in waiting
    ]
    if begin:
        folder = request.getfixturevalue("tmp_path_factory").mktemp("waiting")
        waiting |= dict.fromkeys([it.nodeid for it in begin], Waiting(folder, begin))


@pytest.fixture(scope="session")
def waiting() -> Iterator[dict[str, Waiting]]:
    """Return the tests that were begun and wait, by their names."""
    begun: dict[str, Waiting] = {}
    yield begun
    for each in set(begun.values()):
        each.close()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Judge a test that has begun before, where it waits; else let it be called."""
    if not waits(pyfuncitem):
        return None
    waiting = pyfuncitem.funcargs["waiting"]
    assert isinstance(waiting, dict)
    waiting[pyfuncitem.nodeid].judge(pyfuncitem)
    return True


@pytest.fixture
def service() -> Iterator[Service]:
    """Return a service that stands behind the tunnels."""
    service = Service()
    yield service
    service.close()


@pytest.fixture
def machine(tmp_path: Path, service: Service) -> Iterator[Machine]:
    """Return a machine on which everything ends before the service does."""
    machine = Machine(tmp_path)
    yield machine
    machine.close()


@pytest.fixture(scope="session")
def wrong_cert(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WrongCert]:
    """Give clients that began, at the session's start, to use another server's cert."""
    service = Service()
    machine = Machine(tmp_path_factory.mktemp("wrong-cert"))
    try:
        attempt = WrongCert(machine, service)
        yield attempt
        attempt.close()
    finally:
        try:
            machine.close()
        finally:
            service.close()


@pytest.fixture(scope="session")
def outages(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Background[Outages]]:
    """Return the outages that began at the session's start."""
    folder = tmp_path_factory.mktemp("outages")
    with contextlib.closing(Background(folder, Outages)) as outages:
        yield outages


@pytest.fixture(scope="session")
def kills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background[Kills]]:
    """Return what was killed at the session's start."""
    folder = tmp_path_factory.mktemp("kills")
    with contextlib.closing(Background(folder, Kills)) as kills:
        yield kills


@pytest.fixture(scope="session")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background[Left]]:
    """Return what is left of tunnels that were closed at the session's start."""
    folder = tmp_path_factory.mktemp("left")
    with contextlib.closing(Background(folder, Left)) as left:
        yield left


@pytest.fixture(scope="session")
def tor_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorNetwork]:
    """Return a Tor network that has begun at the session's start."""
    network = TorNetwork(tmp_path_factory.mktemp("tor"))
    try:
        yield network
    finally:
        network.close()


@pytest.fixture(scope="session")
def chaos_runs() -> Iterator[ChaosRuns]:
    """Return runs of chaos, the first of which began at the session's start."""
    with contextlib.closing(ChaosRuns()) as runs:
        yield runs
