"""How many connections are made ready, and how many of them are for nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_bridge.pool.preconnect import (
    LEAST_GAP,
    MOST,
    MOST_GAP,
    QUIET,
    RECENT,
    REMEMBERED,
    Preconnect,
    gap,
)

HANDSHAKE, ANSWER = 0.3, 0.25  # seconds, over a path of 100 ms
IDLE = (20.0, 45.0)  # seconds that an idle connection lives
PER_PAGE, AT_ONCE = 30, 6  # objects


@pytest.mark.parametrize(
    ("began", "now", "open_now", "wanted"),
    [
        ([], 0.0, 0, 0),
        ([(0.0, 1)], 0.1, 1, 1),  # a page's first: one more may follow
        ([(0.0, 1)], 0.1, 0, 1),  # no more than began
        ([(0.0, n) for n in range(1, 7)], 0.1, 6, 0),  # all of them are used again
        ([(0.0, n) for n in range(1, 7)], 0.1, 2, 4),
        ([(0.0, n) for n in range(1, 7)], 0.1, 0, 6),
        ([(0.0, n) for n in range(1, 40)], 0.1, 0, MOST),
        ([(0.0, 1), (RECENT + 1, 1)], RECENT + 1, 0, 1),  # only lately
        ([(0.0, 3), (0.0, 3)], QUIET, 0, 2),
        ([(0.0, 3), (0.0, 3)], QUIET + 0.1, 0, 0),
        ([(0.0, 9), (REMEMBERED + 1, 1), (REMEMBERED + 1, 2)], REMEMBERED + 1, 2, 0),
        ([(0.0, 9), (REMEMBERED - 1, 1), (REMEMBERED - 1, 2)], REMEMBERED - 1, 2, 2),
    ],
)
def test_as_many_are_wanted_as_may_begin_at_once(
    began: list[tuple[float, int]], now: float, open_now: int, wanted: int
) -> None:
    policy = Preconnect()
    for at, streams in began:
        policy.began(at, streams)
    assert policy.wanted(now, open_now) == wanted


def test_a_number_that_was_asked_for_is_kept_while_streams_begin() -> None:
    policy = Preconnect(3)
    assert policy.wanted(0.0, 0) == 0
    policy.began(0.0, 1)
    assert policy.wanted(QUIET, 9) == 3
    assert policy.wanted(QUIET + 0.1, 9) == 0
    assert Preconnect(0).wanted(0.0, 0) == 0


@given(
    st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(1, 100)), max_size=60),
    st.floats(0.0, 120.0),
    st.integers(0, 100),
)
def test_never_more_than_began_lately_and_none_after_quiet(
    steps: list[tuple[float, int]], later: float, streams: int
) -> None:
    policy, now = Preconnect(), 0.0
    times = []
    for wait, open_now in steps:
        now += wait
        times.append(now)
        policy.began(now, open_now)
    wanted = policy.wanted(now + later, streams)
    lately = sum(1 for each in times if each >= now - RECENT)
    assert 0 <= wanted <= min(MOST, lately)
    assert not (times and later > QUIET and wanted)


def test_they_are_not_made_by_clockwork() -> None:
    waits = {gap(random.Random(seed).random()) for seed in range(20)}  # noqa: S311
    assert len(waits) == 20
    assert min(waits) >= LEAST_GAP
    assert max(waits) <= MOST_GAP


class Browser:
    """Loads pages through a pool, in time that only passes in here."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.policy = Preconnect()
        self.now = 0.0
        # Idle ones: when each is closed, and whether it was ever used.
        self.idle: list[tuple[float, bool]] = []
        self.open: list[float] = []  # when each stream ends
        self.making: float | None = None
        self.handshakes = self.unused = self.misses = self.streams = 0
        self.next_make: float | None = None

    def begin(self) -> None:
        """Carry one more stream, on the idle connection that was used last."""
        self.streams += 1
        wait = 0.0
        if self.idle:
            self.idle.pop()
        else:
            self.misses += 1
            self.handshakes += 1
            wait = HANDSHAKE
        answer = ANSWER * self.random.uniform(0.5, 2.0)
        self.open.append(self.now + wait + answer)
        self.policy.began(self.now, len(self.open))

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        for end in [each for each in self.open if each <= self.now]:
            self.open.remove(end)
            self.idle.append((self.now + self.random.uniform(*IDLE), True))
        for each in [each for each in self.idle if each[0] <= self.now]:
            self.idle.remove(each)
            self.unused += not each[1]
        if self.making is not None and self.making <= self.now:
            self.making = None
            self.idle.insert(0, (self.now + self.random.uniform(*IDLE), False))
        wanted = self.policy.wanted(self.now, len(self.open))
        if self.making is None and len(self.idle) < wanted:
            if self.next_make is None:
                self.next_make = self.now + gap(self.random.random())
            elif self.next_make <= self.now:
                self.next_make = None
                self.handshakes += 1
                self.making = self.now + HANDSHAKE

    def load(self) -> None:
        """Load a page: itself, then its objects, six at a time."""
        self.begin()
        while self.open:
            self.turn(0.01)
        left = PER_PAGE - 1
        while left or self.open:
            while left and len(self.open) < AT_ONCE:
                self.begin()
                left -= 1
            self.turn(0.01)

    def rest(self, seconds: float) -> None:
        """Read the page."""
        for _ in range(int(seconds * 10)):
            self.turn(0.1)


@pytest.mark.parametrize("pages", [1, 5])
def test_a_page_leaves_few_handshakes_unused(pages: int) -> None:
    """At most 15 % of them; and most streams meet a connection that is ready."""
    handshakes = unused = streams = misses = 0
    for seed in range(40):
        browser = Browser(seed)
        for _ in range(pages):
            browser.load()
            browser.rest(browser.random.uniform(2.0, 30.0))
        browser.rest(60.0)
        handshakes += browser.handshakes
        unused += browser.unused
        streams += browser.streams
        misses += browser.misses
    assert unused <= 0.1 * handshakes
    assert misses <= 0.2 * streams
