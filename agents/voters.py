"""Users by three votes: do the keywords match, is it like something they liked, do the statistics speak for it?

After the offline users of Zhang et al. (2025, "LLM-powered User Simulator for Recommender System"), with no language
model: keywords are those that TF-IDF finds in titles, categories and descriptions, or those that a model named once for
each item; likeness is that of text vectors to the likest item of the history; the statistics are those of a Markov
chain over the last items (`sequences`), where the paper has SASRec. Each facet holds what the user liked against what
they did not, and votes twice: whether the item is chosen, and whether it is liked once chosen. Each vote is the chance
of a yes that the last fifth of all histories bears out, so one who only ever liked still passes things over. Two of
three decide, or a weighting that was fitted. Ratings follow from the votes on liking.

Nothing that `choice` learns is read here; both browse and leave by the mechanism in `browsing`, with declared habits.
Texts and neighbours are what content-based policies go by: these users may take those better than others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, Protocol, get_args

import numba
import numpy as np
from scipy import sparse
from scipy.special import expit, logit

from simenv.arrays import BitArray, FloatArray, GradeArray, IntArray
from simenv.chance import key, mix, stream, uniform
from simenv.chat.model import ChatModel
from simenv.chat.opening import Answers, open_model
from simenv.chat.scripted import is_stand_in
from simenv.dataset import Dataset, liked_from
from simenv.errors import DataError, SimenvError
from simenv.judgement import Judgement
from simenv.options import check_choice, check_number
from simenv.pages import Grade, Page, Reaction
from simenv.population import AnsweredBy
from simenv.store import Arrays
from simenv.text import TfidfEncoder, tfidf, word_counts

from .browsing import Browsing, Habits, Minds, habits_of, worth_of
from .calibration import CALIBRATION_ROWS, LAST, asked_last, logistic, meeting_of, patience_of
from .keywords import counted, keywords_of
from .prompts import version
from .rating import LOGISTIC, coarse, expected, last_rows, level_grades, level_users
from .sequences import Sequences, learn_sequences

FACETS = ("keywords", "likeness", "statistics")
TFIDF = "tfidf"
STATISTICS = FACETS.index("statistics")
VECTOR = 32  # dimensions of a text vector
COMMON = 0.3  # share of the items from which a word says nothing
DOUBT = 3.0  # items' worth of doubt about what a history says
DOUBT_LIKED = 1.0  # shared keywords' worth of doubt about whether a user likes what bears them
SHARP = 4  # power of a cosine by which liker items count in the likeness of what was liked
WELL_KNOWN = 25  # items by which it is told what a user is used to
RATING = 1  # what a rating is drawn by, of a pair's bits
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
        self.level_users: IntArray = np.zeros(0, dtype=np.int64)

    def fit(self, dataset: Dataset) -> None:
        """Learn what each vote is worth from the last fifth of the histories, then vote by all of them."""
        log = dataset.interactions
        if len(log) < 10:
            raise DataError(f"{dataset.name}: {len(log)} training rows are too few to fit the users to; 10 at least")
        if min(len(dataset.users), len(dataset.catalog)) < 2:
            raise DataError(f"{dataset.name}: to fit the users takes at least two of them, and two items")
        named = None if self.keywords is None else keywords_of(dataset, self.keywords, self.most_failed)
        words = _words(dataset, word_counts(dataset.catalog) if named is None else counted(named))
        early = _facets(dataset, words, LAST, self.seed)
        users, items, chosen, worth = asked_last(dataset, stream(self.seed, "voters"))
        chooses = _council(early.of(users, items).chosen, chosen, worth)
        facets = _facets(dataset, words, 1.0, self.seed)
        if np.isfinite(log.ratings).any():
            likes, scale = _learnt_likes(dataset, early, self.rule, self.seed)
        else:
            likes, scale = None, _implicit_scale(chooses, early.of(users[chosen > 0], items[chosen > 0]), self.rule)
        panel = _Panel(facets, chooses, likes, scale, self.rule, _minds(dataset, words, scale, self.habits))
        usual = _usual_worth(panel, dataset.popularity, stream(self.seed, "voters usual"))
        self.panel = replace(panel, minds=replace(panel.minds, usual=usual))
        self.level_users = level_users(dataset, self.seed)

    def state(self) -> Arrays:
        """Return all that was learnt; with keywords named by a model it is not kept, so that answers are on record."""
        if self.keywords is not None:
            raise SimenvError("voters: users whose keywords a model named are fitted anew")
        panel = self._seated()
        facets = panel.facets
        arrays = _arrays("words", facets.words) | _arrays("history", facets.history)
        arrays |= _arrays("sequences", facets.sequences) | _arrays("scale", panel.scale) | _arrays("minds", panel.minds)
        for name, council in (("chooses", panel.chooses), ("likes", panel.likes)):
            if council is not None:
                arrays |= {f"{name}.{place}": vote for place, vote in enumerate((*council.votes, council.weights))}
        return arrays | {"liked_share": np.array([facets.liked_share]), "level_users": self.level_users}

    def restore(self, arrays: Arrays) -> None:
        """Be as the population was whose state this is."""

        def part(name: str) -> dict[str, Any]:
            begin = f"{name}."
            return {label.removeprefix(begin): one for label, one in arrays.items() if label.startswith(begin)}

        def council(name: str) -> _Council:
            votes = part(name)
            *each, weights = (votes[str(place)] for place in range(len(votes)))
            return _Council(each, weights)

        facets = _Facets(
            _Words(**part("words")),
            _History(**part("history")),
            Sequences(**part("sequences")),
            float(arrays["liked_share"][0]),
        )
        likes = council("likes") if part("likes") else None
        minds = Minds(**part("minds"), habits=self.habits)
        self.panel = _Panel(facets, council("chooses"), likes, _Scale(**part("scale")), self.rule, minds)
        self.level_users = arrays["level_users"]

    def enter(self, users: IntArray, luck: BitArray) -> "Voting":
        """Seat these users in this order."""
        return Voting(self._seated(), users, own_chance(luck))

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        """Return what each user would do with the item beside him; `wanted` is the chance of a yes."""
        panel = self._seated()
        votes = panel.facets.of(users, items)
        odds, joys, scale = panel.odds(votes), panel.joys(votes), panel.scale
        drawn = joys + logit(uniform(mix(own_chance(luck), RATING)) + 2.0**-54)
        ratings = scale.levels[np.searchsorted(scale.cuts, drawn)].astype(np.float32)
        mean = expected(joys, np.full(len(joys), 1 / LOGISTIC), scale.cuts, scale.levels)
        return Judgement(expit(odds), ratings, mean.astype(np.float32))

    def votes(self, users: IntArray, items: IntArray) -> FloatArray:
        """Return the log-odds of a like of each vote for each pair [N, 3], in the order of `FACETS`.

        Where the data hold no ratings these are the log-odds of a choice.
        """
        panel = self._seated()
        evidence = panel.facets.of(users, items)
        if panel.likes is None:
            return panel.chooses.of(evidence.chosen)
        return panel.likes.of(evidence.liked)

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
class Evidence:
    """What the three facets hold for and against pairs of users and items, as they are chosen and as they are liked."""

    users: IntArray  # [N]
    items: IntArray  # [N]
    chosen: list[FloatArray]  # [N, .] each
    liked: list[FloatArray]  # [N, .] each


@dataclass(frozen=True, eq=False)
class _Facets:
    """Three views of a user and an item."""

    words: _Words
    history: _History
    sequences: Sequences
    liked_share: float

    def of(self, users: IntArray, items: IntArray) -> Evidence:
        """Return what the facets hold for and against each pair."""
        users, items = users.astype(np.int64), items.astype(np.int64)
        history, words = self.history, self.words
        past = history.starts, history.items, history.liked
        common, near = np.zeros((len(users), 2)), np.zeros((len(users), 4))
        _match(users, items, *past, words.starts, words.names, words.weights, common)
        _nearest(users, items, *past, words.vectors, near)
        liked = np.append(0, np.cumsum(history.liked))[history.starts]
        sides = np.stack([np.diff(liked), np.diff(history.starts) - np.diff(liked)], axis=1)[users]
        sequences = self.sequences
        return Evidence(
            users,
            items,
            [common / (sides + DOUBT), near[:, :2], sequences.chosen(users, items)],
            [
                _sided(common, self.liked_share),
                np.hstack([near[:, :2], _sided(near[:, 2:], self.liked_share)]),
                sequences.liked(users, items),
            ],
        )


def _sided(masses: FloatArray, liked_share: float) -> FloatArray:
    """Return the log-odds that what is like an item was liked [N, 1], from the masses of liked and of other items."""
    one, other = masses.T
    return np.log((one + DOUBT_LIKED * liked_share) / (other + DOUBT_LIKED * (1 - liked_share)))[:, None]


@dataclass(frozen=True, eq=False)
class _Council:
    """Three votes on one question, and how they are put together."""

    votes: list[FloatArray]
    weights: FloatArray

    def of(self, told: list[FloatArray]) -> FloatArray:
        """Return the log-odds of a yes of each vote [N, 3]."""
        return np.stack([_odds(one, vote) for one, vote in zip(told, self.votes, strict=True)], axis=1)

    def together(self, odds: FloatArray, rule: Rule) -> FloatArray:
        """Return the log-odds of a yes of all three [N]."""
        if rule == "weights":
            return np.asarray(_odds(odds, self.weights))
        one, two, three = expit(odds).T
        return np.asarray(logit(one * two + one * three + two * three - 2 * one * two * three).clip(-SURE, SURE))


def _council(told: list[FloatArray], yes: FloatArray, worth: FloatArray) -> _Council:
    """Learn from answers what each vote is worth, alone and among the others."""
    votes = [_fitted(one, yes, worth) for one in told]
    odds = np.stack([_odds(one, vote) for one, vote in zip(told, votes, strict=True)], axis=1)
    return _Council(votes, _fitted(odds, yes, worth))


def _fitted(told: FloatArray, yes: FloatArray, worth: FloatArray) -> FloatArray:
    """Return a logistic regression's weights; one middling yes and no are added, lest a log of one opinion be sure."""
    middle = np.tile(told.mean(axis=0), (2, 1))
    return logistic(np.vstack([told, middle]), np.append(yes, [1.0, 0.0]), np.append(worth, [1.0, 1.0]), ridge=1.0)


@dataclass(frozen=True, eq=False)
class _Scale:
    """The levels of rating, by the log-odds of a like."""

    cuts: FloatArray  # [L - 1]
    levels: FloatArray  # [L], NaN where the data are implicit
    grades: GradeArray  # [L]


@dataclass(frozen=True, eq=False)
class _Panel:
    """The votes, and what else the users are made of."""

    facets: _Facets
    chooses: _Council
    likes: _Council | None  # None where the data hold no ratings: then what is surely chosen is liked
    scale: _Scale
    rule: Rule
    minds: Minds

    def odds(self, votes: Evidence, *, met: bool = False) -> FloatArray:
        """Return the log-odds of a yes for each pair: among items never met, or to one that is met here and now.

        Famous items are met more often than others. What that brought them is taken off the vote of the statistics,
        which alone knows of fame; taken off the sum it would make all that is famous unwelcome.
        """
        odds = self.chooses.of(votes.chosen)
        if met:
            odds[:, STATISTICS] -= self.minds.meeting[votes.items]
        return self.chooses.together(odds, self.rule)

    def joys(self, votes: Evidence) -> FloatArray:
        """Return the log-odds that each pair's item is liked once chosen."""
        if self.likes is None:
            return self.odds(votes)
        return self.likes.together(self.likes.of(votes.liked), self.rule)

    def on_page(self, users: IntArray, items: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the log-odds of a choice and of a like of each pair, met on a page."""
        votes = self.facets.of(users, items)
        return self.odds(votes, met=True), self.joys(votes)


def _facets(dataset: Dataset, words: _Words, share: float, seed: int) -> _Facets:
    """Return the facets of users known by this share of every history."""
    counts = np.diff(dataset.starts)
    told = dataset.interactions.places(len(counts)) < np.floor(counts * share + 1e-9)[dataset.interactions.users]
    known = dataset.only(dataset.interactions[told])
    history = _history(known, liked_from(dataset.interactions.ratings))
    liked = history.liked.astype(bool)
    sequences = learn_sequences(known, liked, seed)
    return _Facets(words, history, sequences, float(liked.mean().clip(0.01, 0.99)) if len(liked) else 0.5)


def _learnt_likes(dataset: Dataset, early: _Facets, rule: Rule, seed: int) -> tuple[_Council, _Scale]:
    """Learn the votes on liking from the last ratings, and the levels from those of half of the users."""
    log = dataset.interactions
    rated = log[np.isfinite(log.ratings)]
    late = np.flatnonzero(last_rows(dataset.only(rated)))
    rows = np.sort(stream(seed, "voters", "likes").permutation(late)[:CALIBRATION_ROWS])
    held, given = rated[rows], coarse(rated.ratings.astype(np.float64))
    votes = early.of(held.users, held.items).liked
    yes = (held.ratings >= liked_from(log.ratings)).astype(np.float64)
    likes = _council(votes, yes, np.ones(len(yes)))
    setting = np.isin(held.users, level_users(dataset, seed))
    levels = np.unique(given)
    shares = np.array([(given[rows][setting] == level).sum() for level in levels]) + 1e-3
    joys = likes.together(likes.of(votes), rule)[setting]
    drawn = joys + stream(seed, "voters", "levels").logistic(size=len(joys))
    cuts = np.quantile(drawn, np.cumsum(shares)[:-1] / shares.sum())
    return likes, _Scale(cuts, levels, level_grades(log.ratings, levels))


def _implicit_scale(chooses: _Council, early: Evidence, rule: Rule) -> _Scale:
    """Return the levels where nothing is rated: what is chosen as surely as the middle of what was, is liked."""
    middle = float(np.median(chooses.together(chooses.of(early.chosen), rule)))
    grades = np.array([Grade.VIEWED, Grade.LIKED], dtype=np.int8)
    return _Scale(np.array([middle]), np.full(2, np.nan), grades)


def _minds(dataset: Dataset, words: _Words, scale: _Scale, habits: Habits) -> Minds:
    """Return users who browse as `browsing` has it, drawn by votes alone and bored by texts that are alike."""
    users, items = len(dataset.users), len(dataset.catalog)
    vectors = (words.vectors - words.vectors.mean(axis=0)).astype(np.float32)
    width = vectors.shape[1]
    return Minds(
        items=vectors,
        view=np.zeros((users, width), dtype=np.float32),
        merits=np.zeros((items, 1), dtype=np.float32),
        rate=np.zeros((users, 1), dtype=np.float32),
        boring=np.full(width, 1 / max(float((vectors**2).sum(axis=1).mean()), 1e-9), dtype=np.float32),
        noise=np.full(users, 1 / LOGISTIC, dtype=np.float32),
        cuts=scale.cuts.astype(np.float32),
        levels=scale.levels.astype(np.float32),
        grades=scale.grades,
        usual=np.zeros(users, dtype=np.float32),
        patience=patience_of(dataset),
        meeting=meeting_of(dataset).astype(np.float32),
        bar=np.zeros(users, dtype=np.float32),
        habits=habits,
    )


def _usual_worth(panel: _Panel, popularity: IntArray, rng: np.random.Generator) -> FloatArray:
    """Return the worth of a page of well-known items, as it is met, for each user [U]."""
    share = (popularity + 1) / (popularity + 1).sum()
    items = rng.choice(len(popularity), size=min(WELL_KNOWN, len(popularity)), replace=False, p=share)
    users = len(panel.minds.usual)
    votes = panel.facets.of(np.repeat(np.arange(users), len(items)), np.tile(items, users))
    return worth_of(panel.odds(votes, met=True).reshape(users, len(items)))


def _arrays(name: str, part: "_Words | _History | Sequences | _Scale | Minds") -> Arrays:
    return {f"{name}.{field.name}": getattr(part, field.name) for field in fields(part) if field.name != "habits"}


def own_chance(luck: BitArray) -> BitArray:
    """Return bits of these users' own, so that what `choice` does by chance they do not."""
    return mix(luck ^ OWN_CHANCE, 0)


class Panel(Protocol):
    """Who says how likely users are to choose and to like what they meet."""

    @property
    def minds(self) -> Minds:
        """How they browse."""
        ...

    def on_page(self, users: IntArray, items: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the log-odds of a choice, and the place on the hidden scale of ratings, of each pair met on a page."""
        ...


class Voting:
    """Voting users, each in a seat."""

    def __init__(self, panel: Panel, users: IntArray, luck: BitArray) -> None:
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
        odds, joys = self.panel.on_page(users, items.ravel())
        shape = items.shape
        return self.browsing.react(page, odds.reshape(shape).astype(np.float32), joys.reshape(shape).astype(np.float32))


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


def _history(known: Dataset, threshold: float) -> _History:
    """Return what users met; liked are rows rated this high at least, or not rated."""
    log = known.interactions
    liked = np.isnan(log.ratings) | (log.ratings >= threshold)
    return _History(known.starts, log.items.astype(np.int64), liked.astype(np.int64))


def _odds(inputs: FloatArray, weights: FloatArray) -> FloatArray:
    """Return log-odds, summed in one order whatever the batch."""
    odds = np.full(len(inputs), weights[-1])
    for column, weight in zip(inputs.T, weights[:-1], strict=True):
        odds += weight * column
    return odds.clip(-SURE, SURE)


@numba.njit(cache=True)
def _match(users, items, starts, met, liked, rows, names, weights, found):  # type: ignore[no-untyped-def]
    """Write how far keywords of each item are shared by what the user liked, and by what they met otherwise."""
    for pair in range(len(users)):
        item = items[pair]
        for place in range(starts[users[pair]], starts[users[pair] + 1]):
            other, side = met[place], 1 - liked[place]
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


@numba.njit(cache=True)
def _nearest(users, items, starts, met, liked, vectors, found):  # type: ignore[no-untyped-def]
    """Write the cosine of each item to the likest liked and other item, and the sums of sharpened cosines to both."""
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
            found[pair, 2 + side] += max(like, 0.0) ** SHARP
