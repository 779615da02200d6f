"""How long a peer may be silent, and when it has to be spoken to: pure arithmetic."""

from __future__ import annotations

import heapq
import math
import random

import pytest

from pt_bridge.session.silence import (
    SHORTEST,
    SILENT_LIMIT,
    SOON,
    UNANSWERED_LIMIT,
    USUAL,
    WAITS_AFTER,
    Silence,
    Verdict,
)

# What follows from TCP's doubling of 0.2 s: it sends again so long after it first did.
SENT_AGAIN = [0.2 * (2**n - 1) for n in range(1, 16)]


def ask(silence: Silence, now: float, *, chance: float = 1.0) -> Verdict:
    """Ask one that reads what comes."""
    return silence.verdict(now, is_reading=True, chance=chance)


# -- BEAT ------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_protocols_description() -> None:
    assert (USUAL, SOON, WAITS_AFTER, SILENT_LIMIT) == (60.0, 10.0, 15.0, 300.0)


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_beat_is_due_after_a_silence_of_our_own(chance: float) -> None:
    """A minute, or up to a fifth less: no two clocks of ours go together."""
    silence = Silence(100.0)
    wait = USUAL * (SHORTEST + (1 - SHORTEST) * chance)
    assert ask(silence, 100.0, chance=chance) == (False, False, wait)
    early = ask(silence, 100.0 + wait - 0.01, chance=chance)
    assert not early.must_beat
    assert early.wait == pytest.approx(0.01)
    assert ask(silence, 100.0 + wait, chance=chance) == (False, True, wait)


def test_a_beat_is_counted_from_as_if_it_were_any_word_of_ours() -> None:
    silence = Silence(0.0)
    silence.beat(60.0)
    assert ask(silence, 60.0).wait == 60.0
    assert not ask(silence, 119.0).must_beat
    assert ask(silence, 120.0).must_beat


def test_a_peer_that_may_be_waiting_for_an_answer_hears_of_us_soon() -> None:
    """Its data says that it looks at the clock: our silence would be its outage."""
    silence = Silence(0.0)
    silence.heard(1.0, is_beat=False)
    assert ask(silence, 1.0).wait == 9.0
    assert ask(silence, 10.0).must_beat
    silence.beat(10.0)
    assert ask(silence, 10.0).wait == 60.0


def test_a_beat_is_owed_no_answer() -> None:
    """Two idle ends would otherwise speak for ever."""
    silence = Silence(0.0)
    silence.heard(1.0, is_beat=True)
    assert ask(silence, 1.0).wait == 59.0


def test_what_is_said_is_an_answer() -> None:
    silence = Silence(0.0)
    silence.heard(1.0, is_beat=False)
    silence.said(2.0)
    assert ask(silence, 2.0).wait == WAITS_AFTER
    silence.heard(3.0, is_beat=True)
    assert ask(silence, 3.0).wait == 59.0


def test_who_waits_for_an_answer_speaks_soon() -> None:
    """Some PTs find a dead wire only when they have to write."""
    silence = Silence(0.0)
    silence.said(0.0)
    assert ask(silence, 0.0).wait == WAITS_AFTER
    assert not ask(silence, WAITS_AFTER - 1).must_beat
    assert ask(silence, WAITS_AFTER) == (False, True, SOON)
    silence.beat(WAITS_AFTER)
    assert ask(silence, WAITS_AFTER) == (False, False, SOON)


def test_who_is_stuck_speaks_soon() -> None:
    """While its local side is slow it hears nothing, and cannot know of an outage."""
    silence = Silence(0.0)
    stuck = silence.verdict(5.0, is_reading=False, chance=1.0)
    assert stuck == (False, False, 5.0)
    assert silence.verdict(10.0, is_reading=False, chance=1.0).must_beat


# -- the end ---------------------------------------------------------------------------


def test_a_peer_that_gives_no_answer_is_gone_after_a_minute() -> None:
    silence = Silence(0.0)
    silence.heard(5.0, is_beat=False)
    silence.said(10.0)
    silence.said(50.0)
    silence.beat(60.0)
    last = 10.0 + UNANSWERED_LIMIT
    before = ask(silence, last - 0.5)
    assert (before.is_gone, before.wait) == (False, 0.5)
    assert ask(silence, last) == (True, False, 0.0)


def test_any_byte_is_an_answer() -> None:
    silence = Silence(0.0)
    for now in range(0, 10_000, 50):
        silence.said(now)
        assert not ask(silence, now + 49.0).is_gone
        silence.heard(now + 49.0, is_beat=True)


def test_a_peer_of_which_nothing_was_heard_for_long_is_gone() -> None:
    """It would have said BEAT four times."""
    silence = Silence(0.0)
    for now in range(60, 300, 60):
        assert ask(silence, now).must_beat
        silence.beat(now)
    assert ask(silence, SILENT_LIMIT - 0.5).wait == 0.5
    assert ask(silence, SILENT_LIMIT).is_gone


def test_nothing_is_concluded_while_we_do_not_read() -> None:
    """What is to be heard stands in a queue: a reader may pause for days."""
    silence = Silence(0.0)
    silence.said(0.0)
    for now in range(0, 3 * 86_400, 10):
        verdict = silence.verdict(now, is_reading=False, chance=1.0)
        assert not verdict.is_gone
        silence.beat(now)
    # And then as if it had just begun.
    assert not ask(silence, now + UNANSWERED_LIMIT - 0.5).is_gone
    assert ask(silence, now + UNANSWERED_LIMIT).is_gone


# -- two that keep to it ---------------------------------------------------------------


class End:
    """One side of a connection, which speaks when it has to, and now and then besides.

    Attributes:
        silence: what it knows.
        ask_at: when it looks at its clock again.
        is_gone: when it took the other for gone, or None.
    """

    def __init__(self, now: float, rng: random.Random) -> None:
        self.silence = Silence(now)
        self.ask_at = now
        self.is_gone: float | None = None
        self.said: list[bool] = []  # whether what it says now is only BEAT
        self._rng = rng

    def look(self, now: float, *, is_reading: bool = True) -> None:
        """Look at the clock."""
        verdict = self.silence.verdict(
            now, is_reading=is_reading, chance=self._rng.random()
        )
        if verdict.is_gone:
            self.is_gone = now
        if verdict.must_beat:
            self.silence.beat(now)
            self.said.append(True)
        self.ask_at = now + verdict.wait

    def say(self, now: float) -> None:
        """Say something that is no BEAT."""
        self.silence.said(now)
        self.said.append(False)


class Line:
    """What is between two ends: a tenth of a second, and outages that TCP survives."""

    def __init__(self, outages: list[tuple[float, float]]) -> None:
        self._outages = outages
        self._arrives: list[tuple[float, int, bool]] = []
        self._blocked_until = -math.inf
        self._count = 0

    def take(self, now: float, *, is_beat: bool) -> None:
        """Carry something: in an outage it arrives when TCP sends it again."""
        self._count += 1
        when = now
        for start, end in self._outages:
            if start <= now < end and now >= self._blocked_until:
                when = next(now + t for t in SENT_AGAIN if now + t >= end)
                self._blocked_until = when
        when = max(when, self._blocked_until)
        heapq.heappush(self._arrives, (when + 0.1, self._count, is_beat))

    def arrived(self, now: float) -> list[bool]:
        """Return what has arrived by now."""
        arrived = []
        while self._arrives and self._arrives[0][0] <= now:
            arrived.append(heapq.heappop(self._arrives)[2])
        return arrived


STEP = 0.25  # seconds


def live(
    seed: int,
    seconds: float,
    *,
    outages: list[tuple[float, float]] | None = None,
    talk: tuple[float, float] = (math.inf, math.inf),
    paused: bool = False,
) -> tuple[End, End]:
    """Let two ends live for a while.

    Args:
        seed: of the randomness.
        seconds: how long.
        outages: when nothing goes through.
        talk: how often each end says something of its own (seconds).
        paused: whether the second end does not read.
    """
    rng = random.Random(seed)  # noqa: S311
    ends = End(0.0, rng), End(0.0, rng)
    lines = Line(outages or []), Line(outages or [])
    nexts = [each if each < math.inf else math.inf for each in talk]
    now = 0.0
    while now < seconds and ends[0].is_gone is ends[1].is_gone is None:
        for number, end in enumerate(ends):
            is_reading = not (paused and number)
            if now >= nexts[number]:
                end.say(now)
                nexts[number] = now + talk[number]
            if is_reading:
                for is_beat in lines[1 - number].arrived(now):
                    end.silence.heard(now, is_beat=is_beat)
                    end.ask_at = min(end.ask_at, now + SOON)
            if end.said:
                end.ask_at = min(end.ask_at, now + SOON)
            if now >= end.ask_at:
                end.look(now, is_reading=is_reading)
            for is_beat in end.said:
                lines[number].take(now, is_beat=is_beat)
            end.said.clear()
        now += STEP
    return ends


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("often", [STEP, 5.0, 14.0, 40.0, 70.0])
def test_an_honest_download_is_never_cut(seed: int, often: float) -> None:
    """For hours, one side says data and the other no more than BEAT."""
    first, second = live(seed, 2 * 3600.0, talk=(often, math.inf))
    assert first.is_gone is None
    assert second.is_gone is None


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", range(5))
def test_two_that_have_nothing_to_say_are_never_cut(seed: int) -> None:
    first, second = live(seed, 12 * 3600.0)
    assert first.is_gone is None
    assert second.is_gone is None


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("often", [STEP, 14.0, math.inf])
def test_a_reader_that_pauses_for_hours_is_never_cut(seed: int, often: float) -> None:
    """It says BEAT meanwhile, and hears nothing."""
    first, second = live(seed, 3 * 3600.0, talk=(often, math.inf), paused=True)
    assert first.is_gone is None
    assert second.is_gone is None


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "talk", [(STEP, math.inf), (14.0, math.inf), (STEP, 3.0), (math.inf, math.inf)]
)
def test_an_outage_of_45_seconds_costs_nothing(
    seed: int, talk: tuple[float, float]
) -> None:
    """TCP sends again 51 s after it first did, at the latest."""
    start = 100.0 + seed * 0.7
    first, second = live(seed, 400.0, talk=talk, outages=[(start, start + 45.0)])
    assert first.is_gone is None
    assert second.is_gone is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("talk", [(STEP, math.inf), (14.0, math.inf), (STEP, 3.0)])
def test_a_dead_path_is_found_soon_by_who_has_something_to_say(
    seed: int, talk: tuple[float, float]
) -> None:
    first, second = live(seed, 1000.0, talk=talk, outages=[(100.0, 500.0)])
    gone = [each for each in (first.is_gone, second.is_gone) if each is not None]
    assert gone
    assert 100.0 < min(gone) <= 100.0 + UNANSWERED_LIMIT + 14.0 + STEP


@pytest.mark.parametrize("seed", range(5))
def test_a_dead_path_is_found_in_the_end_by_who_has_nothing_to_say(seed: int) -> None:
    first, second = live(seed, 1000.0, outages=[(100.0, 900.0)])
    gone = [each for each in (first.is_gone, second.is_gone) if each is not None]
    assert gone
    assert min(gone) <= 100.0 + SILENT_LIMIT + STEP
