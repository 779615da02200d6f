"""Whatever bytes go in, only the exceptions of pt_bridge.errors come out.

Valid inputs are broken at random, some hundreds for each parser that ``scripts/fuzz``
knows: enough to see that each refuses with the errors that it names. What needs more
inputs to be found is left to ``scripts/fuzz``, which CI runs, too: it has atheris grow
inputs towards branches that none has reached. The randomness is seeded, so that a
failure, which names its seed and its input, happens again; another seed is one more
number in `SEEDS`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pt_bridge.protocol
from fuzz.targets import PARSERS, PORTS, TARGETS, TELLING, without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz.target import Target

SEEDS = (1, 2, 3)
AT_LEAST = 15_000
# Modules that read nothing.
WITHOUT_READING = {"__init__", "handshake"}
INPUTS = 250  # for each parser and seed


def mutate(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Break one of the inputs in one to four places."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.randint(1, 4)):
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.randint(0, 4))
        match rng.randrange(6):
            case 0:  # other bytes that mean something
                data[start:end] = rng.choices(TELLING, k=rng.randint(1, 3))
            case 1:  # any other bytes
                data[start:end] = rng.randbytes(end - start)
            case 2:  # a part is missing
                del data[start:end]
            case 3:  # a part stands there twice
                data[start:start] = data[start:end] * rng.randint(1, 3)
            case 4:  # the end is missing
                del data[start:]
            case _:  # another input's end
                other = rng.choice(corpus)
                data[start:] = other[rng.randint(0, len(other)) :]
    return bytes(data)


each_parser = pytest.mark.parametrize("target", PARSERS, ids=lambda each: each.name)


@each_parser
def test_the_inputs_that_are_broken_are_right_before(target: Target) -> None:
    """The check would be worth little if all of them were refused at once."""
    with target.opened() as read:
        for data in target.corpus:
            read(data)


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", SEEDS)
@each_parser
def test_only_our_own_errors_come_out(target: Target, seed: int) -> None:
    """PO-11, SE-10: the contract of the pure modules."""
    rng = random.Random(f"{target.name}, seed {seed}")  # noqa: S311
    taken = refused = 0
    with target.opened() as read:
        while taken + refused < INPUTS:
            data = mutate(rng, target.corpus)
            try:
                read(data)
            except target.may_raise:
                refused += 1
            except Exception as error:
                raise AssertionError(
                    f"{target.name}, seed {seed}, input {taken + refused}: {data!r}"
                ) from error
            else:
                taken += 1
    assert taken > INPUTS // 50
    assert not target.may_raise or refused > INPUTS // 50


def test_there_are_enough_of_them() -> None:
    """A check that tries nothing would pass as well."""
    assert len(SEEDS) * INPUTS * len(PARSERS) >= AT_LEAST
    assert all(target.corpus for target in TARGETS)


def test_every_module_of_the_protocols_is_fuzzed() -> None:
    """A new parser is a line in `fuzz.targets`."""
    folder = Path(pt_bridge.protocol.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - WITHOUT_READING
    modules.add("socks_server")
    assert without(modules, PARSERS) == set()
    assert without({*modules, "config", "newcomer"}, PARSERS) == {"newcomer"}
    assert without({"ext_orport"}, PORTS) == set()
