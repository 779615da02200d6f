"""The tree of errors, its exit codes, and how both are documented."""

from __future__ import annotations

import errno
import re
from typing import Any

import pytest

from pt_bridge import errors
from pt_bridge.errors import (
    ArgumentsRejected,
    Bug,
    ConfigError,
    ConnectRefused,
    CookieRefused,
    Denied,
    DidNotStart,
    HungUp,
    ListenError,
    LoginRefused,
    NotOffered,
    OptionsError,
    OwnerFileError,
    ProgramError,
    ProtocolError,
    ProxyRefused,
    PtBridgeError,
    PtExited,
    PtExitedBeforeReady,
    PtProtocolViolation,
    PtStartTimeout,
    ResolverFailed,
    SpeaksOtherwise,
    StateError,
    TorUnreached,
    TransportError,
    Unanswered,
    Unreached,
    Unresolved,
    UsageError,
)

# The table of the contract: and docs/troubleshooting.rst.
EXIT_CODES: dict[type[PtBridgeError], int] = {
    UsageError: 64,
    Bug: 70,
    OptionsError: 65,
    NotOffered: 69,
    ProxyRefused: 69,
    ProgramError: 71,
    StateError: 73,
    ListenError: 74,
    OwnerFileError: 78,
    ResolverFailed: 75,
    TorUnreached: 75,
    PtStartTimeout: 75,
    PtExited: 75,
    PtProtocolViolation: 76,
    PtExitedBeforeReady: 76,
}


# What a class wants besides its sentence.
MORE: dict[type[PtBridgeError], dict[str, Any]] = {
    Unreached: {"number": errno.EHOSTUNREACH},
    HungUp: {"was_reset": True},
}


def make(error: type[PtBridgeError], text: str) -> PtBridgeError:
    """Create one of a class."""
    return error(text, **MORE.get(error, {}))


def subclasses(root: type[PtBridgeError]) -> list[type[PtBridgeError]]:
    """List a class's subclasses at every depth, in the order of the module."""
    return [
        each
        for direct in root.__subclasses__()
        for each in (direct, *subclasses(direct))
    ]


ALL: list[type[PtBridgeError]] = [PtBridgeError, *subclasses(PtBridgeError)]
LEAVES = [error for error in ALL if not error.__subclasses__()]


@pytest.mark.parametrize(
    ("error", "code"),
    EXIT_CODES.items(),
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_leaf_that_ends_pt_bridge_has_its_exit_code(
    error: type[PtBridgeError], code: int
) -> None:
    """ER-02 to ER-11."""
    assert getattr(error("text"), "exit_code", None) == code


def test_there_is_no_leaf_without_an_exit_code_but_those_that_end_nothing() -> None:
    """ER-12, ER-13: these drop a connection, and so have no code."""
    ending_nothing = {
        *(ArgumentsRejected, ConnectRefused, LoginRefused, Unresolved, Unreached),
        *(HungUp, SpeaksOtherwise, Unanswered, DidNotStart, CookieRefused, Denied),
    }
    assert set(LEAVES) == {*EXIT_CODES, *ending_nothing}
    for error in (*ending_nothing, ProtocolError):
        assert not hasattr(make(error, "text"), "exit_code")


def test_there_are_four_families() -> None:
    """One for each treatment; a class is in exactly one of them."""
    families = PtBridgeError.__subclasses__()
    assert families == [ConfigError, TransportError, Bug, ProtocolError]
    for leaf in LEAVES:
        assert sum(issubclass(leaf, family) for family in families) == 1


def test_each_exit_code_is_one_of_sysexits() -> None:
    """HQ-01: nobody asked for the end, so it is never 0."""
    for family in (ConfigError, TransportError, Bug):
        for error in (family, *subclasses(family)):
            assert getattr(error, "exit_code", 0) in range(64, 79)


def test_each_exit_code_has_its_meaning_in_one_table() -> None:
    """What --help, the manual page and the documentation are made from."""
    assert not errors.EXIT_CODES.keys() & errors.DOCTORS_EXIT_CODES.keys()
    assert {*EXIT_CODES.values(), errors.STOPPED} == set(errors.EXIT_CODES)
    for table in (errors.EXIT_CODES, errors.DOCTORS_EXIT_CODES):
        assert all(brief and sentence for brief, sentence in table.values())


def test_a_family_has_the_exit_code_of_its_plainest_leaf() -> None:
    """ER-02, ER-11: what is handled as no leaf in particular."""
    assert ConfigError.exit_code == UsageError.exit_code
    assert TransportError.exit_code == PtProtocolViolation.exit_code


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    """Each class, in order, below its base, a leaf with its exit code."""
    assert errors.__doc__ is not None
    written = re.findall(r"^( *)\* :exc:`(\w+)`(?: \((\d+)\))?", errors.__doc__, re.M)
    path: list[type[PtBridgeError]] = []
    for (indent, name, code), error in zip(written, ALL, strict=True):
        depth = len(indent) // 4
        assert name == error.__name__
        assert depth == len(error.__mro__) - len(PtBridgeError.__mro__)
        path = [*path[:depth], error]
        assert path[-2:-1] == ([error.__base__] if depth else [])
        assert code == str(EXIT_CODES.get(error, ""))


def test_each_class_says_when_it_is_raised() -> None:
    """An error that nobody can describe has no reason to be."""
    for error in subclasses(PtBridgeError):
        assert (error.__doc__ or "").startswith("Raised when ")


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_the_text_of_an_error_is_what_it_was_given(error: type[PtBridgeError]) -> None:
    """ER-02 to ER-13: a sentence for a person."""
    assert str(make(error, "a sentence")) == "a sentence"


def test_an_error_of_a_connection_tells_what_was_seen_there() -> None:
    """ER-13: the cause is found from it, not from its words."""
    assert Unreached("text", errno.EHOSTUNREACH).errno == errno.EHOSTUNREACH
    assert HungUp("text", was_reset=True).was_reset


@pytest.mark.parametrize(
    "error",
    [TransportError, *subclasses(TransportError)],
    ids=lambda error: error.__name__,
)
def test_an_error_of_the_pt_keeps_its_own_words(error: type[TransportError]) -> None:
    """ER-04, ER-05, ER-10, ER-15: apart from the sentence, for who handles it."""
    assert error("text").reason == ""
    refused = error("the PT refused: no url", "no url")
    assert (str(refused), refused.reason) == ("the PT refused: no url", "no url")
