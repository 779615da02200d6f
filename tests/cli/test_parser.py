"""What the command line's parser says of mistakes, without a secret in it."""

from __future__ import annotations

import pytest

from pt_bridge.cli.parser import GoneAction, Parser
from pt_bridge.errors import UsageError
from pt_bridge.options.own_options import GONE
from pt_bridge.profiles.forms import FORMS

SECRET = "s3cret"


def refusal(*arguments: str) -> str:
    """Return what a parser with a command says of a command line."""
    parser = Parser(prog="x", allow_abbrev=False)
    command = parser.add_subparsers(dest="command", metavar="COMMAND").add_parser(
        "go", allow_abbrev=False
    )
    command.add_argument("--remote")
    command.add_argument("--to", choices=FORMS)
    command.add_argument("topic", nargs="?", choices=["options"], metavar="TOPIC")
    for name in GONE:
        command.add_argument(f"--{name}", action=GoneAction, nargs="?")
    with pytest.raises(UsageError) as caught:
        parser.parse_args(arguments)
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--remote=s3cret"],
            "unrecognized arguments: --remote; see 'x --help'",
        ),
        (
            ["go", "--remtoe=s3cret"],
            (
                "unrecognized arguments: --remtoe: did you mean '--remote'?; see "
                "'x go --help'"
            ),
        ),
        (
            ["go", "--zzzzzz", "s3cret", "s3cret"],
            (
                "there is help on one topic only: say 'pt-bridge help options'; see "
                "'x go --help'"
            ),
        ),
        (["go", "--zzzzzz"], "unrecognized arguments: --zzzzzz; see 'x go --help'"),
        (
            ["go", "options", "s3cret"],
            (
                "unrecognized arguments: flags are --name VALUE, and nothing else is; "
                "see 'x go --help'"
            ),
        ),
        (
            ["go", "--to=s3cret"],
            "--to must be one of: bridge, options, link, json, qr; see 'x go --help'",
        ),
        (
            ["s3cret"],
            (
                "there is no such command: say client, server, run, convert, show, "
                "doctor or help; see 'x --help'"
            ),
        ),
    ],
)
def test_a_mistake_is_named_and_its_own_help_pointed_to(
    arguments: list[str], sentence: str
) -> None:
    """ER-02, SE-05."""
    assert refusal(*arguments) == sentence


def test_a_flag_of_an_older_version_is_said_to_be_gone() -> None:
    assert [refusal("go", f"--{name}") for name in GONE] == list(GONE.values())
