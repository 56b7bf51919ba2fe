"""An offline benchmark: policies rank items under a named protocol, and held-out rows tell how well."""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import BeforeValidator, Field, field_validator, model_validator

import simenv
from simenv.arrays import FloatArray, IntArray
from simenv.chance import stream
from simenv.dataset import Dataset
from simenv.errors import DataError, RunError, ScenarioError, SimenvError, blame
from simenv.interactions import NO_TIME
from simenv.intervals import means
from simenv.metrics import OFFLINE, compare, metric_of, plain
from simenv.policy import Policy
from simenv.ranking import Ranking, by_chance, rank
from simenv.readers import find
from simenv.readers.candidates import LLMRANK, Candidates, read_llmrank
from simenv.reports.evaluation import RESULT, write_evaluation_report
from simenv.rundir import RunDir
from simenv.splits import Split
from simenv.truth import Truth

from .fitted import fitted
from .manifest import data_facts, versions
from .names import build
from .scenario import DatasetPart, Policies, SplitPart, SplitRule, by_name
from .stage import cut, open_world
from .steps import Step, Watcher
from .told import Part, Told
from .trial import is_own, try_policies

LOG = logging.getLogger(__name__)
USUAL = ["pop", "item-knn", "ease"]
FILES = (".yaml", ".yml")
VALUES = "values.parquet"


class CandidatesPart(Part):
    """The few items a user among which the held-out one is to be found."""

    noun: ClassVar[str] = "an evaluation"

    name: Literal["llmrank"] = "llmrank"
    path: str | None = None  # beside the data unless told
    strategy: str = "random"
    subset: str | None = None  # the one with the most users unless told
    count: int = Field(20, ge=2)


class Evaluation(Part):
    """A question to policies: what would they rank first, and how much of it was held out?"""

    noun: ClassVar[str] = "an evaluation"

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    question: str = "Which policy finds what users chose next?"
    dataset: DatasetPart
    split: SplitRule = SplitPart()
    policies: Policies
    k: list[Annotated[int, Field(ge=1)]] = Field([10, 20], min_length=1)
    metrics: list[Literal["recall", "ndcg", "hit", "mrr"]] = Field(["recall", "ndcg", "hit", "mrr"], min_length=1)
    users: int | None = Field(None, ge=1)
    history: Literal["train", "train and validation"] | None = None  # by the split unless told
    history_length: int | None = Field(None, ge=1)
    leave_out_past: bool = True
    candidates: Annotated[CandidatesPart | None, BeforeValidator(by_name)] = None

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, values: Any) -> Any:
        """With LLMRank's candidates, what LLMRank reports; they may hold items that the user has already."""
        if isinstance(values, dict) and values.get("candidates") is not None:
            return {"k": [1, 5, 10, 20], "metrics": ["ndcg"], "leave_out_past": False} | values
        return values

    @field_validator("k", "metrics")
    @classmethod
    def _distinct(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) < len(values):
            raise ValueError("one stands twice; name each once")
        return values

    @property
    def names(self) -> list[str]:
        """Every metric measured, such as 'ndcg@10'."""
        return [f"{kind}@{k}" for kind in self.metrics for k in self.k]

    @property
    def main(self) -> str:
        """The metric that policies are ordered by: NDCG if it is there, at 10 if that is there."""
        kind = "ndcg" if "ndcg" in self.metrics else self.metrics[0]
        return f"{kind}@{10 if 10 in self.k else max(self.k)}"


def read_evaluation(
    source: str, flags: Mapping[str, tuple[str, Any]] | None = None, settings: Sequence[str] = ()
) -> Evaluation:
    """Return the evaluation of a YAML file, or of a data set; flags and `key=value` settings are laid over it.

    A flag is a key with what was typed and the value it stands for.
    """
    path = Path(source)
    if path.suffix.lower() in FILES:
        if not path.is_file():
            raise ScenarioError(f"{source}: no such file; give an evaluation's YAML file, or a data set")
        told = Told.read(path, source)
        told.values.setdefault("name", _name(path.stem))
    else:
        world = {"name": source} if source == "films" else {"path": source}
        values = {"name": _name(path.expanduser().resolve().name), "dataset": world, "policies": list(USUAL)}
        told = Told(values, {("dataset",): source}, "evaluation")
    for key, (said, value) in (flags or {}).items():
        told.put((key,), value, said)
    told.lay(settings)
    return told.check(Evaluation)


def _name(word: str) -> str:
    """Return a word that can name a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", word).strip("._-") or "evaluation"


def evaluate(
    question: Evaluation,
    folder: Path,
    *,
    fresh: bool = False,
    command: str = "",
    watch: Watcher = lambda _: None,
) -> Path:
    """Measure policies against held-out rows; write figures, values and report into a folder and return it.

    Policies are fitted to the training rows alone; validation rows tell those that learn by epochs when to stop.
    """
    _check_folder(folder)
    bench = _set_up(question)
    gifts = {"truth": bench.truth, "held_out": bench.split.test}
    policies: dict[str, Policy] = {
        chosen.label: build("policy", chosen.name, chosen.options, gifts) for chosen in question.policies
    }
    own = [chosen for chosen in question.policies if is_own(policies[chosen.label])]
    try_policies(own, bench.split.train, bench.users, gifts, page_size=max(question.k), watch=watch)
    total, found, told = len(policies), [], []
    for done, chosen in enumerate(question.policies):
        label = chosen.label
        watch(Step(f"fitting {label}", done, total, "policies"))
        ready = fitted(policies.pop(label), label, bench.split, options=chosen.options, fresh=fresh, watch=watch)
        watch(Step(f"ranking by {label}", done, total, "policies"))
        begin = time.perf_counter()
        found.append(bench.rank(ready.policy, label))
        seconds = time.perf_counter() - begin
        LOG.info("%s: ranked for %d users in %.1f s", label, len(bench.users), seconds)
        entry = {"label": label, "name": chosen.name, "options": chosen.options}
        told.append(entry | {"fit": ready.plain(), "rank_seconds": round(seconds, 3)})
    watch(Step("measuring", total, total, "policies"))
    values = np.stack([_values(question, ranking) for ranking in found], axis=1)
    result = RunDir(folder)
    result.write_text("evaluation.yaml", question.text())
    result.write_table(VALUES, _value_table(bench, found, values))
    # What makes it an evaluation is written last: a crash leaves none.
    result.write_json(RESULT, _facts(bench, command) | {"policies": told} | _figures(bench, found[0], values))
    write_evaluation_report(folder)
    return folder


@dataclass(frozen=True, eq=False)
class _Bench:
    """All that the policies of an evaluation have in common."""

    question: Evaluation
    split: Split
    truth: Truth | None
    history: Dataset
    asked: str  # what the history is made of
    users: IntArray  # [U], in order
    able: int  # from how many they were drawn
    strangers: int  # how many users have test rows but no history
    candidates: Candidates | None

    @property
    def left(self) -> IntArray:
        """How many items there are to rank for each user: [U]."""
        count = len(self.history.catalog)
        if self.candidates is not None:
            named = self.users[:, None].astype(np.int64) * count + self.candidates.items
            log = self.history.interactions
            met = np.isin(named, log.users.astype(np.int64) * count + log.items) & self.question.leave_out_past
            return named.shape[1] - met.sum(axis=1)
        if not self.question.leave_out_past:
            return np.full(len(self.users), count)
        log = self.history.interactions
        met = np.unique(log.users.astype(np.int64) * count + log.items) // count
        return count - np.bincount(met, minlength=len(self.history.users))[self.users]

    def rank(self, policy: Policy, label: str) -> Ranking:
        """Return what a policy would show first."""
        question = self.question
        with blame(f"policy '{label}'", "recommend"):
            return rank(
                policy,
                self.history,
                self.split.test,
                self.users,
                max(question.k),
                candidates=None if self.candidates is None else self.candidates.items,
                leave_out_past=question.leave_out_past,
                window=question.history_length,
            )


def _set_up(question: Evaluation) -> _Bench:
    """Open the data, hold rows out, and choose who is asked, and with what."""
    dataset, truth = open_world(question.dataset)
    split = cut(dataset, question.split)
    if not len(split.test):
        raise DataError(f"{dataset.name}: no test rows when split {split.protocol}; choose another split")
    asked = _asked(question, split)
    history = split.train if asked == "train" else _whole_past(question, split)
    candidates = _candidates(question, split)
    tested = _tested(question, split, history)
    strangers = int((np.diff(history.starts)[tested] == 0).sum())
    able = tested[np.diff(history.starts)[tested] > 0]
    if candidates is not None:
        able = np.intersect1d(able, candidates.users)
    wanted = question.users or len(able)
    if not len(able):
        raise DataError(f"{dataset.name}: nobody has both a history and test rows when split {split.protocol}")
    if wanted > len(able):
        raise SimenvError(
            f"users: {wanted} wanted, but {dataset.name} has {len(able)} who can be asked"
            f"{f' and {strangers} who have test rows but no history' if strangers else ''}; users: {len(able)}"
            " takes them all"
        )
    users = np.sort(stream(0, "users").choice(able, size=wanted, replace=False))
    if candidates is not None:
        rows = np.searchsorted(candidates.users, users)
        candidates = Candidates(users, candidates.items[rows], candidates.subset)
    bench = _Bench(question, split, truth, history, asked, users, len(able), strangers, candidates)
    _check_k(bench)
    return bench


def _asked(question: Evaluation, split: Split) -> str:
    """Return what the history is made of: validation rows too, where each user has one before his one test row."""
    if not len(split.valid):
        return "train"
    if question.history is not None:
        return question.history
    most = [int(np.bincount(log.users).max()) for log in (split.valid, split.test)]
    return "train and validation" if most == [1, 1] else "train"


def _whole_past(question: Evaluation, split: Split) -> Dataset:
    """Return the training and validation rows; by time where the split is one that came with the data."""
    times = np.concatenate([split.train.interactions.times, split.valid.times])
    return split.past(by_time=question.split.by == "published" and bool((times != NO_TIME).all()))


def _tested(question: Evaluation, split: Split, history: Dataset) -> IntArray:
    """Return the users with a test row that can be found: where the past is left out, it is not in their history."""
    count, log, test = len(history.catalog), history.interactions, split.test
    codes = test.users.astype(np.int64) * count + test.items
    if question.leave_out_past:
        codes = np.setdiff1d(codes, log.users.astype(np.int64) * count + log.items)
    return np.unique(codes // count)


def _candidates(question: Evaluation, split: Split) -> Candidates | None:
    part = question.candidates
    if part is None:
        return None
    if part.path is not None:
        path = Path(part.path).expanduser()
    elif question.dataset.path is None:
        raise ScenarioError(
            f"candidates: the built-in world {question.dataset.name} comes with none; give candidates.path, or"
            " evaluate a data set that has them"
        )
    else:
        place = find(question.dataset.path)
        path = (place if place.is_dir() else place.parent) / LLMRANK
    return read_llmrank(path, split.train, split.test, strategy=part.strategy, subset=part.subset, count=part.count)


def _check_k(bench: _Bench) -> None:
    """Say so when somebody has fewer items to rank than are asked for."""
    left, most = bench.left, max(bench.question.k)
    if most <= left.min():
        return
    user = bench.split.train.users.ids[bench.users[int(left.argmin())]]
    there = f"{left.min()} {'candidates' if bench.candidates is not None else 'items'} to be ranked"
    raise ScenarioError(f"k: {most} wanted, but user {user} has {there}; k can be {left.min()} at most")


def _check_folder(folder: Path) -> None:
    if (folder / RESULT).exists():
        raise RunError(f"{folder}: there is an evaluation here already; choose another --out")
    if folder.exists() and (not folder.is_dir() or any(not path.name.startswith(".") for path in folder.iterdir())):
        raise RunError(f"{folder}: not empty and not an evaluation; choose another --out")


def _values(question: Evaluation, ranking: Ranking) -> FloatArray:
    """Return each user's value of each metric: [U, M]."""
    by_k = {k: ranking.qualities(k) for k in question.k}
    columns = [by_k[k][:, list(OFFLINE).index(kind)] for kind in question.metrics for k in question.k]
    return np.stack(columns, axis=1)


def _value_table(bench: _Bench, found: Sequence[Ranking], values: FloatArray) -> pa.Table:
    """Return a row for each policy and user: how many items were held out for him, and each metric."""
    ids = bench.split.train.users.ids[bench.users].tolist()
    labels = [policy.label for policy in bench.question.policies]
    columns = {name: values[:, :, place].T.reshape(-1) for place, name in enumerate(bench.question.names)}
    return pa.table(
        {
            "policy": np.repeat(labels, len(ids)).tolist(),
            "user_id": pa.array(ids * len(labels)),
            "held_out": np.concatenate([ranking.wanted for ranking in found]),
            **columns,
        }
    )


def _figures(bench: _Bench, ranking: Ranking, values: FloatArray) -> dict[str, Any]:
    """Return each policy's metrics with intervals, what chance would give, and the policies in pairs."""
    question, names = bench.question, bench.question.names
    labels = [policy.label for policy in question.policies]
    bounds = [metric_of(name).bounds for name in names] * len(labels)
    intervals = iter(means(values.reshape(len(values), -1), bounds=bounds))
    metrics = {label: {name: plain(next(intervals)) for name in names} for label in labels}
    by_k = {k: by_chance(ranking.wanted, bench.left, k).mean(axis=0) for k in question.k}
    chance = {f"{kind}@{k}": float(by_k[k][list(OFFLINE).index(kind)]) for kind in question.metrics for k in question.k}
    return {"metrics": metrics, "by_chance": chance, "comparisons": compare(labels, names, values)}


def _facts(bench: _Bench, command: str) -> dict[str, Any]:
    """Return what was asked, of whom, and how: the protocol in words, and enough to repeat it."""
    question = bench.question
    settings = question.model_dump(exclude={"name", "question", "dataset", "policies"})
    return {
        "simenv": simenv.__version__,
        "evaluation": question.name,
        "question": question.question,
        "protocol": _protocol(bench),
        "main": question.main,
        "in_percent": question.candidates is not None,  # as LLMRank prints them; the figures here are shares
        "dataset": data_facts(bench.split),
        "settings": settings | {"history": bench.asked},
        "users": len(bench.users),
        "versions": versions(),
        "command": command,
    }


def _protocol(bench: _Bench) -> dict[str, str]:
    question, split, candidates = bench.question, bench.split, bench.candidates
    rows = f"{len(split.train.interactions):,} training rows alone"
    if len(split.valid):
        rows += f"; {len(split.valid):,} validation rows tell those that learn by epochs when to stop"
    length = question.history_length
    last = f"each user's last {length} of the" if length else "all of a user's"
    ranked = f"all {len(split.train.catalog):,} items"
    if candidates is not None and question.candidates is not None:
        part = question.candidates
        ranked = (
            f"{part.count} candidates a user: of LLMRank's, strategy {part.strategy}, subset {candidates.subset},"
            f" the first {part.count - 1} and the held-out item"
        )
    users = f"{len(bench.users):,}, all with test rows and a history"
    if len(bench.users) < bench.able:
        users = f"{len(bench.users):,}, drawn from {bench.able:,} with test rows and a history"
    if bench.strangers:
        users += f"; {bench.strangers:,} without a history are left out"
    past = "what the user's history holds" if question.leave_out_past else "nothing: a user's past may be ranked again"
    return {
        "split": split.protocol,
        "fitted to": rows,
        "asked with": f"{last} {'training' if bench.asked == 'train' else 'training and validation'} rows",
        "ranked": ranked,
        "left out": past,
        "users": users,
        "intervals": "95 %, bootstrap over users; differences on the same users, corrected (Holm) over all of them",
    }
