"""``pt-bridge help options``: our own options, the owner's file, the transports."""

from __future__ import annotations

from pt_bridge.options.option_values import OWNERS_FILES
from pt_bridge.options.own_options import OPTIONS
from pt_bridge.options.transports import TRANSPORTS

OPTIONS_INTRODUCTION = """\
Plugin options: key=value pairs joined with ';'. Write \\; \\= \\\\ for ; = \\ in a key
or a value; a bare = in a value is fine. In JSON write each \\ twice.

pt-bridge's own:
"""
OPTIONS_OWNER = f"""
Since links carry plugin options, what only a flag may say, and programs that pt-bridge
does not know, need a line in {OWNERS_FILES}:

  ClientTransportPlugin NAME[,NAME] exec PATH ARGUMENTS
  ServerTransportPlugin NAME[,NAME] exec PATH ARGUMENTS
  SIP003Plugin NAME exec PATH ARGUMENTS
  AllowPluginOption NAME   state, logfile, loglevel or unsafe-logging
  %include PATH            take such lines from a torrc, or a pt_config.json
"""
OPTIONS_TRANSPORTS = """
Every other option is an argument for the transport, and goes to the PT as it is;
arg-NAME=VALUE sends NAME even where pt-bridge has an option of that name.

Arguments that clients need. A server writes its clients' whole line, these included,
to client-options.txt in its state directory:
"""


def help_options() -> str:
    """Return the text that explains the plugin options."""
    lines = [OPTIONS_INTRODUCTION]
    for option in OPTIONS.values():
        name = f"{option.name}={option.value}" if option.value else option.name
        lines.append(f"  {name:24} {option.meaning}{option.limits}\n")
    lines += [OPTIONS_OWNER, OPTIONS_TRANSPORTS]
    for name, transport in TRANSPORTS.items():
        needs = ", or ".join(
            " + ".join(sorted(need)) for need in transport.client.needs
        )
        lines.append(f"  {name:24} {needs or 'none'}\n")
    return "".join(lines)
