"""The programs that a bridge starts, found anew for each start."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import OptionsError
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.pt.programs import Programs

if TYPE_CHECKING:
    from tests.support.processes import Bench


def programs(bench: Bench, options: str = "") -> Programs:
    given = variables_from_flags(
        local="127.0.0.1:1",
        remote="127.0.0.1:2",
        plugin_options=f"transport=obfs3;exec=obfs4proxy{options}",
    )
    variables = {b"PATH": os.fsencode(bench.variables["PATH"])}
    made = Programs(Config(given), variables)
    made.read_owner_config()
    return made


def test_the_pt_is_found_and_told_of(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pt_bridge")
    made = programs(bench)
    assert made.find_pt().path == str(bench.pt.path)
    assert made.finds_outer is None
    assert caplog.messages == [f"starting {bench.pt.path}"]


def test_so_is_the_plugin_outside_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """And what was passed over on the way."""
    caplog.set_level(logging.INFO, "pt_bridge")
    unsafe = bench.install("obfs-local", folder="unsafe")
    plugin = bench.install_plugin("obfs-local")
    unsafe.path.chmod(0o777)
    bench.variables["PATH"] = f"{unsafe.folder}:{bench.variables['PATH']}"
    find = programs(bench, ";via=obfs-local;via-opts=obfs\\=tls").finds_outer
    assert find is not None
    assert find().path == str(plugin.path)
    passed_over, starting = caplog.messages
    assert passed_over.startswith(f"{unsafe.path} is not run, since others may write")
    assert starting == f"starting {plugin.path} for via=obfs-local"


def test_what_nobody_allows_is_refused_at_once(bench: Bench) -> None:
    with pytest.raises(OptionsError, match="via= in plugin options"):
        programs(bench, ";via=no-such")
