"""What the integration tests share, and the slow test that runs beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.endpoints import Service
from integration.machine import Machine
from integration.wrong_cert import WrongCert

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLOW = "wrong_cert"

# What they assert is to be explained, too.
pytest.register_assert_rewrite(
    "integration.client_mishaps", "integration.scene", "integration.server_mishaps"
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Judge what takes a minute last: it goes on beside all the others."""
    items.sort(key=_is_slow)


def _is_slow(item: pytest.Item) -> bool:
    return SLOW in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session", autouse=True)
def _slow_ones_begin_first(request: pytest.FixtureRequest) -> None:
    if any(map(_is_slow, request.session.items)):
        request.getfixturevalue(SLOW)


@pytest.fixture
def service() -> Iterator[Service]:
    """Give a service that stands behind the tunnels."""
    service = Service()
    yield service
    service.close()


@pytest.fixture
def machine(tmp_path: Path, service: Service) -> Iterator[Machine]:
    """Give a machine on which everything ends before the service does."""
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
