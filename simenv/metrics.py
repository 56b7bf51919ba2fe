"""What is read out of the event log: metrics per page, session and run, with intervals over users."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from .arrays import BoolArray, FloatArray, IntArray
from .errors import RunError
from .intervals import Bounds, Interval, around, benjamini_hochberg, differences, holm, means, resamples
from .pages import GRADE_WORDS, Grade, watched
from .power import detectable
from .ranking import qualities
from .rundir import RunDir

Plain = dict[str, float | None]  # an interval as JSON holds it
BLOCK = 4096  # sessions whose categories are held at once
SHARE: Bounds = (0.0, 1.0)
SCALE: Bounds = (1.0, 10.0)  # of satisfaction
RUN_DRAWS = 200  # resamples for figures of a run as a whole


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure, and how to read it."""

    name: str
    definition: str
    unit: str
    higher_is_better: bool | None  # None where neither end is good in itself
    headline: bool = False
    bounds: Bounds = SHARE  # no value, and so no end of an interval, lies outside


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "P_view",
            "Share of the shown items that the user watched (viewed, liked, or rated), mean over users.",
            "share",
            True,
            True,
        ),
        Metric(
            "N_like",
            "Number of items that the user liked in the session, mean over users.",
            "items",
            True,
            True,
            bounds=(0.0, math.inf),
        ),
        Metric("P_like", "Share of the shown items that the user liked, mean over users.", "share", True, True),
        Metric(
            "N_exit",
            "Page on which the session ended, counted from 1 (the page limit for those who stayed), mean over users.",
            "pages",
            True,
            True,
            bounds=(1.0, math.inf),
        ),
        Metric(
            "S_sat",
            "Satisfaction with the session from 1 to 10: the mean over its pages, then over users.",
            "1 to 10",
            True,
            True,
            bounds=SCALE,
        ),
        Metric("coverage", "Share of the catalogue that was shown to anybody.", "share", None),
        Metric(
            "gini",
            "Inequality of exposure over the catalogue: 0 when all items are shown alike, 1 when one is shown alone.",
            "0 to 1",
            None,
        ),
        Metric(
            "popularity_lift",
            "How much more popular the shown items are than those of the user's history:"
            " mean training interactions of the one over the other, less 1.",
            "ratio",
            None,
            bounds=(-1.0, math.inf),
        ),
        Metric(
            "novelty",
            "Mean surprise of the shown items: minus the binary log of their share of training interactions, each item"
            " counted once more than it was met.",
            "bits",
            None,
            bounds=(0.0, math.inf),
        ),
        Metric(
            "diversity",
            "Mean distance between two items of a page, 1 minus the cosine of their categories.",
            "0 to 1",
            None,
        ),
        Metric(
            "calibration",
            "Divergence (Kullback-Leibler, in bits) of the shown categories from those of the user's history;"
            " 0 is in proportion.",
            "bits",
            False,
            bounds=(0.0, math.inf),
        ),
    )
}
OFFLINE = {
    "recall": "Share of the user's held-out items among the first {k} of the ranking.",
    "ndcg": "Discounted gain of the held-out items among the first {k} of the ranking, over the best possible.",
    "hit": "Share of users with a held-out item among the first {k} of the ranking.",
    "mrr": "One over the rank of the first held-out item among the first {k} of the ranking, 0 if none.",
}
INTERVIEW: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "verdict",
            "Satisfaction with the whole session, as users said when they were asked after leaving; mean over those who"
            " were.",
            "1 to 10",
            True,
            bounds=SCALE,
        ),
        Metric("their pages", "Mean satisfaction with the pages of the same sessions.", "1 to 10", None, bounds=SCALE),
        Metric(
            "verdict − pages",
            "How far the verdict lies from the pages of the same session.",
            "1 to 10",
            None,
            bounds=(SCALE[0] - SCALE[1], SCALE[1] - SCALE[0]),
        ),
    )
}
BOUNDS = ("oracle", "anti-oracle")  # policies that know the truth: they bound the others and contest nothing
HEADLINE = [metric.name for metric in METRICS.values() if metric.headline]


def metric_of(name: str) -> Metric:
    """Return the metric of this name, such as 'N_like' or 'recall@20'."""
    kind, _, k = name.partition("@")
    if kind in OFFLINE:
        return Metric(name, OFFLINE[kind].format(k=k), "share", True)
    return METRICS[name] if name in METRICS else INTERVIEW[name]


class Measures:
    """A run's log as arrays, and every figure that follows from it."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        events, pages = run.events, run.pages
        labels, page_policy = _coded(pages["policy"])
        self.policies = [str(label) for label in labels]
        self.users, page_user = _coded(pages["user_id"])
        self.seeds, page_seed = _coded(pages["seed"])
        session = (page_policy * len(self.seeds) + page_seed) * len(self.users) + page_user
        self.sessions, self.page_session = np.unique(session, return_inverse=True)
        self.session_user = self.sessions % len(self.users)
        self.session_policy = self.sessions // (len(self.users) * len(self.seeds))
        self.page_number = pages["page"].to_numpy().astype(np.int64)
        self.satisfaction = pages["satisfaction"].to_numpy()

        # An event's page: both tables stand in the log's order, so places in the one are found in the other.
        span = int(self.page_number.max(initial=0)) + 1
        event_code = (
            _places(events["policy"], self.policies) * len(self.seeds) + _places(events["seed"], self.seeds)
        ) * len(self.users) + _places(events["user_id"], self.users)
        self.event_page = np.searchsorted(
            session * span + self.page_number, event_code * span + events["page"].to_numpy()
        )
        self.event_session = self.page_session[self.event_page]
        grade = _places(events["grade"], list(GRADE_WORDS))
        self.grade = grade.astype(np.int8)
        self.rating = events["rating"].to_numpy()
        self.item_ids = run.items["item_id"].to_pylist()
        self.item = _places(events["item_id"], self.item_ids)

    @cached_property
    def session_values(self) -> dict[str, FloatArray]:
        """Each metric's value for each session: [sessions]."""
        items = self._per_session(np.ones(len(self.item)))
        shown = np.where(items > 0, items, np.nan)  # who was shown nothing has no shares and no means
        liked = self._per_session(self.grade == Grade.LIKED)
        page_count = np.bincount(self.page_session, minlength=len(self.sessions))
        satisfaction = np.bincount(self.page_session, self.satisfaction, len(self.sessions))
        return {
            "P_view": self._per_session(watched(self.grade, self.rating)) / shown,
            "N_like": liked,
            "P_like": liked / shown,
            "N_exit": page_count.astype(float),
            "S_sat": satisfaction / page_count,
            "popularity_lift": self._popularity_lift(shown),
            "novelty": self._novelty(shown),
            "diversity": self._diversity(),
            "calibration": self._calibration(),
        }

    @cached_property
    def per_user(self) -> FloatArray:
        """Each metric's value for each user under each policy, averaged over seeds: [users, policies, metrics]."""
        shape = (len(self.users), len(self.policies))
        place = np.ravel_multi_index((self.session_user, self.session_policy), shape)
        return np.stack([_means(values, place, shape) for values in self.session_values.values()], axis=2)

    def by_seed(self, name: str) -> FloatArray:
        """Return a metric's value for each user under each policy and seed: [users, policies, seeds]."""
        seeds = self.sessions // len(self.users) % len(self.seeds)
        shape = (len(self.users), len(self.policies), len(self.seeds))
        place = np.ravel_multi_index((self.session_user, self.session_policy, seeds), shape)
        return _means(self.session_values[name], place, shape)

    def whole(self, policy: int) -> dict[str, Interval]:
        """Return coverage and Gini of exposure for a policy's sessions together."""
        users = np.unique(self.session_user[self.session_policy == policy])
        mine = np.flatnonzero(self.session_policy[self.event_session] == policy)
        place = np.searchsorted(users, self.session_user[self.event_session[mine]])
        shape = (len(users), len(self.item_ids))
        exposure = sparse.csr_array((np.ones(len(mine)), (place, self.item[mine])), shape=shape)
        total = np.asarray(exposure.sum(axis=0), dtype=np.float64)[None, :]
        drawn = [weights @ exposure for weights in resamples(len(users), 0, RUN_DRAWS)]
        covered, unequal = zip(*((_coverage(block), gini(block)) for block in drawn), strict=True)
        return {
            "coverage": around(float(_coverage(total)[0]), np.concatenate(covered), len(users), (0, 1)),
            "gini": around(float(gini(total)[0]), np.concatenate(unequal), len(users), (0, 1)),
        }

    @cached_property
    def page_values(self) -> dict[str, FloatArray]:
        """Each page metric's value for each page: [pages]."""
        count = len(self.page_number)
        number = np.bincount(self.event_page, minlength=count)
        shown = np.where(number > 0, number, np.nan)
        liked = np.bincount(self.event_page, self.grade == Grade.LIKED, count)
        return {
            "P_view": np.bincount(self.event_page, watched(self.grade, self.rating), count) / shown,
            "N_like": liked,
            "P_like": liked / shown,
            "P_exit": self.run.pages["exit"].to_numpy().astype(float),
            "S_sat": self.satisfaction,
        }

    @cached_property
    def by_page(self) -> FloatArray:
        """Each page metric for each user still there, averaged over seeds: [users, policies, pages, metrics]."""
        shape = (len(self.users), len(self.policies), int(self.page_number.max(initial=0)) + 1)
        session = self.page_session
        users, policies = self.session_user[session], self.session_policy[session]
        place = np.ravel_multi_index((users, policies, self.page_number), shape)
        return np.stack([_means(values, place, shape) for values in self.page_values.values()], axis=3)

    def _per_session(self, weight: FloatArray | BoolArray) -> FloatArray:
        return np.bincount(self.event_session, weight, len(self.sessions)).astype(np.float64)

    @cached_property
    def _rows(self) -> IntArray:
        """Where the users of the log stand in the run's table of users."""
        return _places(pa.chunked_array([pa.array(self.users)]), self.run.users["user_id"].to_pylist())

    @cached_property
    def _tastes(self) -> sparse.csr_array:
        """The shares of the categories in the histories of the log's users: [users, categories]."""
        names, shares = (self.run.users[name].combine_chunks() for name in ("categories", "shares"))
        columns = _places(pa.chunked_array([names.flatten()]), self._category_names)
        starts = np.concatenate([[0], np.cumsum(pc.list_value_length(names).to_numpy())])
        shape = (len(names), max(1, len(self._category_names)))
        tastes = sparse.csr_array((shares.flatten().to_numpy(), columns, starts), shape=shape)
        return sparse.csr_array(tastes[self._rows])

    def _popularity_lift(self, shown: FloatArray) -> FloatArray:
        count = self.run.items["train_count"].to_numpy().astype(float)
        mean = self._per_session(count[self.item]) / shown
        usual = self.run.users["mean_popularity"].to_numpy()[self._rows][self.session_user]
        return np.divide(mean, usual, out=np.full(len(mean), np.nan), where=usual > 0) - 1

    def _novelty(self, shown: FloatArray) -> FloatArray:
        count = self.run.items["train_count"].to_numpy()
        surprise = -np.log2((count + 1) / (count.sum() + len(count)))
        return self._per_session(surprise[self.item]) / shown

    @cached_property
    def _category_names(self) -> list[str]:
        return sorted({name for names in self.run.items["categories"].to_pylist() for name in names})

    @cached_property
    def _categories(self) -> sparse.csr_array:
        lists = self.run.items["categories"].to_pylist()
        names = self._category_names
        place = {name: number for number, name in enumerate(names)}
        pairs = [(item, place[name]) for item, mine in enumerate(lists) for name in mine]
        rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
        return sparse.csr_array((np.ones(len(pairs)), (rows, columns)), shape=(len(lists), max(1, len(names))))

    def _diversity(self) -> FloatArray:
        """Mean distance between two items of a page; of unit vectors all it takes is their sum."""
        counts = np.asarray(self._categories.sum(axis=1)).reshape(-1)
        unit = sparse.diags_array(1 / np.sqrt(np.maximum(counts, 1))) @ self._categories
        speaking = counts[self.item] > 0  # an item without a category is near nothing and far from nothing
        pages = sparse.csr_array(
            (speaking.astype(float), (self.event_page, self.item)), shape=(len(self.page_number), len(counts))
        )
        number = np.asarray(pages.sum(axis=1)).reshape(-1)
        total = pages @ unit
        norm = np.asarray(total.multiply(total).sum(axis=1)).reshape(-1)
        pairs = number * (number - 1)
        likeness = np.divide(norm - number, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
        known = np.isfinite(likeness)
        sums = np.bincount(self.page_session[known], 1 - likeness[known], len(self.sessions))
        count = np.bincount(self.page_session[known], minlength=len(self.sessions))
        return np.divide(sums, count, out=np.full(len(sums), np.nan), where=count > 0)

    def _calibration(self) -> FloatArray:
        """Steck's divergence with a pinch of the history mixed in, so that none is infinite."""
        counts = np.asarray(self._categories.sum(axis=1)).reshape(-1)
        share = sparse.diags_array(1 / np.maximum(counts, 1)) @ self._categories
        sessions = sparse.csr_array(
            (np.ones(len(self.item)), (self.event_session, self.item)), shape=(len(self.sessions), len(counts))
        )
        blocks = []
        for begin in range(0, len(self.sessions), BLOCK):
            shown = (sessions[begin : begin + BLOCK] @ share).toarray()
            wanted = self._tastes[self.session_user[begin : begin + BLOCK]].toarray()
            blocks.append(_divergence(shown, wanted))
        return np.concatenate(blocks) if blocks else np.empty(0)


def _divergence(shown: FloatArray, wanted: FloatArray) -> FloatArray:
    """Return the divergence of each row of shown weights from the shares wanted; NaN where either is nothing."""
    mass = shown.sum(axis=1, keepdims=True)
    mixed = 0.99 * shown / np.maximum(mass, 1e-12) + 0.01 * wanted
    terms = np.where(wanted > 0, wanted * np.log2(np.maximum(wanted, 1e-12) / np.maximum(mixed, 1e-12)), 0.0)
    return np.where((mass[:, 0] > 0) & (wanted.sum(axis=1) > 0), terms.sum(axis=1), np.nan)


class Measured(NamedTuple):
    """Every figure of a run, ready to be written as JSON."""

    metrics: dict[str, dict[str, Plain]]  # by policy and metric
    comparisons: list[dict[str, object]]  # of every two policies
    pages: dict[str, dict[str, list[Plain]]]  # by policy and metric, for page 0, 1, …


def measure(run: RunDir) -> Measured:
    """Measure a run from its log alone."""
    measures = Measures(run)
    names = list(measures.session_values)
    values = measures.per_user
    bounds = [METRICS[name].bounds for name in names] * len(measures.policies)
    intervals = iter(means(values.reshape(len(values), -1), bounds=bounds))
    result = {}
    for policy, label in enumerate(measures.policies):
        found = {name: next(intervals) for name in names} | measures.whole(policy)
        ordered = {name: found[name] for name in METRICS}
        result[label] = {name: plain(interval) for name, interval in ordered.items()}
    families = [
        HEADLINE,
        [name for name in names if name not in HEADLINE and METRICS[name].higher_is_better is not None],
    ]
    comparisons = [
        row
        for family in families
        for row in compare(measures.policies, family, values[:, :, [names.index(name) for name in family]])
    ]
    offline = _Offline.of({label: run.rankings[label] for label in measures.policies if label in run.rankings})
    for label, found in offline.intervals().items():
        result[label] |= {name: plain(interval) for name, interval in found.items()}
    return Measured(result, comparisons + offline.comparisons(), _by_page(measures))


def _by_page(measures: Measures) -> dict[str, dict[str, list[Plain]]]:
    """Return the page metrics of every policy, as far as anybody came."""
    values = measures.by_page
    bounds = [METRICS[name].bounds if name in METRICS else SHARE for name in measures.page_values]
    repeated = bounds * (values.shape[1] * values.shape[2])
    intervals = iter(means(values.reshape(len(values), -1), bounds=repeated))
    result: dict[str, dict[str, list[Plain]]] = {}
    for label in measures.policies:
        result[label] = {name: [] for name in measures.page_values}
        for _ in range(values.shape[2]):
            for told in result[label].values():
                interval = next(intervals)
                if interval.n:
                    told.append(plain(interval))
    return result


def session_table(run: RunDir) -> pa.Table:
    """Return each policy's users with their headline metrics, averaged over seeds."""
    measures = Measures(run)
    names = list(measures.session_values)
    tables = []
    for policy, label in enumerate(measures.policies):
        values = measures.per_user[:, policy]
        users = np.flatnonzero(np.isfinite(values[:, names.index("N_like")]))
        columns = {name: values[users, names.index(name)] for name in HEADLINE}
        ids = [measures.users[user] for user in users]
        tables.append(pa.table({"policy": [label] * len(users), "user_id": ids, **columns}))
    return pa.concat_tables(tables)


@dataclass(frozen=True, eq=False)
class _Offline:
    """Recall, NDCG, hit rate and reciprocal rank of policies ranked offline, of the same users each."""

    policies: list[str]
    names: list[str]
    values: FloatArray  # [users, policies, names]

    @classmethod
    def of(cls, rankings: Mapping[str, pa.Table]) -> "_Offline":
        """Measure policies' rankings; one has no rows where nothing is held out."""
        found = {policy: ranking for policy, ranking in rankings.items() if len(ranking)}
        if not found:
            return cls([], [], np.empty((0, 0, 0)))
        users = sorted({user for ranking in found.values() for user in ranking["user_id"].unique().to_pylist()})
        place = {user: number for number, user in enumerate(users)}
        depth = {int(pc.max(ranking["rank"]).as_py()) + 1 for ranking in found.values()}
        values = np.full((len(users), len(found), len(OFFLINE)), np.nan)
        for policy, ranking in enumerate(found.values()):
            ids, quality = _qualities(ranking, max(depth))
            values[[place[user] for user in ids], policy] = quality
        return cls(list(found), [f"{name}@{max(depth)}" for name in OFFLINE], values)

    def intervals(self) -> dict[str, dict[str, Interval]]:
        """Return each policy's metrics."""
        if not self.policies:
            return {}
        flat = self.values.reshape(len(self.values), -1)
        found = iter(means(flat, bounds=[SHARE] * flat.shape[1]))
        return {policy: {name: next(found) for name in self.names} for policy in self.policies}

    def comparisons(self) -> list[dict[str, object]]:
        """Return the policies in pairs, on the same users."""
        return compare(self.policies, self.names, self.values)


def offline_metrics(ranking: pa.Table) -> dict[str, Interval]:
    """Return recall, NDCG, hit rate and reciprocal rank over the users of an offline ranking."""
    return _Offline.of({"": ranking}).intervals().get("", {})


def _qualities(ranking: pa.Table, k: int) -> tuple[list[object], FloatArray]:
    """Return the users of an offline ranking and their recall, NDCG, hit and reciprocal rank: [users, 4]."""
    users, user = _coded(ranking["user_id"])
    relevant = np.zeros((len(users), k), dtype=bool)
    relevant[user, ranking["rank"].to_numpy()] = ranking["relevant"].to_numpy(zero_copy_only=False)
    wanted = np.zeros(len(users), dtype=np.int64)
    wanted[user] = ranking["relevant_count"].to_numpy()
    return users, qualities(relevant, wanted)


def gini(exposure: FloatArray) -> FloatArray:
    """Return the Gini coefficient of each row [rows, items]; 0 for a row without any exposure."""
    ordered = np.sort(exposure, axis=1)
    count = exposure.shape[1]
    total = ordered.sum(axis=1)
    weighted = ordered @ (2 * np.arange(1, count + 1) - count - 1)
    return np.divide(weighted, count * total, out=np.zeros(len(total)), where=total > 0)


def _coverage(exposure: FloatArray) -> FloatArray:
    return (exposure > 0).mean(axis=1)


def compare(policies: Sequence[str], metrics: Sequence[str], values: FloatArray) -> list[dict[str, object]]:
    """Compare every pair of policies by each metric [users, policies, metrics] on the users they share.

    P-values are corrected for all that is compared: every pair by every metric.
    """
    pairs = list(combinations(range(len(policies)), 2))
    if not pairs:
        return []
    gaps = np.stack([values[:, one] - values[:, other] for one, other in pairs], axis=1)
    bounds = [(low - high, high - low) for low, high in (metric_of(name).bounds for name in metrics)]
    found = differences(gaps.reshape(len(gaps), -1), bounds=bounds * len(pairs))
    by_metric = [found[place :: len(metrics)] for place in range(len(metrics))]
    chances = [interval.p for interval in found]
    corrected, discovered = (
        [values[place :: len(metrics)] for place in range(len(metrics))]
        for values in (holm(chances), benjamini_hochberg(chances))
    )
    seen = [
        detectable(float(np.nanvar(gap, ddof=1)) if one.n > 1 else math.nan, one.n, comparisons=len(found))
        for gap, one in zip(gaps.reshape(len(gaps), -1).T, found, strict=True)
    ]
    return [
        {
            "metric": name,
            "policy": policies[one],
            "against": policies[other],
            "difference": _finite(by_metric[column][pair].mean),
            "low": _finite(by_metric[column][pair].low),
            "high": _finite(by_metric[column][pair].high),
            "p": _finite(by_metric[column][pair].p),
            "p_holm": _finite(corrected[column][pair]),
            "p_bh": _finite(discovered[column][pair]),
            "detectable": _finite(seen[pair * len(metrics) + column]),
            "n": by_metric[column][pair].n,
        }
        for pair, (one, other) in enumerate(pairs)
        for column, name in enumerate(metrics)
        if by_metric[column][pair].n
    ]


def _means(values: FloatArray, place: IntArray, shape: tuple[int, ...]) -> FloatArray:
    """Return the mean of the values that share a place; NaN counts for nothing, and where nothing is."""
    known = np.isfinite(values)
    size = math.prod(shape)
    total = np.bincount(place[known], values[known], size)
    count = np.bincount(place[known], minlength=size)
    return np.divide(total, count, out=np.full(size, np.nan), where=count > 0).reshape(shape)


def plain(interval: Interval) -> Plain:
    """Return an interval as JSON holds it."""
    return {
        "mean": _finite(interval.mean),
        "low": _finite(interval.low),
        "high": _finite(interval.high),
        "n": interval.n,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _coded(column: pa.ChunkedArray) -> tuple[list[object], IntArray]:
    """Return the column's different values in order, and each row's place among them."""
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    ordered = sorted(values)
    place = {value: number for number, value in enumerate(ordered)}
    ranks = np.array([place[value] for value in values], dtype=np.int64)
    return ordered, ranks[encoded.indices.to_numpy(zero_copy_only=False)]


def _places(column: pa.ChunkedArray, values: Sequence[object]) -> IntArray:
    """Return where each row's value stands in a list that holds them all, or say which one it does not hold."""
    encoded = column.combine_chunks().dictionary_encode()
    place: Mapping[object, int] = {value: number for number, value in enumerate(values)}
    try:
        ranks = np.array([place[value] for value in encoded.dictionary.to_pylist()], dtype=np.int64)
    except KeyError as missing:
        raise RunError(f"the log names {missing}, of which the run's tables know nothing; it was changed") from None
    return ranks[encoded.indices.to_numpy(zero_copy_only=False)]


def knows_truth(*names: str) -> bool:
    """Tell whether a policy, by its label or name, knows the truth and so contests nothing."""
    return any(name.lower().replace("_", "-") in BOUNDS for name in names)
