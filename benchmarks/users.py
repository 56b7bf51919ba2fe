"""How near the users that cost nothing come to real ones, on what is held out of public data.

Every user's last tenth of rows is held out, and the populations are fitted to all before it (Coat: to what users chose
to rate, and held against what chance showed them). A user is asked of each liked held-out item (4 of 5 or above) and
of nine that he never met, in training or after: drawn from all, or as often as each is among the held-out ones. His
yes is `Judgement.chosen`: no threshold is sought here. Beside them stand popularity and user mean plus item mean of the
training rows. The threshold of each is the one by which the rows before tell the last tenth of the training rows best
from items never met there: no held-out row sets it.

The evidence of `choice` is that of linear autoencoders and of sequence models, so as judges of policies such users
may favour these; `voters` lean on texts and on neighbours. What was tuned was tuned on rows before the held-out ones.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from simenv.agents.choice import ChoicePopulation
from simenv.agents.voters import FACETS, VotersPopulation
from simenv.arrays import BoolArray, FloatArray, IntArray
from simenv.chance import key, mix, stream
from simenv.dataset import Dataset
from simenv.fidelity.rivals import Rival, best_threshold, shrunk_mean, two_means
from simenv.fidelity.spread import auc_per_user
from simenv.interactions import Interactions
from simenv.intervals import Interval, around, means, resamples
from simenv.judgement import Judgement
from simenv.population import Calibrated
from simenv.readers import open_dataset

from .record import Row, update

POPULATIONS: dict[str, Callable[[], Any]] = {"choice": ChoicePopulation, "voters": VotersPopulation}
SHARE = 0.1
OTHERS = 9
LIKED = 4
POPULARITY, TWO_MEANS = "popularity", "user and item means"
MOST = 40_000  # held-out liked items that are asked of
DRAWS = 200
AT_MOST = "at most"  # begins the note of a figure whose goal is an upper bound
PEERS = "Agent4Rec .69, SimUSER .79"
VOTERS = 0.674  # Zhang et al. 2025, table 6
Weighed = Callable[[FloatArray], float]  # a figure, by how much each user counts [U]


def main() -> None:
    """Fit every population to every data set that is there, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the data sets lie")
    parser.add_argument("--only", action="append", help="a data set, a population, or data/population")
    told = parser.parse_args()
    for name in ("ml-1m", "ml-100k", "coat", "amazon-games"):
        if not (told.data / name).exists():
            print(f"{name}: not in {told.data}, so it is left out")
            continue
        dataset = open_dataset(told.data / name)
        train, held = coat(dataset) if name == "coat" else last_rows(dataset)
        for label, make in POPULATIONS.items():
            if told.only and not {name, label, f"{name}/{label}"} & set(told.only):
                continue
            population = make()
            begin = time.perf_counter()
            population.fit(train)
            seconds = time.perf_counter() - begin
            about = f"{name}, {label}: "
            rows = [Row(f"{about}fit", round(seconds, 1), round(seconds, 1), round(seconds, 1), None, "s")]
            if name != "coat":
                rows += taste(about, dataset, train, held, population)
            if np.isfinite(held.ratings).any():
                rows += ratings(about, name, train, held, population)
                rows += votes(about, train, held, population)
            at_most = [one.figure for one in rows if one.note.startswith(AT_MOST)]
            update("users", "make bench-users", rows, about, at_most=at_most)


def last_rows(dataset: Dataset) -> tuple[Dataset, Interactions]:
    """Hold out the last tenth of each user's rows."""
    log, counts = dataset.interactions, np.diff(dataset.starts)
    late = log.places(len(counts)) >= (counts - np.floor(counts * SHARE + 0.5))[log.users]
    return dataset.only(log[~late]), log[late]


def coat(dataset: Dataset) -> tuple[Dataset, Interactions]:
    """Train on what users chose to rate; test on what chance showed them, but for what they had chosen, too."""
    log, words = dataset.interactions, dataset.published["split"]
    pairs = log.users.astype(np.int64) * len(dataset.catalog) + log.items
    chosen = words == "train"
    return dataset.only(log[chosen]), log[(words == "test") & ~np.isin(pairs, pairs[chosen])]


def taste(about: str, dataset: Dataset, train: Dataset, held: Interactions, population: Any) -> Iterator[Row]:
    """Yield how well liked held-out items are told from items never met, and how well trivial predictors tell them."""
    rng = stream(0, "bench users")
    liked = held[~(held.ratings < LIKED)]
    liked = liked[np.sort(rng.permutation(len(liked))[:MOST])]
    users, count = np.repeat(liked.users, OTHERS), len(dataset.users)
    own = judged(population, liked.users, liked.items)
    drawn = np.bincount(liked.items, minlength=len(dataset.catalog)).astype(float)
    with_goals = about == "ml-1m, choice: "
    for kind, chances in (("random", None), ("as popular", drawn / drawn.sum())):
        items = strangers(dataset, users, rng, chances)
        others = judged(population, users, items)
        for ratio in (1, OTHERS):
            asked = np.tile(np.arange(OTHERS) < ratio, len(liked))
            said = Answers(count, liked.users, own.chosen, users[asked], others.chosen[asked])
            goal = 0.85 if with_goals and kind == "random" else None
            note = f"mean over users, as published for ml-1m: {PEERS}" if kind == "random" else "mean over users"
            yield row(f"{about}balanced accuracy, {kind} items 1:{ratio}", mean(said.right), goal, note)
        yield row(f"{about}yes to held-out items, {kind} items beside them", mean(said.own))
        yield row(f"{about}yes to {kind} items", mean(said.others))
        yield row(f"{about}balanced accuracy, {kind} items, rows pooled", said.pooled(), note="busy users weigh more")
        area = pooled(own.wanted, others.wanted, liked.users, users, count)
        yield row(f"{about}AUC, {kind} items", area, note="rows pooled")
        within = areas(own.wanted, others.wanted, liked.users, users, count)
        yield row(f"{about}AUC within users, {kind} items", mean(within), note="mean over users")
        for rival in rivals(train, kind):
            high, low = rival.score(liked.users, liked.items), rival.score(users, items)
            area = pooled(high, low, liked.users, users, count)
            yield row(f"{about}AUC of {rival.name} alone, {kind} items", area, note="rows pooled")
            theirs = areas(high, low, liked.users, users, count)
            yield row(f"{about}AUC within users of {rival.name} alone, {kind} items", mean(theirs))
            yield row(f"{about}lead in AUC within users over {rival.name} alone, {kind} items", mean(within - theirs))
            alone = Answers(count, liked.users, high >= rival.threshold, users, low >= rival.threshold)
            note = "mean over users; threshold of validation rows"
            yield row(f"{about}balanced accuracy of {rival.name} alone, {kind} items", mean(alone.right), note=note)
            name = f"{about}balanced accuracy of {rival.name} alone, {kind} items, rows pooled"
            yield row(name, alone.pooled(), note="busy users weigh more")
            goal = 0.10 if with_goals and kind == "as popular" and rival.name == POPULARITY else None
            note = "balanced accuracy, mean over users; the rival's threshold is that of validation rows"
            yield row(f"{about}lead over {rival.name} alone, {kind} items", mean(said.right - alone.right), goal, note)
            name = f"{about}lead over {rival.name} alone, {kind} items, rows pooled"
            yield row(name, said.pooled(alone), note="balanced accuracy; busy users weigh more")


def rivals(train: Dataset, kind: str) -> list[Rival]:
    """Return trivial predictors of these rows, each with the threshold that suits its last tenth best.

    Other items are drawn for it as they are for the held-out rows of this kind, from those never met in training.
    """
    early, valid = last_rows(train)
    liked = valid[~(valid.ratings < LIKED)]
    rng = stream(0, "bench users", "validation", kind)
    liked = liked[np.sort(rng.permutation(len(liked))[:MOST])]
    drawn = np.bincount(liked.items, minlength=len(train.catalog)).astype(float)
    items = strangers(train, liked.users, rng, drawn / drawn.sum() if kind == "as popular" else None)
    found = []
    for name, before, after in zip((POPULARITY, TWO_MEANS), scores(early), scores(train), strict=False):
        high, low = (before[0][liked.users] + before[1][some] for some in (liked.items, items))
        found.append(Rival(name, after[0], after[1], best_threshold(high, low)))
    return found


def scores(train: Dataset) -> list[tuple[FloatArray, FloatArray]]:
    """Return what each user [U] and item [I] adds to popularity, as a share of the rows, and to the two means."""
    fame = train.popularity / max(len(train.interactions), 1)
    found = [(np.zeros(len(train.users)), fame)]
    return [*found, two_means(train)] if np.isfinite(train.interactions.ratings).any() else found


def ratings(about: str, name: str, train: Dataset, held: Interactions, population: Any) -> Iterator[Row]:
    """Yield how near drawn and expected ratings come to the real ones, and how near trivial predictors come."""
    told = judged(population, held.users, held.items)
    count = len(train.users)
    goals = {"ml-1m": (0.75, 0.9, 0.01), "ml-100k": (0.75, None, None), "coat": (0.70, None, None)}
    area, error, divergence = goals.get(name, (None,) * 3) if about.endswith("choice: ") else (None,) * 3
    note = "rows pooled"
    if isinstance(population, VotersPopulation):
        note += f"; published for such users, on Yelp: {VOTERS}"
        area = VOTERS if name == "ml-1m" else None
    good = held.ratings >= LIKED
    of_high, of_low = held.users[good], held.users[~good]
    expected = told.expected.astype(np.float64)
    yield row(
        f"{about}AUC, liked against rated lower",
        pooled(expected[good], expected[~good], of_high, of_low, count),
        area,
        note,
    )
    within = areas(expected[good], expected[~good], of_high, of_low, count)
    yield row(f"{about}AUC within users, liked against rated lower", mean(within), note="mean over users")
    for rival, (user, item) in zip((POPULARITY, TWO_MEANS), scores(train), strict=False):
        guess = user[held.users] + item[held.items]
        theirs = pooled(guess[good], guess[~good], of_high, of_low, count)
        yield row(f"{about}AUC of {rival} alone, liked against rated lower", theirs, note="rows pooled")
        inner = areas(guess[good], guess[~good], of_high, of_low, count)
        yield row(f"{about}AUC within users of {rival} alone, liked against rated lower", mean(inner))
        yield row(
            f"{about}lead in AUC within users over {rival} alone, liked against rated lower", mean(within - inner)
        )
    square = (expected - held.ratings) ** 2
    yield row(f"{about}rating RMSE", root(held.users, square, count), error, unit="stars", note=AT_MOST)
    log = train.interactions
    by_item = shrunk_mean(log.items, log.ratings, len(train.catalog), 0.0)
    user, item = two_means(train)
    for kind, guess in (
        ("item mean", by_item[held.items]),
        ("user and item means", user[held.users] + item[held.items]),
    ):
        yield row(f"{about}rating RMSE of {kind}", root(held.users, (guess - held.ratings) ** 2, count), unit="stars")
    yield from distributions(about, train, held, told.ratings, population, divergence)
    low = np.isin(told.ratings, np.unique(log.ratings)[:2])
    yield row(f"{about}share of 1 and 2 stars", mean(per_user(held.users, low, count)))


def votes(about: str, train: Dataset, held: Interactions, population: Any) -> Iterator[Row]:
    """Yield how well each vote alone, and all of them weighed, tell liked rows from those rated lower."""
    if not isinstance(population, VotersPopulation):
        return
    good, count = held.ratings >= LIKED, len(train.users)
    of_high, of_low = held.users[good], held.users[~good]
    odds = population.votes(held.users, held.items)
    weighed = VotersPopulation(rule="weights")
    weighed.fit(train)
    each = {f"the vote by {facet} alone": odds[:, place] for place, facet in enumerate(FACETS)}
    each["the three, weighed"] = judged(weighed, held.users, held.items).expected.astype(np.float64)
    for kind, values in each.items():
        area = pooled(values[good], values[~good], of_high, of_low, count)
        yield row(f"{about}AUC of {kind}, liked against rated lower", area, note="rows pooled")
        inner = areas(values[good], values[~good], of_high, of_low, count)
        yield row(f"{about}AUC within users of {kind}, liked against rated lower", mean(inner), note="mean over users")


def distributions(
    about: str, train: Dataset, held: Interactions, drawn: FloatArray, population: Any, goal: float | None
) -> Iterator[Row]:
    """Yield how far the shares of ratings lie from the real ones, of users whose rows set no levels."""
    setters = population.level_users if isinstance(population, Calibrated) else np.zeros(0, dtype=np.int64)
    apart, count = ~np.isin(held.users, setters), len(train.users)
    users, levels = held.users[apart], np.unique(train.interactions.ratings)
    user, item = two_means(train)
    guess = user[users] + item[held.items[apart]]
    nearest = levels[np.abs(guess[:, None] - levels).argmin(axis=1)]
    real = shares(users, held.ratings[apart], levels, count)
    note = "users whose rows set no levels" if len(setters) else "all users: the population names nobody who set levels"
    for name, given, aim in (("", drawn[apart], goal), (f" of {TWO_MEANS} alone", nearest, None)):
        mine = shares(users, given, levels, count)

        def apart_by(weights: FloatArray, mine: FloatArray = mine) -> float:
            one, other = (weights @ share for share in (mine, real))
            return divergence_of(one / one.sum(), other / other.sum())

        told = interval(apart_by, count)
        # "at most" says which way the goal lies, and is read off the note.
        yield row(
            f"{about}JS divergence of ratings{name}", told, aim, "at most" if aim else note, unit="bits", digits=5
        )


def shares(users: IntArray, given: FloatArray, levels: FloatArray, count: int) -> FloatArray:
    """Return how often each user gives each level: [U, L]."""
    return np.array([np.bincount(users[given == level], minlength=count) for level in levels], dtype=float).T


class Answers:
    """Users' yes and no to their own and to other items."""

    def __init__(self, count: int, users: IntArray, own: BoolArray, others: IntArray, yes: BoolArray) -> None:
        self.own, self.others = per_user(users, own, count), per_user(others, yes, count)
        self.masses = np.bincount(users, minlength=count)

    @property
    def right(self) -> FloatArray:
        """Each user's mean share of right answers, to own and to other items: [U], NaN where nothing was asked."""
        return np.asarray((self.own + 1 - self.others) / 2)

    def pooled(self, less: "Answers | None" = None) -> Interval:
        """Return the same over all rows together, less that of another; each own item has as many others."""
        ahead = self.right if less is None else self.right - less.right
        right = np.nan_to_num(ahead) * self.masses
        drawn = np.array([weights @ right / (weights @ self.masses) for weights in draws(len(right))])
        bounds = (0.0, 1.0) if less is None else (-1.0, 1.0)
        return around(float(right.sum() / self.masses.sum()), drawn, len(right), bounds)


def judged(population: Any, users: IntArray, items: IntArray) -> Judgement:
    """Return what users would do with items, each pair with luck of its own."""
    judgement: Judgement = population.judge(users, items, mix(mix(key(0, "bench users"), users), items))
    return judgement


def strangers(dataset: Dataset, users: IntArray, rng: np.random.Generator, chances: FloatArray | None) -> IntArray:
    """Return for each user an item that he never met, drawn blindly or by these chances."""
    log, count = dataset.interactions, len(dataset.catalog)
    met = np.sort(log.users.astype(np.int64) * count + log.items)
    items = np.zeros(len(users), dtype=np.int64)
    todo = np.arange(len(users))
    while len(todo):
        items[todo] = rng.choice(count, size=len(todo), p=chances)
        pairs = users[todo].astype(np.int64) * count + items[todo]
        todo = todo[met[np.minimum(np.searchsorted(met, pairs), len(met) - 1)] == pairs]
    return items


def mean(values: FloatArray) -> Interval:
    """Return the mean over users with its interval."""
    return means(values[:, None])[0]


def interval(figure: Weighed, count: int) -> Interval:
    """Return a figure and, by bootstrap over users, where it would lie for others."""
    drawn = np.array([figure(weights) for weights in draws(count)])
    return around(figure(np.ones(count)), drawn, count, (0.0, np.inf))


def draws(count: int) -> Iterator[FloatArray]:
    """Yield how much each user counts [U], for users drawn anew."""
    return (weights for block in resamples(count, 0, DRAWS) for weights in block)


def areas(high: FloatArray, low: FloatArray, of_high: IntArray, of_low: IntArray, count: int) -> FloatArray:
    """Return how often a high value of each user lies above a low one of theirs [U]; NaN for who has not both."""
    is_high = np.arange(len(high) + len(low)) < len(high)
    return auc_per_user(np.concatenate([high, low]), is_high, np.concatenate([of_high, of_low]), count)


def pooled(high: FloatArray, low: FloatArray, of_high: IntArray, of_low: IntArray, count: int) -> Interval:
    """Return how often a high value lies above a low one, ties half; its spread from each user's part in it."""
    ranks = rankdata(np.concatenate([high, low]))
    above = (ranks[: len(high)] - rankdata(high)) / len(low)
    below = 1 - (ranks[len(high) :] - rankdata(low)) / len(high)
    area = float(above.mean())
    # DeLong's variance, clustered by user.
    part = np.bincount(of_high, above - area, count) / len(high) + np.bincount(of_low, below - area, count) / len(low)
    reach = 1.96 * float(np.sqrt((part**2).sum()))
    return Interval(area, area - reach, area + reach, count)


def root(users: IntArray, square: FloatArray, count: int) -> Interval:
    """Return the root of the mean of squares, with its interval over users."""
    total, rows = np.bincount(users, square, count), np.bincount(users, minlength=count)
    return interval(lambda weights: float(np.sqrt(weights @ total / (weights @ rows))), count)


def per_user(users: IntArray, values: BoolArray, count: int) -> FloatArray:
    """Return each user's mean; NaN for one without rows."""
    rows = np.bincount(users, minlength=count).astype(float)
    return np.divide(np.bincount(users, values, count), rows, out=np.full(count, np.nan), where=rows > 0)


def divergence_of(one: FloatArray, other: FloatArray) -> float:
    """Return the Jensen-Shannon divergence of two distributions, in bits."""
    middle = (one + other) / 2
    return sum(float((part[part > 0] * np.log2(part[part > 0] / middle[part > 0])).sum()) for part in (one, other)) / 2


def row(
    figure: str, found: Interval, goal: float | None = None, note: str = "", *, unit: str = "share", digits: int = 4
) -> Row:
    """Return a figure with its interval over users."""
    return Row(figure, *(round(value, digits) for value in (found.mean, found.low, found.high)), goal, unit, note)


if __name__ == "__main__":
    main()
