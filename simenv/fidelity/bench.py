"""What every test of the battery works on: a fitted population, held-out rows, and lists of known policies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from simenv.arrays import BitArray, FloatArray, IntArray
from simenv.chance import key, mix, stream
from simenv.context import Context
from simenv.dataset import Dataset, liked_from
from simenv.errors import BudgetSpent, SimenvError
from simenv.interactions import Interactions
from simenv.judgement import Judgement
from simenv.loop import PageLoop, luck_of, policy_luck
from simenv.pages import EMPTY, Grade, Page, Reaction, Turn, watched
from simenv.policy import Policy
from simenv.population import Calibrated, Population, Sessions, judging
from simenv.splits import Split

from .results import LIMITS, Limit

METRICS = ("S_sat", "N_like", "P_view", "N_exit")
IN_WORDS = {"S_sat": "satisfaction", "N_like": "likes", "P_view": "share viewed", "N_exit": "pages"}
LONG = 5  # pages that a session must be allowed, for its length to say something
SEATS = 20_000  # at once
CERTAIN = 2.0  # standard errors
PAIR_KEY = key(0, "fidelity", "pair")


class Spent(BudgetSpent):
    """The battery's budget of answers is spent."""


@dataclass(frozen=True, eq=False)
class Bench:
    """A population on the bench, and what it is tried with."""

    population: Population  # fitted to `split.train`
    split: Split
    users: IntArray  # [U], who is asked
    lists: Mapping[str, IntArray]  # by policy, each user's items, best first: [U, L]
    page_size: int = 5
    max_pages: int = 10
    repeats: int = 4  # times that chance is drawn anew where it is averaged out
    seed: int = 0
    is_brief: bool = False  # whether every answer costs, so that tests do with fewer lists
    known_base: str | None = None  # which policy is best, as more users told than are asked
    refit: Callable[[Dataset], Population] | None = None  # a new population, fitted to a changed data set
    refits: int = 4  # how many such fits are worth their time
    unrated: Callable[[Dataset], Population] | None = None  # the same, without the ratings that items are shown with
    limits: Mapping[str, Limit] = field(default_factory=lambda: LIMITS)

    @property
    def train(self) -> Dataset:
        """What the population was fitted to."""
        return self.split.train

    @cached_property
    def held_out(self) -> Interactions:
        """The asked users' rows that nothing was fitted to, validation and test, oldest first."""
        parts = [rows[np.isin(rows.users, self.users)] for rows in (self.split.valid, self.split.test)]
        users, items, ratings, times = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("users", "items", "ratings", "times")
        )
        log, _ = Interactions.sort(users, items, ratings, times, order=np.arange(len(users)))
        return log

    @cached_property
    def places(self) -> IntArray:
        """Where each user of the data set stands among the asked; -1 for the others."""
        found = np.full(len(self.train.users), -1)
        found[self.users] = np.arange(len(self.users))
        return found

    @cached_property
    def liked(self) -> Interactions:
        """The held-out rows of what users liked, or chose where the data have no ratings."""
        log = self.held_out
        from_rating = liked_from(np.concatenate([self.train.interactions.ratings, log.ratings]))
        return log[~(log.ratings < from_rating)]

    @cached_property
    def level_users(self) -> IntArray | None:
        """Users whose rows set the levels of ratings; None where the population does not say."""
        asked = self.population.population if isinstance(self.population, Metered) else self.population
        return asked.level_users if isinstance(asked, Calibrated) else None

    @cached_property
    def base(self) -> str | None:
        """The policy that foresees best what was liked; None where none does so better than chance for certain."""
        if self.known_base is not None:
            return self.known_base
        gain = {label: self.ndcg(lists) - self.ndcg(self.random_lists("base")) for label, lists in self.lists.items()}
        known = {label: one[np.isfinite(one)] for label, one in gain.items()}
        sure = {
            label: float(one.mean())
            for label, one in known.items()
            if len(one) > 1 and one.mean() > CERTAIN * one.std(ddof=1) / np.sqrt(len(one))
        }
        return max(sure, key=lambda label: sure[label]) if sure else None

    def ndcg(self, lists: IntArray) -> FloatArray:
        """Return how well lists [U, L] foresee what was liked of the held-out rows; NaN for users who have none."""
        wanted = np.zeros((len(self.users), len(self.train.catalog)), dtype=bool)
        wanted[self.places[self.liked.users], self.liked.items] = True
        hits = np.take_along_axis(wanted, np.maximum(lists, 0), axis=1) & (lists != EMPTY)
        discount = 1 / np.log2(np.arange(lists.shape[1]) + 2)
        best = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(wanted.sum(axis=1), lists.shape[1])]
        return np.divide(hits @ discount, best, out=np.full(len(best), np.nan), where=best > 0)

    @cached_property
    def met(self) -> list[IntArray]:
        """Each asked user's items in any row: what is not among them he never met."""
        train, log = self.train, self.held_out
        starts, held = train.starts, log.starts(len(train.users))
        past, later = train.interactions.items, log.items
        return [
            np.union1d(past[starts[user] : starts[user + 1]], later[held[user] : held[user + 1]]) for user in self.users
        ]

    @cached_property
    def junk(self) -> IntArray:
        """Items that a user has no reason to want, unmet, obscure and unlike his history, in any order: [U, L]."""
        train = self.train
        count, length = len(train.catalog), self.page_size * self.max_pages
        fame = np.log1p(train.popularity)
        fame = fame / max(float(fame.std()), 1e-9)
        matrix = train.catalog.category_matrix.astype(np.float64)
        matrix /= np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        rng = stream(self.seed, "fidelity", "junk")
        found = np.full((len(self.users), length), EMPTY, dtype=np.int32)
        for row, user in enumerate(self.users):
            mine = train.interactions.items[train.starts[user] : train.starts[user + 1]]
            score = fame.copy()
            if matrix.shape[1]:
                suits = matrix @ matrix[mine].mean(axis=0)
                score += suits / max(float(suits.std()), 1e-9)
            score[self.met[row]] = np.inf
            worst = min(max(length, count // 10), count - len(self.met[row]))
            some = np.argpartition(score, worst - 1)[:worst] if worst < count else np.arange(count)
            drawn = rng.permutation(some)[:length]
            found[row, : len(drawn)] = drawn
        return found

    @cached_property
    def contestants(self) -> dict[str, IntArray]:
        """Lists whose order is known: each policy's, with more and more random items, and random items alone."""
        drawn = self.random_lists("contest")
        shares = (0.0, 0.5) if self.is_brief else (0.0, 0.25, 0.5, 0.75)
        found = {
            label if not part else f"{label} with {part:.0%} random": self.spoilt(lists, drawn, part, "contest")
            for label, lists in self.lists.items()
            for part in shares
        }
        return found | {"random items": drawn}

    @cached_property
    def contest(self) -> "dict[str, Played]":
        """Everybody's sessions with each of them."""
        return self.play_all(self.contestants)

    def random_lists(self, name: str) -> IntArray:
        """Return for each user items that are not in his training rows, in any order: [U, L]."""
        rng = stream(self.seed, "fidelity", name)
        count, length = len(self.train.catalog), self.page_size * self.max_pages
        found = np.full((len(self.users), length), EMPTY, dtype=np.int32)
        starts, items = self.train.starts, self.train.interactions.items
        for row, user in enumerate(self.users):
            met = items[starts[user] : starts[user + 1]]
            drawn = (
                rng.permutation(count)[: length + len(met)] if count < 5000 else rng.choice(count, length + len(met))
            )
            drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
            drawn = drawn[~np.isin(drawn, met)][:length]
            found[row, : len(drawn)] = drawn
        return found

    def spoilt(self, lists: IntArray, others: IntArray, share: float, name: str) -> IntArray:
        """Return the lists with this share of each page's places given to other items, drawn once for all shares."""
        size = self.page_size
        bits = stream(self.seed, "fidelity", "places", name).random((len(lists), lists.shape[1] // size, size))
        # A share of a page need not be whole: the places of the whole list are ranked, page by page in turn.
        order = np.argsort(np.argsort(bits, axis=2), axis=2) + bits[:, :, :1]
        rank = np.argsort(np.argsort(order.reshape(len(lists), -1), axis=1), axis=1)
        taken = rank < round(share * lists.shape[1])
        mixed = lists.copy()
        for row, gone in enumerate(taken):  # no item stands twice, so no place is lost
            fresh = others[row][~np.isin(others[row], lists[row, ~gone])]
            lost = np.flatnonzero(gone)
            mixed[row, lost] = EMPTY
            mixed[row, lost[: len(fresh)]] = fresh[: len(lost)]
        return mixed

    def play(self, lists: IntArray, users: IntArray, seeds: IntArray, *, again: bool = False) -> "Played":
        """Let each user browse the list beside him [S, L] until he leaves; with `again` items may come back."""
        parts = []
        for begin in range(0, len(users), SEATS):
            end = begin + SEATS
            parts.append(self._play(lists[begin:end], users[begin:end], seeds[begin:end], again))
        return Played.joined(parts)

    def _play(self, lists: IntArray, users: IntArray, seeds: IntArray, again: bool) -> "Played":
        size = self.page_size
        loop = PageLoop(
            self.train, self.population, page_size=size, max_pages=lists.shape[1] // size, leave_out_shown=not again
        )
        loop.enter(users, seeds)
        here, turns, number = np.arange(len(users)), [], 0
        while len(here):
            turn = loop.turn(lists[here, number * size : (number + 1) * size], here)
            turns.append(turn)
            here = here[~(turn.reaction.exits | turn.truncated)]
            number += 1
        return Played(turns, len(users))

    def play_all(self, many: Mapping[str, IntArray], repeats: int | None = None) -> dict[str, "Played"]:
        """Let everybody browse each of many lists [U, L], `repeats` times with other luck: sessions by repeat, user."""
        times = repeats or self.repeats
        users = np.tile(self.users, times)
        seeds = np.repeat(self.seed + np.arange(times), len(self.users))
        return {name: self.play(np.tile(lists, (times, 1)), users, seeds) for name, lists in many.items()}

    def per_user(self, played: "Played") -> FloatArray:
        """Return each user's session metrics, the mean over repeats: [U, 4], as METRICS names them."""
        return played.metrics.reshape(-1, len(self.users), len(METRICS)).mean(axis=0)

    def refitted(self, dataset: Dataset, make: Callable[[Dataset], Population] | None = None) -> Population:
        """Return a population like the one on the bench, fitted to another data set; its answers count alike."""
        maker = make or self.refit
        if maker is None:
            raise SimenvError(f"{type(self.population).__name__} cannot be fitted again")
        fresh = maker(dataset)
        return metered(fresh, meter=self.population) if isinstance(self.population, Metered) else fresh

    def judge(self, users: IntArray, items: IntArray, population: Population | None = None) -> Judgement:
        """Return what users would do with items, pair by pair; of those who cannot tell, what they take from pages."""
        asked = population or self.population
        luck = mix(mix(PAIR_KEY, luck_of(self.seed, users)), items)
        if (judge := judging(asked)) is not None:
            return judge.judge(users, items, luck)
        return self._judge_by_pages(asked, users, items)

    def _judge_by_pages(self, population: Population, users: IntArray, items: IntArray) -> Judgement:
        """Show each user his items by pages, each page to one who just came, and see what is taken."""
        order = np.lexsort((mix(mix(PAIR_KEY, users), items), users))
        place = np.arange(len(users)) - np.searchsorted(users[order], users[order])
        _, page_of = np.unique(
            users[order].astype(np.int64) * len(users) + place // self.page_size, return_inverse=True
        )
        column = place % self.page_size
        pages = np.full((int(page_of.max(initial=-1)) + 1, self.page_size), EMPTY, dtype=np.int32)
        pages[page_of, column] = items[order]
        who = np.zeros(len(pages), dtype=np.int64)
        who[page_of] = users[order]
        seen, taken, rated, total = np.zeros((4, len(users)))
        last = np.full(len(users), np.nan)
        loop = PageLoop(self.train, population, page_size=self.page_size, max_pages=1, leave_out_shown=False)
        for repeat in range(self.repeats):
            loop.enter(who, self.seed + repeat)
            reaction = loop.turn(pages).reaction
            rating = reaction.ratings[page_of, column]
            seen[order] += reaction.grades[page_of, column] != Grade.UNSEEN
            taken[order] += watched(reaction.grades, reaction.ratings)[page_of, column]
            given = np.isfinite(rating)
            rated[order] += given
            total[order] += np.where(given, rating, 0)
            last[order] = np.where(given, rating, last[order])
        share, mean = (
            np.divide(one, of, out=np.full(len(users), np.nan), where=of > 0)
            for one, of in ((taken, seen), (total, rated))
        )
        return Judgement(share, last, mean)


@dataclass(frozen=True, eq=False)
class Played:
    """Sessions that were played, each in a seat."""

    turns: list[Turn]
    count: int

    @staticmethod
    def joined(parts: "list[Played]") -> "Played":
        """Return some sessions beside each other, their seats counted on."""
        if len(parts) == 1:
            return parts[0]
        turns, before = [], 0
        for part in parts:
            turns += [replace(turn, page=replace(turn.page, seats=turn.page.seats + before)) for turn in part.turns]
            before += part.count
        return Played(turns, before)

    @cached_property
    def metrics(self) -> FloatArray:
        """Each session's metrics, as METRICS names them: [S, 4]."""
        satisfaction, likes, views, shown, pages = np.zeros((5, self.count))
        for turn in self.turns:
            seats, grades = turn.page.seats, turn.reaction.grades
            satisfaction[seats] += turn.reaction.satisfaction
            likes[seats] += (grades == Grade.LIKED).sum(axis=1)
            views[seats] += watched(grades, turn.reaction.ratings).sum(axis=1)
            shown[seats] += (turn.page.items != EMPTY).sum(axis=1)
            pages[seats] += 1
        return np.stack([satisfaction / pages, likes, views / np.maximum(shown, 1), pages], axis=1)


def lists_of(policy: Policy, train: Dataset, users: IntArray, length: int) -> IntArray:
    """Return what a policy would show first to each of the users: [U, length]."""
    none = np.empty((len(users), 0), dtype=np.int32)
    number = np.zeros(len(users), dtype=np.int32)
    luck: BitArray = policy_luck(luck_of(0, users))
    return np.asarray(policy.recommend(Context(train, users, number, none, none.astype(np.int8), luck), length))


class Metered:
    """A population whose answers are counted: one for each page that a user is shown, or item that he judges."""

    def __init__(self, population: Population, most: int | None = None, meter: "Metered | None" = None) -> None:
        self.population, self.most, self.meter, self.asked = population, most, meter, 0

    def fit(self, dataset: Dataset) -> None:
        """Learn who the users are."""
        self.population.fit(dataset)

    def enter(self, users: IntArray, luck: BitArray) -> Sessions:
        """Seat these users in this order."""
        return _MeteredSessions(self, self.population.enter(users, luck))

    def count(self, answers: int) -> None:
        """Note that so many answers are wanted; stop where they are too many."""
        if self.meter is not None:
            self.meter.count(answers)
        elif self.most is not None and self.asked + answers > self.most:
            raise Spent(f"{self.asked} of {self.most} answers were asked for, and {answers} more are wanted")
        self.asked += answers


class MeteredJudge(Metered):
    """One that also judges items."""

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        """Return what each user would do with the item beside him."""
        judge = judging(self.population)
        if judge is None:
            raise SimenvError(f"{type(self.population).__name__} cannot judge items one by one")
        self.count(len(users))
        return judge.judge(users, items, luck)


def metered(population: Population, most: int | None = None, meter: Metered | None = None) -> Metered:
    """Return the population with its answers counted, for itself or with those of another."""
    return (Metered if judging(population) is None else MeteredJudge)(population, most, meter)


@dataclass(slots=True, eq=False)
class _MeteredSessions:
    meter: Metered
    sessions: Sessions

    def react(self, page: Page) -> Reaction:
        self.meter.count(len(page.users))
        return self.sessions.react(page)

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        self.sessions.reseat(seats, users, luck)
