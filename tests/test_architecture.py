"""The rules of the code's shape (design 5), read from the source itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pt_bridge

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pt_bridge"
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
MODULES = [name for name in FILES if not name.endswith(("__init__", "__main__"))]

PURE = {
    "pt_bridge.arguments",
    "pt_bridge.causes",
    "pt_bridge.config",
    "pt_bridge.diagnosis",
    "pt_bridge.errors",
    "pt_bridge.forms",
    "pt_bridge.own_options",
    "pt_bridge.scrubber",
    "pt_bridge.transports",
    *(name for name in MODULES if name.startswith("pt_bridge.protocol.")),
}
TESTS_OF_THE_WHOLE = {Path("test_architecture.py"), Path("protocol/test_mutation.py")}
# I/O, the clock, randomness, and what waits or logs.
IMPURE = set(
    """
    _socket asyncio concurrent ctypes fcntl glob io logging multiprocessing os pathlib
    psutil pwd random resource secrets select selectors shutil signal socket
    socketserver ssl stat subprocess sys tempfile termios threading time
    urllib.request uuid
    """.split()  # noqa: SIM905 - to be read
)
# Each takes milliseconds, and a host may be waiting for the port.
SLOW = {"argparse", "asyncio", "collections", "dataclasses", "enum", "functools"}
SLOW |= {"inspect", "ipaddress", "logging", "psutil", "re", "signal", "socket"}
SLOW |= {"subprocess", "typing"}
FORBIDDEN_IN_TESTS = re.compile(
    r"\bsleep\((?!0\))|\bunittest\.mock\b|\bimport mock\b|\bmonkeypatch\.set(attr|item)"
)


def imports(tree: ast.AST, *, anywhere: bool = True) -> Iterator[str]:
    """List what a module imports, TYPE_CHECKING's branches left out.

    Args:
        tree: the module's.
        anywhere: in functions, too.
    """
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                for otherwise in node.orelse:
                    yield from imports(otherwise)
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                module = node.module or ""
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)
            case ast.FunctionDef() | ast.AsyncFunctionDef() if not anywhere:
                pass
            case _:
                yield from imports(node, anywhere=anywhere)


def ours(name: str, *, anywhere: bool = True) -> set[str]:
    """Give the modules of ours that a module of ours imports."""
    return {each for each in imports(TREES[name], anywhere=anywhere) if each in FILES}


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_does_no_io(name: str) -> None:
    """Design 5: no I/O, no clock, no randomness; nor by way of an impure module."""
    for each in imports(TREES[name]):
        parents = each.split(".")
        names = {".".join(parents[: n + 1]) for n in range(len(parents))}
        assert not names & IMPURE, each
    assert ours(name) <= PURE


def test_imports_form_no_cycle() -> None:
    """Design 5: they run one way, those in functions included."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for each in ours(name):
                visit(each, (*path, name))
            done.add(name)

    for name in FILES:
        visit(name, ())


def test_every_module_has_its_test_file_and_every_test_file_its_module() -> None:
    """Design 5: one module, one noun, one test file."""
    tests = ROOT / "tests"
    needed = {mirrored(FILES[name].relative_to(PACKAGE)) for name in MODULES}
    # What the tests are made with may be tested, too.
    allowed = {mirrored(path.relative_to(tests)) for path in tests.rglob("*.py")}
    found = {path.relative_to(tests) for path in tests.rglob("test_*.py")}
    found -= TESTS_OF_THE_WHOLE
    assert needed <= found
    assert found <= needed | allowed


def mirrored(path: Path) -> Path:
    """Give the test file of a module."""
    return path.with_name(f"test_{path.name}")


@pytest.mark.parametrize("folder", ["tests", "integration"])
def test_no_test_sleeps_nor_puts_something_else_in_a_things_place(folder: str) -> None:
    """Style 5.1, rule 8: a test that sleeps or mocks says that a seam is missing."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        if path != Path(__file__):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                assert not FORBIDDEN_IN_TESTS.search(line), (
                    f"{path}:{number}: {line.strip()}"
                )


def test_what_comes_before_the_port_is_open_imports_nothing_slow() -> None:
    """LC-13: starting is part of the product."""
    code = f"""if True:
        import sys
        before = set(sys.modules)
        import pt_bridge.cli
        print(*(set(sys.modules) - before) & {SLOW})
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_a_bridge_line_makes_nothing_slow_be_imported_before_the_port_is_open() -> None:
    """LC-13: the module that reads it is imported only then."""
    code = f"""if True:
        import sys
        before = set(sys.modules)
        import pt_bridge.cli
        assert "pt_bridge.protocol.bridge_line" not in sys.modules
        options = b"bridge=Bridge obfs3 192.0.2.1:443 0123456789abcdef k=v"
        pt_bridge.cli.Config({{
            b"SS_REMOTE_HOST": b"192.0.2.1",
            b"SS_REMOTE_PORT": b"443",
            b"SS_LOCAL_HOST": b"127.0.0.1",
            b"SS_LOCAL_PORT": b"1984",
            b"SS_PLUGIN_OPTIONS": options.replace(b"f k", b"f" + b"0" * 24 + b" k"),
        }})
        assert "pt_bridge.protocol.bridge_line" in sys.modules
        print(*(set(sys.modules) - before) & {SLOW})
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_what_is_imported_before_the_port_is_open_is_known() -> None:
    """LC-13: a new module there is a decision, not an accident."""
    reached: set[str] = set()
    todo = {"pt_bridge.cli"}
    while todo:
        reached |= todo
        todo = {each for name in todo for each in ours(name, anywhere=False)} - reached
    assert reached == {
        "pt_bridge.arguments",
        "pt_bridge.cli",
        "pt_bridge.config",
        "pt_bridge.errors",
        "pt_bridge.own_options",
        "pt_bridge.port",
        "pt_bridge.protocol.address",
        "pt_bridge.protocol.args",
        "pt_bridge.protocol.options",
        "pt_bridge.transports",
    }


def test_the_version_is_the_top_one_of_the_changelog() -> None:
    """Style 5: or what comes after it is not released yet."""
    changelog = ROOT / "CHANGELOG.rst"
    titles = re.findall(
        r"^\[?v?(Unreleased|\d+\.\d+\.\d+)\b.*\n[-=~^\"]{3,}$",
        changelog.read_text(),
        re.MULTILINE | re.IGNORECASE,
    )
    assert titles
    assert titles[0].lower() in ("unreleased", pt_bridge.__version__)
    released = [title for title in titles if title.lower() != "unreleased"]
    assert pt_bridge.__version__ in released[:1] or titles[0].lower() == "unreleased"


@pytest.mark.parametrize("name", FILES)
def test_whatever_is_public_says_what_it_is(name: str) -> None:
    """Style 5: each module, and each class and function that others may use."""
    assert ast.get_docstring(TREES[name])
    nodes: list[ast.AST] = [TREES[name]]
    while nodes:
        for node in ast.iter_child_nodes(nodes.pop()):
            match node:
                case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                    is_said = node.name.startswith("_") or ast.get_docstring(node)
                    assert is_said, f"{name}.{node.name}"
            if isinstance(node, ast.ClassDef):
                nodes.append(node)


@pytest.mark.parametrize("name", MODULES)
def test_only_a_few_modules_know_more_than_one_part(name: str) -> None:
    """Design 5: the flow stands in one place; the parts do not know each other."""
    parts = {f"pt_bridge.{part}" for part in ("child", "dial", "listener", "tunnel")}
    sides = {f"pt_bridge.{side}" for side in ("client", "server", "held_server")}
    if name not in {*sides, "pt_bridge.bridge"}:
        assert len((ours(name) | {name}) & parts) <= 1
