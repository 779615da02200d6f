"""Run traffic and misdeeds at once, and judge what came of it (``scripts/chaos``)."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import datetime
import functools
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from chaos import figures, remains
from chaos.misdeeds import Misdeeds
from chaos.schedule import Route, schedule
from chaos.service import Service
from chaos.stage import Stage
from chaos.traffic import Traffic
from chaos.verdict import accusation, is_explained
from integration.support.programs import STOP_DEADLINE, marked, wait_until_gone
from tests.support.termination import leave_every_block_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.figures import Figures
    from chaos.remains import Holding
    from chaos.verdict import Window

SECONDS = 60.0
# How long everything may take beyond that: to start, to come to rest, to end (seconds).
BEYOND = 360.0
# How long the programs may take to come to rest (seconds): over lyrebird a stream that
# its peer has left is noticed within two minutes, connections without a stream are kept
# for 60 s, and the machine may be busy.
REST_LIMIT = 270.0
REST_INTERVAL = 0.5
# How often each kind of connection is tried after the last misdeed.
LAST_ROUNDS = 3
MOST_SENTENCES = 20
MOST_LINES = 4
# What is said when all that is left is to come to rest.
MISDEEDS_ARE_OVER = "misdeeds are over"


class Run:
    """One run, and what was wrong with it.

    Attributes:
        faults: what was wrong, in sentences.
        figures: what was counted; set at the end.
    """

    def __init__(
        self, seed: int, seconds: float, folder: Path, logs: Path | None = None
    ) -> None:
        """Create a run.

        Args:
            seed: what the schedule and the connections are made from.
            seconds: how long misdeeds are done.
            folder: an empty one.
            logs: where what the programs wrote is kept, if anywhere.
        """
        self._seed = seed
        self._seconds = seconds
        self._folder = folder
        self._logs = logs
        self.faults: list[str] = []
        self.figures: Figures | None = None

    async def go(self) -> None:
        """Do everything; nothing is left behind, however it ends."""
        service = Service()
        windows: list[Window] = []
        stage = await asyncio.to_thread(
            functools.partial(Stage, is_debugged=self._logs is not None),
            *(self._seed, self._folder, service.address),
        )
        try:
            async with asyncio.timeout(self._seconds + BEYOND), service:
                after = {route: ends.after for route, ends in stage.ends.items()}
                traffic = Traffic(stage.ports, after, service, windows)
                misdeeds = Misdeeds(stage, traffic, windows)
                await self._carry_on(stage, service, traffic, misdeeds)
        except TimeoutError:
            self.faults.append(f"it was not over {BEYOND:g} s after the last misdeed")
        finally:
            stage.kill()
            if self._logs is not None:
                self._keep(stage, self._logs)

    def _keep(self, stage: Stage, folder: Path) -> None:
        """Write what each program wrote into a file."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(stage.machine.said()):
            (folder / f"{self._seed}-{number}.log").write_text(text)

    async def _carry_on(
        self, stage: Stage, service: Service, traffic: Traffic, misdeeds: Misdeeds
    ) -> None:
        loop = asyncio.get_running_loop()
        before = await asyncio.to_thread(remains.holdings, stage)
        files = remains.files(self._folder)
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(traffic.watch())
            await traffic.once(self._seed)
            warm = await asyncio.to_thread(remains.holdings, stage)
            before = {
                name: dataclasses.replace(before[name], memory=warm[name].memory)
                for name in before
            }
            start = loop.time()
            _say(f"misdeeds begin at {datetime.datetime.now():%H:%M:%S.%f}")
            end = start + self._seconds
            await self._until_over(
                traffic, misdeeds, lambda: loop.time() >= end or bool(misdeeds.faults)
            )
            over = loop.time()
            self.faults += misdeeds.faults + stage.ended()
            if not self.faults:
                for number in range(LAST_ROUNDS):
                    await traffic.once(self._seed + number)
            watch.cancel()
        _say(f"{MISDEEDS_ARE_OVER}; all comes to rest")
        failures = [
            dataclasses.replace(each, was_taken=each.stream in service.seen)
            for each in traffic.failures
        ]
        unexplained = [
            failure
            for failure in failures
            if failure.began >= over or not is_explained(failure, traffic.windows)
        ]
        self.faults += [accusation(each, start) for each in unexplained]
        after: dict[str, Holding] = {}
        if not stage.ended():
            after = await self._at_rest(stage, service, before, files)
            await asyncio.to_thread(self._end, stage)
        if service.wrong:
            self.faults.append(f"{service.wrong} uploads brought a wrong byte")
        if service.looked_whole:
            self.faults.append(
                f"{service.looked_whole} connections that were cut or reset ended with "
                f"an EOF at the service"
            )
        failed = figures.total([each.route for each in traffic.failures])
        otherwise = figures.total([each.route for each in unexplained])
        self.figures = figures.Figures(
            seed=self._seed,
            seconds=self._seconds,
            casts={route: ends.cast for route, ends in stage.ends.items()},
            done=misdeeds.done,
            skipped=misdeeds.skipped,
            counts=traffic.counts,
            in_window={route: failed[route] - otherwise[route] for route in Route},
            otherwise=otherwise,
            checked=traffic.received + service.taken,
            longest_start=misdeeds.longest_start,
            longest_orphan=misdeeds.longest_orphan,
            before=before,
            after=after,
        )

    async def _until_over(
        self, traffic: Traffic, misdeeds: Misdeeds, is_over: Callable[[], bool]
    ) -> None:
        """Run connections, and do misdeeds to them."""
        async with asyncio.TaskGroup() as group:
            group.create_task(traffic.flow(self._seed, is_over))
            group.create_task(misdeeds.run(schedule(self._seed, self._seconds)))

    async def _at_rest(
        self,
        stage: Stage,
        service: Service,
        before: dict[str, Holding],
        files: list[str],
    ) -> dict[str, Holding]:
        """Wait until all is as it was before; return what the programs hold then."""
        loop = asyncio.get_running_loop()
        until = loop.time() + REST_LIMIT
        while True:
            after = await asyncio.to_thread(remains.holdings, stage)
            more = [
                f"{name} has {what}"
                for name in before
                for what in remains.growth(before[name], after[name])
            ]
            if service.open:
                more.append(f"{service.open} connections to the service are open")
            now = remains.files(self._folder)
            if now != files:
                more.append(f"other files than before: {sorted({*now} ^ {*files})}")
            if not more:
                return after
            if loop.time() >= until:
                self.faults += more
                return after
            await asyncio.sleep(REST_INTERVAL)

    def _end(self, stage: Stage) -> None:
        """Stop everything as one does, and look at what is left."""
        for ends in stage.ends.values():
            for program in (ends.client, ends.server):
                code = program.stop()
                if code:
                    self.faults.append(f"{program.name} was stopped, and gave {code}")
        try:
            wait_until_gone(str(self._folder), STOP_DEADLINE)
            stage.close()
        except AssertionError as error:
            self.faults.append(str(error))
        left = remains.files(stage.machine.temporary)
        if left:
            self.faults.append(f"files are left: {left}")


def main() -> int:
    """Run it; return 1 where anything was wrong."""
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Carry checked content through obfs4proxy and lyrebird, with "
        "shadowsocks and without, while PTs and ss-server are killed and stopped, "
        "descriptors run out and keys are deleted. Gives 1 where a byte was wrong, a "
        "cut transfer looked complete, an end was lost, a connection hung, or anything "
        "was left.",
    )
    parser.add_argument(
        *("--seconds", "-s"),
        type=float,
        default=SECONDS,
        help="how long misdeeds are done (%(default)g); all takes some 30 s more",
    )
    parser.add_argument("--seed", type=int, help="what is done when; else a new one")
    parser.add_argument(
        "--logs", type=Path, metavar="FOLDER", help="keep what the programs wrote here"
    )
    given = parser.parse_args()
    seed = random.randrange(1_000_000) if given.seed is None else given.seed  # noqa: S311
    leave_every_block_at(signal.SIGTERM, signal.SIGHUP)
    _say(f"seed {seed}")
    with tempfile.TemporaryDirectory(
        prefix="pt-bridge-chaos-", ignore_cleanup_errors=True
    ) as folder:
        run = Run(seed, given.seconds, Path(folder), given.logs)
        try:
            asyncio.run(run.go())
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        finally:
            # What a thread may have started while everything was ended.
            for process in marked(folder):
                with contextlib.suppress(psutil.Error):
                    process.kill()
    if run.figures is not None:
        for line in figures.lines(run.figures):
            _say(line)
    for fault in run.faults[:MOST_SENTENCES]:
        _say(f"wrong: {_shortened(fault)}")
    if len(run.faults) > MOST_SENTENCES:
        _say(f"wrong: {len(run.faults) - MOST_SENTENCES} times more")
    _say("something was wrong" if run.faults else "all was well")
    return 1 if run.faults else 0


def _shortened(fault: str) -> str:
    """Leave out the middle of what a program wrote."""
    first, *others = fault.splitlines()
    return "\n".join([first, *others[-MOST_LINES:]])


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
