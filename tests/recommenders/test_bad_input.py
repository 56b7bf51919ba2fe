"""What a policy says to a question that it cannot answer, and to options that it cannot take."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from simenv.context import Context
from simenv.errors import SimenvError
from simenv.films import films_world
from simenv.loop import luck_of
from simenv.pages import EMPTY
from simenv.recommenders.bpr import BPR
from simenv.recommenders.content import BM25, TfIdf
from simenv.recommenders.ease import Ease
from simenv.recommenders.from_implicit import FromImplicit
from simenv.recommenders.ials import IALS
from simenv.recommenders.item_knn import ItemKNN
from simenv.recommenders.lightgcn import LightGCN
from simenv.recommenders.multvae import MultVAE
from simenv.recommenders.pop import Pop
from simenv.recommenders.random import Random
from simenv.recommenders.recommender import Recommender
from simenv.recommenders.sasrec import SASRec
from simenv.recommenders.unisrec import UniSRec
from simenv.recommenders.vqrec import VQRec
from simenv.store import options_of

READS: dict[str, Any] = {"dimensions": 8, "window": 12, "epochs": 1, "negatives": 8, "batch_size": 256}
MAKES: dict[str, Callable[[], Recommender]] = {
    "random": Random,
    "pop": Pop,
    "item-knn": ItemKNN,
    "ease": Ease,
    "bpr": lambda: BPR(dimensions=4, epochs=1),
    "ials": lambda: IALS(dimensions=4, epochs=1),
    "lightgcn": lambda: LightGCN(dimensions=4, epochs=1, negatives=8),
    "multvae": lambda: MultVAE(hidden=8, latent=4, epochs=1),
    "sasrec": lambda: SASRec(**READS),
    "unisrec": lambda: UniSRec(**READS, text_dimensions=8, experts=2),
    "vqrec": lambda: VQRec(**READS, text_dimensions=8, parts=2, codes=4),
    "bm25": BM25,
    "tfidf": TfIdf,
    "implicit": lambda: FromImplicit(model="CosineRecommender"),
}
WORLD = films_world(users=20, items=40)
each = pytest.mark.parametrize("make", MAKES.values(), ids=MAKES.keys())


def asked(users: list[int], shown: list[list[int]] | None = None, items: int = 40) -> Context:
    train = WORLD.dataset if items == 40 else films_world(users=20, items=items).dataset
    who = np.array(users, dtype=np.int32)
    before = np.array(shown, dtype=np.int32) if shown else np.empty((len(who), 0), np.int32)
    return Context(train, who, np.zeros(len(who), np.int32), before, np.zeros(before.shape, np.int8), luck_of(0, who))


@pytest.fixture(scope="module", params=MAKES.values(), ids=MAKES.keys())
def fitted(request: pytest.FixtureRequest) -> Recommender:
    """Each policy, fitted to the small world; not to be changed."""
    policy: Recommender = request.param()
    policy.fit(WORLD.dataset)
    return policy


@each
def test_an_unfitted_policy_says_so(make: Callable[[], Recommender]):
    with pytest.raises(SimenvError, match="has not been fitted: call fit"):
        make().recommend(asked([0]), 5)


@pytest.mark.parametrize("user", [-1, 20])
def test_an_unknown_user_is_named(fitted: Recommender, user: int):
    with pytest.raises(SimenvError, match=f"no user {user}; users run from 0 to 19"):
        fitted.recommend(asked([3, user]), 5)


@pytest.mark.parametrize("item", [-2, 40])
def test_an_unknown_item_is_named(fitted: Recommender, item: int):
    with pytest.raises(SimenvError, match=f"no item {item}; items run from 0 to 39"):
        fitted.recommend(asked([3], [[1, item]]), 5)


@pytest.mark.parametrize("k", [0, -1, 2.5])
def test_a_page_of_no_places_is_refused(fitted: Recommender, k: Any):
    with pytest.raises(SimenvError, match=f"k is {k}; it must be a whole number, at least 1"):
        fitted.recommend(asked([3]), k)


def test_another_catalogue_is_refused(fitted: Recommender):
    with pytest.raises(SimenvError, match="was fitted to 40 items and is asked about 41; fit it again"):
        fitted.recommend(asked([3], items=41), 5)


def test_nobody_gets_no_page(fitted: Recommender):
    assert fitted.recommend(asked([]), 5).shape == (0, 5)


def test_more_places_than_items_leave_the_last_empty(fitted: Recommender):
    page = fitted.recommend(asked([3]), 60)

    log = WORLD.dataset.interactions
    met = len(set(log.items[log.users == 3].tolist()))
    assert (page[0, : 40 - met] != EMPTY).all()
    assert (page[0, 40 - met :] == EMPTY).all()


WHOLE = {"dimensions", "layers", "heads", "window", "negatives", "hidden", "latent", "batch_size", "epochs"}
WHOLE |= {"patience", "check_every", "neighbours", "experts", "parts", "codes", "text_dimensions"}
NUMBERS = {
    "learning_rate",
    "regularisation",
    "dropout",
    "pull",
    "unseen",
    "scaling",
    "temperature",
    "lengths",
    "calibration",
}
NUMBERS |= {"shrink", "modesty", "k1", "b"}
OTHERS = {"seed", "loss", "precision", "model", "encoder", "pretrained", "identities", "options", "truth"}
OWN = [Ease, ItemKNN, BPR, IALS, LightGCN, MultVAE, SASRec, UniSRec, VQRec, BM25, TfIdf]


@pytest.mark.parametrize("kind", OWN)
def test_every_option_is_told_where_it_is_no_number(kind: type[Recommender]):
    assert set(options_of(kind)) <= WHOLE | NUMBERS | OTHERS, "an option that this test does not know"
    for name in options_of(kind):
        wrong: list[Any] = []
        if name in WHOLE | NUMBERS:
            wrong = ["many", float("nan"), float("inf"), True]
        if name in WHOLE:
            wrong += [-1, 2.5]
        for value in wrong:
            with pytest.raises(SimenvError, match=f"{name} is {value!r}; it must be a"):
                kind(**{name: value})


@pytest.mark.parametrize(
    ("kind", "option", "told"),
    [
        (SASRec, {"dropout": 1.0}, "dropout is 1.0; it must be a number, at least 0 and at most 0.99"),
        (SASRec, {"loss": "hinge"}, "no loss 'hinge'; there are softmax, gbce"),
        (SASRec, {"dimensions": 10, "heads": 4}, "the first must be a multiple of the second"),
        (LightGCN, {"temperature": 0}, "temperature is 0; it must be a number, above 0"),
        (LightGCN, {"loss": "hinge"}, "no loss 'hinge'; there are softmax, bpr"),
        (MultVAE, {"precision": "half"}, "no precision 'half'; there are float32, bfloat16"),
        (Ease, {"regularisation": 0}, "regularisation is 0; it must be a number, above 0"),
        (UniSRec, {"encoder": "dreams"}, "no encoder 'dreams'; there are tfidf, sentences"),
        (UniSRec, {"epochs": 0}, "epochs is 0 and there is nothing pretrained"),
        (VQRec, {"pretrained": "kept"}, "with encoder: tfidf a text means something else in every catalogue"),
    ],
)
def test_an_option_out_of_bounds_is_told(kind: type[Recommender], option: dict[str, Any], told: str):
    with pytest.raises(SimenvError, match=told):
        kind(**option)
