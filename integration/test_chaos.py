"""The chaos run: its schedule, its judgement, and a short one of it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

import pytest

from chaos.content import CHUNK, PERIOD, content, is_right
from chaos.remains import MOST_GROWTH, Holding, growth
from chaos.schedule import (
    CASTS,
    GAP,
    LASTING,
    MISDEEDS,
    QUIET,
    Misdeed,
    Route,
    cast,
    schedule,
)
from chaos.service import ANSWER, RECEIPT, Request
from chaos.verdict import (
    AFTER,
    AFTER_LYREBIRD,
    NOTICED,
    TRIED,
    Ending,
    Failure,
    Window,
    accusation,
    calm,
    is_explained,
)
from integration.support.chaos_runs import SECONDS, SEEDS_OF_CI
from pt_bridge.relay.pipes import KEPT_PIPES

if TYPE_CHECKING:
    from integration.support.chaos_runs import ChaosRuns

SEEDS = range(50)
KILLS, FEWEST_KILLS = 8, 4

OPEN = Failure(
    *(Route.STANDALONE, "download", Ending.RESET, 10.0, 12.0),
    was_open=True,
    missing=7,
    stream=1,
    was_taken=True,
)
# The service has not answered; or it has not even been asked.
TAKEN = dataclasses.replace(OPEN, was_open=False)
EARLY = dataclasses.replace(TAKEN, was_taken=False)


def _window(misdeed: Misdeed, route: Route = Route.STANDALONE) -> Window:
    return Window(route, misdeed, 11.0, 11.5)


def test_a_seed_makes_the_same_schedule_again_and_another_one_another() -> None:
    assert schedule(7, 60) == schedule(7, 60)
    assert schedule(7, 60) != schedule(8, 60)


def test_every_pairing_of_pts_plays_sooner_or_later() -> None:
    for route in Route:
        assert {cast(seed, route) for seed in range(100)} == set(CASTS)
        assert cast(3, route) == cast(3, route)
    assert len(CASTS) == 8
    assert sum(each.is_lyrebird for each in CASTS) == 6


@pytest.mark.parametrize("seconds", [0, 5, SECONDS, 60])
def test_a_schedule_is_in_order_and_within_its_time(seconds: float) -> None:
    for seed in SEEDS:
        events = schedule(seed, seconds)
        assert events == sorted(events, key=lambda event: event.at)
        assert all(QUIET <= event.at <= seconds - event.lasts for event in events)
        assert all(LASTING[0] <= event.lasts <= LASTING[1] for event in events)


def test_every_misdeed_comes_in_a_run_of_ci() -> None:
    for seed in SEEDS:
        events = schedule(seed, SECONDS)
        for route in Route:
            done = [event.misdeed for event in events if event.route is route]
            whole_decks = len(done) - len(done) % len(MISDEEDS[route])
            assert set(done) == set(MISDEEDS[route])
            assert len({done[:whole_decks].count(each) for each in set(done)}) == 1


def test_a_route_has_time_between_two_misdeeds() -> None:
    for route in Route:
        at = [event.at for event in schedule(1, 60) if event.route is route]
        gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
        assert all(GAP[0] <= gap <= GAP[1] for gap in gaps)


def test_content_is_right_at_its_own_place_only() -> None:
    for offset in (0, 1, CHUNK, PERIOD - 10, 3 * PERIOD + 5):
        data = bytes(content(3, offset, CHUNK))
        assert is_right(data, 3, offset)
        assert not is_right(data, 4, offset)
        assert not is_right(data, 3, offset + 1)
        assert not is_right(data, 3, offset + CHUNK)
        assert not is_right(data[:-1] + bytes([data[-1] ^ 1]), 3, offset)


def test_content_goes_on_over_the_end_of_the_circle() -> None:
    whole = b"".join(bytes(content(5, n * CHUNK, CHUNK)) for n in range(40))
    for offset in (PERIOD - 5, 12_345):
        assert is_right(whole[offset : offset + CHUNK], 5, offset)


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (Request(1, down=10), 10),
        (Request(1, up=10), RECEIPT.size),
        (Request(1, up=10, is_echo=True), 10),
        (Request(1, down=10, cut=5), 10),
    ],
)
def test_the_length_of_an_answer_is_announced(request_: Request, more: int) -> None:
    assert request_.answered == ANSWER.size + more


def test_a_failure_without_a_misdeed_is_not_explained() -> None:
    assert not is_explained(OPEN, [])


@pytest.mark.parametrize("misdeed", Misdeed)
@pytest.mark.parametrize(
    "ending", [Ending.REFUSED, Ending.STUCK, Ending.WRONG], ids=lambda each: each.name
)
def test_nothing_explains_a_wrong_byte_a_closed_port_or_a_hang(
    misdeed: Misdeed, ending: Ending
) -> None:
    failure = dataclasses.replace(OPEN, ending=ending, was_open=False)
    assert not is_explained(failure, [_window(misdeed)])


@pytest.mark.parametrize(
    ("misdeed", "failure", "explained"),
    [
        (Misdeed.KILL_CLIENT_PT, OPEN, True),
        (Misdeed.KILL_CLIENT_PT, TAKEN, True),
        # It should have been tried again with the next PT.
        (Misdeed.KILL_CLIENT_PT, EARLY, False),
        (Misdeed.KILL_SERVER_PT, OPEN, True),
        (Misdeed.KILL_SERVER_PT, TAKEN, True),
        (Misdeed.KILL_SERVER_PT, EARLY, False),
        (Misdeed.FORGET, OPEN, True),
        (Misdeed.FORGET, EARLY, False),
        (Misdeed.FILL, OPEN, False),
        (Misdeed.FILL, TAKEN, False),
        (Misdeed.FILL, EARLY, True),
        (Misdeed.STOP_CLIENT_PT, OPEN, False),
        (Misdeed.STOP_SERVER_PT, EARLY, False),
    ],
)
def test_a_misdeed_explains_what_follows_from_it(
    misdeed: Misdeed,
    failure: Failure,
    explained: bool,  # noqa: FBT001
) -> None:
    failure = dataclasses.replace(failure, at=11.2)
    assert is_explained(failure, [_window(misdeed)]) is explained
    # A cut transfer looked complete.
    failure = dataclasses.replace(failure, ending=Ending.EOF)
    assert not is_explained(failure, [_window(misdeed)])


@pytest.mark.parametrize("misdeed", [Misdeed.KILL_SERVER_PT, Misdeed.FORGET])
def test_who_has_tried_for_long_to_reach_a_closed_port_may_give_up(
    misdeed: Misdeed,
) -> None:
    window = dataclasses.replace(_window(misdeed), ended=math.inf)
    for seconds, explained in ((TRIED, True), (TRIED - 0.1, False)):
        failure = dataclasses.replace(EARLY, began=11.3, at=11.3 + seconds)
        assert is_explained(failure, [window]) is explained


@pytest.mark.parametrize(
    ("misdeed", "failure", "explained"),
    [
        (Misdeed.KILL_CLIENT_PT, OPEN, True),
        (Misdeed.KILL_CLIENT_PT, EARLY, True),  # ss-server may have taken it
        (Misdeed.KILL_SERVER_PT, OPEN, True),
        (Misdeed.FORGET, EARLY, True),
        (Misdeed.KILL_SS_SERVER, OPEN, True),
        (Misdeed.KILL_SS_SERVER, EARLY, True),
        (Misdeed.FILL, EARLY, True),
        (Misdeed.FILL, OPEN, False),
        (Misdeed.STOP_CLIENT_PT, OPEN, False),
    ],
)
def test_through_shadowsocks_what_is_cut_ends_with_an_eof(
    misdeed: Misdeed,
    failure: Failure,
    explained: bool,  # noqa: FBT001
) -> None:
    failure = dataclasses.replace(failure, route=Route.SHADOWSOCKS, ending=Ending.EOF)
    window = _window(misdeed, Route.SHADOWSOCKS)
    assert is_explained(failure, [window]) is explained


def test_a_misdeed_explains_its_own_route_and_its_own_time() -> None:
    window = _window(Misdeed.KILL_SERVER_PT)
    assert not is_explained(
        OPEN, [dataclasses.replace(window, route=Route.SHADOWSOCKS)]
    )
    for at, explained in (
        (window.began - 0.1, False),
        (window.began, True),
        (window.ended + AFTER, True),
        (window.ended + AFTER + 0.1, False),
    ):
        failure = dataclasses.replace(OPEN, at=at)
        assert is_explained(failure, [window]) is explained


def test_over_lyrebird_a_death_is_noticed_later() -> None:
    window = dataclasses.replace(_window(Misdeed.KILL_SERVER_PT), after=AFTER_LYREBIRD)
    for at, explained in (
        (window.ended + AFTER_LYREBIRD, True),
        (window.ended + AFTER_LYREBIRD + 0.1, False),
    ):
        failure = dataclasses.replace(OPEN, at=at)
        assert is_explained(failure, [window]) is explained


def test_who_begins_when_all_is_well_again_must_not_fail() -> None:
    window = _window(Misdeed.KILL_SS_SERVER, Route.SHADOWSOCKS)
    for began, explained in (
        (window.ended + NOTICED, True),
        (window.ended + NOTICED + 0.1, False),
    ):
        failure = dataclasses.replace(
            OPEN, route=Route.SHADOWSOCKS, began=began, at=began + 1.0
        )
        assert is_explained(failure, [window]) is explained


@pytest.mark.parametrize(
    "misdeed", [Misdeed.KILL_CLIENT_PT, Misdeed.KILL_SERVER_PT, Misdeed.FORGET]
)
def test_who_begins_after_a_pt_died_waits_and_does_not_fail(misdeed: Misdeed) -> None:
    window = _window(misdeed)
    for began, explained in (
        (window.began + NOTICED, True),
        (window.began + NOTICED + 0.1, False),
    ):
        failure = dataclasses.replace(TAKEN, began=began)
        assert is_explained(failure, [window]) is explained


def test_an_accusation_says_that_a_cut_transfer_looked_complete() -> None:
    assert accusation(OPEN, 5.0) == (
        "standalone, download: a connection was reset 7 bytes too early, at 7.00 s, "
        "open since 5.00 s"
    )
    cut = dataclasses.replace(OPEN, ending=Ending.EOF)
    assert "7 bytes too early, as if it were complete, at" in accusation(cut, 5.0)
    stuck = dataclasses.replace(OPEN, ending=Ending.STUCK, was_open=False)
    assert (
        "neither went on nor ended, before the service had answered, at"
        in accusation(stuck, 5.0)
    )


def test_calm_is_the_time_without_a_misdeed_on_the_route() -> None:
    windows = [
        Window(Route.STANDALONE, Misdeed.FILL, 4.0, 6.0),
        Window(Route.STANDALONE, Misdeed.STOP_CLIENT_PT, 2.0, 5.0),
        Window(Route.SHADOWSOCKS, Misdeed.FILL, 0.0, 20.0),
        Window(Route.STANDALONE, Misdeed.KILL_CLIENT_PT, 9.0),
    ]
    assert calm(Route.STANDALONE, 0.0, 20.0, windows) == 2.0 + 3.0
    assert calm(Route.STANDALONE, 3.0, 4.0, windows) == 0.0
    assert calm(Route.STANDALONE, 1.0, 3.0, windows) == 1.0
    assert calm(Route.STANDALONE, 6.5, 8.0, windows) == 1.5
    assert calm(Route.STANDALONE, 0.0, 3.0, []) == 3.0


def test_what_is_left_is_told_of() -> None:
    before = Holding({"pipe": 1, "socket": 4, "other": 6}, 10 * MOST_GROWTH, 1)
    kept = {**before.descriptors, "pipe": 1 + 2 * KEPT_PIPES}
    assert growth(before, dataclasses.replace(before, descriptors=kept)) == []
    after = Holding({"pipe": 18, "socket": 5, "other": 7}, 12 * MOST_GROWTH, 2)
    assert [told.split()[-3:] for told in growth(before, after)] == [
        ["and", "1", "before"],
        ["and", "4", "before"],
        ["and", "6", "before"],
        ["and", "40.0", "before"],
        ["and", "1", "before"],
    ]


each_seed = pytest.mark.parametrize("seed", SEEDS_OF_CI)


@each_seed
def test_20_seconds_of_chaos_do_no_harm(chaos_runs: ChaosRuns, seed: int) -> None:
    """Run `scripts/chaos`, always with the same seeds."""
    code, text = chaos_runs.result(seed)
    assert code == 0, text
    assert text.endswith("all was well\n"), text


@each_seed
def test_in_chaos_many_pts_are_killed(chaos_runs: ChaosRuns, seed: int) -> None:
    """A machine that is busy has fewer of them there again in time to be killed."""
    text = chaos_runs.result(seed).text
    killed = _figure(text, "PTs killed and started again")
    assert killed >= FEWEST_KILLS
    assert killed + _figure(text, "  left out, for it was down still") >= KILLS


@each_seed
def test_in_chaos_content_is_carried_on_each_route(
    chaos_runs: ChaosRuns, seed: int
) -> None:
    text = chaos_runs.result(seed).text
    assert _figure(text, "bytes checked") > 0
    for route in Route:
        assert _figure(text, f"connections tried, {route.value}") > 0


def _figure(text: str, name: str) -> int:
    (line,) = (line for line in text.splitlines() if line.startswith(name))
    return int(line.removeprefix(name))
