"""Every target over its seeds, cuts and flips of them, and over what the fuzzer once found."""

import random
from pathlib import Path

import pytest

from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS

FOUND = Path(__file__).parent / "found"


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_target_asserts_holds_for_its_seeds_and_their_neighbours(target):
    chance = random.Random(target)
    tried = seeds.of(target)
    assert tried
    for seed in tried:
        TARGETS[target].call(seed)
        for _ in range(20):
            near = bytearray(seed[: chance.randrange(len(seed) + 1)] if chance.random() < 0.3 else seed)
            for _ in range(chance.randrange(4) if near else 0):
                near[chance.randrange(len(near))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
            TARGETS[target].call(bytes(near))


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda p: f"{p.parent.name}-{p.name}")
def test_what_the_fuzzer_found_stays_found(path):
    TARGETS[path.parent.name].call(path.read_bytes())
