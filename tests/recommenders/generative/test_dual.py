"""Users and items named together: users come near what they chose, and each side has tokens of its own."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from simenv.dataset import Dataset, Users
from simenv.errors import SimenvError
from simenv.films import films_world
from simenv.interactions import Interactions
from simenv.recommenders.generative.dual import DualTokenizer, any_cousin, choice_loss, known_pairs
from simenv.recommenders.generative.features import Features
from simenv.recommenders.generative.tokenizer import UserTokenizer
from simenv.recommenders.recommender import seen_matrix
from simenv.splits import leave_one_out

FILMS = films_world(users=60, items=80).dataset
SMALL: dict[str, Any] = {"levels": 2, "codes": 16, "batch_size": 64, "align_steps": 40, "code_steps": 60}
SMALL |= {"dimensions": 16, "latent": 8, "text_dimensions": 8, "factor_dimensions": 8}


def tribes() -> Dataset:
    """Forty users of four kinds, each of whom met six of the ten items of that kind."""
    kinds = np.arange(40) % 4
    rng = np.random.default_rng(0)
    chosen = [10 * kind + rng.permutation(10)[:6] for kind in kinds]
    rows, _ = Interactions.sort(np.repeat(np.arange(40), 6), np.concatenate(chosen))
    catalog = films_world(users=40, items=40).dataset.catalog
    return Dataset("tribes", catalog, Users(np.arange(40)), rows)


def test_users_come_near_items_that_their_kind_chooses():
    """Also those never met, which no loss pulls at directly."""
    dataset = tribes()
    found = DualTokenizer(**SMALL | {"features": "factors"}).align(dataset)
    scores = found.users @ found.items.T
    mine = np.arange(40)[:, None] % 4 == np.arange(40) // 10
    new = seen_matrix(dataset).toarray() == 0
    assert scores[mine & new].mean() > scores[~mine].mean() + 0.5 * scores.std()
    codes = found.item_codes.codes
    assert len(np.unique(codes[:, 0])) >= 4  # nothing collapsed


def test_users_come_nearer_to_held_out_items_than_chance():
    split = leave_one_out(films_world().dataset)
    found = DualTokenizer(**SMALL | {"align_steps": 150, "batch_size": 256}).align(split.train)
    scores = found.users[split.test.users] @ found.items.T
    own = scores[np.arange(len(scores)), split.test.items]
    assert (scores < own[:, None]).mean() > 0.65


def test_both_sides_have_tokens_of_their_own():
    tokenizer = DualTokenizer(**SMALL)
    tokenizer.fit(FILMS)
    assert tokenizer.report().collisions_after == 0
    assert tokenizer.codes.shape == (80, 2)
    assert tokenizer.users.codes.shape == (60, 2)
    assert tokenizer.users.names()[:2] == ["<u_a_0>", "<u_a_1>"]
    assert not set(tokenizer.names()) & set(tokenizer.users.names())


def test_one_seed_gives_the_same_codes_and_they_can_be_kept():
    one, again, kept = DualTokenizer(**SMALL), DualTokenizer(**SMALL), DualTokenizer()
    one.fit(FILMS)
    before = torch.random.get_rng_state()
    again.fit(FILMS)
    assert torch.equal(before, torch.random.get_rng_state())  # nobody else's chance is touched
    np.testing.assert_array_equal(one.codes, again.codes)
    kept.restore(one.state())
    np.testing.assert_array_equal(kept.rows(), one.rows())
    np.testing.assert_array_equal(kept.users.rows(5), one.users.rows(5))
    kept.check(FILMS)
    kept.users.check(FILMS)


def test_other_users_are_refused():
    tokenizer = UserTokenizer(levels=2, codes=8)
    tokenizer.fit(FILMS)
    with pytest.raises(SimenvError, match="fitted to 60 users of 'films'"):
        tokenizer.check(films_world(users=50, items=80).dataset)


def test_users_of_one_kind_begin_alike():
    tokenizer = UserTokenizer(features="factors", levels=1, codes=4, factor_dimensions=8)
    tokenizer.fit(tribes())
    first = tokenizer.codes[:, 0]
    assert all(len(set(first[np.arange(40) % 4 == kind])) == 1 for kind in range(4))
    assert len(set(first)) == 4


def test_a_users_vector_does_not_change_with_what_others_are_called():
    features = Features("both", 8, 8).users(FILMS)
    assert features.shape == (60, 16)
    assert features.mean(axis=0) == pytest.approx(np.zeros(16), abs=1e-5)


def test_an_item_that_the_user_met_is_no_example_of_what_he_would_not_choose():
    """Worked out by hand: of three items, the first user met the second too, so only the third is held against him."""
    users, items = torch.eye(3) * 3**0.5, torch.eye(3) * 3**0.5
    nothing = torch.eye(3, dtype=torch.bool)
    both = nothing.clone()
    both[0, 1] = True
    rest = np.log1p(2 * np.exp(-10.0))
    assert float(choice_loss(users, items, nothing)) == pytest.approx(rest, rel=1e-3)
    assert float(choice_loss(users, items, both)) == pytest.approx((2 * rest + np.log1p(np.exp(-10.0))) / 3, rel=1e-3)


def test_what_was_met_is_known_for_each_pair():
    seen = seen_matrix(tribes())
    users, items = np.array([0, 1, 0]), np.array([3, 12, 3])
    np.testing.assert_array_equal(known_pairs(seen, users, items).numpy(), seen.toarray()[users][:, items] > 0)


def test_a_cousin_is_another_of_the_cluster():
    kin = np.array([0, 1, 0, 2, 1, 0])
    cousins = any_cousin(kin, np.random.default_rng(0))
    np.testing.assert_array_equal(kin[cousins], kin)
    assert (cousins == np.arange(6)).tolist() == [False, False, False, True, False, False]


def test_nobody_who_met_anything_is_told():
    with pytest.raises(SimenvError, match="nobody met anything"):
        DualTokenizer().fit(FILMS.only(FILMS.interactions[np.zeros(0, dtype=np.int64)]))


@pytest.mark.parametrize("option", ["levels", "codes", "batch_size", "code_steps"])
def test_a_bad_option_is_told(option: str):
    with pytest.raises(SimenvError, match=f"{option} is 0"):
        DualTokenizer(**{option: 0})
