"""Tor's Pluggable Transports for shadowsocks.

The words that the code is written in:

shadowsocks        the process that started us, ss-local or ss-server
PT                 the Pluggable Transport, a program that we start
local, remote      SIP003's two sides: shadowsocks (SS_LOCAL), the Internet (SS_REMOTE)
plain, wire        the PT's two sides: unencrypted, obfuscated
outbound, inbound  from local to remote; from remote to local
source, sink       of one pump: where its bytes come from, and go to
tunnel             one connection carried from end to end
session            what two pt-bridges say to each other inside a PT connection
stream, frame      a tunnel within a session; what a session is made of
leave (a stream)   open the next one without its end, for its shadowsocks has gone
association        what datagrams from and to one address have in common
front              what listens in a server PT's place, and relays to it
outer plugin       another SIP003 plugin, which carries the PT's connections (via=)
way                one bridge that leads to our server

The rooms, each of which imports only from those before it: errors, protocol, explain,
text, formats, options, profiles, plans, system, files, net, listen, relay, front, udp,
session, pool, ways, plugin, pt, tor, metrics, status, bridge and doctor, process, cli,
main.
"""

__version__ = "0.2.0"
