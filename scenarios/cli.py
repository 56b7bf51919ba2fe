"""The command line."""

import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simenv import __version__
from simenv.errors import SimenvError, own_line
from simenv.plain_text import printable

from . import cache_commands, data_commands
from .shipped import SHIPPED, source_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from simenv.rundir import RunDir

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A wind tunnel for recommenders: simulated users browse pages of recommendations.",
)
app.add_typer(data_commands.app, name="data", help="List, describe, import and check data sets.")
app.add_typer(cache_commands.app, name="cache", help="List or clear the fitted policies that are kept.")
AllowCode = Annotated[
    bool,
    typer.Option("--allow-code", help="Import what the folder of a run or training names as package.module:Name."),
]
RunFolder = Annotated[Path, typer.Argument(help="A run's folder.", metavar="DIR")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Fit every policy anew, whatever lies in the cache.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
) -> None:
    """A wind tunnel for recommenders: simulated users browse pages of recommendations."""
    from simenv.plugins import importing

    context.with_resource(importing(allowed=False))  # a command that takes a scenario opens up for that alone
    if version:
        print(f"simenv {__version__}")
        raise typer.Exit


@app.command()
def run(
    scenario: Annotated[str, typer.Argument(help="A scenario file, or the name of one that is shipped.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME unless told.")] = None,
    seed: Annotated[int | None, typer.Option(help="Run this seed alone.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the scenario.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    fresh: Fresh = False,
    no_fidelity: Annotated[
        bool, typer.Option("--no-fidelity", help="Do not hold the users against real ones before the run.")
    ] = False,
    replay: Annotated[
        Path | None, typer.Option(help="Ask no language model: take all answers from this run's record.", metavar="DIR")
    ] = None,
    only_estimate: Annotated[
        bool,
        typer.Option(
            "--estimate", help="Only say about what it takes in calls, tokens and money, and at most in calls."
        ),
    ] = False,
    allow_code: AllowCode = False,
) -> None:
    """Run a scenario: every policy before the same users, then metrics and a report."""
    source_file(scenario)  # before anything heavy is imported
    from .progress import watching
    from .runner import run as run_scenario
    from .scenario import code_of, homeless, read_scenario

    changes = [*(settings or []), *([f"seeds=[{seed}]"] if seed is not None else [])]
    chosen = read_scenario(scenario, [*changes, *(["fidelity=false"] if no_fidelity else [])])
    if only_estimate:
        from .estimate import estimate

        with code_of(scenario, allow_code=allow_code):
            print(estimate(chosen).words())
        return
    folder = out or Path("runs") / chosen.name
    words = ["simenv", "run", scenario, *(word for change in changes for word in ("--set", change))]
    words += ["--no-fidelity"] if no_fidelity else []
    words += ["--replay", str(replay)] if replay else []
    words += ["--allow-code"] if allow_code else []
    words += ["--out", str(out)] if out else []
    try:
        with watching() as watch, code_of(scenario, allow_code=allow_code):
            told = homeless(shlex.join(words))
            result = run_scenario(chosen, folder, resume=resume, fresh=fresh, replay=replay, command=told, watch=watch)
    except KeyboardInterrupt:
        print(f"\nstopped; go on with the same command and --resume ({folder})", file=sys.stderr)
        raise typer.Exit(130) from None
    _show(result)


@app.command()
def evaluate(
    source: Annotated[
        str, typer.Argument(help="A data set (folder, file, imported name, or films), or an evaluation's YAML file.")
    ],
    policies: Annotated[str | None, typer.Option(help="Which policies, with commas: pop,ease,item-knn.")] = None,
    split: Annotated[str | None, typer.Option(help="leave-one-out, time or published.")] = None,
    k: Annotated[str | None, typer.Option(help="How many of a ranking count, with commas: 10,20.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Of recall, ndcg, hit and mrr, with commas.")] = None,
    users: Annotated[int | None, typer.Option(help="Draw so many users; all unless told.")] = None,
    history: Annotated[str | None, typer.Option(help="Ask with: train, or 'train and validation'.")] = None,
    history_length: Annotated[int | None, typer.Option(help="Ask with each user's last so many rows.")] = None,
    candidates: Annotated[str | None, typer.Option(help="llmrank: rank 20 items a user instead of all.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the evaluation.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Its folder; evals/NAME unless told.")] = None,
    fresh: Fresh = False,
    allow_code: AllowCode = False,
) -> None:
    """Measure policies against held-out rows: full ranking under a protocol that stands beside every figure."""
    from .evaluation import evaluate as evaluate_policies
    from .evaluation import read_evaluation
    from .progress import watching
    from .scenario import code_of, homeless

    given = {
        "policies": policies,
        "split": split,
        "k": k,
        "metrics": metrics,
        "users": users,
        "history": history,
        "history_length": history_length,
        "candidates": candidates,
    }
    flags, words = _flags(given)
    question = read_evaluation(source, flags, settings or [])
    folder = out or Path("evals") / question.name
    words = ["simenv", "evaluate", source, *words, *(word for one in settings or [] for word in ("--set", one))]
    words += ["--out", str(out)] if out else []
    try:
        with watching() as watch, code_of(source, allow_code=allow_code):
            evaluate_policies(question, folder, fresh=fresh, command=homeless(shlex.join(words)), watch=watch)
    except KeyboardInterrupt:
        same = "the same command without --fresh" if fresh else "the same command"
        told = f"stopped; {same} goes on: what took long to fit is kept, and so is a training's last checkpoint"
        print(f"\n{told}", file=sys.stderr)
        raise typer.Exit(130) from None
    _show_evaluation(folder)


def _flags(given: "Mapping[str, str | int | None]") -> "tuple[dict[str, tuple[str, Any]], list[str]]":
    """Return the flags' values, with what was typed, and the words of the command that gives them."""
    import yaml

    flags: dict[str, tuple[str, Any]] = {}
    words: list[str] = []
    for key, value in given.items():
        if value is None:
            continue
        flag = f"--{key.replace('_', '-')}"
        read: Any = value
        if key in ("policies", "k", "metrics"):
            try:
                read = yaml.safe_load(f"[{value}]")
            except (yaml.YAMLError, ValueError):  # PyYAML takes 2024-13-45 for a date and fails
                read = str(value).split(",")
        flags[key] = (f"{flag} {value}", read)
        words += [flag, str(value)]
    return flags, words


@app.command()
def personas(
    source: Annotated[str, typer.Argument(help="A scenario with a population of agents, or a run's folder.")],
    user: Annotated[str | None, typer.Option(help="This user alone, by the data's own id.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the scenario.")
    ] = None,
    allow_code: AllowCode = False,
) -> None:
    """Show who the agents are: a line of JSON for each persona."""
    if not Path(source).is_dir():
        source_file(source)
    from .interview import personas_of

    for told in personas_of(source, settings or [], user, allow_code=allow_code):
        print(told)


@app.command()
def ask(
    folder: RunFolder,
    user: Annotated[str, typer.Argument(help="Whom to ask, by the data's own id.")],
    question: Annotated[str, typer.Argument(help="What to ask.")],
    policy: Annotated[str | None, typer.Option(help="After which policy; the first unless told.")] = None,
    seed: Annotated[int | None, typer.Option(help="After which seed; the first unless told.")] = None,
    allow_code: AllowCode = False,
) -> None:
    """Ask an agent of a finished run, with all that the session left in its memory."""
    from .interview import interview

    print(printable(interview(folder, user, question, policy, seed, allow_code=allow_code)))


@app.command()
def report(folder: RunFolder) -> None:
    """Write the report of a run or an evaluation again, and show its table."""
    from simenv.reports.evaluation import RESULT, write_evaluation_report
    from simenv.reports.report import write_report
    from simenv.rundir import RunDir

    if (folder / RESULT).exists():
        write_evaluation_report(folder)
        _show_evaluation(folder)
        return
    result = RunDir.open(folder)
    result.check_whole()
    write_report(result)
    _show(result)


@app.command()
def rescore(folder: RunFolder) -> None:
    """Measure a run again from its log alone, and write metrics, comparisons and report."""
    from simenv.reports.report import write_report
    from simenv.rundir import RunDir

    from .runner import rescore as rescore_run

    result = RunDir.open(folder)
    rescore_run(result)
    write_report(result)
    _show(result)


@app.command()
def compare(
    one: RunFolder,
    other: RunFolder,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write Markdown instead of a table.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Compare even runs on different data.")] = False,
) -> None:
    """Compare two runs on the users they share."""
    from rich.text import Text

    from simenv.reports.compare import compare_runs, comparison_markdown, comparison_table
    from simenv.rundir import RunDir

    from .terminal import Terminal

    found = compare_runs(RunDir.open(one), RunDir.open(other), force=force)
    if markdown:
        print(printable(comparison_markdown(found)))
        return
    console = Terminal()
    for warning in found.warnings:
        console.print(f"warning: {warning}", style="bold red", markup=False)
    before, after = found.names
    head = Text(f"\non {found.users} users of both runs; differences are {after} minus {before}")
    console.print(head, comparison_table(found, console.width), highlight=False)
    for setting in found.settings:
        console.print(f"{setting.name}: {setting.one} / {setting.other}", markup=False, highlight=False)


@app.command()
def pairs(
    folder: RunFolder,
    out: Annotated[Path, typer.Option(help="The file to write: .jsonl or .parquet.", metavar="FILE")],
    form: Annotated[str, typer.Option("--format", help="trl, plain, kto, lists, or records.")] = "trl",
    against: Annotated[str, typer.Option(help="What is rejected: passed, disliked or both.")] = "both",
    by: Annotated[str, typer.Option(help="What gaps are measured in: grade or rating.")] = "grade",
    least_gap: Annotated[float, typer.Option(help="The least gap; passed is 2 below liked, disliked 3.")] = 1.0,
    balance: Annotated[
        list[str] | None, typer.Option(help="Alike for chosen and rejected: popularity, length; may be repeated.")
    ] = None,
    policies: Annotated[str | None, typer.Option(help="From these policies' pages alone, with commas.")] = None,
    most_per_user: Annotated[int | None, typer.Option(help="At most so many rows for each user.")] = None,
    history: Annotated[int, typer.Option(help="So many items of a user's past stand in the prompt.")] = 20,
    leaks: Annotated[str, typer.Option(help="Items held out for the same user: refuse, drop or keep.")] = "refuse",
    prompt: Annotated[Path | None, typer.Option(help="A prompt of your own, with {history} in it.")] = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn for balance and the most per user.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Write what a run's users liked over what, as preferences to train on, and a data card beside it."""
    from .pairs import Wish
    from .pairs import pairs as write_pairs

    wish = Wish(
        form,
        against,
        by,
        least_gap,
        tuple(balance or ()),
        None if policies is None else tuple(name.strip() for name in policies.split(",") if name.strip()),
        most_per_user,
        history,
        leaks,
        prompt,
        seed,
    )
    found = write_pairs(folder, out, wish, force=force)
    left_out = {name.replace("_", " "): count for name, count in found.card["left_out"].items() if count}
    print(f"{found.card['rows']:,} rows of {found.card['users']:,} users: {found.path}")
    print("left out: " + (", ".join(f"{count:,} {name}" for name, count in left_out.items()) or "nothing"))
    print(f"data card: {found.card_path}")


@app.command()
def plan(
    folder: RunFolder,
    difference: Annotated[float, typer.Option(help="The least mean difference per user that matters.")],
    metric: Annotated[str, typer.Option(help="Of which metric.")] = "N_like",
    power: Annotated[float, typer.Option(help="The chance that a difference of this size is seen.")] = 0.8,
) -> None:
    """Say how many users and seeds it takes to see a difference, from a run as the pilot."""
    from simenv.rundir import RunDir

    from .plan import plan as plan_run
    from .plan import table_of
    from .terminal import Terminal

    found = plan_run(RunDir.open(folder), metric, difference, power=power)
    console = Terminal(highlight=False)
    for part in table_of(found, console.width):
        console.print(part)


@app.command()
def fidelity(
    source: Annotated[str, typer.Argument(help="A scenario, or a run's folder.", metavar="SCENARIO")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the scenario.")
    ] = None,
    calls: Annotated[int | None, typer.Option(help="Ask a language model for at most so many answers.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write fidelity.json into this folder as well.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure anew, whatever lies in the cache.")] = False,
    allow_code: AllowCode = False,
) -> None:
    """Hold a population's users against real ones: eight tests, each with intervals and a verdict."""
    if not Path(source).is_dir():
        source_file(source)
    from simenv.reports.fidelity import fidelity_line, fidelity_table

    from .fidelity_command import fidelity as measure_fidelity
    from .progress import watching
    from .terminal import Terminal

    changes = [*(settings or []), *([f"fidelity.calls={calls}"] if calls is not None else [])]
    with watching() as watch:
        held = measure_fidelity(source, changes, out=out, fresh=fresh, allow_code=allow_code, watch=watch)
    console = Terminal(highlight=False)
    console.print(fidelity_line(held.found), "", fidelity_table(held.found, console.width), sep="\n")
    if held.not_kept:
        print(held.not_kept, file=sys.stderr)


@app.command()
def distil(
    source: Annotated[
        str, typer.Argument(help="A run, whose users are to be imitated, or a scenario, whose real users are.")
    ],
    out: Annotated[Path, typer.Option(help="The folder of the model that is made.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Teach this model beside its own weights, by LoRA; unless told one from nothing."),
    ] = None,
    pages: Annotated[int, typer.Option(min=2, help="How many pages to learn from, at most.")] = 4000,
    epochs: Annotated[int | None, typer.Option(min=1, help="How often to go over them, at most.")] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME=VALUE", help="How it learns: dimensions, layers, rank, learning_rate, …"),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the scenario.")
    ] = None,
    allow_code: AllowCode = False,
) -> None:
    """Teach a small language model to answer pages as others did, for agents that cost nothing."""
    if not Path(source).is_dir():
        source_file(source)
    from .distil import distil as teach
    from .distil import table_of
    from .progress import watching
    from .terminal import Terminal
    from .told import assigned

    how = dict(assigned("--with", option, "dimensions=96") for option in options or [])
    how |= {} if epochs is None else {"epochs": epochs}
    from .scenario import code_of

    with watching() as watch, code_of(source, allow_code=allow_code):
        found = teach(
            source, out, settings=settings or [], pages=pages, checkpoint=checkpoint, schooling=how, watch=watch
        )
    Terminal(highlight=False).print(table_of(*found))
    print(f"\nas agents: population: {{name: llm, model: {{kind: local, path: {out}}}}}")


@app.command()
def train(
    training: Annotated[str, typer.Argument(help="A training file, or the name of one that is shipped: rf-dpo.")],
    out: Annotated[Path | None, typer.Option(help="The training's folder; trainings/NAME unless told.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the training.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in the folder.")] = False,
    judge_again: Annotated[
        bool, typer.Option("--judge-again", help="Go on, and have every stage graded anew; nothing is taught again.")
    ] = False,
    fresh: Fresh = False,
    allow_code: AllowCode = False,
) -> None:
    """Teach a generative policy stage by stage, from itself and from simulated users, and see what each stage did."""
    source_file(training, SHIPPED / "training", "training")
    from simenv.reports.training import training_table

    from .progress import watching
    from .scenario import code_of
    from .terminal import Terminal
    from .training import read_training
    from .training import train as go_through

    chosen = read_training(training, settings or [])
    folder = out or Path("trainings") / chosen.name
    try:
        # What a training that stands holds may be another's: with --resume its policies are loaded.
        stands = resume or judge_again
        with watching() as watch, code_of(folder if stands else training, allow_code=allow_code):
            told = go_through(chosen, folder, resume=resume, judge_again=judge_again, fresh=fresh, watch=watch)
    except KeyboardInterrupt:
        print(f"\nstopped; go on with the same command and --resume ({folder})", file=sys.stderr)
        raise typer.Exit(130) from None
    console = Terminal(highlight=False)
    console.print(training_table(told, console.width))
    print(f"\nreport: {folder / 'report.html'}")


@app.command("list")
def list_names(
    name: Annotated[str | None, typer.Argument(help="A policy or population: list the options it takes.")] = None,
) -> None:
    """List the policies, populations, data sets, scenarios and trainings that can be named."""
    from .listed import all_names, what_it_takes
    from .scenario import code_of
    from .terminal import Terminal

    console = Terminal(highlight=False)
    with code_of(""):
        for part in all_names() if name is None else what_it_takes(name):
            console.print(part)


def _show(result: "RunDir") -> None:
    """Print a run's verdict and table, and where its report lies."""
    from simenv.reports.terminal import policy_table, verdict_lines

    from .terminal import Terminal

    console = Terminal()
    for line in verdict_lines(result):
        console.print(line)
    for label, count in result.manifest.get("empty_places", {}).items():
        if count:
            told = f"{label} left {count} places empty: it had nothing to show there, or what was shown before"
            console.print(told, markup=False, highlight=False)
    console.print(
        "", policy_table(result, console.width), f"\nreport: {result.folder / 'report.html'}", highlight=False
    )


def _show_evaluation(folder: Path) -> None:
    """Print an evaluation's protocol and tables, and where its report lies."""
    from simenv.reports.evaluation import evaluation_parts, read_result

    from .terminal import Terminal

    result = read_result(folder)
    console = Terminal(highlight=False)
    for part in evaluation_parts(result, console.width):
        console.print(part)
    console.print(f"report: {folder / 'report.html'}", markup=False)


def main() -> None:
    """Run the command line; an error that a user can mend is a sentence and exit code 2."""
    try:
        app()
    except SimenvError as error:
        everything = bool(os.environ.get("SIMENV_TRACEBACK"))
        if everything:
            traceback.print_exc()
        print(f"error: {printable(str(error))}", file=sys.stderr)
        if not everything and _is_a_plug_ins(error):
            print("SIMENV_TRACEBACK=1 before the command shows the whole traceback", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        print(printable(f"error: {error.filename or 'a file'}: {error.strerror or error}"), file=sys.stderr)
        raise SystemExit(2) from None


def _is_a_plug_ins(error: BaseException | None) -> bool:
    """Tell whether an error came out of code that is not simenv's."""
    while error is not None:
        if not isinstance(error, SimenvError) and own_line(error) is not None:
            return True
        error = error.__cause__
    return False
