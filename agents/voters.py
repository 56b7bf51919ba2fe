"""Users by three votes: do the keywords match, is it like something he liked, do the statistics speak for it?

After the offline users of Zhang et al. (2025, "LLM-powered User Simulator for Recommender System"), with no language
model: keywords are those that TF-IDF finds in titles, categories and descriptions, or those that a model named once for
each item; likeness is that of text vectors to
the likest item of the history, and the statistics are those of `choosing`. Each facet holds what the user liked against
what he did not, and says yes with the chance that the last fifth of all histories bears out. So one who only ever liked
still passes things over, for what he never met is less like his items than what he chose. Two of three decide, or a
weighting that was fitted.

Texts and neighbours are what content-based policies go by: these users may take those better than others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numba
import numpy as np
from scipy import sparse
from scipy.special import expit, logit

from simenv.arrays import BitArray, FloatArray, IntArray
from simenv.chance import key, mix, stream
from simenv.chat.model import ChatModel
from simenv.chat.opening import Answers, open_model
from simenv.chat.scripted import is_stand_in
from simenv.dataset import Dataset, liked_from
from simenv.errors import SimenvError
from simenv.judgement import Judgement
from simenv.options import check_choice, check_number
from simenv.pages import Page, Reaction
from simenv.population import AnsweredBy
from simenv.text import TfidfEncoder, tfidf, word_counts

from .browsing import Browsing, Habits, Minds, habits_of
from .choice import asked_last, learn_minds, logistic
from .choosing import LAST, Leanings
from .keywords import counted, keywords_of
from .prompts import version

FACETS = ("keywords", "likeness", "statistics")
TFIDF = "tfidf"
STATISTICS = FACETS.index("statistics")
VECTOR = 32  # dimensions of a text vector
COMMON = 0.3  # share of the items from which a word says nothing
DOUBT = 3.0  # items' worth of doubt about what a history says
OWN_CHANCE = key(0, "voters")
SURE = 12.0  # log-odds beyond which nobody is
Rule = Literal["majority", "weights"]


class VotersPopulation:
    """Browses, rates and judges by three votes on every item; nothing is asked of a language model meanwhile.

    With a model as `keywords` (`{kind: endpoint, model: NAME}` and its options) that one names each item's keywords as
    the users are fitted: one question for an item, of which `most_failed` may come to nothing.
    """

    options_type: ClassVar[type] = Habits

    def __init__(
        self,
        *,
        rule: Rule = "majority",
        keywords: str | Mapping[str, Any] | ChatModel = TFIDF,
        most_failed: float = 0.05,
        seed: int = 0,
        answers: Answers | None = None,
        **habits: float,
    ) -> None:
        check_choice(get_args(Rule), rule=rule)
        check_number(least=0, most=1, most_failed=most_failed)
        self.rule = rule
        self.keywords = None if keywords == TFIDF else open_model(keywords, answers)
        self.most_failed = most_failed
        self.seed = seed
        self.habits = habits_of(habits)
        self.panel: _Panel | None = None

    def fit(self, dataset: Dataset) -> None:
        """Learn what each vote is worth from the last fifth of the histories, then vote by all of them."""
        learnt = learn_minds(dataset, self.seed, self.habits)
        named = None if self.keywords is None else keywords_of(dataset, self.keywords, self.most_failed)
        words = _words(dataset, word_counts(dataset.catalog) if named is None else counted(named))
        users, items, chosen, worth = asked_last(dataset, stream(self.seed, "voters"))
        told = _Facets(words, _history(dataset, LAST), learnt.early).of(users, items)
        votes = [logistic(one, chosen, worth, ridge=1.0) for one in told]
        odds = np.stack([_odds(one, vote) for one, vote in zip(told, votes, strict=True)], axis=1)
        weights = logistic(odds, chosen, worth, ridge=1.0)
        facets = _Facets(words, _history(dataset, 1.0), learnt.late)
        self.panel = _Panel(facets, votes, weights, self.rule, learnt.minds)

    def enter(self, users: IntArray, luck: BitArray) -> "Voting":
        """Seat these users in this order."""
        return Voting(self._seated(), users, own_chance(luck))

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        """Return what each user would do with the item beside him; `wanted` is the chance of a yes."""
        panel = self._seated()
        return replace(panel.minds.judge(users, items, own_chance(luck)), wanted=expit(panel.odds(users, items)))

    @property
    def answered_by(self) -> AnsweredBy:
        """What their reactions come from: plain code, but for a model that names keywords as they are fitted."""
        return AnsweredBy(a_model=self.keywords is not None)

    def facts(self) -> Mapping[str, Any]:
        """Return how they vote, and who named the keywords, if that was a model."""
        rules = {"majority": "two of three decide", "weights": "weighed as fitted"}
        about = f"votes by {', '.join(FACETS)}: {rules[self.rule]}"
        if self.keywords is None:
            return {"about": about}
        settings = dict(self.keywords.settings)
        by = "a scripted stand-in, no language model" if is_stand_in(self.keywords) else settings.get("model")
        return {"about": f"{about}; keywords named by {by}", "keywords": {"model": settings, "prompts": version()}}

    def _seated(self) -> "_Panel":
        if self.panel is None:
            raise SimenvError("VotersPopulation: nobody can enter before fit(dataset)")
        return self.panel


@dataclass(frozen=True, eq=False)
class _Words:
    """What is written about items: keywords by TF-IDF, rows of a sparse matrix, and short vectors."""

    starts: IntArray  # [I + 1]
    names: IntArray  # [N], keywords in rising order for each item
    weights: FloatArray  # [N]
    vectors: FloatArray  # [I, V]


@dataclass(frozen=True, eq=False)
class _History:
    """What users met, as far as it is told: rows by user, liked ones and others."""

    starts: IntArray  # [U + 1]
    items: IntArray  # [N]
    liked: IntArray  # [N], 1 or 0


@dataclass(frozen=True, eq=False)
class _Facets:
    """Three views of a user and an item."""

    words: _Words
    history: _History
    leanings: Leanings

    def of(self, users: IntArray, items: IntArray) -> list[FloatArray]:
        """Return what the facets hold for and against each pair: [N, 2], [N, 2] and [N, 1]."""
        pairs = users.astype(np.int64), items.astype(np.int64)
        history, words = self.history, self.words
        common, near = np.zeros((len(users), 2)), np.zeros((len(users), 2))
        _match(*pairs, history.starts, history.items, history.liked, words.starts, words.names, words.weights, common)
        _nearest(*pairs, history.starts, history.items, history.liked, words.vectors, near)
        return [common, near, self.leanings.of(*pairs)[:, None]]


@dataclass(frozen=True, eq=False)
class _Panel:
    """Three votes, and how they are put together."""

    facets: _Facets
    votes: list[FloatArray]
    weights: FloatArray
    rule: Rule
    minds: Minds

    def odds(self, users: IntArray, items: IntArray, *, met: bool = False) -> FloatArray:
        """Return the log-odds of a yes for each pair: among items never met, or to one that is met here and now.

        Famous items are met more often than others. What that brought them is taken off the vote of the statistics,
        which alone knows of fame; taken off the sum it would make all that is famous unwelcome.
        """
        told = self.facets.of(users, items)
        odds = np.stack([_odds(one, vote) for one, vote in zip(told, self.votes, strict=True)], axis=1)
        if met:
            odds[:, STATISTICS] -= self.votes[STATISTICS][0] * self.minds.meeting[items]
        if self.rule == "weights":
            return np.asarray(_odds(odds, self.weights))
        one, two, three = expit(odds).T
        return np.asarray(logit(one * two + one * three + two * three - 2 * one * two * three).clip(-SURE, SURE))


def own_chance(luck: BitArray) -> BitArray:
    """Return bits of these users' own, so that what `choice` does by chance they do not."""
    return mix(luck ^ OWN_CHANCE, 0)


class Voting:
    """Voting users, each in a seat."""

    def __init__(self, panel: _Panel, users: IntArray, luck: BitArray) -> None:
        self.panel = panel
        self.users = np.array(users)
        self.browsing = Browsing(panel.minds, users, luck)

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        """Let these users begin a session in seats that others have left."""
        self.users[seats] = users
        self.browsing.reseat(seats, users, own_chance(luck))

    def react(self, page: Page) -> Reaction:
        """Return what the users in `page.seats` do with the page."""
        items = np.maximum(page.items, 0)
        users = np.repeat(self.users[page.seats], items.shape[1])
        odds = self.panel.odds(users, items.ravel(), met=True)
        return self.browsing.react(page, odds.reshape(items.shape).astype(np.float32))


def _words(dataset: Dataset, counts: sparse.csr_array) -> _Words:
    """Return keywords and vectors; a word of one item, or of a third of all, is no keyword."""
    spread = np.bincount(counts.indices, minlength=counts.shape[1])
    telling = counts[:, (spread >= 2) & (spread <= COMMON * len(dataset.catalog))]
    both = [tfidf(telling), tfidf(sparse.csr_array(dataset.catalog.category_matrix).astype(np.float64))]
    matrix = sparse.csr_array(sparse.hstack(both, format="csr"))
    matrix.sort_indices()
    vectors = TfidfEncoder(VECTOR).encode(dataset.catalog)
    return _Words(
        matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data.astype(np.float64), vectors
    )


def _history(dataset: Dataset, share: float) -> _History:
    """Return this share of every history; liked are those at least as high as the user's usual rating, or unrated."""
    log, counts = dataset.interactions, np.diff(dataset.starts)
    told = log.places(len(counts)) < np.floor(counts * share + 1e-9)[log.users]
    log = log[told]
    liked = np.isnan(log.ratings) | (log.ratings >= liked_from(dataset.interactions.ratings))
    return _History(log.starts(len(counts)), log.items.astype(np.int64), liked.astype(np.int64))


def _odds(inputs: FloatArray, weights: FloatArray) -> FloatArray:
    """Return log-odds, summed in one order whatever the batch."""
    odds = np.full(len(inputs), weights[-1])
    for column, weight in zip(inputs.T, weights[:-1], strict=True):
        odds += weight * column
    return odds.clip(-SURE, SURE)


@numba.njit(cache=True)
def _match(users, items, starts, met, liked, rows, names, weights, found):  # type: ignore[no-untyped-def]
    """Write how far keywords of each item are shared by what the user liked, and by what he met otherwise."""
    for pair in range(len(users)):
        item = items[pair]
        counts = np.zeros(2)
        for place in range(starts[users[pair]], starts[users[pair] + 1]):
            other, side = met[place], 1 - liked[place]
            counts[side] += 1
            if other == item:
                continue
            one, two = rows[item], rows[other]
            while one < rows[item + 1] and two < rows[other + 1]:
                if names[one] == names[two]:
                    found[pair, side] += weights[one] * weights[two]
                    one += 1
                    two += 1
                elif names[one] < names[two]:
                    one += 1
                else:
                    two += 1
        for side in range(2):
            found[pair, side] /= counts[side] + DOUBT


@numba.njit(cache=True)
def _nearest(users, items, starts, met, liked, vectors, found):  # type: ignore[no-untyped-def]
    """Write the cosine of each item to the likest item that the user liked, and to the likest other one."""
    width = vectors.shape[1]
    for pair in range(len(users)):
        item = items[pair]
        for place in range(starts[users[pair]], starts[users[pair] + 1]):
            other, side = met[place], 1 - liked[place]
            if other == item:
                continue
            like = 0.0
            for part in range(width):
                like += vectors[item, part] * vectors[other, part]
            found[pair, side] = max(found[pair, side], like)
