"""One stage of a curriculum: from whom a generative policy learns what is better than what, and how it takes it in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simenv.arrays import IntArray
from simenv.chance import stream
from simenv.errors import SimenvError
from simenv.language.course import Course, Pace, Task
from simenv.pages import EMPTY
from simenv.policy import Policy
from simenv.preferences.converting import to_groups, to_lists, to_sft
from simenv.preferences.leaks import guard, held_out_keys
from simenv.preferences.logged import logged
from simenv.preferences.pasts import past_of
from simenv.preferences.records import NONE, Graded, Records, pair_keys
from simenv.preferences.selfplay import Level, self_play
from simenv.preferences.simulated import simulated
from simenv.provenance import SimulatedSource, world_of
from simenv.ranking import ndcg
from simenv.rundir import RunDir
from simenv.splits import Split
from simenv.training import Epoch

from .anchoring import Anchored
from .histories import Histories
from .objectives import objective_of, rule_and_rank
from .policy import TOGETHER, Generative
from .preferring import Offers, Preferring, offers_of, windows

import torch  # isort: skip  (after the policy, which says how to install it)

JUDGES = 5000  # users whose validation rows are asked after each epoch


@dataclass(frozen=True, slots=True)
class Lesson:
    """How a stage goes."""

    source: str  # self-play, simulated or logged
    objective: str = "listwise"
    options: Mapping[str, Any] = field(default_factory=dict)  # of the objective
    level: str | None = None  # of self-play
    against: str = "both"  # of what users graded
    negatives: int = 10
    positives: str = "one"
    records: int | None = None  # at most so many prompts
    beams: int = 20
    epochs: int = 1
    learning_rate: float = 5e-5
    batch_size: int = 64
    anchor: float = 0.0  # weight of the training rows' own cross-entropy, learnt beside
    most_lost: float = 0.03  # of validation NDCG: what loses more is not kept
    base: float | None = None  # the NDCG that may not be lost; what it is as the stage begins unless told
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Taught:
    """What a stage did."""

    records: int
    prompts: int  # that something was learnt from
    candidates: int
    losses: tuple[float, ...]  # by epoch
    chosen: tuple[float, float]  # mean logarithm of how likely what was chosen is, before and after
    valid: tuple[float, ...]  # NDCG@10 on validation rows, before and after each epoch; none without such rows
    kept: int  # the epoch whose weights were kept; 0: those from before the stage


def taught(
    policy: Generative,
    lesson: Lesson,
    split: Split,
    run: RunDir | None = None,
    *,
    folder: Path | None = None,
    watch: Callable[[Epoch], None] = lambda _: None,
) -> Taught:
    """Teach a policy, in place: its reference is what it was before; broken off, the stage goes on from `folder`.

    Each epoch is held against validation rows. The last whose NDCG lost no more than `most_lost` of the `base` is kept,
    so that nobody is pleased at the cost of what real users chose.
    """
    policy.tokenizer.check(split.train)
    source: SimulatedSource | None = None
    if lesson.source == "self-play" and lesson.objective == "group":
        offers = rewarded_beams(policy, lesson, split)
        count = len(offers)
    else:
        records = records_of(policy, lesson, split, run)
        offers, count = _offers(policy, lesson, records, split), len(records)
        source = None if run is None else source_of(records, run, split)
    objective = objective_of(lesson.objective, lesson.options)
    how: Any = {"spans": policy.spans, "batch_size": lesson.batch_size, "seed": lesson.seed}
    task = Preferring(policy.model, policy.prompting, offers, objective, **how)
    before, valid = task.chosen(), on_validation(policy, split)
    pace = Pace(lesson.epochs, lesson.learning_rate, decay=0.0)
    whole: Task[Any] = task
    if lesson.anchor:
        whole = Anchored(task, Histories.of(split.train, policy.window), lesson.anchor, policy.batch_size)
    past = Course(
        policy.model,
        whole,
        pace,
        seed=lesson.seed,
        judge=None if valid is None else lambda: on_validation(policy, split) or 0.0,
        least=None if valid is None else (1 - lesson.most_lost) * (valid if lesson.base is None else lesson.base),
        folder=folder,
        watch=watch,
        facts={"lesson": _plain(lesson), "rows": split.train.fingerprint},
    ).run()
    after = task.chosen()
    if source is not None and past.kept:
        policy.simulated_sources = (*policy.simulated_sources, source)
    return Taught(
        count,
        len(offers),
        int((offers.candidates != EMPTY).sum()),
        tuple(past.losses),
        (before, after),
        () if valid is None else (valid, *past.scores),
        past.kept,
    )


def records_of(policy: Generative, lesson: Lesson, split: Split, run: RunDir | None) -> Records:
    """Return what is learnt from: logged rows, what the policy itself writes beside them, or a run's pages."""
    window = policy.window
    if lesson.source == "logged":
        records = logged(split, window=window, unobserved=lesson.negatives, seed=lesson.seed)
    elif lesson.source == "self-play":
        return guard(_self_played(policy, lesson, split), split, "drop")
    elif run is not None:
        records = simulated(run, split, window=window, leaks="drop")
    else:
        raise SimenvError("a stage that learns from simulated users needs a run of the policy before")
    return _some(records, lesson)


def source_of(records: Records, run: RunDir, split: Split) -> SimulatedSource | None:
    """Return from which users of a run these records are; None where none of them is of simulated users."""
    seeds = np.unique(records.seeds[records.seeds != NONE]).tolist()
    if not seeds:
        return None
    population = str(run.manifest["population"]["name"])
    return SimulatedSource(world_of(split.train), population, tuple(seeds), len(np.unique(records.users)))


def _some(records: Records, lesson: Lesson) -> Records:
    if lesson.records is None or len(records) <= lesson.records:
        return records
    drawn = stream(lesson.seed, "records").choice(len(records), size=lesson.records, replace=False)
    return records.take(np.sort(drawn))


@dataclass(frozen=True, slots=True, eq=False)
class _Played:
    """What the policy writes after users' histories, each cut before a row that he chose, by chance."""

    users: IntArray  # [N]
    history: Graded
    targets: IntArray  # [N], what he chose
    beams: IntArray  # [N, W], what is written, best first


def _played(policy: Generative, lesson: Lesson, split: Split) -> _Played:
    train = split.train
    starts = train.starts
    lengths = np.diff(starts)
    able = np.flatnonzero(lengths > 1)
    if not len(able):
        raise SimenvError(f"{train.name}: nobody has two interactions, so there is nothing to play")
    rng = stream(lesson.seed, "self-play")
    count = lesson.records or len(able)
    users = np.sort(rng.choice(able, size=count, replace=count > len(able)))
    ends = starts[users] + rng.integers(1, lengths[users])
    history = past_of(train, users, policy.window, ends)
    items, grades = windows(history, np.arange(len(users)), policy.window)
    beams = []
    for first in range(0, len(users), TOGETHER):
        few = slice(first, first + TOGETHER)
        spans = [train.interactions.items[starts[user] : end] for user, end in zip(users[few], ends[few], strict=True)]
        exclude = np.cumsum([0, *map(len, spans)]), np.concatenate(spans)
        told = grades[few] if policy.grades else None
        who = None if policy.user_names is None else users[few]
        beams.append(policy.write(items[few], told, lesson.beams, exclude, users=who))
    return _Played(users, history, train.interactions.items[ends], np.concatenate(beams))


def _self_played(policy: Generative, lesson: Lesson, split: Split) -> Records:
    played = _played(policy, lesson, split)
    codes = policy.tokenizer.codes
    return self_play(
        played.users, played.history, played.targets, played.beams, codes, split.train, policy="generative"
    )


def rewarded_beams(policy: Generative, lesson: Lesson, split: Split) -> Offers:
    """Return the policy's own beams with ReRe's rewards: the true item's, and less for what stands before others.

    What the user is known to have met is no mistake, and what is held out for him is not told: both are left out.
    """
    played = _played(policy, lesson, split)
    log = split.train.interactions
    met = np.concatenate([pair_keys(log.users, log.items), held_out_keys(split)])
    pairs = pair_keys(played.users[:, None], played.beams)
    others = played.beams != played.targets[:, None]
    beams = np.where(others & np.isin(pairs, met), EMPTY, played.beams)
    rewards = rule_and_rank(torch.from_numpy(beams), torch.from_numpy(played.targets)).numpy()
    found = (beams == played.targets[:, None]).any(axis=1)
    if not found.any():
        raise SimenvError("no beam holds the item that was chosen, so none can be rewarded; wider beams may")
    items, grades = windows(played.history, np.flatnonzero(found), policy.window)
    rewards = np.where(beams == EMPTY, 0.0, rewards).astype(np.float32)
    return Offers(played.users[found], items, grades, beams[found], rewards[found], np.zeros_like(rewards[found]))


def _offers(policy: Generative, lesson: Lesson, records: Records, split: Split) -> Offers:
    window = policy.window
    # What nobody was shown is rejected where nothing else can be: never beside what users said they dislike.
    told = lesson.source == "simulated" or lesson.against != "both"
    unobserved = "never" if told else "negative"
    if lesson.objective == "group":
        return offers_of(records, to_groups(records, unobserved=unobserved), window)
    if lesson.objective == "cross-entropy":
        return offers_of(records, to_sft(records), window)
    lists = to_lists(
        records,
        against=lesson.against,
        most=lesson.negatives,
        positives=lesson.positives,
        unobserved=unobserved,
        level=None if lesson.level is None else Level[lesson.level.upper()],
        train=split.train,
        seed=lesson.seed,
    )
    return offers_of(records, lists, window)


def on_validation(policy: Policy, split: Split) -> float | None:
    """Return the NDCG on validation rows; None where there are none."""
    return ndcg(policy, split.train, split.valid, 10, most=JUDGES) if len(split.valid) else None


def _plain(lesson: Lesson) -> dict[str, Any]:
    told = {name: getattr(lesson, name) for name in Lesson.__slots__}
    return told | {"options": dict(lesson.options)}
