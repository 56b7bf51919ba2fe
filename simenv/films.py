"""A built-in world of films: nothing to download, and the truth about its users is known.

Titles, genres, descriptions and years are made up; users have known tastes; fame is long-tailed.
One seed, one world.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .arrays import FloatArray, IntArray
from .catalog import Catalog
from .chance import stream
from .dataset import Dataset, Users
from .errors import DataError
from .interactions import Interactions
from .truth import Truth

GENRES = {
    "Action": ("a chase across the rooftops", "a raid that goes wrong"),
    "Adventure": ("a map with a missing corner", "a voyage past the last harbour"),
    "Animation": ("a drawing that walks off its page", "a toy maker's apprentice"),
    "Comedy": ("a wedding with two grooms", "a lie that will not stay small"),
    "Crime": ("a ledger nobody should have kept", "a last job in the old quarter"),
    "Documentary": ("ten years in one village", "the people behind a famous failure"),
    "Drama": ("a family that stops talking", "a teacher's long winter"),
    "Fantasy": ("a kingdom under the ice", "a bargain with a river"),
    "Horror": ("a house that counts its guests", "a sound below the floor"),
    "Musical": ("a theatre in its final season", "a singer who cannot sleep"),
    "Mystery": ("a letter posted after its writer's death", "a guest without a name"),
    "Romance": ("two strangers on a night train", "a summer that should have ended"),
    "Sci-Fi": ("a signal from an abandoned colony", "a machine that dreams of rain"),
    "Thriller": ("a witness with a day to live", "an interpreter who heard too much"),
    "War": ("a bridge held for one night", "a medic on the wrong side"),
    "Western": ("a sheriff without a town", "a well in disputed land"),
}
MOODS = (
    ("slow", "fast-paced"),
    ("dark", "light-hearted"),
    ("realistic", "dreamlike"),
    ("intimate", "sweeping"),
    ("old-fashioned", "daring"),
    ("quiet", "loud"),
)
FIRST = [
    "Silent",
    "Crimson",
    "Last",
    "Hidden",
    "Golden",
    "Broken",
    "Winter",
    "Electric",
    "Paper",
    "Hollow",
    "Distant",
    "Burning",
    "Second",
    "Velvet",
    "Iron",
    "Lonely",
    "Midnight",
    "Borrowed",
    "Glass",
    "Restless",
    "Wild",
    "Forgotten",
    "Northern",
    "Secret",
    "Painted",
    "Bitter",
    "Bright",
    "Crooked",
]
SECOND = [
    "Harbour",
    "Garden",
    "Letter",
    "Station",
    "Mirror",
    "Orchard",
    "Empire",
    "River",
    "Promise",
    "Shadow",
    "Carnival",
    "Horizon",
    "Island",
    "Witness",
    "Lantern",
    "Voyage",
    "Kingdom",
    "Stranger",
    "Summer",
    "Signal",
    "Tide",
    "Theatre",
    "Frontier",
    "Daughter",
    "Machine",
    "Sparrow",
    "Bridge",
    "Season",
]
START, SPAN = 1_600_000_000, 3 * 365 * 86_400  # the log covers three years
MOST = 200_000  # users, or items
LEVELS = (1.0, 2.0, 3.0, 4.0, 5.0)


@dataclass(frozen=True, eq=False)
class World:
    """A data set, and the truth that made it."""

    dataset: Dataset
    truth: Truth


@lru_cache(maxsize=8)
def films_world(users: int = 500, items: int = 1000, seed: int = 0) -> World:
    """Return a world of films with this many users and items."""
    if users < 2 or items < 30:
        raise DataError(f"films: {users} users and {items} items; it takes at least 2 users and 30 items")
    if max(users, items) > MOST:
        raise DataError(f"films: {users} users and {items} items; it takes at most {MOST} of either")
    if seed < 0:
        raise DataError(f"films: seed {seed}; it must be 0 or above")
    truth, genres, moods = _truth(users, items, seed)
    catalog = _catalog(genres, moods, seed)
    log = _log(truth, seed)
    people = Users(np.arange(1, users + 1))
    return World(Dataset("films", catalog, people, log, is_synthetic=True), truth)


def _truth(users: int, items: int, seed: int) -> tuple[Truth, FloatArray, FloatArray]:
    rng = stream(seed, "films", "truth")
    weight = rng.dirichlet(np.full(len(GENRES), 3.0))
    genres = np.zeros((items, len(GENRES)), dtype=np.float32)
    for item, count in enumerate(rng.choice([1, 2, 3], size=items, p=[0.35, 0.45, 0.2])):
        genres[item, rng.choice(len(GENRES), size=count, replace=False, p=weight)] = 1
    moods = rng.normal(size=(items, len(MOODS))).astype(np.float32)
    traits = np.hstack([genres / np.sqrt(genres.sum(axis=1, keepdims=True)), moods / np.sqrt(len(MOODS))])
    genre_taste = rng.normal(size=(users, len(GENRES))) * 1.1
    genre_taste -= genre_taste @ weight[:, None]
    tastes = np.hstack([genre_taste, rng.normal(size=(users, len(MOODS))) * 1.1])
    quality = rng.normal(size=items) * 0.6
    fame = np.log1p(items / (1 + rng.permutation(items))) + 0.5 * quality
    truth = Truth(
        tastes.astype(np.float32),
        traits.astype(np.float32),
        ((fame - fame.mean()) * 0.5).astype(np.float32),
        quality.astype(np.float32),
        rng.normal(2.9, 0.35, size=users).astype(np.float32),
        rng.lognormal(-0.1, 0.25, size=users).astype(np.float32),
        rng.normal(size=users).astype(np.float32),
    )
    return truth, genres, moods


def _catalog(genres: FloatArray, moods: FloatArray, seed: int) -> Catalog:
    rng = stream(seed, "films", "catalog")
    count = len(genres)
    names = list(GENRES)
    categories, titles, descriptions = [], [], []
    used: dict[str, int] = {}
    for item in range(count):
        mine = [names[genre] for genre in np.flatnonzero(genres[item])]
        title = f"{rng.choice(FIRST)} {rng.choice(SECOND)}"
        used[title] = used.get(title, 0) + 1
        if used[title] > 1:
            title = f"{title} {used[title]}"
        strongest = np.argsort(-np.abs(moods[item]))[:2]
        tone = " and ".join(MOODS[mood][int(moods[item, mood] > 0)] for mood in strongest)
        plots = " and ".join(str(rng.choice(GENRES[genre])) for genre in mine)
        categories.append(tuple(mine))
        titles.append(title)
        article = "An" if tone[0] in "aeiou" else "A"
        descriptions.append(f"{article} {tone} film about {plots}.")
    years = 2026 - np.floor(rng.exponential(14, size=count)).clip(max=90)
    return Catalog(
        np.arange(1, count + 1),
        np.array(titles, dtype=object),
        tuple(categories),
        np.array(descriptions, dtype=object),
        years.astype(np.float32),
    )


def _log(truth: Truth, seed: int) -> Interactions:
    """Let the users find films for themselves, drawn by fame and by taste, and rate what they view."""
    rng = stream(seed, "films", "log")
    user_count, item_count = len(truth.tastes), len(truth.traits)
    lengths = np.clip(rng.lognormal(3.6, 0.6, size=user_count), 15, item_count // 3).astype(int)
    users, items, times = [], [], []
    for user in range(user_count):
        relevance = truth.relevance(np.array([user]))[0]
        drawn = 2.0 * truth.appeal + relevance + rng.gumbel(size=item_count)
        chosen = rng.permutation(np.argpartition(-drawn, lengths[user])[: lengths[user]])
        begin = START + rng.integers(SPAN * 4 // 5)
        users.append(np.full(len(chosen), user))
        items.append(chosen)
        times.append(begin + np.cumsum(rng.exponential(0.5 * SPAN / 100, size=len(chosen))).astype(np.int64))
    user_rows, item_rows, time_rows = map(np.concatenate, (users, items, times))
    ratings = _ratings(truth, user_rows, item_rows, rng.normal(size=len(user_rows)))
    log, _ = Interactions.sort(user_rows, item_rows, ratings, time_rows)
    return log


def _ratings(truth: Truth, users: IntArray, items: IntArray, noise: FloatArray) -> FloatArray:
    relevance = np.einsum("nd,nd->n", truth.tastes[users], truth.traits[items])
    joy = 0.6 * relevance + truth.quality[items] + truth.noise * noise
    rating = truth.means[users] + truth.spreads[users] * joy
    return np.clip(np.rint(rating), LEVELS[0], LEVELS[-1]).astype(np.float32)
