"""Holds a scenario's population against real users, and keeps what was found.

What was found is known by its fingerprint: population, rows, split, who takes part, settings and code. Found once, it
is taken from the cache, below SIMENV_CACHE or the user's home.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from simenv.arrays import IntArray
from simenv.chance import stream
from simenv.chat.opening import Answers
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.fidelity.agreement import agreement
from simenv.fidelity.battery import answers_a_user, battery
from simenv.fidelity.bench import Bench, lists_of
from simenv.fidelity.results import limits_of, worst
from simenv.fidelity.runlog import review_log
from simenv.population import Closing, Population, Telling, answered_by
from simenv.rundir import RunDir

from .fingerprint import code_hash, package_versions
from .fitted import cache_home, fitted, fitted_population
from .names import build
from .scenario import Named, Scenario
from .stage import Stage
from .steps import Step, Watcher

LOG = logging.getLogger(__name__)
FIDELITY = "fidelity.json"  # what was found, in a run's folder
YARDSTICKS = ("pop", "item-knn", "ease")  # policies whose lists the users are tried with
LARGE = 6000  # items, from which on EASE takes too long
BRIEF_PAGES = 3  # a session's most, where every answer costs
REPEATS = 4
MANY = 1000  # users, by whom policies are known
UNHELD = "Not held against real users: "
AGREEMENT_QUESTION = "Would others do the same?"
LOG_QUESTION = "Do the sessions of this very run contradict themselves?"
REFITTING = 20.0  # seconds that users may be fitted to other texts
Found = dict[str, Any]


def measured(
    stage: Stage,
    population: Population,
    answers: Answers,
    *,
    ready: Callable[[], tuple[Population, float]] | None = None,
    fresh: bool = False,
    watch: Watcher = lambda _: None,
) -> Found | None:
    """Return what the battery finds of a population, now or before; None where it is not held against real users.

    `ready` gives it fitted, with the seconds that this took; without it, and where answers cost, another one is made
    like it. Users who answer by a language model are asked only where the scenario says how often; users who answer
    from the held-out rows are not.
    """
    part = stage.scenario.fidelity
    if part.measure is False or why_not(stage, population):
        return None
    mark = fingerprint(stage, population)
    kept = cache_home("fidelity") / f"{mark}.json"
    if not fresh and (found := _read(kept)) is not None:
        return found
    found = _measure(stage, population, answers, ready, watch) | {"fingerprint": mark}
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(found, ensure_ascii=False, allow_nan=False), encoding="utf-8")
        unfinished.replace(kept)
    return found


def why_not(stage: Stage, population: Population) -> str:
    """Return why a population is not held against real users unasked; '' where it can be."""
    scenario = stage.scenario
    if not len(stage.split.test) and not len(stage.split.valid):
        return "nothing is held out, so there is nothing to hold them against."
    source = answered_by(population)
    if source.held_out:
        return "these users answer from the held-out rows themselves."
    if source.a_model and scenario.fidelity.calls is None:
        return "they ask a language model; `fidelity: {calls: N}` in the scenario allows N answers of theirs."
    return ""


def brief(found: Found | None, why: str = "") -> Found:
    """Return what a manifest says of it: the verdict, the note, and each test's verdict."""
    if found is None:
        told = why or "the battery was left out."
        return {"verdict": "not measured", "note": f"{UNHELD}{told}"}
    tests = {one["test"]: one["verdict"] for one in found["tests"]}
    return {"verdict": found["verdict"], "note": found["note"], "tests": tests, "fingerprint": found["fingerprint"]}


def with_log(found: Found | None, run: RunDir, why: str = "") -> Found:
    """Return what was found, with the review of a run's own log; what that objects to counts for the whole."""
    empty = {**brief(None, why), "tests": [], "users": 0, "asked": 0, "seconds": 0.0, "fingerprint": None}
    log = review_log(run)
    told = {**(found or empty), "log": log.plain() | {"question": LOG_QUESTION}}
    if log.word in ("warn", "fail"):
        if found is not None or log.word == "fail":  # a warning alone measures nobody
            told["verdict"] = worst([told["verdict"], log.word])
        told["note"] = f"{log.word}: this run's own log ({log.note}); {told['note']}"
    return told


def fingerprint(stage: Stage, population: Population) -> str:
    """Return a hash of all that the battery's figures follow from."""
    scenario, split = stage.scenario, stage.split
    chosen = scenario.population
    facts = dict(population.facts()) if isinstance(population, Telling) else {}
    kind = type(population)
    told = [
        [chosen.name, f"{kind.__module__}:{kind.__qualname__}", chosen.options, facts],
        [split.train.only(rows).fingerprint for rows in (split.train.interactions, split.valid, split.test)],
        [split.protocol, stage.users.tolist(), scenario.page_size, scenario.max_pages],
        scenario.fidelity.model_dump(),
        scenario.dataset.model_dump() if stage.truth is not None else None,
        [code_hash(kind, [chosen.name, chosen.options, scenario.fidelity.model_dump()]), package_versions()],
    ]
    return hashlib.blake2b(json.dumps(told, default=str).encode(), digest_size=16).hexdigest()


def clear_verdicts() -> int:
    """Remove what is kept of users that were measured; return how many they were."""
    kept = list(cache_home("fidelity").glob("*.json"))
    for path in kept:
        path.unlink(missing_ok=True)
    return len(kept)


def _read(path: Path) -> Found | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        LOG.info("fidelity: reused, measured on %s (fingerprint %s)", found["on"], path.stem[:12])
        return dict(found)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _measure(
    stage: Stage,
    population: Population,
    answers: Answers,
    ready: Callable[[], tuple[Population, float]] | None,
    watch: Watcher,
) -> Found:
    scenario, part = stage.scenario, stage.scenario.fidelity
    chosen = scenario.population
    made: list[Population] = []
    seconds: list[float] = []

    def make(one: Named, dataset: Dataset, **changes: object) -> Population:
        gifts = stage.gifts | {"answers": answers}
        options = one.options | changes
        made.append(build("population", one.name, options, gifts))
        keep = dataset is stage.split.train and not changes and not answered_by(made[-1]).a_model
        seconds.append(fitted_population(made[-1], one.name, dataset, options=options, keep=keep, watch=watch))
        return made[-1]

    def fit(dataset: Dataset, **changes: object) -> Population:
        return make(chosen, dataset, **changes)

    costs, shown = answered_by(population).a_model, tuple(getattr(population, "show", ()))
    watch(Step("fidelity: fitting", 0, 1, "tests"))
    users, took = (fit(stage.split.train), seconds[-1]) if costs or ready is None else ready()
    unshown = [one for one in shown if one != "rating"]
    bench = Bench(
        users,
        stage.split,
        stage.users,
        {},
        page_size=scenario.page_size,
        max_pages=min(scenario.max_pages, BRIEF_PAGES) if costs else scenario.max_pages,
        repeats=1 if costs else REPEATS,
        is_brief=costs,
        refit=fit,
        refits=int(min(3, REFITTING / max(took, 1e-3))),
        unrated=(lambda dataset: fit(dataset, show=unshown)) if "rating" in shown else None,
        limits=limits_of(part.limits),
    )
    try:
        most = part.users if part.calls is None else min(part.users, part.calls // answers_a_user(bench))
        many = _some(stage.users, max(most, MANY))  # what a policy is worth is told without asking anybody
        length = bench.page_size * bench.max_pages
        lists = {name: _lists(stage, name, many, length, watch) for name in _yardsticks(stage)}
        base = replace(bench, users=many, lists=lists).base
        rows = np.searchsorted(many, _some(many, most))
        bench = replace(
            bench, users=many[rows], lists={name: one[rows] for name, one in lists.items()}, known_base=base
        )
        beside = _beside(scenario, {label: make(one, stage.split.train) for label, one in _labels(part.beside)})
        found = battery(
            bench,
            tests=part.tests,
            most=part.calls,
            told=lambda test, done, total: watch(Step(f"fidelity: {test}", done, total, "tests")),
        )
        other = agreement(bench, beside, chosen.name).plain() if beside else None
    finally:
        for one in made:
            if isinstance(one, Closing):
                one.close()
    LOG.info("fidelity: %s, in %.1f s", found.word, found.seconds)
    train = stage.split.train
    about: Found = {"name": chosen.name, "data": train.name, "split": stage.split.protocol}
    about["is_synthetic"] = train.is_synthetic
    if other is not None:
        about["agreement"] = other | {"verdict": "told", "question": AGREEMENT_QUESTION}
    return found.plain() | about | {"on": datetime.now(UTC).strftime("%Y-%m-%d %H:%M")}


def _labels(beside: Sequence[Named]) -> Iterator[tuple[str, Named]]:
    """Yield the populations that look on, each with a name of its own."""
    names = [one.name for one in beside]
    for place, one in enumerate(beside):
        yield one.name if names.count(one.name) == 1 else f"{one.name} {names[: place + 1].count(one.name)}", one


def _beside(scenario: Scenario, others: Mapping[str, Population]) -> Mapping[str, Population]:
    """Return the populations that look on, or say whose answers cost more than was allowed."""
    for label, one in others.items():
        if answered_by(one).a_model and scenario.fidelity.calls is None:
            raise SimenvError(
                f"fidelity.beside: the users of '{label}' ask a language model; `fidelity: {{calls: N}}` allows that"
            )
    return others


def _some(users: IntArray, most: int) -> IntArray:
    if len(users) <= most:
        return users
    return np.sort(stream(0, "fidelity", "users").choice(users, size=max(most, 0), replace=False))


def _yardsticks(stage: Stage) -> list[str]:
    large = len(stage.split.train.catalog) > LARGE
    return [name for name in YARDSTICKS if not (large and name == "ease")]


def _lists(stage: Stage, name: str, users: IntArray, length: int, watch: Watcher) -> IntArray:
    policy = build("policy", name, {}, stage.gifts)
    ready = fitted(policy, name, stage.split, options={}, watch=watch)
    return lists_of(ready.policy, stage.split.train, users, length)
