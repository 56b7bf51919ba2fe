"""Chance comes by name, and its bits are as good as drawn ones."""

import numpy as np
import pytest

from simenv.chance import key, mix, stream, uniform
from simenv.loop import luck_of

COUNT = 20_000


def test_one_name_one_stream():
    assert (
        stream(3, "films", 2).integers(1000, size=5).tolist() == stream(3, "films", 2).integers(1000, size=5).tolist()
    )


@pytest.mark.parametrize("other", [(4, "films", 2), (3, "film", 2), (3, "films", 3), (3, "films", "2"), (3, "films")])
def test_another_name_another_stream(other: tuple):
    drawn = stream(3, "films", 2).random(8)
    assert not np.isin(stream(*other).random(8), drawn).any()


def test_a_stream_does_not_hang_on_who_asked_first():
    first = stream(0, "one").random()
    stream(0, "two").random(100)
    assert stream(0, "one").random() == first


@pytest.mark.parametrize("number", [0, 1, 2, 2**40])
def test_mix_is_splitmix64(number: int):
    z = (number * 0x9E3779B97F4A7C15) % 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    assert int(mix(np.uint64(0), np.array([number]))[0]) == z ^ (z >> 31)


def test_every_bit_is_set_half_the_time():
    bits = mix(key(0, "balance"), np.arange(COUNT))
    share = ((bits[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)).mean(axis=0)
    assert np.abs(share - 0.5).max() < 5 * 0.5 / np.sqrt(COUNT)


def test_one_more_changes_half_of_the_bits():
    bits = mix(key(0, "avalanche"), np.arange(COUNT))
    changed = ((bits[1:] ^ bits[:-1])[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(changed.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(COUNT)


def test_other_keys_are_uncorrelated():
    one = uniform(mix(key(0, "one"), np.arange(COUNT)))
    other = uniform(mix(key(0, "other"), np.arange(COUNT)))
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(COUNT)


def test_neighbouring_seeds_and_users_are_uncorrelated():
    luck = uniform(np.stack([luck_of(seed, np.arange(COUNT)) for seed in range(4)]))
    with_others = np.corrcoef(np.vstack([luck, luck[:, ::-1], np.roll(luck, 1, axis=1)]))
    assert np.abs(with_others - np.eye(12)).max() < 5 / np.sqrt(COUNT)


def test_uniform_is_from_0_up_to_but_not_1():
    ends = uniform(np.array([0, 2**64 - 1], dtype=np.uint64))
    assert ends[0] == 0
    assert ends[1] == np.nextafter(1, 0)


def test_uniform_is_even():
    counts = np.histogram(uniform(mix(key(1, "even"), np.arange(COUNT))), bins=20, range=(0, 1))[0]
    expected = COUNT / 20
    assert ((counts - expected) ** 2 / expected).sum() < 50  # chi-squared, 19 degrees: chance of more is 1e-4


def test_luck_differs_from_user_to_user_and_seed_to_seed():
    luck = np.concatenate([luck_of(seed, np.arange(1000)) for seed in range(10)])
    assert len(np.unique(luck)) == 10_000


def test_luck_takes_a_seed_for_each_user():
    users = np.arange(5)
    each = luck_of(np.array([3, 3, 4, 4, 3]), users)
    assert each[[0, 1, 4]].tolist() == luck_of(3, users)[[0, 1, 4]].tolist()
    assert each[[2, 3]].tolist() == luck_of(4, users)[[2, 3]].tolist()
