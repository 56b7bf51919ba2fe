"""What a text model learnt of one catalogue tells the next item of another, whose items it has never met."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simenv.arrays import FloatArray
from simenv.catalog import Catalog
from simenv.chance import stream
from simenv.dataset import Dataset, Users
from simenv.errors import SimenvError
from simenv.interactions import Interactions
from simenv.ranking import rank
from simenv.recommenders import texts
from simenv.recommenders.moves import everybody
from simenv.recommenders.texts import TextSequences
from simenv.recommenders.unisrec import UniSRec
from simenv.recommenders.vqrec import VQRec
from simenv.store import load_policy, save_policy

TOPICS = 4  # whoever chose of one topic chooses of the next; the last is followed by the first
COMMON: dict[str, Any] = {
    "encoder": "sentences",
    "dimensions": 16,
    "window": 6,
    "dropout": 0.0,
    "learning_rate": 0.01,
    "batch_size": 128,
    "epochs": 25,
    "negatives": 0,
}
MAKES: dict[str, Callable[..., TextSequences]] = {
    "unisrec": lambda **more: UniSRec(**COMMON | {"experts": 2} | more),
    "vqrec": lambda **more: VQRec(**COMMON | {"parts": 4, "codes": 8} | more),
}
each = pytest.mark.parametrize("make", MAKES.values(), ids=MAKES.keys())


class ByTopic:
    """A sentence model: texts of a topic lie together, in every catalogue."""

    def __init__(self, model: str) -> None:
        self.model = model

    def encode(self, catalog: Catalog) -> FloatArray:
        """Return the topic's own direction and some of the item's."""
        places = np.eye(TOPICS).repeat(2, axis=1)
        noise = stream(0, *map(str, catalog.titles)).normal(0, 0.1, size=(len(catalog), 8))
        vectors = places[[int(title.split()[-1]) for title in catalog.titles]] + noise
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def by_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights are needed."""
    monkeypatch.setattr(texts, "SentenceEncoder", ByTopic)


def catalogue(word: str, items: int, length: int = 4) -> tuple[Dataset, Interactions]:
    """Return sixty users' first choices of a catalogue of its own, so many of each, and the next."""
    topics = np.arange(items) % TOPICS
    rng = stream(0, word)
    first = rng.integers(TOPICS, size=60)
    wanted = (first[:, None] + np.arange(length + 1)) % TOPICS
    chosen = TOPICS * rng.integers(items // TOPICS, size=wanted.shape) + wanted
    log, _ = Interactions.sort(
        np.arange(60).repeat(length), chosen[:, :-1].reshape(-1), times=np.tile(np.arange(length), 60)
    )
    held, _ = Interactions.sort(np.arange(60), chosen[:, -1])
    nothing = np.full(items, None, dtype=object)
    titles = np.array([f"{word} {item} of {topic}" for item, topic in enumerate(topics)], dtype=object)
    catalog = Catalog(np.arange(items), titles, ((),) * items, nothing, np.full(items, np.nan))
    return Dataset(word, catalog, Users(np.arange(60)), log), held


HOME, ABROAD = "book", "film"


def learnt(make: Callable[..., TextSequences], folder: Path, **more: Any) -> str:
    policy = make(**more)
    policy.fit(catalogue(HOME, 24, 6)[0])
    save_policy(policy, folder)
    return str(folder)


def right_topics(policy: TextSequences) -> float:
    """Return the share of first places that are of the topic to come."""
    data, held = catalogue(ABROAD, 40)
    found = rank(policy, data, held, np.arange(60), 1)
    return float((found.items[:, 0] % TOPICS == held.items[found.users] % TOPICS).mean())


@each
def test_what_was_learnt_at_home_tells_the_next_topic_abroad(make: Callable[..., TextSequences], tmp_path: Path):
    home = learnt(make, tmp_path / "home")
    abroad = make(pretrained=home, epochs=0)
    abroad.fit(catalogue(ABROAD, 40)[0])

    untaught = make(epochs=1, learning_rate=1e-9)
    untaught.fit(catalogue(ABROAD, 40)[0])
    assert right_topics(abroad) > 0.9
    assert right_topics(untaught) < 0.6


@each
def test_what_was_taken_abroad_can_be_saved_and_taught_on(make: Callable[..., TextSequences], tmp_path: Path):
    data, _ = catalogue(ABROAD, 40)
    abroad = make(pretrained=learnt(make, tmp_path / "home"), epochs=0)
    abroad.fit(data)
    save_policy(abroad, tmp_path / "abroad")
    (tmp_path / "home").rename(tmp_path / "gone")
    again = load_policy(tmp_path / "abroad")
    assert np.array_equal(again.recommend(everybody(data), 5), abroad.recommend(everybody(data), 5))

    taught = make(pretrained=str(tmp_path / "abroad"), epochs=3)
    taught.fit(data)  # which holds nobody who had three choices before the fourth, so some of it is forgotten
    assert right_topics(taught) > 0.7


OTHERS: list[dict[str, Any]] = [{"layers": 2}, {"heads": 2}, {"window": 7}, {"dimensions": 8}, {"model": "another"}]


@each
@pytest.mark.parametrize("other", OTHERS)
def test_what_was_made_otherwise_is_refused(make: Callable[..., TextSequences], tmp_path: Path, other: dict[str, Any]):
    ((name, value),) = other.items()
    policy = make(pretrained=learnt(make, tmp_path / "home", epochs=1), epochs=0, **other)
    with pytest.raises(SimenvError, match=f"made with {name} .*, asked with {value}; give the same"):
        policy.fit(catalogue(ABROAD, 40)[0])


def test_other_codes_are_refused(tmp_path: Path):
    home = learnt(MAKES["vqrec"], tmp_path / "home", epochs=1)
    with pytest.raises(SimenvError, match="made with codes 8, asked with 99"):
        MAKES["vqrec"](pretrained=home, epochs=0, codes=99).fit(catalogue(ABROAD, 40)[0])


def test_another_kind_is_refused(tmp_path: Path):
    home = learnt(MAKES["vqrec"], tmp_path / "home", epochs=1)
    with pytest.raises(SimenvError, match="holds a VQRec; wanted a UniSRec"):
        MAKES["unisrec"](pretrained=home, epochs=0).fit(catalogue(ABROAD, 40)[0])


def test_what_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(SimenvError, match="nowhere: no saved policy here"):
        MAKES["vqrec"](pretrained=str(tmp_path / "nowhere"), epochs=0).fit(catalogue(ABROAD, 40)[0])


def test_vectors_of_their_own_are_learnt_at_home(tmp_path: Path):
    home = learnt(MAKES["unisrec"], tmp_path / "home", epochs=1)
    with pytest.raises(SimenvError, match="with epochs 0 give identities: false"):
        MAKES["unisrec"](pretrained=home, epochs=0, identities=True)
