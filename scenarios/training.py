"""`simenv train`: a generative policy taught stage by stage, and simulated again after each.

out/
  training.json     what every stage did, and how good the policy was after it: held out, to its teachers, its judges
  scenario.yaml     the training with all values used
  00-sft/policy     the policy after the stage, to be shown to users by `{name: saved, path: …}`
  00-sft/taught     its run before the users who teach; the next stages learn from their grades
  00-sft/judged     its run before other users, who grade and never teach
  01-…
  report.html
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import yaml
from pydantic import BeforeValidator, Field, model_validator

from simenv.arrays import FloatArray, IntArray
from simenv.errors import RunError, ScenarioError, SimenvError
from simenv.intervals import Interval, differences, means
from simenv.metrics import Measures
from simenv.pages import Grade
from simenv.policy import Policy
from simenv.population import Closing
from simenv.ranking import rank
from simenv.rundir import RunDir
from simenv.splits import Split
from simenv.store import load_policy, save_policy

from .fitted import fitted
from .names import build
from .runner import run
from .scenario import SHIPPED as SCENARIOS
from .scenario import DatasetPart, Named, NamedPolicy, Scenario, SplitPart, SplitRule, by_name, told_of
from .stage import Stage, set_stage
from .steps import Step, Watcher
from .told import Part

SHIPPED = SCENARIOS / "training"
TRAINING, REPORT = "training.json", "report.html"
FIRST = "sft"  # the stage that fits the policy
LABEL = "generative"
MOST_HELD_OUT = 10_000  # users by whom a stage is measured on held-out rows
K = 10
SHOWN = ("S_sat", "N_like", "P_like", "N_exit", "diversity", "popularity_lift")


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
    users: int | None = Field(None, ge=1)
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field([0], min_length=1)
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

    def text(self) -> str:
        """Return the training as YAML with all values used."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)

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


@dataclass(frozen=True)
class Figures:
    """How good a policy was after a stage, by user."""

    recall: FloatArray  # [H], held out
    ndcg: FloatArray  # [H]
    taught: dict[str, FloatArray]  # by metric, of each simulated user [U]
    judged: dict[str, FloatArray]


def train(
    training: Training, out: Path, *, resume: bool = False, fresh: bool = False, watch: Watcher = lambda _: None
) -> dict[str, Any]:
    """Go through all stages; return what `training.json` says. What stands of a resumed training is not done again."""
    _check_place(training, out, resume)
    whole = _Training(training, out, fresh, watch)  # what cannot be is told before anything is written
    RunDir(out).write_text("scenario.yaml", training.text())
    return whole.go()


def _check_place(training: Training, out: Path, resume: bool) -> None:
    there = out / "scenario.yaml"
    if there.exists():
        if not resume:
            raise RunError(f"{out}: there is a training here already; add --resume to go on with it, or another --out")
        if there.read_text(encoding="utf-8") != training.text():
            raise RunError(f"{out}: holds another training; choose another --out")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: not empty and not a training; choose another --out")


class _Training:
    """A training on its way."""

    def __init__(self, training: Training, out: Path, fresh: bool, watch: Watcher) -> None:
        self.training, self.out, self.fresh, self.watch = training, out, fresh, watch
        self.scenario = self._scenario([training.policy], training.population)
        self.stage: Stage = set_stage(self.scenario)
        self.split: Split = self.stage.split
        self.policy = self._made()
        self.told: list[dict[str, Any]] = []
        self.figures: list[Figures] = []

    def _scenario(self, policies: list[NamedPolicy], population: Named) -> Scenario:
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
                "seeds": training.seeds,
                "page_size": training.page_size,
                "max_pages": training.max_pages,
                "offline": K,
                "fidelity": {"measure": training.fidelity},
            }
        )

    def _made(self) -> Policy:
        """Return the policy, before it is fitted; make users and objectives too, so that none fails hours later."""
        training, gifts = self.training, self.stage.gifts
        policy: Policy = build("policy", training.policy.name, training.policy.options, gifts)
        if not all(hasattr(policy, name) for name in ("new_tokenizer", "write")):
            raise SimenvError(f"policy '{training.policy.name}' cannot be taught by preferences; 'generative' can")
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
                    policy, about = self._first() if part is None else self._next(part, folder, number)
                except SimenvError as error:
                    error.args = (f"stage '{name}': {error}",)
                    raise
                save_policy(policy, folder / "policy")
                RunDir(folder).write_json("stage.json", about)
            about = RunDir(folder).read_json("stage.json")
            self.watch(Step(f"{name}: held-out rows", number, len(names), "stages"))
            figures = self._measured(folder)
            self.figures.append(figures)
            self.told.append({"name": name, "folder": folder.name, **about, **self._intervals(figures)})
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

    def _next(self, part: StagePart, folder: Path, number: int) -> tuple[Policy, dict[str, Any]]:
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
        run_before = RunDir.open(before / "taught") if part.source == "simulated" else None
        told = taught(
            policy,
            lesson,
            self.split,
            run_before,
            folder=folder / "progress",
            watch=lambda epoch: self.watch(
                Step(folder.name, epoch.done, epoch.total, "epochs", f"loss {epoch.loss:.4g}", epoch.seconds_left)
            ),
        )
        return policy, {"source": part.source, "objective": part.objective, **asdict(told)}

    def _measured(self, folder: Path) -> Figures:
        """Return how good the policy in a stage's folder is: on held-out rows, and before both kinds of users."""
        kept = folder / "figures.npz"
        if kept.is_file():
            with np.load(kept, allow_pickle=False) as arrays:
                return _unpacked(dict(arrays))
        policy: Any = load_policy(folder / "policy")
        recall, ndcg = held_out(policy, self.split, self.stage.users)
        taught = self._played(folder, "taught", self.training.population)
        judged = self._played(folder, "judged", self.training.judges)
        figures = Figures(recall, ndcg, taught, judged)
        unfinished = kept.with_suffix(".unfinished.npz")
        np.savez(unfinished, allow_pickle=False, **_packed(figures))
        unfinished.replace(kept)
        return figures

    def _played(self, folder: Path, name: str, population: Named) -> dict[str, FloatArray]:
        saved = NamedPolicy.model_validate({"name": "saved", "path": str(folder / "policy"), "label": LABEL})
        scenario = self._scenario([saved], population)
        there = (folder / name / "manifest.json").exists()
        if there:
            _call_anew(RunDir(folder / name), str(folder / "policy"))
        result = run(scenario, folder / name, resume=there, watch=self.watch)
        return by_user(result)

    def _intervals(self, figures: Figures) -> dict[str, Any]:
        """Return all figures with their intervals, and how far they are from those of the first stage."""
        first = self.figures[0]
        told: dict[str, Any] = {
            "held_out": {
                f"recall@{K}": _told(figures.recall, first.recall),
                f"ndcg@{K}": _told(figures.ndcg, first.ndcg),
            }
        }
        for name, now, then in (("taught", figures.taught, first.taught), ("judged", figures.judged, first.judged)):
            told[name] = {metric: _told(values, then[metric]) for metric, values in now.items()}
        return told

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
            "trust": {name: self._trust(name) for name in ("taught", "judged")},
            "stages": self.told,
        }

    def _trust(self, name: str) -> dict[str, Any]:
        runs = sorted(self.out.glob(f"*/{name}/manifest.json"))
        return dict(RunDir.open(runs[0].parent).manifest.get("fidelity", {})) if runs else {}

    def _write(self) -> None:
        from simenv.reports.training import write_training_report

        RunDir(self.out).write_json(TRAINING, self.plain())
        write_training_report(self.out, self.plain())


def _call_anew(run: RunDir, path: str) -> None:
    """Let a run's policy bear this path: the training's folder may have been moved, or be called otherwise by now."""
    policies = [{**policy, "options": {**policy["options"], "path": path}} for policy in run.manifest["policies"]]
    if policies != run.manifest["policies"]:
        run.write_json("manifest.json", {**run.manifest, "policies": policies})


def held_out(policy: Policy, split: Split, users: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the recall and NDCG at 10 of users with test rows, those of the play first, asked with all rows before."""
    history = split.past()
    tested = np.unique(split.test.users)
    others = np.setdiff1d(tested, users)[: max(0, MOST_HELD_OUT - len(users))]
    asked = np.sort(np.concatenate([np.intersect1d(tested, users), others]))
    found = rank(policy, history, split.test, asked, K).qualities()
    return found[:, 0], found[:, 1]


def by_user(result: RunDir) -> dict[str, FloatArray]:
    """Return a run's metrics of each user, and the mean grade of what was looked at."""
    measures = Measures(result)
    names = list(measures.session_values)
    found = {name: measures.per_user[:, 0, names.index(name)] for name in SHOWN if name in names}
    seen = measures.grade != Grade.UNSEEN
    user = measures.session_user[measures.event_session]
    count = np.bincount(user[seen], minlength=len(measures.users))
    total = np.bincount(user[seen], measures.grade[seen] - 1.0, len(measures.users))
    grade = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return {"grade": grade} | found


def _told(now: FloatArray, then: FloatArray) -> dict[str, Any]:
    mean = means(now[:, None])[0]
    gap = differences((now - then)[:, None])[0]
    return {**_plain(mean), "gained": _plain(gap)}


def _plain(value: Interval) -> dict[str, float | None]:
    told = {"mean": value.mean, "low": value.low, "high": value.high}
    return {name: float(one) if np.isfinite(one) else None for name, one in told.items()}


def _packed(figures: Figures) -> dict[str, FloatArray]:
    told = {"recall": figures.recall, "ndcg": figures.ndcg}
    told |= {f"taught.{name}": values for name, values in figures.taught.items()}
    return told | {f"judged.{name}": values for name, values in figures.judged.items()}


def _unpacked(arrays: dict[str, FloatArray]) -> Figures:
    taught = {name[7:]: values for name, values in arrays.items() if name.startswith("taught.")}
    judged = {name[7:]: values for name, values in arrays.items() if name.startswith("judged.")}
    return Figures(arrays["recall"], arrays["ndcg"], taught, judged)
