"""An argparse parser whose mistakes are sentences like the rest of the program's."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, NoReturn

from pt_bridge.errors import UsageError
from pt_bridge.options.own_options import GONE
from pt_bridge.profiles.forms import FORMS
from pt_bridge.text.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

QR = "qr"
# The name of a flag, without the value, which may be a secret.
FLAG = re.compile(r"(?<!\S)--[a-z][a-z-]*(?![^\s=])")
REQUIRED = "the following arguments are required"  # their names follow, and no value


class Parser(argparse.ArgumentParser):
    """A parser that reports mistakes as the rest of the program does."""

    def error(self, message: str) -> NoReturn:
        """Raise it, instead of exiting with 2; the words themselves may be secrets."""
        what = message if message.startswith(REQUIRED) else message.partition(":")[0]
        if what == "argument COMMAND":
            what = (
                "there is no such command: say client, server, run, convert, show, "
                "doctor or help"
            )
        elif what == "argument --to":
            what = f"--to must be one of: {', '.join((*FORMS, QR))}"
        elif what == "unrecognized arguments":
            flags = FLAG.findall(message)
            names = " ".join(flags) or "flags are --name VALUE, and nothing else is"
            what = f"{what}: {names}{self._did_you_mean(flags)}"
        elif what == "argument TOPIC":
            what = "there is help on one topic only: say 'pt-bridge help options'"
        raise UsageError(f"{what}; see '{self.prog} --help'")

    def _did_you_mean(self, flags: Sequence[str]) -> str:
        known = [flag[2:] for flag in self._option_string_actions if flag[:2] == "--"]
        for flag in flags:
            if hint := did_you_mean(flag[2:], known):
                return hint.replace("'", "'--", 1)
        return ""

    def parse_known_args(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and let the command itself report what it does not know.

        argparse leaves that to the program's own parser, which knows no flags.
        """
        given, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return given, rest


class GoneAction(argparse.Action):
    """Says what to write instead of a flag of an older version."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> NoReturn:
        """Raise it."""
        raise UsageError(GONE[self.dest])
