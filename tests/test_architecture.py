"""The rules of the code's shape, read from the source itself."""

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

# A module imports from its own room, and from those before it; bridge and doctor do not
# know each other, and main hands the commands what runs a bridge.
ORDER = (
    "errors < protocol < explain < text < formats < options < profiles < plans < system"
    " < files < net < listen < relay < front < udp < session < pool < ways < plugin"
    " < pt < tor < metrics < status < bridge | doctor < process < cli < main"
)
# Rooms where bytes, lines or texts go in, and values come out.
PURE_ROOMS = {"protocol", "explain", "text", "formats", "options", "profiles", "plans"}
PURE = {
    "pt_bridge.errors",
    "pt_bridge.bridge.admission",
    "pt_bridge.doctor.report",
    "pt_bridge.metrics.figures",
    "pt_bridge.pool.accept_times",
    "pt_bridge.pool.preconnect",
    "pt_bridge.pool.redialling",
    "pt_bridge.session.peer_limits",
    "pt_bridge.session.silence",
    "pt_bridge.system.rate_limit",
    "pt_bridge.system.scrubber",
    "pt_bridge.tor.bootstrap",
    "pt_bridge.tor.socks_server",
    "pt_bridge.ways.selection",
    "pt_bridge.udp.associations",
    *(name for name in MODULES if name.split(".")[1] in PURE_ROOMS),
}
MOST_FILES, MOST_LINES = 12, 400
# What others must have; there is nothing in it that could be run.
PROTOCOLS_ONLY = {"pt_bridge.session.owners"}
TESTS_OF_THE_WHOLE = {Path("test_architecture.py"), Path("protocol/test_mutation.py")}
TESTS_OF_THE_WHOLE.add(Path("process/test_exchanged_ports.py"))
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


def imports(
    tree: ast.AST, *, anywhere: bool = True, types: bool = False
) -> Iterator[str]:
    """List what a module imports.

    Args:
        tree: the module's.
        anywhere: in functions, too.
        types: in TYPE_CHECKING's branches, too.
    """
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")) if not types:
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
            case ast.expr():
                pass  # an import is a statement, and this has none in it
            case _:
                yield from imports(node, anywhere=anywhere, types=types)


def ours(name: str, *, anywhere: bool = True, types: bool = False) -> set[str]:
    """List the modules of ours that a module of ours imports."""
    found = imports(TREES[name], anywhere=anywhere, types=types)
    return {each for each in found if each in FILES}


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_does_no_io(name: str) -> None:
    """No I/O, no clock, no randomness; nor by way of an impure module."""
    for each in imports(TREES[name]):
        parents = each.split(".")
        names = {".".join(parents[: n + 1]) for n in range(len(parents))}
        assert not names & IMPURE, each
    assert ours(name) <= PURE


def may_import(room: str, other: str) -> bool:
    """Whether a module of one room may import from another."""
    ranks = [set(each.split(" | ")) for each in ORDER.split(" < ")]
    (rank,) = (n for n, rooms in enumerate(ranks) if room in rooms)
    return room == other or any(other in rooms for rooms in ranks[:rank])


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_rooms_before_its_own(name: str) -> None:
    """One order, kept by this test alone; branches for type checkers count, too."""
    room = name.split(".")[1]
    for each in ours(name, types=True) - {"pt_bridge"}:
        other = each.split(".")[1]
        assert may_import(room, other), f"{room} imports {each}"


def test_no_folder_and_no_file_is_too_large_to_look_over() -> None:
    """A newcomer reads the names of a folder, and a file from its top to its end."""
    for folder in (PACKAGE, *(path for path in PACKAGE.iterdir() if path.is_dir())):
        names = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
        assert len(names) <= MOST_FILES, f"{folder.name}/ has {len(names)} files"
    for name, path in FILES.items():
        lines = len(path.read_text().splitlines())
        assert lines <= MOST_LINES, f"{name} has {lines} lines"


@pytest.mark.parametrize("name", [each for each in FILES if each not in MODULES])
def test_a_room_costs_nothing_to_enter(name: str) -> None:
    """Its ``__init__`` is a sentence about it, and nothing that is run."""
    if name.endswith("__init__") and name != "pt_bridge.__init__":
        (docstring,) = TREES[name].body
        assert isinstance(docstring, ast.Expr)


def test_imports_form_no_cycle() -> None:
    """They run one way, those in functions included."""
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
    """One module, one noun, one test file."""
    tests = ROOT / "tests"
    modules = set(MODULES) - PROTOCOLS_ONLY
    needed = {mirrored(FILES[name].relative_to(PACKAGE)) for name in modules}
    # What the tests are made with may be tested, too.
    allowed = {mirrored(path.relative_to(tests)) for path in tests.rglob("*.py")}
    found = {path.relative_to(tests) for path in tests.rglob("test_*.py")}
    found -= TESTS_OF_THE_WHOLE
    assert needed <= found
    assert found <= needed | allowed


def mirrored(path: Path) -> Path:
    """Return the test file of a module."""
    return path.with_name(f"test_{path.name}")


@pytest.mark.parametrize("folder", ["tests", "integration"])
def test_no_test_sleeps_nor_puts_something_else_in_a_things_place(folder: str) -> None:
    """A test that sleeps or mocks says that a seam is missing."""
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
        import pt_bridge.main
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
        import pt_bridge.main
        assert "pt_bridge.formats.bridge_line" not in sys.modules
        options = b"bridge=Bridge obfs4 192.0.2.1:443 " + b"0" * 40
        options += b" cert=" + b"A" * 70 + b" iat-mode=0"
        pt_bridge.main.Config({{
            b"SS_REMOTE_HOST": b"192.0.2.1",
            b"SS_REMOTE_PORT": b"443",
            b"SS_LOCAL_HOST": b"127.0.0.1",
            b"SS_LOCAL_PORT": b"1984",
            b"SS_PLUGIN_OPTIONS": options,
        }})
        assert "pt_bridge.formats.bridge_line" in sys.modules
        print(*(set(sys.modules) - before) & {SLOW})
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_what_is_imported_before_the_port_is_open_is_known() -> None:
    """LC-13: a new module there is a decision, not an accident."""
    reached: set[str] = set()
    todo = {"pt_bridge.main"}
    while todo:
        reached |= todo
        todo = {each for name in todo for each in ours(name, anywhere=False)} - reached
    assert reached == {
        "pt_bridge.options.pt_arguments",
        "pt_bridge.main",
        "pt_bridge.options.config",
        "pt_bridge.errors",
        "pt_bridge.options.operator_options",
        "pt_bridge.options.option_values",
        "pt_bridge.options.tor_options",
        "pt_bridge.options.own_options",
        "pt_bridge.options.ss_variables",
        "pt_bridge.options.upstream_proxy",
        "pt_bridge.formats.way",
        "pt_bridge.net.bind",
        "pt_bridge.net.loopback",
        "pt_bridge.protocol.address",
        "pt_bridge.protocol.pt_args",
        "pt_bridge.options.plugin_options",
        "pt_bridge.options.transports",
        "pt_bridge.text.spelling",
    }


def test_the_version_is_the_top_one_of_the_changelog() -> None:
    """Or what comes after it is not released yet."""
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
    """Each module, and each class and function that others may use."""
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


RULE = re.compile(r"\b[A-Z]{2}-\d{1,2}\b")
FOLDERS = ("pt_bridge", "tests", "integration", "fuzz", "chaos", "bench", "manual")


def test_every_rule_that_is_named_stands_in_the_documentation() -> None:
    """Who reads RL-10 in a test finds what it says; none is there for nothing."""
    named = {
        rule
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for rule in RULE.findall(path.read_text())
    }
    text = (ROOT / "docs" / "rules.rst").read_text()
    told = set(re.findall(r"^\*\*([A-Z]{2}-\d{1,2})\*\*$", text, re.MULTILINE))
    assert named == told


def test_the_packages_docstring_lists_the_rooms_in_their_order() -> None:
    """It is what a newcomer reads first."""
    listed = (pt_bridge.__doc__ or "").partition("those before it: ")[2]
    assert re.findall(r"[a-z]+", listed.replace(" and ", " ")) == re.findall(
        r"[a-z]+", ORDER
    )


def test_contributing_names_every_room_and_no_file_that_is_not_there() -> None:
    """Who looks for a place finds it, and in the order in which rooms may import."""
    text = (ROOT / "CONTRIBUTING.rst").read_text()
    rooms = re.findall(r"^``([a-z]+)(?:/|\.py)``  ", text, re.MULTILINE)
    assert rooms == re.findall(r"[a-z]+", ORDER)
    named = set(re.findall(r"``([a-z_/]+\.(?:py|rst)|[a-z_]+/)``", text))
    for name in named:
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name
