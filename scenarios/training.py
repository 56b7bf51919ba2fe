"""`simenv train`: a generative policy taught stage by stage, and graded after each by those who taught nothing.

out/
  training.json     what every stage did, and how good the policy was after it: held out, to its teachers, its judges
  scenario.yaml     the training with all values used
  00-sft/policy     the policy after the stage, to be shown to users by `{name: saved, path: …}`
  00-sft/teachers   its run before the users who teach, with seeds from which nothing is learnt; so with the judges
  00-sft/judges     its run before users of another kind, who never teach
  00-sft/truth      its run before the made world's own users, where there are any
  02-disliked/lessons  the run of the policy before this stage, with seeds of its own, from whose grades it learnt
  beside/judges     pop and EASE before the same users with the same seeds
  report.html

Which seed teaches and which grades follows from the training's `seeds` (see `Training.teaching_seeds` and
`grading_seeds`): no seed does both, and each stage learns from new ones.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from simenv.arrays import FloatArray
from simenv.chance import derived_seed
from simenv.errors import RunError, ScenarioError, SimenvError
from simenv.policy import Policy
from simenv.population import Closing
from simenv.rundir import RunDir
from simenv.splits import Split
from simenv.store import load_policy, save_policy

from .fitted import fitted
from .grading import (
    HELD_OUT,
    Figures,
    by_user,
    changes,
    correct,
    held_out,
    mean_figures,
    read_figures,
    stage_figures,
    write_figures,
)
from .names import build
from .runner import run
from .scenario import DatasetPart, Named, NamedPolicy, Scenario, SplitPart, SplitRule, by_name, distinct_labels, told_of
from .shipped import SHIPPED as SCENARIOS
from .stage import Stage, set_stage
from .steps import Step, Watcher
from .told import Part

SHIPPED = SCENARIOS / "training"
TRAINING, REPORT = "training.json", "report.html"
FIRST = "sft"  # the stage that fits the policy
LABEL = "generative"
LESSONS, BESIDE = "lessons", "beside"
TEACHERS, JUDGES, TRUTH = "teachers", "judges", "truth"  # who grade
FIRST_GRADING_SEED = 2**30  # the seeds below teach


def _once(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed stands twice; name each once")
    return seeds


Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], AfterValidator(_once)]


class StagePart(Part):
    """One stage of a curriculum."""

    noun: ClassVar[str] = "a stage"

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    source: Literal["self-play", "simulated", "logged"]
    objective: Literal["listwise", "group", "cross-entropy"] = "listwise"
    options: dict[str, Any] = Field(default_factory=dict)  # of the objective
    level: Literal["easy", "medium", "hard"] | None = None  # of self-play; all unless told
    against: Literal["both", "passed", "disliked"] = "both"  # of what users graded
    negatives: int = Field(10, ge=1)
    positives: Literal["one", "many"] = "one"
    records: int | None = Field(None, ge=1)  # at most so many prompts
    beams: int = Field(20, ge=2)  # of self-play
    epochs: int = Field(1, ge=1)
    learning_rate: float = Field(5e-5, gt=0)
    batch_size: int = Field(64, ge=1)
    anchor: float = Field(0.0, ge=0)  # weight of the training rows' own cross-entropy, learnt beside

    @model_validator(mode="after")
    def _fits(self) -> "StagePart":
        if self.level is not None and self.source != "self-play":
            raise ValueError(f"level is {self.level}; only what is made by self-play has levels")
        if self.against != "both" and self.source == "self-play":
            raise ValueError("against tells of grades that users gave; in self-play nobody gives one")
        if self.against == "passed" and self.source == "logged":
            raise ValueError("against is passed; only what is simulated tells what a user passed over")
        if self.objective != "listwise":
            usual = {"level": None, "against": "both", "positives": "one"}
            for name, value in usual.items():
                if getattr(self, name) != value:
                    raise ValueError(f"{name} goes with the objective listwise, which sets some items against others")
        return self


class Training(Part):
    """A policy, its users, and the stages that it is taught by."""

    noun: ClassVar[str] = "a training"

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    question: str = "Does what simulated users liked make the policy better, or only better liked by them?"
    dataset: DatasetPart
    split: SplitRule = SplitPart()
    policy: Annotated[NamedPolicy, BeforeValidator(by_name)] = Field(
        default_factory=lambda: NamedPolicy(name="generative")
    )
    stages: list[StagePart] = Field(min_length=1)
    rounds: int = Field(1, ge=1)  # how often the stages whose source is simulated are gone through
    population: Annotated[Named, BeforeValidator(by_name)] = Field(
        default_factory=lambda: Named.model_validate({"name": "half", "of": ["choice"], "which": "first"})
    )
    judges: Annotated[Named, BeforeValidator(by_name)] = Field(
        default_factory=lambda: Named.model_validate({"name": "half", "of": ["voters"], "which": "second"})
    )
    beside: Annotated[list[Annotated[NamedPolicy, BeforeValidator(by_name)]], AfterValidator(distinct_labels)] = Field(
        default_factory=lambda: [NamedPolicy.model_validate({"name": name}) for name in ("pop", "ease")]
    )
    users: int | None = Field(None, ge=1)
    seeds: Seeds = Field([0], min_length=1)
    judge_seeds: Seeds | None = Field(None, min_length=1)
    graded: Literal["all", "ends"] = "all"  # after which stages users grade
    page_size: int = Field(5, ge=1, le=255)
    max_pages: int = Field(6, ge=1, le=10_000)
    most_lost: float = Field(0.03, ge=0, le=1)  # of the first stage's NDCG on validation rows, by all others together
    fidelity: bool = True

    @model_validator(mode="after")
    def _distinct(self) -> "Training":
        names = [name for name, _ in self.course]
        twice = next((name for name in names if names.count(name) > 1 or name == FIRST), None)
        if twice is not None:
            raise ValueError(f"two stages are named '{twice}'; give each a name of its own, and none '{FIRST}'")
        if self.population == self.judges:
            raise ValueError("population and judges are the same; who grades must not be who teaches")
        return self

    @model_validator(mode="after")
    def _apart(self) -> "Training":
        stages = [name for name, stage in self.course if stage.source == "simulated"]
        teaching = [seed for name in stages for seed in self.teaching_seeds(name)]
        if len(set(teaching)) < len(teaching):
            raise ValueError(f"seeds {self.seeds}: two stages would learn from one seed; take others")
        given = set(self.judge_seeds or ())
        both = sorted(given & {*self.seeds, *teaching})
        if both:
            which = ", ".join(map(str, both))
            raise ValueError(f"judge_seeds {which}: what teaches must not grade, and these teach; take others")
        return self

    def teaching_seeds(self, stage: str) -> list[int]:
        """Return the seeds with which teachers teach a stage: one for each of `seeds`, drawn by the stage's name."""
        return [derived_seed(seed, "teaching", stage) for seed in self.seeds]

    def grading_seeds(self, who: str) -> list[int]:
        """Return the seeds with which these users grade: `judge_seeds`, or one drawn for each of `seeds`."""
        return self.judge_seeds or [FIRST_GRADING_SEED + derived_seed(seed, "grading", who) for seed in self.seeds]

    @property
    def course(self) -> list[tuple[str, StagePart]]:
        """Every stage after the first, with its name in its round."""
        first = [(stage.name, stage) for stage in self.stages]
        again = [stage for stage in self.stages if stage.source == "simulated"]
        return first + [(f"{stage.name}-{number}", stage) for number in range(2, self.rounds + 1) for stage in again]


def read_training(source: str, settings: Sequence[str] = ()) -> Training:
    """Return the training of a file, or of one that is shipped."""
    told = told_of(source, SHIPPED, "training")
    told.lay(settings)
    return told.check(Training)


def train(
    training: Training,
    out: Path,
    *,
    resume: bool = False,
    judge_again: bool = False,
    fresh: bool = False,
    watch: Watcher = lambda _: None,
) -> dict[str, Any]:
    """Go through all stages; return what `training.json` says.

    What stands of a resumed training is not done again; with `judge_again` all grades are forgotten and given anew.
    """
    _check_place(training, out, resume or judge_again, judge_again)
    whole = _Training(training, out, fresh, watch)  # what cannot be is told before anything is written
    if judge_again:
        _forget_grades(out)
    RunDir(out).write_text("scenario.yaml", training.text())
    return whole.go()


GRADING_KEYS = {"judges", "judge_seeds", "beside", "graded", "fidelity"}  # nothing that is learnt follows from these


def _check_place(training: Training, out: Path, resume: bool, judge_again: bool) -> None:
    there = out / "scenario.yaml"
    if there.exists():
        if not resume:
            raise RunError(f"{out}: there is a training here already; add --resume to go on with it, or another --out")
        before = yaml.safe_load(there.read_text(encoding="utf-8"))
        now = yaml.safe_load(training.text())
        differing = {key for key in now if before.get(key) != now[key]}
        if differing - GRADING_KEYS:
            raise RunError(f"{out}: holds another training; choose another --out")
        if differing - {"graded"} and not judge_again:
            what = ", ".join(sorted(differing - {"graded"}))
            raise RunError(f"{out}: its {what} were others; add --judge-again to have all graded anew")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: not empty and not a training; choose another --out")


def _forget_grades(out: Path) -> None:
    """Remove every run that graded, and what was read from it."""
    for who in (TEACHERS, JUDGES, TRUTH):
        for folder in out.glob(f"*/{who}"):
            shutil.rmtree(folder)
    for file in out.glob(f"*/{HELD_OUT}*.npz"):
        file.unlink()


class _Training:
    """A training on its way."""

    def __init__(self, training: Training, out: Path, fresh: bool, watch: Watcher) -> None:
        self.training, self.out, self.fresh, self.watch = training, out, fresh, watch
        self.scenario = self._scenario([training.policy], training.population)
        self.stage: Stage = set_stage(self.scenario)
        self.split: Split = self.stage.split
        self.policy = self._made()
        self.graders = {TEACHERS: training.population, JUDGES: training.judges}
        if self.stage.truth is not None:
            self.graders[TRUTH] = Named(name="truth")
        self.told: list[dict[str, Any]] = []
        self.first: Figures = {}  # what grades were given after the first stage, and after the last so far
        self.last: Figures = {}
        self.beside: dict[str, Figures] = {}

    def _scenario(
        self, policies: list[NamedPolicy], population: Named, seeds: Sequence[int] = (0,), *, fidelity: bool = False
    ) -> Scenario:
        training = self.training
        return Scenario.model_validate(
            {
                "name": training.name,
                "question": training.question,
                "dataset": training.dataset,
                "split": training.split,
                "population": population,
                "policies": policies,
                "users": training.users,
                "seeds": list(seeds),
                "page_size": training.page_size,
                "max_pages": training.max_pages,
                "offline": None,
                "fidelity": {"measure": fidelity},
            }
        )

    def _made(self) -> Policy:
        """Return the policy, before it is fitted; make users and objectives too, so that none fails hours later."""
        training, gifts = self.training, self.stage.gifts
        policy: Policy = build("policy", training.policy.name, training.policy.options, gifts)
        if not all(hasattr(policy, name) for name in ("new_tokenizer", "write")):
            raise SimenvError(f"policy '{training.policy.name}' cannot be taught by preferences; 'generative' can")
        for chosen in training.beside:
            build("policy", chosen.name, chosen.options, gifts)
        for users in (training.population, training.judges):
            made = build("population", users.name, users.options, gifts)
            if isinstance(made, Closing):
                made.close()
        from simenv.recommenders.generative.objectives import objective_of

        short = getattr(policy, "levels", 2) < 2 and getattr(policy, "quantiser", "titles") != "titles"
        for stage in training.stages:
            try:
                objective_of(stage.objective, stage.options)
            except SimenvError as error:
                raise ScenarioError(f"stage '{stage.name}', options: {error}") from None
            if stage.level == "medium" and short:
                what = "items that begin alike want names of three tokens or more, and the policy's have two at most"
                raise ScenarioError(f"stage '{stage.name}', level medium: {what}; give it levels: 2 or more")
        return policy

    def go(self) -> dict[str, Any]:
        """Go through the stages."""
        names = [(FIRST, None), *self.training.course]
        for number, (name, part) in enumerate(names):
            folder = self.out / f"{number:02}-{name}"
            self.watch(Step(f"{name}: teaching", number, len(names), "stages"))
            if not (folder / "stage.json").is_file():
                try:
                    policy, about = self._first() if part is None else self._next(name, part, folder, number)
                except SimenvError as error:
                    error.args = (f"stage '{name}': {error}",)
                    raise
                save_policy(policy, folder / "policy")
                RunDir(folder).write_json("stage.json", about)
            about = RunDir(folder).read_json("stage.json")
            stage = {"name": name, "folder": folder.name, **about}
            if self.training.graded == "all" or number in (0, len(names) - 1):
                self.watch(Step(f"{name}: grading", number, len(names), "stages"))
                self.last = self._figures(folder)
                self.first = self.first or self.last
                stage |= stage_figures(self.last, self.first)
            self.told.append(stage)
            if number == 0:
                self.beside = self._rivals()
            self._write()
        return self.plain()

    def _first(self) -> tuple[Policy, dict[str, Any]]:
        """Fit the policy to the training rows: what a language model calls supervised fine-tuning."""
        chosen = self.training.policy
        found = fitted(
            self.policy, chosen.label, self.split, options=chosen.options, fresh=self.fresh, watch=self.watch
        )
        from simenv.recommenders.generative.curriculum import on_validation

        valid = on_validation(found.policy, self.split)
        told = {"source": "training rows", "objective": "cross-entropy"}
        return found.policy, told | ({} if valid is None else {"valid": [valid]})

    def _next(self, name: str, part: StagePart, folder: Path, number: int) -> tuple[Policy, dict[str, Any]]:
        """Teach the policy of the stage before."""
        from simenv.recommenders.generative.curriculum import Lesson, taught

        before = sorted(self.out.glob(f"{number - 1:02}-*"))[0]
        policy: Any = load_policy(before / "policy")
        lesson = Lesson(
            source=part.source,
            objective=part.objective,
            options=part.options,
            level=part.level,
            against=part.against,
            negatives=part.negatives,
            positives=part.positives,
            records=part.records,
            beams=part.beams,
            epochs=part.epochs,
            learning_rate=part.learning_rate,
            batch_size=part.batch_size,
            anchor=part.anchor,
            most_lost=self.training.most_lost,
            base=next(iter(self.told[0].get("valid", ())), None),
            seed=number,
        )
        lessons = None
        if part.source == "simulated":
            seeds = self.training.teaching_seeds(name)
            scenario = self._scenario([_saved(before / "policy")], self.training.population, seeds)
            lessons = self._played(scenario, folder / LESSONS, before / "policy")
        told = taught(
            policy,
            lesson,
            self.split,
            lessons,
            folder=folder / "progress",
            watch=lambda epoch: self.watch(
                Step(folder.name, epoch.done, epoch.total, "epochs", f"loss {epoch.loss:.4g}", epoch.seconds_left)
            ),
        )
        return policy, {"source": part.source, "objective": part.objective, **asdict(told)}

    def _figures(self, folder: Path) -> Figures:
        """Return how good the policy in a stage's folder is: on held-out rows, and before all who grade."""
        kept = folder / f"{HELD_OUT}.npz"
        if not kept.is_file():
            write_figures(kept, held_out(load_policy(folder / "policy"), self.split, self.stage.users))
        figures: dict[str, Mapping[str, FloatArray]] = {HELD_OUT: read_figures(kept)}
        for who, population in self.graders.items():
            kept = folder / who / "figures.npz"
            if not kept.is_file():
                seeds = self.training.grading_seeds(who)
                policy = folder / "policy"
                scenario = self._scenario([_saved(policy)], population, seeds, fidelity=self.training.fidelity)
                write_figures(kept, by_user(self._played(scenario, folder / who, policy))[LABEL])
            figures[who] = read_figures(kept)
        return figures

    def _rivals(self) -> dict[str, Figures]:
        """Return how good the policies beside are, on the same rows and to the same users with the same seeds."""
        chosen = self.training.beside
        figures: dict[str, dict[str, Mapping[str, FloatArray]]] = {one.label: {} for one in chosen}
        folder = self.out / BESIDE
        for one in chosen:
            kept = folder / f"{HELD_OUT}-{one.label}.npz"
            if not kept.is_file():
                made = build("policy", one.name, one.options, self.stage.gifts)
                policy = fitted(made, one.label, self.split, options=one.options, fresh=self.fresh, watch=self.watch)
                folder.mkdir(parents=True, exist_ok=True)
                write_figures(kept, held_out(policy.policy, self.split, self.stage.users))
            figures[one.label][HELD_OUT] = read_figures(kept)
        for who, population in self.graders.items() if chosen else ():
            scenario = self._scenario(chosen, population, self.training.grading_seeds(who))
            for label, metrics in by_user(self._played(scenario, folder / who)).items():
                figures[label][who] = metrics
        return dict(figures)

    def _played(self, scenario: Scenario, folder: Path, policy: Path | None = None) -> RunDir:
        there = (folder / "manifest.json").exists()
        if there and policy is not None:
            _call_anew(RunDir(folder), str(policy))
        return run(scenario, folder, resume=there, watch=self.watch)

    def plain(self) -> dict[str, Any]:
        """Return the whole training as JSON holds it."""
        return {
            "name": self.training.name,
            "question": self.training.question,
            "data": self.split.train.name,
            "split": self.split.protocol,
            "users": len(self.stage.users),
            "population": self.training.population.model_dump(),
            "judges": self.training.judges.model_dump(),
            "graders": [HELD_OUT, *self.graders],
            "seeds": self._seeds(),
            "trust": {who: self._trust(who) for who in self.graders},
            "stages": self.told,
            "beside": {label: mean_figures(figures) for label, figures in self.beside.items()},
            "changes": changes(self.first, self.last, self.beside) if len(self.told) > 1 else [],
        }

    def _seeds(self) -> dict[str, dict[str, list[int]]]:
        """Return with which seeds each stage was taught, and with which each grades."""
        stages = [name for name, stage in self.training.course if stage.source == "simulated"]
        return {
            "teaching": {name: self.training.teaching_seeds(name) for name in stages},
            "grading": {who: self.training.grading_seeds(who) for who in self.graders},
        }

    def _trust(self, who: str) -> dict[str, Any]:
        runs = sorted(self.out.glob(f"[0-9]*/{who}/manifest.json"))
        return dict(RunDir.open(runs[0].parent).manifest.get("fidelity", {})) if runs else {}

    def _write(self) -> None:
        from simenv.reports.training import write_training_report

        correct([stage for stage in self.told if HELD_OUT in stage], [HELD_OUT, *self.graders])
        plain = self.plain()
        RunDir(self.out).write_json(TRAINING, plain)
        write_training_report(self.out, plain)


def _call_anew(run: RunDir, path: str) -> None:
    """Let a run's policy bear this path: the training's folder may have been moved, or be called otherwise by now."""
    policies = [{**policy, "options": {**policy["options"], "path": path}} for policy in run.manifest["policies"]]
    if policies != run.manifest["policies"]:
        run.write_json("manifest.json", {**run.manifest, "policies": policies})


def _saved(policy: Path) -> NamedPolicy:
    return NamedPolicy.model_validate({"name": "saved", "path": str(policy), "label": LABEL})
