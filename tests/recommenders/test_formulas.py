"""What is worked out by hand, compiled, for speed, held against the formula written plainly."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from simenv.arrays import FloatArray
from simenv.dataset import Dataset
from simenv.films import films_world
from simenv.recommenders.ials import IALS
from simenv.recommenders.lightgcn import LightGCN
from simenv.recommenders.moves import everybody
from simenv.recommenders.recommender import seen_matrix
from simenv.recommenders.sasrec import SASRec


@pytest.fixture(scope="module")
def films() -> Dataset:
    return films_world(users=40, items=60).dataset


def smoothed(data: Dataset, users: FloatArray, items: FloatArray, layers: int) -> tuple[FloatArray, FloatArray]:
    """Return the mean over the layers, by the whole graph's matrix."""
    met = seen_matrix(data).toarray().astype(np.float64)
    graph = np.block([[np.zeros((len(users), len(users))), met], [met.T, np.zeros((len(items), len(items)))]])
    roots = np.sqrt(np.maximum(graph.sum(axis=1), 1))
    graph /= roots[:, None] * roots
    now = np.concatenate([users, items]).astype(np.float64)
    total = now
    for _ in range(layers):
        now = graph @ now
        total = total + now
    return tuple(np.split(total / (layers + 1), [len(users)]))  # type: ignore[return-value]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_lightgcn_smooths_as_the_graphs_matrix_does(films: Dataset, layers: int):
    policy = LightGCN(dimensions=4)
    policy.begin(films)

    ours = policy._graph.smooth((policy._users, policy._items), layers)

    for one, other in zip(ours, smoothed(films, policy._users, policy._items, layers), strict=True):
        assert np.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
@pytest.mark.parametrize("layers", [1, 3])
def test_lightgcns_gradient_is_the_slope_of_its_loss(films: Dataset, loss: str, layers: int):
    policy = LightGCN(dimensions=4, layers=layers, loss=loss, negatives=16)
    policy.begin(films)
    graph = policy._graph
    rows = np.arange(0, len(graph.owners), 9)
    learn = policy._softmax if loss == "softmax" else policy._pairs

    def at(users: FloatArray, items: FloatArray) -> tuple[float, tuple[FloatArray, FloatArray]]:
        toward = np.zeros_like(users), np.zeros_like(items)
        sides = graph.smooth((users, items), layers)
        found, _ = learn(sides, toward, graph.owners[rows], graph.chosen[rows], np.random.default_rng(5))
        return found, graph.smooth(toward, layers)

    _, gradient = at(policy._users, policy._items)
    rng = np.random.default_rng(0)
    for _ in range(4):
        ways = [rng.normal(size=side.shape).astype(np.float32) for side in (policy._users, policy._items)]
        step = np.float32(2e-4)
        above, below = (
            at(policy._users + sign * step * ways[0], policy._items + sign * step * ways[1])[0] for sign in (1, -1)
        )
        said = sum(float((slope * way).sum()) for slope, way in zip(gradient, ways, strict=True))
        assert said == pytest.approx((above - below) / (2 * step), rel=0.01, abs=0.02)


def test_lightgcn_holds_nothing_that_a_user_chose_against_what_he_chose(films: Dataset):
    policy = LightGCN(dimensions=4, negatives=100)  # of 60 items: some come twice
    policy.begin(films)
    graph = policy._graph
    smooth = graph.smooth((policy._users, policy._items), 2)
    toward = np.zeros_like(policy._users), np.zeros_like(policy._items)

    told, drawn = policy._softmax(smooth, toward, graph.owners, graph.chosen, np.random.default_rng(3))

    met = seen_matrix(films).toarray() > 0
    mine, theirs = (side.astype(np.float64) for side in smooth)
    mine /= np.linalg.norm(mine, axis=1, keepdims=True)
    theirs *= np.linalg.norm(theirs, axis=1, keepdims=True) ** (policy.lengths - 1)
    weights = np.exp(mine @ theirs.T / policy.temperature)
    losses = []
    for user, item in zip(graph.owners, graph.chosen, strict=True):
        rest = sum(weights[user, other] for other in drawn if not met[user, other])
        losses.append(-np.log(weights[user, item] / (weights[user, item] + rest)))
    assert told == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_a_lightgcn_users_vector_is_his_smoothed_one(films: Dataset, loss: str):
    policy = LightGCN(dimensions=4, loss=loss, epochs=2, negatives=16)
    policy.fit(films)

    users, _ = smoothed(films, policy._users, policy._items, 3)

    assert np.allclose(policy.vectors(everybody(films)), users, atol=1e-5)


def test_ials_solves_the_published_equation(films: Dataset):
    """Rendle 2021: what was met has weight 1 beside `unseen` for everything, and the ridge grows with both."""
    policy = IALS(dimensions=5, unseen=0.3, regularisation=0.02, scaling=0.7, epochs=2)
    policy.fit(films)
    met = seen_matrix(films).toarray()

    found = policy.vectors(everybody(films))

    table = policy.table.astype(np.float64)
    for user in range(len(found)):
        mine = table[met[user] > 0]
        ridge = 0.02 * (len(mine) + 0.3 * len(table)) ** 0.7
        wanted = np.linalg.solve(mine.T @ mine + 0.3 * table.T @ table + ridge * np.eye(5), mine.sum(axis=0))
        assert np.allclose(found[user], wanted, rtol=2e-3, atol=2e-4)


def test_an_epoch_of_ials_lowers_its_own_loss(films: Dataset):
    policy = IALS(dimensions=5, unseen=0.3, regularisation=0.02, epochs=6)
    policy.begin(films)
    met = seen_matrix(films).toarray()

    def loss() -> float:
        scores = policy._users.astype(np.float64) @ policy._items.T
        ridges = [
            0.02 * (met.sum(axis=1 - side) + 0.3 * met.shape[1 - side]) @ (vectors.astype(np.float64) ** 2).sum(axis=1)
            for side, vectors in enumerate((policy._users, policy._items))
        ]
        return float((met * (1 - scores) ** 2).sum() + 0.3 * (scores**2).sum() + sum(ridges))

    policy.epoch(0)
    losses = [loss()]
    for number in range(1, 6):
        policy.epoch(number)
        losses.append(loss())

    assert losses == sorted(losses, reverse=True)


def sasrec_loss(
    make: Callable[[], SASRec], films: Dataset, drawn: torch.Tensor | None
) -> tuple[float, FloatArray, FloatArray]:
    """Return the loss of five places, the chances that each gives to its item, and to the others [5, N]."""
    policy = make()
    policy.begin(films)
    torch.manual_seed(0)
    found, wanted = torch.randn(5, 8), torch.tensor([3, 9, 9, 0, 41])
    with torch.no_grad():
        told = float(policy._loss(found, wanted, drawn))
        scores = (found @ policy._network["catalog"](torch.arange(60)).T).numpy().astype(np.float64)
    right = scores[np.arange(5), wanted]
    others = np.full((5, 60 if drawn is None else len(drawn)), -np.inf)
    for row, item in enumerate(wanted.tolist()):
        for place, other in enumerate(range(60) if drawn is None else drawn.tolist()):
            if other != item:
                others[row, place] = scores[row, other]
    return told, right, others


DRAWN = [None, torch.tensor([9, 1, 2, 3, 4, 5, 58, 59])]


@pytest.mark.parametrize("drawn", DRAWN, ids=["all", "some"])
def test_sasrecs_softmax_is_the_share_of_what_was_chosen(films: Dataset, drawn: torch.Tensor | None):
    told, right, others = sasrec_loss(lambda: SASRec(dimensions=8, window=8), films, drawn)

    whole = np.exp(right) + np.exp(others).sum(axis=1)
    assert told == pytest.approx(-np.log(np.exp(right) / whole).mean(), rel=1e-5)


@pytest.mark.parametrize("calibration", [0.0, 0.75, 1.0])
@pytest.mark.parametrize("drawn", DRAWN, ids=["all", "some"])
def test_gbce_is_the_published_formula(films: Dataset, drawn: torch.Tensor | None, calibration: float):
    """Petrov 2023: log sigmoid of what was chosen to the power beta, beta = a (t (1 - 1/a) + 1/a)."""
    told, right, others = sasrec_loss(
        lambda: SASRec(dimensions=8, window=8, loss="gbce", calibration=calibration), films, drawn
    )

    share = 1.0 if drawn is None else len(drawn) / 59
    beta = share * (calibration * (1 - 1 / share) + 1 / share)
    chance = 1 / (1 + np.exp(-right))
    against = np.log(1 - 1 / (1 + np.exp(-others))).sum(axis=1)
    assert told == pytest.approx(-(beta * np.log(chance) + against).mean(), rel=1e-5)
