"""Items as tokens: likeness shows in the first codes, no two items share all, and another catalogue is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from simenv.arrays import FloatArray, IntArray
from simenv.catalog import Catalog
from simenv.dataset import Dataset, Users
from simenv.errors import SimenvError
from simenv.films import films_world
from simenv.interactions import Interactions
from simenv.pages import EMPTY
from simenv.readers import read
from simenv.recommenders.generative.tokenizer import QUANTISERS, ItemTokenizer
from simenv.splits import leave_one_out
from simenv.store import read_state, write_state

BEAUTY = Path(__file__).parents[3] / ".." / "shared" / "data" / "amazon-beauty"
SMALL: dict[str, Any] = {"levels": 2, "codes": 6, "text_dimensions": 8, "factor_dimensions": 8, "epochs": 10}
COLUMNS = ("ids", "titles", "categories", "descriptions", "years")
KINDS, EACH = 6, 10
KIND = np.repeat(np.arange(KINDS), EACH)  # of each item


def planted() -> Dataset:
    """Sixty items of six kinds: each kind has words and users of its own."""
    words = ["lamp", "boat", "drum", "moss", "wolf", "snow"]
    titles = np.array([f"{words[kind]} {words[kind]}s item{item % 5}" for item, kind in enumerate(KIND)], dtype=object)
    histories = [np.flatnonzero(user % KINDS == KIND) for user in range(30)]
    rows, _ = Interactions.sort(np.repeat(np.arange(30), EACH), np.concatenate(histories))
    nothing = np.full(len(KIND), None, dtype=object)
    catalog = Catalog(np.arange(len(KIND)), titles, ((),) * len(KIND), nothing, np.full(len(KIND), np.nan))
    return Dataset("planted", catalog, Users(np.arange(30)), rows)


PLANTED = planted()
FILMS = films_world(users=40, items=80).dataset


def fitted(dataset: Dataset = FILMS, **options: Any) -> ItemTokenizer:
    tokenizer = ItemTokenizer(**SMALL | options)
    tokenizer.fit(dataset)
    return tokenizer


def are_distinct(codes: IntArray) -> bool:
    return len(np.unique(codes, axis=0)) == len(codes)


@pytest.mark.parametrize("quantiser", ["residual", "balanced", "rqvae"])
@pytest.mark.parametrize("features", ["both", "text", "factors"])
def test_the_first_code_is_the_kind_of_item(features: str, quantiser: str):
    first = fitted(PLANTED, features=features, quantiser=quantiser).codes[:, 0]
    assert {len(set(first[kind == KIND])) for kind in range(KINDS)} == {1}
    assert len(set(first)) == KINDS


@pytest.mark.parametrize("quantiser", QUANTISERS)
@pytest.mark.parametrize("disambiguation", ["digit", "sinkhorn", "free"])
def test_no_two_items_share_all_codes(quantiser: str, disambiguation: str):
    tokenizer = fitted(quantiser=quantiser, disambiguation=disambiguation, levels=3)
    assert are_distinct(tokenizer.codes)
    assert tokenizer.report().collisions_after == 0
    assert ((tokenizer.codes >= 0) & (tokenizer.codes < tokenizer.sizes)).all()


def test_items_may_be_left_alike():
    report = fitted(disambiguation="none").report()
    assert report.collisions_after == report.collisions_before > 0


def test_a_digit_is_added_only_where_items_are_alike():
    alike, apart = fitted(levels=1, codes=20), fitted(levels=1, codes=80, features="factors", quantiser="random")
    assert alike.codes.shape[1] == 2
    assert apart.codes.shape[1] == 1
    assert alike.sizes[1] == np.bincount(alike.codes[:, 0]).max()


def test_only_items_alike_move_to_free_codes():
    raw = fitted(levels=3, disambiguation="none").codes
    free = fitted(levels=3, disambiguation="free").codes
    _, group, counts = np.unique(raw, axis=0, return_inverse=True, return_counts=True)
    alone = counts[group.reshape(-1)] == 1
    assert (raw == free)[alone].all()
    assert (raw != free).any(axis=1).sum() == (counts - 1).sum()


def test_each_level_has_tokens_of_its_own():
    tokenizer = fitted()
    names, rows = tokenizer.names(), tokenizer.rows()
    assert len(set(names)) == len(names) == sum(tokenizer.sizes)
    assert not set(rows[:, 0]) & set(rows[:, 1])
    item = [names[token] for token in rows[7]]
    assert item == [f"<{letter}_{code}>" for letter, code in zip("abc", tokenizer.codes[7], strict=True)]
    np.testing.assert_array_equal(tokenizer.rows(first=100), rows + 100)


def test_atomic_ids_are_one_token_each():
    tokenizer = fitted(quantiser="atomic")
    np.testing.assert_array_equal(tokenizer.codes[:, 0], np.arange(80))
    assert tokenizer.sizes == (80,)


def test_codes_are_used_evenly_where_items_are_spread_evenly():
    first, second = fitted(PLANTED, codes=KINDS, disambiguation="none").report().levels
    assert first.entropy == pytest.approx(np.log2(KINDS))
    assert second.entropy > 2
    assert first.share == second.share == 1
    assert first.prefixes == KINDS < second.prefixes


def test_no_code_of_a_balanced_level_is_crowded():
    codes = fitted(quantiser="balanced", codes=7, disambiguation="none").codes
    assert max(np.bincount(level).max() for level in codes.T) <= 12  # of 80 in 7


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_one_seed_one_table_of_codes(quantiser: str):
    one, again, other = (fitted(quantiser=quantiser, levels=3, seed=seed).rows()[:, :3] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any() or quantiser == "atomic"


def test_threads_change_no_code():
    world = films_world(users=200, items=400).dataset
    with threadpool_limits(1):
        one = fitted(world, codes=32)
    with threadpool_limits(2):
        two = fitted(world, codes=32)
    np.testing.assert_array_equal(one.codes, two.codes)


def test_held_out_rows_change_no_code():
    split = leave_one_out(FILMS)
    whole, part = fitted(FILMS, features="factors"), fitted(split.train, features="factors")
    assert (whole.codes != part.codes).any()
    part.check(FILMS)  # the same items all the same


def test_where_nobody_met_anything_texts_alone_tell():
    silent = PLANTED.only(PLANTED.interactions[np.zeros(0, dtype=np.int64)])
    np.testing.assert_array_equal(fitted(silent).codes, fitted(PLANTED, features="text").codes)


def test_where_nothing_is_written_factors_alone_tell():
    nothing = np.full(len(KIND), None, dtype=object)
    mute = replace(PLANTED, catalog=replace(PLANTED.catalog, titles=nothing))
    np.testing.assert_array_equal(fitted(mute).codes, fitted(PLANTED, features="factors").codes)
    with pytest.raises(SimenvError, match="none of its 60 items has a title"):
        fitted(mute, features="text")
    with pytest.raises(SimenvError, match="nothing to tell anything apart by"):
        fitted(mute.only(mute.interactions[np.zeros(0, dtype=np.int64)]))


def test_an_item_that_nobody_met_is_named_like_those_it_reads_like():
    newcomers = np.arange(KINDS) * EACH
    known = PLANTED.interactions
    tokenizer = fitted(PLANTED.only(known[~np.isin(known.items, newcomers)]))
    np.testing.assert_array_equal(tokenizer.codes[newcomers, 0], tokenizer.codes[newcomers + 1, 0])


@pytest.mark.parametrize("features", ["sentences", "sentences+factors"])
def test_sentences_may_tell_what_items_are_like(features: str, monkeypatch: pytest.MonkeyPatch):
    class Scripted:
        """Knows the kinds by heart."""

        def __init__(self, model: str) -> None:
            assert model == "mine"

        def encode(self, catalog: Catalog) -> FloatArray:
            return np.eye(KINDS)[KIND[: len(catalog)]]

    monkeypatch.setattr("simenv.recommenders.generative.features.SentenceEncoder", Scripted)
    first = fitted(PLANTED, features=features, model="mine").codes[:, 0]
    assert all(len(set(first[kind == KIND])) == 1 for kind in range(KINDS))


def test_one_item_is_named_too():
    alone = replace(PLANTED.catalog, **{name: getattr(PLANTED.catalog, name)[:1] for name in COLUMNS})
    rows, _ = Interactions.sort(np.array([0]), np.array([0]))
    tokenizer = fitted(Dataset("alone", alone, Users(np.arange(1)), rows), quantiser="residual")
    assert tokenizer.codes.tolist() == [[0, 0]]


def test_what_was_kept_names_items_alike(tmp_path: Path):
    tokenizer, kept = fitted(), ItemTokenizer()
    write_state(tmp_path / "tokens", {}, tokenizer.state())
    kept.restore(read_state(tmp_path / "tokens")[1])
    np.testing.assert_array_equal(kept.rows(), tokenizer.rows())
    assert kept.names() == tokenizer.names()
    assert kept.report() == tokenizer.report()
    kept.check(FILMS)


def test_another_catalogue_is_refused():
    tokenizer = fitted()
    with pytest.raises(SimenvError, match=r"fitted to 80 items of 'films' \(.{8}\).* about 60 items of 'planted'"):
        tokenizer.check(PLANTED)
    renamed = FILMS.catalog.titles.copy()
    renamed[3] = "Another Film"
    with pytest.raises(SimenvError, match="is asked about 80 items of 'films'"):
        tokenizer.check(replace(FILMS, catalog=replace(FILMS.catalog, titles=renamed)))


def test_codes_that_are_not_whole_are_refused():
    arrays = fitted().state()
    with pytest.raises(ValueError, match="do not go with levels"):
        ItemTokenizer().restore(arrays | {"sizes": np.array([2, 2])})


@pytest.mark.parametrize("ask", [ItemTokenizer.names, ItemTokenizer.rows, ItemTokenizer.report, ItemTokenizer.state])
def test_before_it_is_fitted_it_says_so(ask: Callable[[ItemTokenizer], object]):
    with pytest.raises(SimenvError, match="ItemTokenizer has not been fitted"):
        ask(ItemTokenizer())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"features": "smell"}, "no features 'smell'; there are both, text"),
        ({"quantiser": "rq"}, "no quantiser 'rq'; there are residual"),
        ({"disambiguation": "hope"}, "no disambiguation 'hope'; there are digit"),
        ({"levels": 0}, "levels is 0"),
        ({"codes": 2.5}, "codes is 2.5"),
        ({"seed": -1}, "seed is -1"),
        ({"text_share": 1.5}, "text_share is 1.5"),
    ],
)
def test_a_bad_option_is_told(options: dict[str, Any], told: str):
    with pytest.raises(SimenvError, match=told):
        ItemTokenizer(**options)


@pytest.mark.parametrize(
    "options", [{"disambiguation": "free"}, {"disambiguation": "sinkhorn"}, {"quantiser": "random"}]
)
def test_too_few_codes_are_told(options: dict[str, Any]):
    with pytest.raises(SimenvError, match="there are 80"):
        fitted(levels=2, codes=5, **options)


def test_real_items_are_named_in_seconds_and_no_level_collapses():
    if not BEAUTY.is_dir():
        pytest.skip("no amazon-beauty beside the repository")
    tokenizer = ItemTokenizer(levels=3, codes=64)
    tokenizer.fit(leave_one_out(read(BEAUTY)).train)
    report = tokenizer.report()
    assert report.collisions_after == 0
    assert all(level.entropy > 5 for level in report.levels[:3])
    assert (tokenizer.codes != EMPTY).all()
