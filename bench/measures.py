"""What is measured: one sample of each quantity, of one contestant, in one round."""

from __future__ import annotations

import dataclasses
import statistics
import subprocess
import time
from dataclasses import dataclass
from socket import socket
from typing import TYPE_CHECKING

from bench import contestants, processes, traffic
from bench.goals import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bench.contestants import Relay
    from bench.lanes import Lane
    from bench.traffic import Dial, Transfer

    Values = dict[str, list[float]]
    Moved = Callable[[Dial, int], AbstractContextManager[Transfer]]

GB = 1e9
MICROSECONDS = 1e6
KIB = 1024
# What is moved first, to warm up and to learn how much fills the time.
WARM_UP = 64 << 20
WARM_UP_ROUND_TRIPS = 200
WARM_UP_TUNNELS = 20
WARM_UP_SECONDS = 0.2
DIRECTIONS: dict[str, Moved] = {"up": traffic.uploaded, "down": traffic.downloaded}
AT_ONCE = 8
# An obfs4 handshake takes a while, so these are fewer.
SESSION_TUNNELS = 500
# What pt-bridge needs to come to rest (seconds).
REST = 0.3
# How often it is tried whether a port accepts, when pt-bridge starts (seconds).
LOOK = 0.0005


@dataclass(frozen=True)
class Effort:
    """How much is done for one sample.

    Attributes:
        rounds: how many samples are taken, one after the other.
        bulk_seconds: how long one transfer takes, about.
        round_trips: how many of them.
        connecting_seconds: how long connections are made and closed.
        idle_tunnels: how many of them.
        small_tunnels: how many share a relay with a bulk tunnel.
        fairness_seconds: how long these are looked at, with the bulk and without.
        starts: how many of them.
        others: whether those are measured, too, that no goal speaks of.
    """

    rounds: int = 5
    bulk_seconds: float = 2.0
    round_trips: int = 5000
    connecting_seconds: float = 1.5
    idle_tunnels: int = 2000
    small_tunnels: int = 500
    fairness_seconds: float = 2.0
    starts: int = 10
    others: bool = True


FULL = Effort()
QUICK = Effort(
    rounds=2,
    bulk_seconds=0.4,
    round_trips=1000,
    connecting_seconds=0.4,
    fairness_seconds=0.4,
    others=False,
)


def bulk(relay: Relay, effort: Effort) -> Values:
    """Move bytes through one connection, each way."""
    values: Values = {}
    for direction, moved in DIRECTIONS.items():
        number = fitting(moved, relay.dial, effort)
        relay.come_to_rest()
        before = relay.cpu_seconds()
        with moved(relay.dial, number) as transfer:
            used = relay.cpu_seconds() - before
        values[f"{direction}: throughput"] = [number / transfer.seconds / GB]
        if relay.pid is not None:
            values[f"{direction}: CPU"] = [used / number * GB]
    return values


def fitting(moved: Moved, dial: Dial, effort: Effort) -> int:
    """Warm up; return how many bytes take as long as one transfer should."""
    with moved(dial, WARM_UP) as transfer:
        rate = WARM_UP / transfer.seconds
    return max(WARM_UP, int(rate * effort.bulk_seconds))


def round_trip(relay: Relay, effort: Effort, name: str) -> Values:
    """Send 64 bytes to and fro on one connection; `name` is the quantity's."""
    traffic.round_trips(relay.dial, WARM_UP_ROUND_TRIPS)
    taken = traffic.round_trips(relay.dial, effort.round_trips)
    return {name: [statistics.median(taken) * MICROSECONDS]}


def connecting(relay: Relay, effort: Effort) -> Values:
    """Connect, echo 64 bytes and close, 8 at a time."""
    values: Values = {}
    for name, far_end_closes in (
        ("connections, far end closes", True),
        # Last, for its tunnels may outlive it.
        ("connections", False),
    ):
        for seconds in (WARM_UP_SECONDS, effort.connecting_seconds):
            done = traffic.connections(
                relay.dial, seconds, at_once=AT_ONCE, far_end_closes=far_end_closes
            )
        values[name] = [done.number / done.seconds]
    return values


def idle(relay: Relay, effort: Effort) -> Values:
    """Open tunnels that have echoed once, and look at what each costs its relay."""
    assert relay.pid is not None  # `direct` is not asked
    _warm_up(relay)
    number = effort.idle_tunnels
    memory = processes.own_memory(relay.pid)
    descriptors = processes.descriptors(relay.pid)
    with traffic.echoing(relay.dial, number):
        time.sleep(REST)
        memory = processes.own_memory(relay.pid) - memory
        descriptors = processes.descriptors(relay.pid) - descriptors
    return {
        "idle: memory": [memory / number / KIB],
        "idle: descriptors": [descriptors / number],
    }


def idle_tasks(relay: Relay, effort: Effort) -> Values:
    """Open idle tunnels of a pt-bridge that is watched, and count its tasks."""
    _warm_up(relay)
    before = relay.tasks()
    with traffic.echoing(relay.dial, effort.idle_tunnels):
        time.sleep(REST)
        return {"idle: tasks": [(relay.tasks() - before) / effort.idle_tunnels]}


def _warm_up(relay: Relay) -> None:
    """Carry a few tunnels through a relay, to their end."""
    traffic.connections(
        relay.dial, WARM_UP_SECONDS, at_once=WARM_UP_TUNNELS, far_end_closes=True
    )
    time.sleep(REST)


def fairness(relay: Relay, effort: Effort) -> Values:
    """Measure round trips on many tunnels, alone and beside a bulk tunnel."""
    with traffic.echoing(relay.dial, effort.small_tunnels) as socks:
        traffic.round_trips_in_turn(socks, WARM_UP_SECONDS)
        alone = traffic.round_trips_in_turn(socks, effort.fairness_seconds)
        with traffic.load(relay.dial):
            beside = traffic.round_trips_in_turn(socks, effort.fairness_seconds)
    values: Values = {}
    for name, taken in (("alone", alone), ("beside bulk", beside)):
        values[f"{name}: median"] = [statistics.median(taken) * MICROSECONDS]
        nearly_all = statistics.quantiles(taken, n=100)[-1]
        values[f"{name}: 99 %"] = [nearly_all * MICROSECONDS]
    return values


def obfs4(lanes: Mapping[str, Lane], name: str, effort: Effort) -> dict[str, Values]:
    """Move bytes through obfs4proxy, each way; return the values of each contestant.

    Args:
        lanes: what runs.
        name: which of them.
        effort: how much.
    """
    lane = lanes[name]
    ours: Values = {}
    its: Values = {}
    for direction, moved in DIRECTIONS.items():
        number = fitting(moved, lane.dial, effort)
        before = _lane_seconds(lane)
        with moved(lane.dial, number) as transfer:
            after = _lane_seconds(lane)
        rate = [number / transfer.seconds / GB]
        ours[f"obfs4, {direction}: throughput"] = rate
        if lane.relay is not None:
            used, pt = (now - then for now, then in zip(after, before, strict=True))
            ours[f"obfs4, {direction}: CPU"] = [used / number * GB]
            its[f"obfs4, {direction}: CPU"] = [pt / number * GB]
    return {name: ours, f"{name}'s PT": its}


def _lane_seconds(lane: Lane) -> tuple[float, float]:
    """Return the time on a CPU that the client and its PT have had so far."""
    if lane.relay is None:
        return 0.0, 0.0
    return lane.relay.cpu_seconds(), processes.cpu_seconds([lane.pt])


def idle_session(lanes: Mapping[str, Lane], effort: Effort) -> dict[str, Values]:
    """Open tunnels through a session, and look at what each costs the client."""
    relay = lanes[SESSION].relay
    assert relay is not None
    values = idle(relay, dataclasses.replace(effort, idle_tunnels=SESSION_TUNNELS))
    return {SESSION: {f"session, {name}": each for name, each in values.items()}}


def start(folder: Path) -> dict[str, Values]:
    """Start a bare interpreter, and then pt-bridge; return the values of both."""
    arguments, variables, address = contestants.start_command(folder)
    bare = [contestants.PT_BRIDGE_PYTHON, "-c", "pass"]
    began = time.perf_counter()
    with subprocess.Popen(bare, cwd=folder, env=variables) as process:
        process.wait()
        interpreter = time.perf_counter() - began
    with open(folder / "log", "ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=variables,
        )
    try:
        until = began + processes.DEADLINE
        while True:
            with socket() as sock:
                if sock.connect_ex(address) == 0:
                    break
            if process.poll() is not None or time.perf_counter() > until:
                why = processes.last_line(folder)
                raise processes.Unavailable(f"pt-bridge did not start: {why}")
            time.sleep(LOOK)
        ours = time.perf_counter() - began
    finally:
        processes.stop(process)
    return {
        "pt-bridge": {"start": [ours * 1000]},
        "python -c pass": {"start": [interpreter * 1000]},
    }
