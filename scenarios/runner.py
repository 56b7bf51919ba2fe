"""Runs a scenario: every policy before the same users, into one run's folder."""

import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import IntArray
from simenv.chat.opening import Answers
from simenv.chat.record import unanswered_in
from simenv.errors import BudgetSpent, PopulationError, RunError, blame
from simenv.loop import PageLoop
from simenv.metrics import measure
from simenv.play import play
from simenv.policy import Observer, Policy
from simenv.population import Closing, Introducing, Population, Thinking, answered_by
from simenv.provenance import check_unseen
from simenv.ranking import ranking_table
from simenv.reports.report import write_report
from simenv.rundir import ANSWERS, ITEM_TEXTS, PERSONAS, RunDir

from .fidelity import FIDELITY, UNHELD, brief, measured, why_not, with_log
from .fitted import fitted, fitted_population
from .manifest import check_same, make_manifest
from .names import build
from .scenario import NamedPolicy, Scenario
from .stage import Stage, set_stage
from .steps import Step, Watcher
from .trial import is_own, try_policies, try_population

LOG = logging.getLogger(__name__)
IN_SESSIONS = ("page", "parting", "reflection", "interview")  # kinds of questions whose readings stand in the log
AFTERWARDS = ("afterwards", "by hand")  # kinds on which no session depends
AGAIN = "once the endpoint is mended, the same command with --resume asks these questions again"
FEW = 4  # users before whom an endpoint is tried first


def run(
    scenario: Scenario,
    folder: Path,
    *,
    resume: bool = False,
    fresh: bool = False,
    replay: Path | None = None,
    command: str = "",
    watch: Watcher = lambda _: None,
) -> RunDir:
    """Run a scenario into a folder and return the run; what a resumed run has finished is not done again.

    Unless it was complete, a resumed run asks again what got no answer that could be read, and its budget goes on
    where it stopped. With the folder of a run to `replay` language models are not asked: all answers come from its
    record. Policies that were fitted to the same rows before are taken from the cache, unless `fresh` ones are wanted.
    """
    stage = set_stage(scenario)
    answers = answers_of(folder, replay, goes_on=resume)
    cast = _Cast(stage, answers, fresh, watch)
    answers.check()
    if not (folder / "manifest.json").exists():  # whoever goes on has met users before
        _try_out(stage, cast, watch)
    result = _open_folder(stage, cast.users, folder, resume, command)
    try:
        _hold_up(cast, result)
        _simulate(stage, cast, result, watch)
        if isinstance(cast.users, Thinking):
            _think_over(cast, result, watch)
    except BaseException as error:
        _note(
            result,
            status="stopped" if isinstance(error, KeyboardInterrupt | BudgetSpent) else "failed",
            seconds=cast.seconds,
        )
        if isinstance(error, PopulationError):
            again = f"; {AGAIN}" if replay is None and unanswered_in(folder / ANSWERS) else ""
            raise PopulationError(f"population '{scenario.population.name}': {error}{again}") from error
        raise
    finally:
        if isinstance(cast.users, Closing):
            cast.users.close()
    begin = time.perf_counter()
    rescore(result)
    cast.seconds["metrics"] = time.perf_counter() - begin
    counts = RunDir(folder).readings.values()
    failed, asked = sum(one.get("failed", 0) for one in counts), sum(sum(one.values()) for one in counts)
    most, ways = getattr(cast.users, "most_failed", 1.0), getattr(cast.users, "ways", [])
    too_many = failed > most * asked
    _note(result, **({"ways": ways} if ways else {}), seconds={})
    _note(result, status="failed" if too_many else "complete", seconds=cast.seconds)
    if scenario.fidelity.measure:
        _look_back(RunDir.open(folder))
    write_report(RunDir.open(folder))
    if too_many:
        raise PopulationError(
            f"population '{scenario.population.name}': {failed} of {asked} questions got no answer that could be read,"
            f" and most_failed is {most:g}; {folder} is marked failed{'' if replay else f'; {AGAIN}'}"
        )
    return RunDir.open(folder)


def _try_out(stage: Stage, cast: "_Cast", watch: Watcher) -> None:
    """Let what is not simenv's own code meet a few users; where users ask a model, at a cost, they are not tried."""
    scenario, train, users = stage.scenario, stage.split.train, stage.users
    own = [chosen for chosen in scenario.policies if cast.is_own(chosen)]
    try_policies(own, train, users, stage.gifts, page_size=scenario.page_size, watch=watch)
    if is_own(cast.users) and not answered_by(cast.users).a_model:
        try_population(scenario, train, users, stage.gifts, watch)


def answers_of(folder: Path, replay: Path | None, *, goes_on: bool = False) -> Answers:
    """Return where a run's language models find their answers: in its own record, or in that of one to replay."""
    if replay is not None and not (replay / ANSWERS).is_file():
        raise RunError(f"{replay}: no answers of language models were recorded here ({ANSWERS})")
    return Answers((replay or folder) / ANSWERS, replay is not None, goes_on)


def rescore(result: RunDir) -> None:
    """Write every figure of a run again, from its log alone."""
    result.check_whole()
    found = measure(result)
    result.write_json("metrics.json", found.metrics)
    result.write_json("comparisons.json", found.comparisons)
    result.write_json("pages.json", found.pages)
    rows = {"events": len(result.events), "pages": len(result.pages)}
    _note(result, empty_places=_empty_places(result), readings=RunDir(result.folder).readings, rows=rows, seconds={})


def _open_folder(stage: Stage, population: Population, folder: Path, resume: bool, command: str) -> RunDir:
    result, ended = RunDir(folder), True
    manifest = make_manifest(stage, population, command)
    if (folder / "manifest.json").exists():
        if not resume:
            raise RunError(
                f"{folder}: there is a run here already; add --resume to go on with it, or choose another --out"
            )
        check_same(result.manifest, manifest, folder)
        manifest["seconds"] = result.manifest.get("seconds", {})
        ended = result.manifest.get("status") == "complete"
    elif folder.exists() and (not folder.is_dir() or any(map(_matters, folder.iterdir()))):
        raise RunError(f"{folder}: not empty and not a run; choose another --out")
    # The manifest first: whatever a crash leaves, the folder is known for this run's.
    result.write_json("manifest.json", manifest)
    result.write_text("scenario.yaml", stage.scenario.text())
    result.write_world(stage.split.train)
    if not ended:
        _reopen(result)
    return RunDir(folder)


def _reopen(result: RunDir) -> None:
    """Take out of the log what was played without an answer that could be read, so that it is asked for again.

    What users remember, and what is said of items, stands in all prompts: where that is missing all is played again,
    from the record as far as questions stay the same.
    """
    unread = unanswered_in(result.folder / ANSWERS)
    if not unread:
        return
    everything = not set(unread) <= {*IN_SESSIONS, *AFTERWARDS}
    count = result.log.drop(lambda pages: everything or _any_failed(pages))
    if "persona" in unread:
        result.write_lines(PERSONAS, [row for row in result.read_lines(PERSONAS) if row.get("read") != "failed"])
    LOG.warning(
        "%s: %d questions got no answer that could be read and are asked again; %d sessions are played again with them",
        result.folder,
        sum(unread.values()),
        count,
    )


def _any_failed(pages: pa.Table) -> bool:
    """Return whether a question of these pages got no answer that could be read."""
    return "asked" in pages.column_names and bool(pc.any(pc.match_substring(pages["asked"], '"failed"')).as_py())


def _matters(path: Path) -> bool:
    """Tell whether a file is more than what a crash left of one."""
    return not (path.name.startswith(".") and path.name.endswith(".unfinished"))


def _empty_places(result: RunDir) -> dict[str, int]:
    """Return, for each policy, how many places of its pages held no item, or one that was shown before."""
    pages, events = (
        Counter({row["values"]: row["counts"] for row in pc.value_counts(table["policy"]).to_pylist()})
        for table in (result.pages, result.events)
    )
    size = result.manifest["page_size"]
    return {label: pages[label] * size - events[label] for label in pages}


def _note(result: RunDir, **news: Any) -> None:
    manifest = RunDir(result.folder).manifest
    spent = manifest.get("seconds", {})
    news["seconds"] = spent | {name: round(spent.get(name, 0) + more, 3) for name, more in news["seconds"].items()}
    result.write_json("manifest.json", manifest | news)


class _Cast:
    """The policies and the population: made at once, fitted when they are first needed."""

    def __init__(self, stage: Stage, answers: Answers, fresh: bool, watch: Watcher) -> None:
        self.stage, self.answers, self.fresh, self.watch = stage, answers, fresh, watch
        self.seconds: dict[str, float] = {}
        self._policies = {chosen.label: self._made(chosen) for chosen in stage.scenario.policies}
        chosen = stage.scenario.population
        self.users: Population = build("population", chosen.name, chosen.options, stage.gifts | {"answers": answers})
        self._ready, self._fit_seconds = False, 0.0

    def _made(self, chosen: NamedPolicy) -> Policy:
        policy: Policy = build("policy", chosen.name, chosen.options, self.stage.gifts)
        check_unseen(policy, self.stage.split.train, self.stage.scenario.seeds, chosen.label)
        return policy

    def is_own(self, chosen: NamedPolicy) -> bool:
        """Tell whether a policy, not fitted yet, is somebody's own code."""
        return is_own(self._policies[chosen.label])

    def policy(self, chosen: NamedPolicy) -> Policy:
        """Return the policy, fitted; a new one every time it is asked for."""
        policy = self._policies.pop(chosen.label, None) or self._made(chosen)
        begin = time.perf_counter()
        found = fitted(
            policy, chosen.label, self.stage.split, options=chosen.options, fresh=self.fresh, watch=self.watch
        )
        self.seconds[f"fit {chosen.label}"] = time.perf_counter() - begin
        return found.policy

    def ready(self) -> tuple[Population, float]:
        """Return the population, fitted, and the seconds that this took or had taken before."""
        return self.population(), self._fit_seconds

    def population(self) -> Population:
        """Return the population, fitted."""
        if not self._ready:
            begin = time.perf_counter()
            chosen = self.stage.scenario.population
            self.watch(Step("fitting the users", 0, 1, "populations"))
            self._fit_seconds = fitted_population(
                self.users,
                chosen.name,
                self.stage.split.train,
                options=chosen.options,
                keep=not answered_by(self.users).a_model,
                fresh=self.fresh,
                watch=self.watch,
            )
            self.seconds["fit population"] = time.perf_counter() - begin
            self._ready = True
        return self.users


def _hold_up(cast: "_Cast", result: RunDir) -> None:
    """Hold the users against real ones before policies are ranked by them, and write down what was found."""
    begin, why, found = time.perf_counter(), why_not(cast.stage, cast.users), None
    try:
        found = measured(cast.stage, cast.users, cast.answers, ready=cast.ready, fresh=cast.fresh, watch=cast.watch)
    except PopulationError as error:  # a stranger's users may not bear to be tried
        LOG.warning("fidelity: not measured (%s)", error)
        why = str(error)
    if found is not None:
        result.write_json(FIDELITY, found)
        cast.seconds["fidelity"] = time.perf_counter() - begin
    _note(result, fidelity=brief(found, why), seconds={})


def _look_back(result: RunDir) -> None:
    """Let reviewers read the run's own log, and add what they object to."""
    found = result.read_json(FIDELITY) if (result.folder / FIDELITY).exists() else None
    why = str(result.manifest["fidelity"]["note"]).removeprefix(UNHELD)
    found = with_log(found if found and found["tests"] else None, result, why)
    result.write_json(FIDELITY, found)
    _note(result, fidelity=brief(found), seconds={})


def _simulate(stage: Stage, cast: _Cast, result: RunDir, watch: Watcher) -> None:
    """Let every policy meet the users who are not finished with it."""
    scenario, train = stage.scenario, stage.split.train
    left = _unfinished(stage, result)
    total = stage.sessions
    done = total - sum(map(len, left.values()))
    if (done < total or isinstance(cast.users, Thinking)) and isinstance(cast.users, Introducing):
        watch(Step("meeting the users", done, total))
        _introduce(stage, cast, result)
    for chosen in scenario.policies:
        label = chosen.label
        ranking = f"rankings/{label}.parquet"
        unranked = bool(scenario.offline) and len(stage.split.test) > 0 and not (result.folder / ranking).exists()
        if not unranked and not any(len(left[label, seed]) for seed in scenario.seeds):
            continue
        watch(Step(f"fitting {label}", done, total))
        policy = cast.policy(chosen)
        if unranked and scenario.offline:
            with blame(f"policy '{label}'", "recommend"):
                result.write_table(ranking, ranking_table(stage.split, policy, stage.users, scenario.offline))
        loop = PageLoop(
            train,
            cast.population(),
            page_size=scenario.page_size,
            max_pages=scenario.max_pages,
            leave_out_past=scenario.leave_out_past,
            leave_out_shown=scenario.leave_out_shown,
        )
        begin, who = time.perf_counter(), f"policy '{label}'"
        for seed in scenario.seeds:
            users = left[label, seed]
            if isinstance(policy, Observer) and seed != scenario.seeds[0]:
                policy = cast.policy(chosen)  # what it observed under one seed is not for the next
            few = FEW if not done and answered_by(cast.users).a_model and not isinstance(policy, Observer) else 0
            for some in (users[:few], users[few:]):  # where answers cost, a few users show whether any can be read
                for count, turns in play(loop, policy, some, seed, batch_size=scenario.batch_size, label=who):
                    result.log.write(label, seed, train, turns)
                    done += count
                    watch(Step(f"{label}, seed {seed}", done, total))
        cast.seconds["simulate"] = cast.seconds.get("simulate", 0) + time.perf_counter() - begin


def _introduce(stage: Stage, cast: _Cast, result: RunDir) -> None:
    """Let the users tell who they are, and write it down, before any of them enters."""
    users = cast.population()
    begin = time.perf_counter()
    if isinstance(users, Introducing):
        with blame(f"population '{stage.scenario.population.name}'", "introduce"):
            known = result.read_lines(PERSONAS)
            if answered_by(users).a_model:
                known = known or [dict(one) for one in users.introduce(stage.users[:FEW].tolist())]
            told = users.introduce(stage.users.tolist(), known)
            result.write_lines(PERSONAS, told)
    cast.seconds["meet the users"] = time.perf_counter() - begin


def _think_over(cast: _Cast, result: RunDir, watch: Watcher) -> None:
    """Let what happened be thought over, once all sessions have ended."""
    users = cast.population()
    begin, sessions = time.perf_counter(), cast.stage.sessions
    watch(Step("thinking it over", sessions, sessions))
    if isinstance(users, Thinking):
        with blame(f"population '{cast.stage.scenario.population.name}'", "think_over"):
            rows = users.think_over(result.log.events())
        if rows:
            result.write_lines(ITEM_TEXTS, rows)
    cast.seconds["think it over"] = time.perf_counter() - begin


def _unfinished(stage: Stage, result: RunDir) -> dict[tuple[str, int], IntArray]:
    """Return, for each policy and seed, the users whose sessions are not in the log."""
    ids = stage.split.train.users.ids
    left: dict[tuple[str, int], IntArray] = {}
    for policy in stage.scenario.policies:
        for seed in stage.scenario.seeds:
            finished = result.log.finished(policy.label, seed)
            mine = [user for user in stage.users.tolist() if ids[user] not in finished]
            left[policy.label, seed] = np.array(mine, dtype=np.int32)
    return left
