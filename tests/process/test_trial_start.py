"""A new PT that is started on trial: what would fail, fails there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import NotOffered, UsageError
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.process.trial_start import try_start
from tests.support.processes import CLIENT, CLIENT_OPTIONS, SERVER

if TYPE_CHECKING:
    from tests.support.processes import Bench


def config(bench: Bench, options: str, **flags: str | None) -> Config:
    variables = variables_from_flags(
        local="127.0.0.1:1", remote=f"127.0.0.1:{bench.port}", plugin_options=options
    )
    given = {"exec": str(bench.pt.path), **flags}
    return Config(variables, plugin=False, flags=given)


def variables(bench: Bench) -> dict[bytes, bytes]:
    return {os.fsencode(k): os.fsencode(v) for k, v in bench.variables.items()}


async def test_a_server_is_started_where_nobody_connects(bench: Bench) -> None:
    """With no key of the real one's, and no port but one of loopback."""
    bench.pt.play(*SERVER)
    await try_start(config(bench, "transport=obfs4", server=None), variables(bench))
    assert bench.pt.is_gone()
    assert bench.pt.environment["TOR_PT_SERVER_BINDADDR"] == "obfs4-127.0.0.1:0"
    assert not list((bench.folder / "tmp").iterdir())


async def test_a_client_is_started(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    options = CLIENT_OPTIONS.replace("exec=obfs4proxy;", "")
    await try_start(config(bench, options), variables(bench))
    assert bench.pt.is_gone()


async def test_what_the_pt_does_not_offer_is_told(bench: Bench) -> None:
    bench.pt.play("say VERSION 1", "say SMETHOD-ERROR obfs4 no", "say SMETHODS DONE")
    with pytest.raises(NotOffered):
        await try_start(config(bench, "transport=obfs4", server=None), variables(bench))
    assert bench.pt.is_gone()


async def test_a_file_that_is_missing_is_told(bench: Bench) -> None:
    with pytest.raises(UsageError, match="/nowhere/deny cannot be read"):
        await try_start(
            config(bench, "transport=obfs4", server=None, deny="/nowhere/deny"),
            variables(bench),
        )
    assert not bench.pt.named("started")
