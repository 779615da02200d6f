"""Each of the six processes is killed (SIGKILL): the other machine hears of it.

What stood on the killed one's machine is gone; what the other machine still has of a
tunnel ends with a reset, and nothing is left there. Over obfs4proxy that happens at
once: a PT that dies closes its wire, and obfs4proxy passes that on. lyrebird finds out
when it writes to a dead wire for the second time, so pt-bridge has to say something:
within 60 s where something was sent and nothing comes back, and within two BEATs, a
minute each or so, where nobody waits. All are killed at once, so that takes two minutes
in all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

import psutil

from chaos.stage import bridge, pt
from integration.support.ends import SIDES, Remains, Tunnel
from integration.support.pairings import LYREBIRD, PTS, obfs4, within
from integration.support.programs import DEADLINE, exited, wait_until

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from integration.support.ends import End, Line
    from integration.support.machine import Chain
    from integration.support.pairings import Network
    from integration.support.programs import Program

SIZE = 200_000
# How soon a PT is gone whose pt-bridge was killed (seconds); a second is the goal.
GONE_WITHIN = 60.0
# How soon the other machine's end must hear (seconds), and what is added to that for a
# machine that is busy.
SOON, WAITING, SILENT = 5.0, 65.0, 135.0
LEFT_WITHIN = 60.0 + DEADLINE
WHAT = SHADOWSOCKS, PT_BRIDGE, PT = "shadowsocks", "pt-bridge", "PT"
OTHER = dict(zip(SIDES, reversed(SIDES), strict=True))


class Kill(NamedTuple):
    """A process that is killed.

    Attributes:
        side: on whose machine.
        what: which of the three there.
        program: the PT of both sides.
    """

    side: str
    what: str
    program: str

    def __str__(self) -> str:
        return f"the {self.side}'s {self.what}, {self.program}"

    def limit(self, *, somebody_waits: bool) -> float:
        """Return how soon the other machine must know (seconds)."""
        if self.program != LYREBIRD:
            return SOON + DEADLINE
        return (WAITING if somebody_waits else SILENT) + DEADLINE


KILLS = [
    Kill(side, what, program) for side in SIDES for what in WHAT for program in PTS
]
# What the far end of each tunnel is doing: nothing; it has sent something, and waits;
# it has seen the near end's; it receives; it sends.
TUNNELS = ("silent", "waiting", "half-closed", "receiving", "sending")
TUNNELS_OF_SHADOWSOCKS = ("silent", "sending")
# Where something is owed, so that a dead wire is looked for.
WAITED_FOR = ("waiting", "half-closed", "sending")


class Killing:
    """Tunnels through one client and one server, and what is killed beneath them.

    Attributes:
        wrong: what went wrong, by the name of the tunnel.
        seconds: how long the ends of the others took.
    """

    def __init__(self, kill: Kill, client: Program, server: Program) -> None:
        """Kill nothing yet.

        Args:
            kill: what will be.
            client: pt-bridge, or ss-local.
            server: pt-bridge, or ss-server.
        """
        self._kill = kill
        self.wrong: dict[str, Exception] = {}
        self.seconds: dict[str, float] = {}
        self._remains = Remains(client, server)
        program = client if kill.side == "client" else server
        processes = [psutil.Process(program.pid), bridge(program), pt(program)]
        self._victim = processes[WHAT.index(kill.what)]
        # What is above it sees it end, and what is below it ends.
        self._doomed = processes[WHAT.index(kill.what) :]

    def near(self, tunnel: Tunnel) -> End:
        """Return the end of a tunnel that is on the machine that is hit."""
        return tunnel.client if self._kill.side == "client" else tunnel.server

    def far(self, tunnel: Tunnel) -> End:
        """Return the other one."""
        return tunnel.server if self._kill.side == "client" else tunnel.client

    def kill(self) -> None:
        """Kill it, and wait until what it had started is gone."""
        with contextlib.ExitStack() as stack:
            pidfds = []
            for process in self._doomed:
                pidfds.append(os.pidfd_open(process.pid))
                stack.callback(os.close, pidfds[-1])
            self._victim.kill()
            for pidfd in pidfds:
                assert exited(pidfd, GONE_WITHIN), "a child of what was killed goes on"

    async def judge(self, ends: dict[str, Coroutine[object, object, None]]) -> None:
        """See how the far ends of tunnels end, from now on."""
        async with asyncio.TaskGroup() as group:
            for name, end in ends.items():
                group.create_task(self._judge_one(name, end))

    async def _judge_one(self, name: str, end: Coroutine[object, object, None]) -> None:
        begun = time.monotonic()
        try:
            await within(self._kill.limit(somebody_waits=name in WAITED_FOR), end)
            self.seconds[name] = round(time.monotonic() - begun, 2)
        except Exception as error:  # whatever it is, it is judged
            self.wrong[name] = error

    def left(self) -> dict[str, int]:
        """Return what sockets are left on the machine that was not hit."""
        return self._remains.surplus(of=[OTHER[self._kill.side]])


async def kill_beneath_a_line(killing: Killing, line: Line, *, lives: bool) -> None:
    """Open a tunnel of each kind, and kill.

    Args:
        killing: what is killed.
        line: the line.
        lives: the line goes on, with another PT.
    """
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        near, far = {}, {}
        for name in TUNNELS:
            tunnel = await stack.enter_async_context(line.tunnel())
            near[name], far[name] = killing.near(tunnel), killing.far(tunnel)
        near["half-closed"].half_close()
        await far["half-closed"].receive_end()
        giving = group.create_task(near["receiving"].send_until_refused())
        await far["receiving"].receive(SIZE)
        sending = group.create_task(far["sending"].send_until_refused())
        await near["sending"].receive(SIZE)
        await far["waiting"].send(SIZE)
        await near["waiting"].receive(SIZE)
        killing.kill()
        if lives:
            for name in ("silent", "waiting"):
                group.create_task(near[name].receive_reset())
        await killing.judge(
            {
                "silent": far["silent"].receive_reset(),
                "waiting": far["waiting"].receive_reset(),
                "half-closed": far["half-closed"].send_until_refused(),
                "receiving": far["receiving"].receive_reset(),
                "sending": _ended(sending),
            }
        )
        giving.cancel()
        sending.cancel()
    if lives:
        await killing.judge({"the next": line.others_work()})


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])


async def kill_beneath_shadowsocks(killing: Killing, chain: Chain) -> None:
    """Open two tunnels, and kill; shadowsocks itself makes of a reset what it likes."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        with contextlib.ExitStack() as stack:
            service = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            service.setblocking(False)
            near, far = {}, {}
            for number, name in enumerate(TUNNELS_OF_SHADOWSOCKS, 1):
                client = await asyncio.to_thread(chain.connect, service.getsockname())
                stack.enter_context(client)
                server, _ = await loop.sock_accept(service)
                tunnel = Tunnel(client, server, number)
                stack.callback(tunnel.close)
                await tunnel.client.send(SIZE)
                await tunnel.server.receive(SIZE)
                near[name], far[name] = killing.near(tunnel), killing.far(tunnel)
            sending = group.create_task(far["sending"].send_until_refused())
            await near["sending"].receive(SIZE)
            killing.kill()
            await killing.judge(
                {"silent": far["silent"].receive_any_end(), "sending": _ended(sending)}
            )
            sending.cancel()


class Kills:
    """All of them at once.

    Attributes:
        killings: what came of each.
        left: what sockets are left on the machine that was not hit.
    """

    def __init__(self, net: Network) -> None:
        """Kill, and wait until all has ended that must."""
        self.killings: dict[Kill, Killing] = {}
        todo = []
        for kill in KILLS:
            pairing = obfs4(kill.program, kill.program)
            if kill.what == SHADOWSOCKS:
                chain = net.chain(pairing)
                killing = Killing(kill, chain.client, chain.server)
                todo.append(kill_beneath_shadowsocks(killing, chain))
            else:
                line = net.start(pairing)
                killing = Killing(kill, line.client, line.server)
                todo.append(kill_beneath_a_line(killing, line, lives=kill.what == PT))
            self.killings[kill] = killing
        net.run(_all(todo), SILENT + 4 * DEADLINE)
        with contextlib.suppress(AssertionError):  # each test says what is left of it
            wait_until(
                lambda: not any(it.left() for it in self.killings.values()),
                "",
                within=LEFT_WITHIN,
                retry=5,
            )
        self.left = {kill: it.left() for kill, it in self.killings.items()}


async def _all(todo: list[Coroutine[object, object, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in todo:
            group.create_task(each)
