"""``pt-bridge convert``: what somebody has pasted, in another form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.cli import hand_out, qr_code, read_input
from pt_bridge.cli.parser import QR
from pt_bridge.errors import UsageError
from pt_bridge.profiles import convert, pasted
from pt_bridge.profiles.forms import BRIDGE, LINK

if TYPE_CHECKING:
    import argparse


def run(given: argparse.Namespace) -> tuple[str, list[str]]:
    """Convert what the command line says.

    Returns:
        What is to be printed, and what there is to say of it.

    Raises:
        ConfigError: it cannot be read, or the form cannot hold it.
    """
    if given.output is not None and given.to != QR:
        raise UsageError("--output is for --to qr; elsewhere, a shell's > FILE does it")
    profile = pasted.read(read_input.read(" ".join(given.text)))
    form = LINK if given.to == QR else given.to
    is_for_clients = given.remote is not None or form in (LINK, BRIDGE)
    is_for_clients = is_for_clients or given.client_options is not None
    if is_for_clients and hand_out.is_server(profile):
        profile = hand_out.of_profile(profile, given.client_options)
    profile = convert.amend(
        profile,
        remote=given.remote,
        local=given.local,
        method=given.method,
        password=given.password,
    )
    text = convert.write(profile, form)
    notes = convert.notes(profile, form)
    if given.to != QR:
        return f"{text}\n", notes
    if given.output is None:
        return qr_code.draw(text), notes
    qr_code.write(text, given.output)
    return "", notes
