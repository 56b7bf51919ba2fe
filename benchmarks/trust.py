"""How far the users that cost nothing put policies in the order in which held-out rows put them.

Every user's last tenth of rows is the test and the tenth before it is validation; policies and populations are fitted
to all that lies before. The tests are those of the battery (`simenv.fidelity`), with more policies and users than a run
takes. What is chosen after a look at figures is chosen by validation rows (`--rows valid`, which writes nothing).

The circle: policies are fitted to one half of the users, then ranked by users who want what one of them would show,
told by that very model, or by one of its kind that learnt from the other half; and by `choice`, who lean on none.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from simenv.agents.browsing import Minds
from simenv.agents.calibration import LAST, asked_last, logistic
from simenv.agents.choice import ChoicePopulation
from simenv.agents.voters import VotersPopulation, Voting
from simenv.arrays import BitArray, FloatArray, IntArray
from simenv.chance import stream
from simenv.dataset import Dataset
from simenv.fidelity.agreement import agreement
from simenv.fidelity.bench import IN_WORDS, METRICS, Bench, lists_of
from simenv.fidelity.dose import DOSES, dose, dosed
from simenv.fidelity.interference import interference
from simenv.fidelity.ranking import Standings, agreement_of, standings_of, tau_of
from simenv.fidelity.results import Result
from simenv.fidelity.spread import OfWeights, share, spread
from simenv.intervals import Interval, around, means, paired, resamples
from simenv.pages import EMPTY
from simenv.policy import Policy
from simenv.readers import open_dataset
from simenv.scenarios.fitted import fitted
from simenv.scenarios.names import build
from simenv.splits import Split

from .record import Row, update

POPULATIONS: dict[str, Callable[[], Any]] = {"choice": ChoicePopulation, "voters": VotersPopulation}
POLICIES: dict[str, tuple[str, dict[str, Any]]] = {
    "pop": ("pop", {}),
    "item-knn": ("item-knn", {}),
    "item-knn-20": ("item-knn", {"neighbours": 20}),
    "ease": ("ease", {}),
    "bpr": ("bpr", {}),
    "bpr-8": ("bpr", {"dimensions": 8}),
    "ials": ("ials", {}),
    "ials-8": ("ials", {"dimensions": 8}),
    "bm25": ("bm25", {}),
    "tfidf": ("tfidf", {}),
}
USERS = {"ml-1m": 2000, "amazon-games": 10_000}  # at most: where a user has one held-out row it takes more of them
LEFT_OUT = {"amazon-games": ("bpr",)}  # it takes too long there
CIRCLE = ("pop", "item-knn", "ease", "bpr", "ials")
OWNERS = ("item-knn", "ease", "bpr")
GOAL = 0.8
SHARE = 0.1
HALVINGS = 100
DRAWS = 400
CALIBRATED = 1000  # users by whom a policy's ranking is weighed
LEAST = 10  # of their rows
PAGE, PAGES, REPEATS = 5, 10, 2
COMMAND = "make bench-trust"


def main() -> None:
    """Make every part, or those that are named, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the data sets lie")
    parser.add_argument("--only", action="append", help="a data set, a part (ranking, battery, circle), or data/part")
    parser.add_argument("--rows", choices=("test", "valid"), default="test", help="held against which rows")
    told = parser.parse_args()
    for name, parts in PARTS.items():
        wanted = [one for one in parts if not told.only or {name, one, f"{name}/{one}"} & set(told.only)]
        if not wanted:
            continue
        if not (told.data / name).exists():
            print(f"{name}: not in {told.data}, so it is left out")
            continue
        ground = Ground(name, told.rows, split_of(open_dataset(told.data / name)))
        for part in wanted:
            for about, rows in parts[part](ground):
                if told.rows == "test":
                    update("trust", COMMAND, rows, about)
                else:
                    print(*(f"{one.figure}: {one.value} [{one.low}, {one.high}]" for one in rows), sep="\n")


@dataclass(frozen=True, eq=False)
class Ground:
    """A data set, cut, and the rows that users are held against."""

    name: str
    rows: str
    split: Split
    made: dict[str, Any] = field(default_factory=dict)

    def population(self, name: str) -> Any:
        """Return a population that is fitted, once for all parts."""
        if name not in self.made:
            self.made[name] = POPULATIONS[name]()
            self.made[name].fit(self.split.train)
        return self.made[name]

    def bench(self, population: Any, users: IntArray, lists: Mapping[str, IntArray]) -> Bench:
        """Return users and lists on the bench; what is held out is one of the two parts."""
        none = self.split.test[:0]
        split = replace(self.split, valid=none if self.rows == "test" else self.split.valid,
                        test=self.split.test if self.rows == "test" else none)  # fmt: skip
        return Bench(population, split, users, lists, page_size=PAGE, max_pages=PAGES, repeats=REPEATS)

    def users(self) -> IntArray:
        """Return who is asked."""
        able: IntArray = np.flatnonzero(np.diff(self.split.train.starts) > 0)
        able = np.intersect1d(able, self.split.test.users)
        rng = stream(0, "bench trust", "users")
        return np.sort(rng.choice(able, size=min(USERS[self.name], len(able)), replace=False))


def split_of(dataset: Dataset) -> Split:
    """Hold out the last tenth of each user's rows, and for validation the tenth before."""
    log, counts = dataset.interactions, np.diff(dataset.starts)
    tenth = np.floor(counts * SHARE + 0.5)[log.users]
    left = counts[log.users] - 1 - log.places(len(counts))
    test, valid = left < tenth, (left >= tenth) & (left < 2 * tenth)
    told = "each user's last tenth of rows is the test, the tenth before validation"
    return Split(dataset.only(log[~(test | valid)]), log[valid], log[test], told)


def ready(label: str, split: Split) -> Policy:
    """Return a policy that is fitted, or was before."""
    name, options = POLICIES[label]
    begin = time.perf_counter()
    found = fitted(build("policy", name, options, {}), label, split, options=options).policy
    print(f"{label}: {time.perf_counter() - begin:.0f} s")
    return found


# Ranking


def by_policies(ground: Ground) -> Iterator[tuple[str, list[Row]]]:
    """Rank policies, and each with known shares of random items, by every population."""
    users = ground.users()
    labels = [label for label in POLICIES if label not in LEFT_OUT.get(ground.name, ())]
    lists = {label: lists_of(ready(label, ground.split), ground.split.train, users, PAGE * PAGES) for label in labels}
    known: Standings | None = None
    for name in POPULATIONS:
        known = standings_of(ground.bench(ground.population(name), users, lists))
        about = f"{ground.name}, {name}: "
        yield f"{about}ranking, ", list(_ranked(f"{about}ranking, ", known))
    assert known is not None
    yield f"{ground.name}, held-out rows: ", list(_truth(f"{ground.name}, held-out rows: ", known))


def _ranked(about: str, stand: Standings) -> Iterator[Row]:
    plain = _plain(stand)
    for one, what in ((stand, f"{len(stand.names)} policies"), (plain, f"{len(plain.names)} policies as they are")):
        pairs, order, count = one.pairs, one.order, one.truth.shape[1]
        for metric, values in (("likes", one.likes), ("satisfaction", one.satisfaction)):
            goal = GOAL if metric == "likes" and one is stand else None
            tau = order_of(tau_of(values, one.truth, pairs), count)
            yield row(f"{about}{what}: tau of {metric} with NDCG", tau, goal, "tau")
            seen = order != 0
            sure = tau_of(values, one.truth, pairs[seen])
            note = f"{seen.sum()} of {len(seen)} pairs, which held-out rows tell apart for certain"
            yield row(f"{about}{what}: tau of {metric}, pairs of known order", order_of(sure, count), None, "tau", note)
            right = spread(agreement_of(values, pairs[seen], order[seen]), count)
            yield row(f"{about}{what}: agreement of {metric}, pairs of known order", right, None, note=note)
    for place in np.argsort(-plain.truth.mean(axis=1), kind="stable").tolist():
        found = means(plain.likes[place][:, None])[0]
        yield row(f"{about}likes of {plain.names[place]}", found, unit="likes")


def order_of(tau: OfWeights, count: int) -> Interval:
    """Return a tau with its interval: users drawn anew are fewer different ones and put near policies in disorder."""
    drawn = np.concatenate([tau(weights) for weights in resamples(count, 0, DRAWS)])
    return around(float(tau(np.ones((1, count)))[0]), drawn, count, (-1.0, 1.0))


def _truth(about: str, stand: Standings) -> Iterator[Row]:
    """Yield each policy's NDCG, and how far one half of the users agrees with the other on the order of policies."""
    plain = _plain(stand)
    for one, what in ((stand, f"{len(stand.names)} policies"), (plain, f"{len(plain.names)} policies as they are")):
        found = np.array([_halved(one, stream(0, "bench trust", "halves", number)) for number in range(HALVINGS)])
        low, high = np.quantile(found, [0.025, 0.975])
        told = Interval(float(found.mean()), float(low), float(high), one.truth.shape[1])
        note = f"mean and middle 95 % of {HALVINGS} halvings of the users; no population can be held nearer to them"
        yield row(f"{about}{what}: tau of one half's NDCG with the other's", told, unit="tau", note=note)
    for place in np.argsort(-plain.truth.mean(axis=1), kind="stable").tolist():
        yield row(f"{about}NDCG@{PAGE * PAGES} of {plain.names[place]}", means(plain.truth[place][:, None])[0])


def _halved(stand: Standings, rng: np.random.Generator) -> float:
    order = rng.permutation(stand.truth.shape[1])
    one, other = (stand.truth[:, part].mean(axis=1) for part in np.array_split(order, 2))
    first, second = stand.pairs.T
    return float((np.sign(one[first] - one[second]) * np.sign(other[first] - other[second])).mean())


def _plain(stand: Standings) -> Standings:
    """Return the policies without those made worse."""
    kept = [place for place, name in enumerate(stand.names) if " with " not in name]
    values = (one[kept] for one in (stand.truth, stand.likes, stand.satisfaction))
    return Standings([stand.names[place] for place in kept], *values)


# The battery's other tests


def by_battery(ground: Ground) -> Iterator[tuple[str, list[Row]]]:
    """Show lists made worse, share out the variance, and hold populations against each other."""
    users = ground.users()
    lists = {
        label: lists_of(ready(label, ground.split), ground.split.train, users, PAGE * PAGES)
        for label in ("pop", "item-knn", "ease")
    }
    for name in POPULATIONS:
        bench = ground.bench(ground.population(name), users, lists)
        about = f"{ground.name}, {name}: junk, "
        yield about, [*_values(about, bench), *_figures(about, dose(bench))]
        about = f"{ground.name}, {name}: variance, "
        yield about, list(_figures(about, interference(bench)))
    first, *others = POPULATIONS
    beside = {name: ground.population(name) for name in others}
    found = agreement(ground.bench(ground.population(first), users, lists), beside, first)
    about = f"{ground.name}: agreement, "
    yield about, [*_figures(about, found), *_cells(about, found)]


def _values(about: str, bench: Bench) -> Iterator[Row]:
    """Yield every metric at every dose, and the step at which it falls least."""
    assert bench.base is not None
    played = bench.play_all(dosed(bench, bench.lists[bench.base], DOSES))
    values = np.stack([bench.per_user(one) for one in played.values()])  # [doses, U, metrics]
    for column, metric in enumerate(METRICS):
        for place, part in enumerate(DOSES):
            note = f"lists of {bench.base}"
            found = means(values[place, :, [column]].T)[0]
            yield row(f"{about}{IN_WORDS[metric]} at {part:.0%}", found, unit=IN_WORDS[metric], note=note)
        steps = [paired(values[place + 1, :, column], values[place, :, column]) for place in range(len(DOSES) - 1)]
        least = max(steps, key=lambda one: one.mean)
        note = "below 0: it falls from every dose to the next; p " + f"{max(one.p for one in steps):.2g} at most"
        yield row(f"{about}{IN_WORDS[metric]}: the step at which it falls least", least, None, IN_WORDS[metric], note)


def _figures(about: str, result: Result) -> Iterator[Row]:
    for one in result.figures:
        note = f"{one.word} ({one.rule})" if one.word else ""
        yield row(f"{about}{one.name}", one.value, unit="", note=note)


def _cells(about: str, result: Result) -> Iterator[Row]:
    """Yield a table's figures, for which no interval is known."""
    table = result.tables[0]
    for line in table.rows:
        for head, cell in zip(table.heads[2:], line[2:], strict=True):
            value = float(str(cell))
            yield row(f"{about}{line[0]} and {line[1]}: {head}", Interval(value, value, value, 0), unit="", note="mean")


# The circle


class Followers:
    """Users who want what one policy would show them: the place of an item in its ranking is all that draws them.

    Whatever else they do they do as `choice` does, whose minds they have.
    """

    def __init__(self, minds: Minds, odds: FloatArray) -> None:
        self.minds, self.leanings = minds, odds

    def fit(self, dataset: Dataset) -> None:
        """Learn nothing more."""

    def on_page(self, users: IntArray, items: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the log-odds of a yes of each pair, what fame brought taken off as usual, and how it is rated."""
        minds = self.minds
        joys = np.einsum("nd,nd->n", minds.rate[users], minds.merits[items])
        return self.leanings[users, items] - minds.meeting[items], joys

    def enter(self, users: IntArray, luck: BitArray) -> Voting:
        """Seat these users in this order."""
        return Voting(self, users, luck)


def followers(minds: Minds, label: str, told: Policy, rows: Dataset, histories: Dataset, asked: IntArray) -> Followers:
    """Return users who follow a policy that learnt from these rows.

    How much a place in its ranking tells is learnt from the last fifth of the rows, by a policy of this kind that knows
    what lies before.
    """
    log, counts = rows.interactions, np.diff(rows.starts)
    early = rows.only(log[log.places(len(counts)) < np.floor(counts * LAST + 1e-9)[log.users]])
    some = stream(0, "bench trust", "calibration").permutation(np.flatnonzero(counts >= LEAST))[:CALIBRATED]
    users, items, chosen, worth = asked_last(rows, stream(0, "bench trust", label))
    part = np.isin(users, some)
    places = np.searchsorted(np.sort(some), users[part])
    near = _nearness(_made(label, early), early, np.sort(some))[places, items[part]]
    slope, level = logistic(near[:, None].astype(np.float64), chosen[part], worth[part], ridge=1.0)
    odds = np.zeros((len(counts), len(rows.catalog)), dtype=np.float32)
    odds[asked] = slope * _nearness(told, histories, asked) + level
    return Followers(minds, odds)


def _made(label: str, rows: Dataset) -> Policy:
    name, options = POLICIES[label]
    policy: Policy = build("policy", name, options, {})
    policy.fit(rows)
    return policy


def _nearness(policy: Policy, dataset: Dataset, users: IntArray) -> FloatArray:
    """Return minus the log of each item's place in a policy's list of all that a user has not met: [U, I]."""
    count = len(dataset.catalog)
    found = np.full((len(users), count), -np.log(count), dtype=np.float32)
    for begin in range(0, len(users), 500):
        lists = lists_of(policy, dataset, users[begin : begin + 500], count)
        rows, places = np.nonzero(lists != EMPTY)
        found[begin + rows, lists[rows, places]] = -np.log1p(places)
    return found


def by_circle(ground: Ground) -> Iterator[tuple[str, list[Row]]]:
    """Let policies be ranked by users who share the model and rows of one of them, the model alone, or no model."""
    train, users = ground.split.train, ground.users()
    mine = stream(0, "bench trust", "circle").random(len(train.users)) < 0.5
    asked = users[mine[users]]
    log = train.interactions
    own, other = train.only(log[mine[log.users]]), train.only(log[~mine[log.users]])
    known = ~mine
    known[asked] = True
    policies = {label: _made(label, own) for label in CIRCLE}
    lists = {label: lists_of(policy, train, asked, PAGE * PAGES) for label, policy in policies.items()}
    bench = ground.bench(None, asked, lists)
    truth = np.stack([bench.ndcg(one) for one in lists.values()])
    tested = np.isfinite(truth[0])
    found = {"held-out rows": np.stack([_hits(bench, one) for one in lists.values()])[:, tested]}

    def measure(label: str, population: Any) -> None:
        played = replace(bench, population=population).play_all(lists)
        likes = [bench.per_user(one)[:, METRICS.index("N_like")] for one in played.values()]
        found[label] = np.stack(likes)[:, tested]

    choice = {}
    for kind, rows in (("choice, the policies' rows", own), ("choice, other rows", train.only(log[known[log.users]]))):
        choice[kind] = ChoicePopulation()
        choice[kind].fit(rows)
        measure(kind, choice[kind])
    minds = choice["choice, other rows"].minds
    for owner in OWNERS:
        for kind, rows, told in (("the very model", own, policies[owner]), ("its kind, other rows", other, None)):
            policy = told or _made(owner, rows)
            measure(f"{owner}, {kind}", followers(minds, owner, policy, rows, train, asked))
    about = f"{ground.name}: circle, "
    yield about, list(_circle(about, found))


def _hits(bench: Bench, lists: IntArray) -> FloatArray:
    """Return how many of the held-out items that each user liked stand in his list."""
    wanted = np.zeros((len(bench.users), len(bench.train.catalog)), dtype=bool)
    wanted[bench.places[bench.liked.users], bench.liked.items] = True
    return (np.take_along_axis(wanted, np.maximum(lists, 0), axis=1) & (lists != EMPTY)).sum(axis=1).astype(float)


def _circle(about: str, found: Mapping[str, FloatArray]) -> Iterator[Row]:
    """Yield, by population, how all policies stand, and by how much each owner is favoured."""
    truth, usual = found["held-out rows"], found["choice, the policies' rows"]
    count = truth.shape[1]
    pairs = np.array(list(combinations(range(len(CIRCLE)), 2)))
    for label, values in found.items():
        if values is not truth:
            tau = order_of(tau_of(values, truth, pairs), count)
            yield row(f"{about}by {label}: tau with held-out rows", tau, unit="tau")
        for place, name in enumerate(CIRCLE):
            part = spread(share(values[place], values.sum(axis=0)), count)
            yield row(f"{about}by {label}: share of likes for {name}", part)
            rank = spread(_rank(values, place), count)
            yield row(f"{about}by {label}: rank of {name}", rank, unit="rank")
    for label, values in found.items():
        owner = label.partition(",")[0]
        if owner not in OWNERS:
            continue
        place = CIRCLE.index(owner)
        for kind, other in (("choice gives it", usual), ("held-out rows give it", truth)):
            more = spread(_more(values, other, place), count)
            yield row(f"{about}by {label}: share of likes for {owner}, beyond what {kind}", more)
    for place, name in enumerate(CIRCLE):
        more = spread(_more(usual, truth, place), count)
        yield row(f"{about}by choice: share of likes for {name}, beyond what held-out rows give it", more)


def _rank(values: FloatArray, place: int) -> Callable[[FloatArray], FloatArray]:
    def found(weights: FloatArray) -> FloatArray:
        totals = weights @ values.T
        return np.asarray(1.0 + (totals > totals[:, [place]]).sum(axis=1))

    return found


def _more(values: FloatArray, other: FloatArray, place: int) -> Callable[[FloatArray], FloatArray]:
    one, two = (share(some[place], some.sum(axis=0)) for some in (values, other))
    return lambda weights: one(weights) - two(weights)


def row(figure: str, found: Interval, goal: float | None = None, unit: str = "share", note: str = "") -> Row:
    """Return a figure with its interval over users."""
    return Row(figure, *(round(value, 4) for value in (found.mean, found.low, found.high)), goal, unit, note)


PARTS: dict[str, dict[str, Callable[[Ground], Iterator[tuple[str, list[Row]]]]]] = {
    "ml-1m": {"ranking": by_policies, "battery": by_battery, "circle": by_circle},
    "amazon-games": {"ranking": by_policies},
}

if __name__ == "__main__":
    main()
