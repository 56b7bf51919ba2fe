"""A language model that learns to answer pages as somebody did, and is then asked like any other."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simenv.arrays import FloatArray
from simenv.chance import key, stream
from simenv.chat.asking import schema_of
from simenv.chat.checkpoint import conversation_tokens
from simenv.chat.crowd import Crowd
from simenv.chat.local import Local
from simenv.chat.model import Answer, Question
from simenv.errors import SimenvError
from simenv.intervals import Interval, means
from simenv.language.course import Course, Pace
from simenv.language.course import Past as Learning
from simenv.language.llama import Llama, Shape, about, save_llama
from simenv.language.rows import Reading, TokenRows, unlikelihood
from simenv.language.words import learn_words
from simenv.options import check_number, check_whole
from simenv.training import Epoch

from .answers import PageAnswer
from .lessons import Lesson

import torch  # isort: skip  (after the model, which says how to install it)

CARD = "apprentice.json"  # what a folder's model learnt from, and how well
# Where a token ends in any case: names, kinds and letters are then the same tokens wherever they stand, and what is
# done with an item is one.
BREAKS = r'"letter": "|", "act": "|"satisfaction": |\n[- ]*|\. |, (?!["{])|; |(?<!"): | \[|\][,;]? ?'


@dataclass(frozen=True, slots=True)
class Schooling:
    """How a model learns; sizes are of one made from nothing."""

    dimensions: int = 64
    layers: int = 2
    heads: int = 4
    vocabulary: int = 6000  # tokens, at most
    dropout: float = 0.1
    epochs: int = 12
    learning_rate: float = 0.003
    batch_tokens: int = 2048
    patience: int = 3
    rank: int = 8  # of what is learnt beside a checkpoint's own weights
    held_out: float = 0.1  # share of the users by whom it is judged
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole(dimensions=self.dimensions, layers=self.layers, heads=self.heads, vocabulary=self.vocabulary)
        check_whole(epochs=self.epochs, batch_tokens=self.batch_tokens, rank=self.rank)
        check_whole(least=0, patience=self.patience, seed=self.seed)
        check_number(least=0, most=0.9, dropout=self.dropout)
        check_number(above=0, learning_rate=self.learning_rate)
        check_number(above=0, most=0.5, held_out=self.held_out)


@dataclass(frozen=True, slots=True)
class Taught:
    """What came of it."""

    lessons: int
    kept_for_judging: int
    learning: Learning
    loss: float  # of the lessons kept for judging
    model: Mapping[str, Any]


def split_by_user(lessons: Sequence[Lesson], share: float, seed: int) -> tuple[list[Lesson], list[Lesson]]:
    """Return the lessons to learn from, and those of other users to be judged by."""
    users = sorted({lesson.user for lesson in lessons})
    if len(users) < 2:
        raise SimenvError(
            f"{len(lessons)} pages of {len(users)} users are too few: one user at least is kept for judging"
        )
    count = max(1, round(share * len(users)))
    kept = set(stream(seed, "users kept for judging").choice(users, size=count, replace=False).tolist())
    return [one for one in lessons if one.user not in kept], [one for one in lessons if one.user in kept]


def teach(
    lessons: Sequence[Lesson],
    folder: Path,
    schooling: Schooling | None = None,
    *,
    checkpoint: Path | None = None,
    watch: Callable[[Epoch], None] = lambda _: None,
    facts: Mapping[str, Any] | None = None,
) -> Taught:
    """Make a model of these lessons in a folder that transformers loads.

    It is made from nothing, or beside a checkpoint's weights. The best weights by the lessons of users kept apart are
    saved. Broken off, it goes on where it was.
    """
    how = schooling or Schooling()
    learnt, judged = split_by_user(lessons, how.held_out, how.seed)
    if checkpoint is None:
        texts = (text for lesson in learnt for text in (*(one.text for one in lesson.messages), lesson.answer))
        tokenizer = learn_words(texts, how.vocabulary, BREAKS)
        context = 0
        model: Any = None
    else:
        from simenv.language.beside import open_beside

        model, tokenizer = open_beside(checkpoint, how.rank, how.seed)
        context = model.context
    rows, kept = rows_of(tokenizer, learnt, context), rows_of(tokenizer, judged, context)
    if checkpoint is None:
        longest = int(max(np.diff(rows.starts).max(), np.diff(kept.starts).max()))
        shape = Shape(len(tokenizer), how.dimensions, how.layers, how.heads, context=2 * longest)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(key(how.seed, "apprentice") >> np.uint64(1)))
            model = Llama(shape, dropout=how.dropout)
    course = Course(
        model,
        Reading(model, rows, batch_tokens=how.batch_tokens, seed=how.seed),
        Pace(how.epochs, how.learning_rate, patience=how.patience),
        seed=how.seed,
        judge=lambda: -unlikelihood(model, kept, how.batch_tokens),
        folder=folder / "progress",
        watch=watch,
        facts={"lessons": _mark(lessons), "schooling": asdict(how)},
    )
    past = course.run()
    if checkpoint is None:
        save_llama(model, folder, ends=tokenizer.eos_token_id, pads=tokenizer.pad_token_id)
        size = about(model)
    else:
        size = model.save_whole(folder)
    tokenizer.save_pretrained(folder)
    taught = Taught(len(learnt), len(judged), past, -max(past.scores), size)
    told = {**asdict(taught), "schooling": asdict(how), **(facts or {})}
    (folder / CARD).write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return taught


def rows_of(tokenizer: Any, lessons: Sequence[Lesson], context: int = 0) -> TokenRows:
    """Return lessons as a model reads them: the answer and its end are wanted. What is longer than `context` is not."""
    rows = []
    for lesson in lessons:
        told = conversation_tokens(tokenizer, lesson.messages, {})
        answer = [*tokenizer(lesson.answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        if not context or len(told) + len(answer) <= context:
            rows.append((told, answer))
    if not rows:
        raise SimenvError(f"none of {len(lessons)} pages fits into the model's context of {context} tokens")
    return TokenRows.of(rows)


def _mark(lessons: Sequence[Lesson]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for lesson in lessons:
        digest.update(repr((lesson.messages, lesson.answer)).encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much a model answers the same pages as its teacher did, on users that it never learnt from."""

    pages: int
    unread: int  # answers that had no form
    same: Interval  # share of items with which the same was done
    kappa: Interval  # the same beyond what chance would bring: whether an item is taken
    takes: Interval  # of the items that the teacher took, the share that is taken
    took: tuple[float, float]  # the share taken by the teacher, and by the model
    ratings: float  # correlation, on what both took
    satisfaction: float  # correlation
    leaves: tuple[float, float]  # the share of pages after which one leaves


def likeness(folder: Path, lessons: Sequence[Lesson], *, temperature: float = 1.0, seed: int = 0) -> Likeness:
    """Ask the model of a folder what its teacher was asked."""
    model = Local(folder, temperature=temperature, seed=seed)
    schema = schema_of(PageAnswer)
    asked = {place: Question("page", lesson.messages, schema, draw=place) for place, lesson in enumerate(lessons)}
    answers: dict[int, Answer] = Crowd[int, Answer]().all((place, model.ask(one)) for place, one in asked.items())
    pairs = []
    for place, lesson in enumerate(lessons):
        try:
            pairs.append((lesson.user, json.loads(lesson.answer), json.loads(answers[place].text)))
        except ValueError:
            continue
    return _compared(pairs, len(lessons))


def _compared(pairs: Sequence[tuple[int, Any, Any]], asked: int) -> Likeness:
    if not pairs:
        raise SimenvError(f"none of {asked} answers of the model could be read: it has not learnt their form yet")
    users = sorted({user for user, _, _ in pairs})
    tables = np.zeros((len(users), 2, 2))  # by user: what the teacher took, what the model took
    same, shown = np.zeros((2, len(users)))
    rated: list[tuple[float, float]] = []
    for user, one, other in pairs:
        row = users.index(user)
        theirs = {item["letter"]: item for item in other["items"]}
        for item in one["items"]:
            done = theirs.get(item["letter"])
            if done is None:
                continue
            took, takes = item["act"] == "take", done["act"] == "take"
            tables[row, int(took), int(takes)] += 1
            same[row] += item["act"] == done["act"]
            shown[row] += 1
            if took and takes and item["rating"] and done["rating"]:
                rated.append((item["rating"], done["rating"]))
    moods = np.array([(one["satisfaction"], other["satisfaction"]) for _, one, other in pairs], dtype=float)
    left = np.array([(one["then"] != "stay", other["then"] != "stay") for _, one, other in pairs], dtype=float)
    whole = tables.sum(axis=0)
    total = max(float(whole.sum()), 1.0)  # none, where no answer tells of an item
    return Likeness(
        len(pairs),
        asked - len(pairs),
        means((same / np.maximum(shown, 1))[:, None])[0],
        means(_kappas(tables)[:, None])[0],
        means((tables[:, 1, 1] / np.maximum(tables[:, 1].sum(axis=1), 1))[:, None])[0],
        (float(whole[1].sum() / total), float(whole[:, 1].sum() / total)),
        _correlation(np.array(rated, dtype=float).reshape(-1, 2)),
        _correlation(moods.reshape(-1, 2)),
        (float(left[:, 0].mean()), float(left[:, 1].mean())),
    )


def _kappas(tables: FloatArray) -> FloatArray:
    """Return Cohen's kappa of each user's table, NaN where it says nothing."""
    total = tables.sum(axis=(1, 2))
    agreed = np.trace(tables, axis1=1, axis2=2) / np.maximum(total, 1)
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    expected = (rows * columns).sum(axis=1) / np.maximum(total, 1) ** 2
    return np.divide(agreed - expected, 1 - expected, out=np.full(len(tables), np.nan), where=expected < 1)


def _correlation(pairs: FloatArray) -> float:
    if len(pairs) < 2 or not pairs.std(axis=0).all():
        return float("nan")
    return float(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1])
