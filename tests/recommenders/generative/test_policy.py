"""The generative policy keeps to the contract, whatever its items are named by."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

import torch

from simenv.checks import PolicyChecks
from simenv.context import Context
from simenv.errors import SimenvError
from simenv.pages import EMPTY, Grade
from simenv.recommenders.generative.histories import unlikelihood
from simenv.recommenders.generative.policy import Generative
from simenv.recommenders.generative.prompting import BEGIN, END, FIRST_GRADE, FIRST_ITEM, Prompting
from simenv.recommenders.generative.scoring import score_all


class TestGenerative(PolicyChecks):
    def make(self) -> Generative:
        return Generative(codes=8, levels=2, dimensions=16, heads=2, layers=1, epochs=2)


class TestGraded(PolicyChecks):
    def make(self) -> Generative:
        return Generative(codes=8, levels=2, dimensions=16, heads=2, layers=1, epochs=1, grades=True)


class TestAtomic(PolicyChecks):
    def make(self) -> Generative:
        return Generative(quantiser="atomic", dimensions=16, heads=2, layers=1, epochs=1, window=5)


def prompting(**how: bool) -> Prompting:
    rows = np.array([[0, 10], [1, 11], [2, EMPTY]])
    return Prompting(np.where(rows == EMPTY, EMPTY, rows + FIRST_ITEM), **how)


def test_a_history_is_written_item_by_item():
    tokens, lengths = prompting().written(np.array([[EMPTY, 0, 2], [EMPTY, EMPTY, EMPTY]]))
    first = FIRST_ITEM
    assert tokens.tolist() == [[BEGIN, first, first + 10, first + 2], [BEGIN, END, END, END]]
    assert lengths.tolist() == [4, 1]


def test_what_became_of_an_item_stands_after_it():
    tokens, lengths = prompting(grades=True).written(
        np.array([[2, 1]]), np.array([[Grade.DISLIKED, Grade.LIKED]], dtype=np.int8)
    )
    one, other = FIRST_GRADE + Grade.DISLIKED, FIRST_GRADE + Grade.LIKED
    assert tokens[0].tolist() == [BEGIN, FIRST_ITEM + 2, one, FIRST_ITEM + 1, FIRST_ITEM + 11, other]
    assert lengths.tolist() == [6]


def test_a_planted_sequence_is_written_on():
    """Each film is followed by the next in the catalogue."""
    checks = TestGenerative()
    world = checks.world()
    dataset = world.dataset
    count = 40
    users = np.repeat(np.arange(len(dataset.users)), 6)
    items = (np.repeat(np.arange(len(dataset.users)) * 7, 6) + np.tile(np.arange(6), len(dataset.users))) % count
    from simenv.interactions import Interactions

    log, _ = Interactions.sort(
        users, items, np.full(len(users), np.nan), np.arange(len(users), dtype=float), order=np.arange(len(users))
    )
    policy = Generative(quantiser="atomic", dimensions=32, layers=1, epochs=40, learning_rate=0.01, dropout=0.0)
    train = dataset.only(log)
    policy.fit(train)
    some = np.arange(20)
    none = np.empty((20, 0), dtype=np.int32)
    luck = np.arange(20, dtype=np.uint64)
    context = Context(train, some, np.zeros(20, np.int32), none, none.astype(np.int8), luck)
    assert (policy.recommend(context, 1)[:, 0] == (some * 7 + 6) % count).mean() >= 0.9


@pytest.mark.parametrize("among", ["level", "vocabulary"])
def test_items_are_learnt_as_they_are_told(among):
    """The loss of a history is that of its items, scored as pages are written."""
    dataset = TestGenerative().world().dataset
    policy = Generative(codes=8, dimensions=16, heads=2, layers=1, epochs=1, among=among)
    policy.fit(dataset)
    items = dataset.interactions.items[None, :4].astype(np.int64)
    tokens, lengths = map(torch.from_numpy, policy.prompting.written(items))
    loss = unlikelihood(policy.model, tokens, policy.prompting.names_items(tokens), policy.spans)
    told = 0.0
    for place, item in enumerate(items[0]):
        prompt, _ = policy.prompting.written(items[:, :place])
        told += score_all(policy.model, torch.from_numpy(prompt), policy.trie, normalise=policy.normalise)[0, item]
    count = 4 * policy.trie.depth
    assert int(lengths) == 1 + count
    assert float(loss.detach()) == pytest.approx(-float(told) / count, rel=1e-5)
    assert policy.trie.depth == 2


@pytest.mark.parametrize(
    ("options", "wrong"),
    [({"window": 0}, "window"), ({"features": "smell"}, "features"), ({"dimensions": 30, "heads": 4}, "even multiple")],
)
def test_bad_options_are_told(options, wrong):
    with pytest.raises(SimenvError, match=wrong):
        Generative(**options)
