"""Who a user is, in words: traits, tastes and rating habit, from training rows only."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from simenv.arrays import FloatArray
from simenv.dataset import Dataset, disliked_to, liked_from
from simenv.plain_text import bracketed, one_line, quoted
from simenv.traits import LEVELS, Traits, traits_of

from .stars import stars_of

VERSION = 5  # of how personas are made: those of another are made anew
NUMBER = re.compile(r"\s*[+-]?[\d.,]+\s*")
OPAQUE = re.compile(  # words in the name of an attribute that holds codes, or that points to a person
    r"\b(codes?|ids?|uuid|guid|hash|zip|zipcode|postal|postcode|plz|onehot|feat|feature|index|idx|ip|phone|email)\b"
)
COUNTED = re.compile(  # words in the name of an attribute whose numbers can be read
    r"\b(ages?|years?|months?|weeks?|days?|hours?|minutes?|counts?|num|number|size|income|salary|price|amount|spent"
    r"|score|ratings?|height|weight|children|orders|purchases|visits|sessions)\b"
)
MOST_TASTES, MOST_DISLIKES = 5, 2
EXAMPLES = 3  # titles that stand for a taste
RECENT = 0.9  # how much an interaction's weight falls with each one after it


@dataclass(frozen=True, slots=True)
class Persona:
    """A user as a language model is told of him."""

    user: str  # the data set's own id
    activity: str  # low, middle or high; '' where unknown
    conformity: str
    diversity: str
    tastes: tuple[str, ...]  # what he likes, each in a sentence
    dislikes: tuple[str, ...]
    habit: str  # how he rates
    about: str  # demographics, where the data have them
    usual: Mapping[str, float] = field(hash=False)  # his categories and their share, recent ones weighing more
    length: int  # rows of his history
    by: str = "composed"  # of categories and titles, or by whom tastes and habit were written

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    @property
    def mark(self) -> str:
        """A hash of all that it says."""
        return hashlib.blake2b(json.dumps(self.plain(), sort_keys=True).encode(), digest_size=8).hexdigest()


def persona_of(told: Mapping[str, Any]) -> Persona:
    """Return the persona that `plain` told of; what else stands beside it is left out."""
    known = {part.name: told[part.name] for part in fields(Persona)}
    return Persona(**known | {"tastes": tuple(told["tastes"]), "dislikes": tuple(told["dislikes"])})


def compose(dataset: Dataset, users: Sequence[int], traits: Traits | None = None) -> list[Persona]:
    """Return these users' personas, composed of categories, titles and ratings, without a model."""
    known = traits or traits_of(dataset)
    like, dislike = liked_from(dataset.interactions.ratings), disliked_to(dataset.interactions.ratings)
    stars = stars_of(dataset).of(dataset.interactions.ratings)
    middle = float(np.nanmean(stars)) if _is_rated(dataset) else float("nan")
    return [_composed(dataset, user, known, like, dislike, stars, middle) for user in users]


def _composed(
    dataset: Dataset, user: int, traits: Traits, like: float, dislike: float, stars: FloatArray, middle: float
) -> Persona:
    log = dataset.interactions
    here = slice(dataset.starts[user], dataset.starts[user + 1])
    items, ratings = log.items[here].tolist(), log.ratings[here]
    unrated = np.isnan(ratings)
    liked = [item for item, good in zip(items, unrated | (ratings >= like), strict=True) if good]
    disliked = [item for item, bad in zip(items, ratings <= dislike, strict=True) if bad]
    return Persona(
        user=str(dataset.users.ids[user]),
        activity=_word(traits.activity_level[user]),
        conformity=_word(traits.conformity_level[user]),
        diversity=_word(traits.diversity_level[user]),
        tastes=_tastes(dataset, liked),
        dislikes=_tastes(dataset, disliked, most=MOST_DISLIKES),
        habit=_habit(stars[here][~unrated], middle),
        about=_about(dataset, user),
        usual=_usual(dataset, items),
        length=len(items),
    )


def _is_rated(dataset: Dataset) -> bool:
    return bool(np.isfinite(dataset.interactions.ratings).any())


def _word(level: int) -> str:
    return LEVELS[level] if level >= 0 else ""


def _tastes(dataset: Dataset, items: Sequence[int], most: int = MOST_TASTES) -> tuple[str, ...]:
    """Return a sentence for each category that the items bear most, with the latest titles as examples."""
    catalog = dataset.catalog
    counts = Counter(name for item in items for name in catalog.categories[item])
    sentences = []
    for name, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]:
        titles = [quoted(catalog.title(item)) for item in reversed(items) if name in catalog.categories[item]]
        sentences.append(f"{bracketed((name,))[1:-1]}, such as {'; '.join(titles[:EXAMPLES])}")
    if not sentences and items:
        sentences.append("; ".join(quoted(catalog.title(item)) for item in list(reversed(items))[:EXAMPLES]))
    return tuple(sentences)


def _habit(ratings: FloatArray, middle: float) -> str:
    if not len(ratings):
        return ""
    mean, spread = float(ratings.mean()), float(ratings.std())
    kind = "a kind rater" if mean > middle + 0.25 else "a strict rater" if mean < middle - 0.25 else "a fair rater"
    width = "whose ratings lie close together" if spread < 0.7 else "who uses the whole scale"
    return f"{kind} {width}: {mean:.1f} on average, {float(ratings.min()):.2g} to {float(ratings.max()):.2g}"


def _about(dataset: Dataset, user: int) -> str:
    """Return what the data say of the user, but for codes and for what would point to a person."""
    told = {name: column[user] for name, column in dataset.users.attributes.items()}
    known = {
        one_line(name.replace("_", " ")): value
        for name, value in sorted(told.items())
        if value is not None and not is_code(name, value)
    }
    return ", ".join(f"{name}: {value if _is_number(value) else quoted(str(value))}" for name, value in known.items())


def is_code(name: str, value: object) -> bool:
    """Whether an attribute's value says nothing without a table of codes.

    So does a number unless the attribute's name says what it counts, whatever type the data have for it.
    """
    words = re.sub("[^a-z]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    if OPAQUE.search(words):
        return True
    if isinstance(value, bool | np.bool_):
        return False
    is_number = _is_number(value) or NUMBER.fullmatch(str(value)) is not None
    return is_number and COUNTED.search(words) is None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number)


def _usual(dataset: Dataset, items: Sequence[int]) -> dict[str, float]:
    """Return the share of each category, an interaction weighing less with each one after it."""
    shares: dict[str, float] = {}
    weight = 1.0
    for item in reversed(items):
        names = dataset.catalog.categories[item]
        for name in names:
            shares[name] = shares.get(name, 0.0) + weight / len(names)
        weight *= RECENT
    total = sum(shares.values())
    return {name: round(share / total, 6) for name, share in sorted(shares.items(), key=lambda pair: -pair[1])}
