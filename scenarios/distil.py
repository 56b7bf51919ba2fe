"""`simenv distil`: a language-model user of one's own, taught by the pages that others answered."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.table import Table

from simenv.agents.apprentice import CARD, Likeness, Schooling, Taught, likeness, split_by_user, teach
from simenv.agents.lessons import Lesson, of_choices, of_run, past_and_choices
from simenv.agents.llm import LLMPopulation
from simenv.chat.opening import Answers
from simenv.errors import SimenvError
from simenv.reports.numbers import DASH, interval, number, percent
from simenv.rundir import PERSONAS, RunDir
from simenv.training import Epoch

from .runner import answers_of
from .scenario import Scenario, read_scenario
from .stage import set_stage
from .steps import Step, Watcher

FREE = ("model", "budget", "prices")  # of an agents' population: who answers, and what that costs


def distil(
    source: str,
    out: Path,
    *,
    settings: Sequence[str] = (),
    pages: int = 4000,
    judged: int = 300,
    checkpoint: Path | None = None,
    schooling: Mapping[str, Any] | None = None,
    watch: Watcher = lambda _: None,
) -> tuple[Taught, Likeness]:
    """Teach a model what a run's users did, or what a scenario's real users chose; return what came of it.

    The folder is then a model for agents: `model: {kind: local, path: …}`.
    """
    if (out / CARD).exists():
        raise SimenvError(f"{out}: holds a model that has been taught; choose another folder, or delete it")
    names = [one.name for one in fields(Schooling)]
    strange = [name for name in schooling or {} if name not in names]
    if strange:
        raise SimenvError(f"--with {strange[0]}: there are {', '.join(names)}")
    how = Schooling(**(schooling or {}))
    watch(Step("writing lessons", 0, pages, "pages"))
    lessons, facts = lessons_of(source, settings, pages, how.seed)
    if len(lessons) < 2:
        raise SimenvError(f"{source}: {len(lessons)} pages to learn from; a run with more sessions has more")

    def told(epoch: Epoch) -> None:
        note = f"loss {epoch.loss:.4g}, of users kept apart {-(epoch.score or 0.0):.4g}"
        watch(Step("teaching", epoch.done, epoch.total, "epochs", note, epoch.seconds_left))

    watch(Step("teaching", 0, how.epochs, "epochs", "the first epoch"))
    taught = teach(lessons, out, how, checkpoint=checkpoint, watch=told, facts=facts)
    _, kept = split_by_user(lessons, how.held_out, how.seed)
    kept = kept[:judged]
    watch(Step("asking it what others did", 0, len(kept), "pages"))
    found = likeness(out, kept, seed=how.seed)
    write_card(out, {"likeness": asdict(found)})
    return taught, found


def lessons_of(source: str, settings: Sequence[str], most: int, seed: int) -> tuple[list[Lesson], dict[str, Any]]:
    """Return the pages of a run, or of what real users chose, and where they come from, as JSON holds it."""
    folder = Path(source)
    if (folder / "manifest.json").is_file():
        run = RunDir.open(folder)
        run.check_whole()
        scenario = read_scenario(str(folder / "scenario.yaml"), settings)
        stage = set_stage(scenario)
        population = _agents(scenario, folder)
        population.fit(stage.split.train)
        population.introduce([], run.read_lines(PERSONAS))
        lessons = list(of_run(population, run.events, run.pages, most=most, seed=seed))
        return lessons, _facts("run", scenario, stage.split.train.fingerprint)
    scenario = read_scenario(source, settings)
    train = set_stage(scenario).split.train
    past, later = past_and_choices(train)
    population = _agents(scenario, None)
    population.fit(past)
    size = scenario.page_size
    lessons = list(of_choices(population, train, later, most=most, page_size=size, seed=seed))
    return lessons, _facts("choices", scenario, train.fingerprint)


def _agents(scenario: Scenario, folder: Path | None) -> LLMPopulation:
    """Return agents as a scenario has them, or plain ones where its users are of another kind; none asks a model."""
    told = next(_agents_told(scenario.population.name, scenario.population.options), {})
    options = {name: value for name, value in told.items() if name not in FREE}
    answers = Answers() if folder is None else answers_of(folder, None)
    if options.get("encoder", "words") != "words":
        options["answers"] = answers
    population = LLMPopulation(**options)
    answers.check()
    return population


def _agents_told(name: str, options: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what a scenario tells of its agents, those of a mixture included."""
    if name == "llm":
        yield options
    elif name == "mixture":
        for told in options["of"]:
            if isinstance(told, Mapping):
                rest = {option: value for option, value in told.items() if option not in ("name", "share", "label")}
                yield from _agents_told(str(told["name"]), rest)


def _facts(kind: str, scenario: Scenario, rows: str) -> dict[str, Any]:
    by = {"population": scenario.population.name} if kind == "run" else {}
    return {"source": {"kind": kind, "scenario": scenario.name, "rows": rows} | by}


def write_card(folder: Path, more: Mapping[str, Any]) -> None:
    """Add to what a model's folder says of it."""
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    (folder / CARD).write_text(json.dumps(card | more, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def table_of(taught: Taught, found: Likeness) -> Table:
    """Return how like its teacher a model is, to print."""
    table = Table(box=None, padding=(0, 1), title="like its teacher, on users kept apart", title_justify="left")
    table.add_column("", overflow="fold")
    for name in ("value", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, one in (("the same done with an item", found.same), ("kappa of taking", found.kappa)):
        table.add_row(name, number(one.mean, one.low, one.high), interval(one.low, one.high, DASH))
    rows: list[tuple[str, str]] = [
        ("taken by the teacher, and by it", f"{percent(found.took[0])}, {percent(found.took[1])}"),
        ("correlation of ratings", number(found.ratings, 0.0, 1.0)),
        ("correlation of satisfaction", number(found.satisfaction, 0.0, 1.0)),
        ("pages left after, by the teacher and by it", f"{percent(found.leaves[0])}, {percent(found.leaves[1])}"),
        ("answers that could not be read", f"{found.unread} of {found.pages + found.unread}"),
        ("pages learnt from", f"{taught.lessons:,}"),
        ("loss on users kept apart", f"{taught.loss:.4f}"),
    ]
    for name, value in rows:
        table.add_row(name, value, "")
    return table
