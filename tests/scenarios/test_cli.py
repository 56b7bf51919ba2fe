"""The command line answers a mistake with a sentence and exit code 2, never with a traceback."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from simenv.agents.browsing import Habits
from simenv.plugins import load_plugin
from simenv.scenarios import cli
from simenv.scenarios.names import POLICIES, POPULATIONS
from simenv.store import options_of

TinyFile = Callable[..., Path]
Command = Callable[..., "Answer"]


class Answer:
    """What a command printed, and how it ended."""

    def __init__(self, code: int, out: str, error: str) -> None:
        self.code, self.out, self.error = code, out, error


@pytest.fixture
def simenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return the command, run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("SIMENV_TRACEBACK", raising=False)

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["simenv", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return Answer(code, told.out, told.err)

    return call


def test_a_run_ends_with_a_table_and_a_report(simenv: Command, tiny_file: TinyFile):
    answer = simenv("run", tiny_file(), "--out", "run")

    assert answer.code == 0
    assert "N_like" in answer.out
    assert "pop" in answer.out
    assert "report.html" in answer.out
    assert Path("run/report.html").is_file()


def test_a_run_lies_below_runs_unless_told(simenv: Command, tiny_file: TinyFile):
    assert simenv("run", tiny_file()).code == 0
    assert Path("runs/tiny/manifest.json").is_file()


def test_a_seed_can_be_chosen(simenv: Command, tiny_file: TinyFile):
    simenv("run", tiny_file(), "--out", "run", "--seed", "7")
    assert json.loads(Path("run/manifest.json").read_text(encoding="utf-8"))["seeds"] == [7]


def test_the_scenario_of_a_run_can_be_run_again(simenv: Command, tiny_file: TinyFile):
    simenv("run", tiny_file(), "--out", "one")
    assert simenv("run", "one/scenario.yaml", "--out", "other").code == 0
    assert Path("one/metrics.json").read_text() == Path("other/metrics.json").read_text()


def test_the_command_in_the_manifest_gives_the_same_run(simenv: Command, tiny_file: TinyFile):
    simenv("run", tiny_file(), "--out", "one", "--set", "question=who, and why?", "--seed", "3")
    _, *words = shlex.split(json.loads(Path("one/manifest.json").read_text(encoding="utf-8"))["command"])
    assert simenv(*words, "--out", "other").code == 0
    assert Path("one/metrics.json").read_text() == Path("other/metrics.json").read_text()


def test_a_run_can_be_reported_rescored_and_compared(simenv: Command, tiny_file: TinyFile):
    simenv("run", tiny_file(), "--out", "one")
    simenv("run", tiny_file(policies=["pop", "item-knn"]), "--out", "other")
    metrics = Path("one/metrics.json").read_text()
    for name in ("metrics.json", "comparisons.json", "report.html"):
        Path("one", name).unlink()

    assert simenv("rescore", "one").code == 0
    assert Path("one/metrics.json").read_text() == metrics
    assert simenv("report", "one").code == 0
    assert Path("one/report.html").is_file()
    assert simenv("compare", "one", "other").code == 0
    assert "|" in simenv("compare", "one", "other", "--markdown").out


def test_names_are_listed(simenv: Command):
    told = simenv("list").out
    assert all(name in told for name in ("item-knn", "truth", "films", "quickstart", "rf-dpo"))


def test_a_policys_options_are_listed_with_what_they_may_be(simenv: Command):
    told = [line.rstrip() for line in simenv("list", "lightgcn").out.splitlines()]
    assert any(line.split(maxsplit=2) == ["loss", "softmax", "softmax or bpr"] for line in told)
    assert any(line.split(maxsplit=2) == ["temperature", "0.1", "a number"] for line in told)


@pytest.mark.parametrize("name", [*POLICIES, *POPULATIONS])
def test_every_option_of_a_name_is_listed_and_none_that_no_user_can_give(simenv: Command, name: str):
    entry = (POLICIES | POPULATIONS)[name]

    told = [line.split()[0] for line in simenv("list", name).out.splitlines() if line.strip()]

    told = told[told.index("option") + 1 :] if "option" in told else []
    taken = options_of(load_plugin(entry.path, "policy" if name in POLICIES else "population"))
    assert {*taken} - {*entry.takes, *entry.takes_if_there} <= {*told}
    assert not {*told} & {*entry.takes, *entry.takes_if_there}


def test_an_interrupted_run_says_how_to_go_on(simenv: Command, tiny_file: TinyFile, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("simenv.scenarios.runner.play", interrupt)
        answer = simenv("run", tiny_file(), "--out", "run")

    assert answer.code == 130
    assert "--resume" in answer.error
    assert simenv("run", tiny_file(), "--out", "run", "--resume").code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "nowhere.yaml"], "no such scenario file"),
        (["run", "{file}", "--set", "page_size=ten"], "--set page_size=ten, page_size: is 'ten'"),
        (["run", "{file}", "--set", "pagesize=3"], "did you mean page_size?"),
        (["run", "{file}", "--set", "policies.0.name=poop"], "no policy 'poop'; there are"),
        (["run", "{file}", "--set", "policies.0.name=poop"], "did you mean 'pop'?"),
        (["run", "{file}", "--set", "population=trut"], "no population 'trut'"),
        (["run", "{file}", "--set", "policies.0=os:nowhere"], "has no nowhere"),
        (["run", "{file}", "--set", "policies.0=nowhere.at.all:X"], "cannot import nowhere.at.all"),
        (["run", "{file}", "--set", "policies=[{name: ease, depth: 3}]"], "it takes regularisation"),
        (["run", "{file}", "--set", "population.colour=1"], "population 'truth'"),
        (["run", "{file}", "--set", "users=41"], "--set users=40 takes them all"),
        (["run", "{file}", "--set", "dataset.name=flims"], "there is films"),
        (["run", "{file}", "--set", "dataset.path=nowhere"], "nowhere"),
        (["run", "{file}", "--set", "split=published"], "no published split"),
        (["run", "{file}", "--set", "split={by: time, test: 0.99, valid: 0.9}"], "split"),
        (["run", "{file}", "--out", "taken"], "not empty and not a run"),
        (["run", "{file}", "--out", "taken/photo.jpg"], "photo.jpg"),
        (["list", "lightgnc"], "did you mean 'lightgcn'?"),
        (["list", "qqqq"], "`simenv list` names them all"),
        (["list", "os:path"], "it is a module, and no policy"),
        (["report", "nowhere"], "no run here"),
        (["rescore", "nowhere"], "no run here"),
        (["compare", "taken", "nowhere"], "no run here"),
        (["report", "taken"], "no run here"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence(simenv: Command, tiny_file: TinyFile, words: list[str], told: str):
    Path("taken").mkdir()
    Path("taken/photo.jpg").write_bytes(b"")

    answer = simenv(*(word.replace("{file}", str(tiny_file())) for word in words))

    assert answer.code == 2
    assert any(line.startswith("error: ") for line in answer.error.splitlines())
    assert told in answer.error
    assert "Traceback" not in answer.error


@pytest.mark.parametrize(
    "change", ["policies.1=poop", "policies=[random, {name: ease, depth: 3}]", "population=trut", "policies.1=oracl:e"]
)
def test_a_wrong_name_or_option_is_told_before_anything_is_written(simenv: Command, tiny_file: TinyFile, change: str):
    """Else the mended command would find a run in its place that it cannot resume."""
    assert simenv("run", tiny_file(), "--out", "run", "--set", change).code == 2
    assert not Path("run").exists()


def test_a_run_is_not_written_over(simenv: Command, tiny_file: TinyFile):
    simenv("run", tiny_file(), "--out", "run")
    answer = simenv("run", tiny_file(), "--out", "run")
    assert answer.code == 2
    assert "--resume" in answer.error


def test_another_scenario_cannot_be_resumed(simenv: Command, tiny_file: TinyFile):
    simenv("run", tiny_file(), "--out", "run")
    answer = simenv("run", tiny_file(), "--out", "run", "--resume", "--set", "page_size=4")
    assert answer.code == 2
    assert "page_size 3 and this one 4" in answer.error


@pytest.mark.parametrize("command", ["report", "rescore"])
@pytest.mark.parametrize(
    ("damaged", "rest"),
    [("manifest.json", b"{"), ("items.parquet", b"PAR1"), ("users.parquet", b""), ("events", None), ("pages", None)],
)
def test_a_damaged_run_is_told(simenv: Command, tiny_file: TinyFile, command: str, damaged: str, rest: bytes | None):
    simenv("run", tiny_file(), "--out", "run")
    place = Path("run") / damaged
    for path in sorted(place.iterdir()) if place.is_dir() else [place]:
        path.write_bytes(path.read_bytes()[:-9] if rest is None else rest)

    answer = simenv(command, "run")

    assert answer.code == 2
    assert str(place) in answer.error
    assert "Traceback" not in answer.error


@pytest.mark.parametrize("words", [["run"], ["fly"], ["run", "x", "--colour"], ["report"], ["run", "x", "--seed", "y"]])
def test_a_command_that_cannot_be_read_is_told_with_its_usage(simenv: Command, words: list[str]):
    answer = simenv(*words)
    assert answer.code == 2
    assert "Usage" in answer.error


def test_the_traceback_can_be_had(simenv: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIMENV_TRACEBACK", "1")
    assert "Traceback" in simenv("run", "nowhere.yaml").error


def test_the_installed_command_does_the_same(tmp_path: Path):
    command = Path(sys.executable).with_name("simenv")
    done = subprocess.run([command, "run", "nowhere.yaml"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: nowhere.yaml: no such scenario file")


ML_1M = Path(__file__).parents[2].parent / "shared" / "data" / "ml-1m"


@pytest.mark.slow
@pytest.mark.skipif(not ML_1M.is_dir(), reason="the MovieLens 1M files lie nowhere beside this checkout")
def test_the_movielens_scenario_runs(simenv: Command):
    settings = ["--set", f"dataset.path={ML_1M}", "--set", "users=30", "--set", "max_pages=3"]
    assert simenv("run", "movielens-1m", "--out", "run", *settings).code == 0
    assert set(json.loads(Path("run/metrics.json").read_text())) == {"random", "pop", "item-knn", "ease", "item-knn-20"}


def test_a_policy_may_lie_beside_the_scenario(tmp_path: Path, tiny_file: TinyFile):
    (tmp_path / "mine.py").write_text("from simenv.recommenders.pop import Pop\nclass Mine(Pop): pass\n")
    words = [Path(sys.executable).with_name("simenv"), "run", tiny_file(policies=["mine:Mine"])]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


def test_a_part_that_was_lost_is_missed(simenv: Command, tiny_file: TinyFile):
    simenv("run", tiny_file(), "--out", "run")
    next(Path("run/pages").glob("part-*")).unlink()
    for command in ("rescore", "report"):
        answer = simenv(command, "run")
        assert answer.code == 2
        assert "a part is missing" in answer.error
    assert simenv("run", tiny_file(), "--out", "run", "--resume").code == 0
    assert simenv("rescore", "run").code == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [("manifest.json", "{}"), ("metrics.json", "[]"), ("comparisons.json", "{}"), ("rankings/pop.parquet", "PAR1")],
)
def test_a_run_whose_figures_are_damaged_is_told(simenv: Command, tiny_file: TinyFile, name: str, content: str):
    simenv("run", tiny_file(policies=["pop", "random"]), "--out", "run")
    Path("run", name).write_text(content)
    answer = simenv("rescore" if name.startswith("rankings") else "report", "run")
    assert answer.code == 2
    assert name in answer.error


def test_runs_on_other_data_are_not_compared_unless_forced(simenv: Command, tiny_file: TinyFile):
    simenv("run", tiny_file(), "--out", "one")
    simenv("run", tiny_file(dataset={"name": "films", "users": 41, "items": 80}), "--out", "other")
    assert "the data differ" in simenv("compare", "one", "other").error
    assert simenv("compare", "one", "other", "--force").code == 0


def test_the_version_is_told(simenv: Command):
    assert simenv("--version").out.startswith("simenv 0.")


FILMS = ["--set", "dataset.users=40", "--set", "dataset.items=80"]


def test_an_evaluation_takes_one_line(simenv: Command):
    answer = simenv("evaluate", "films", *FILMS, "--policies", "random,pop", "--k", "5,10")

    assert answer.code == 0
    told = json.loads(Path("evals/films/evaluation.json").read_text(encoding="utf-8"))
    assert set(told["metrics"]) == {"random", "pop"}
    assert f"{told['metrics']['pop']['ndcg@10']['mean']:.4f}" in answer.out
    for words in told["protocol"].values():
        assert "".join(words.split())[:40] in "".join(answer.out.split())
    assert "evals/films/report.html" in answer.out
    assert "pop: fitted in no time" in answer.error


def test_the_command_in_an_evaluation_gives_the_same_again(simenv: Command):
    policies = "pop,{name: ease, regularisation: 9}"
    words = ["--split", "leave-one-out", "--metrics", "ndcg", "--users", "5", "--history", "train"]
    words += ["--history-length", "4"]
    assert simenv("evaluate", "films", *FILMS, "--policies", policies, *words).code == 0
    one = json.loads(Path("evals/films/evaluation.json").read_text(encoding="utf-8"))
    assert one["policies"][1]["options"] == {"regularisation": 9}

    _, *words = shlex.split(one["command"])
    assert simenv(*words, "--out", "other").code == 0
    assert json.loads(Path("other/evaluation.json").read_text(encoding="utf-8"))["metrics"] == one["metrics"]


def test_an_evaluation_can_be_reported_again(simenv: Command):
    said = simenv("evaluate", "films", *FILMS, "--policies", "pop").out
    Path("evals/films/report.html").unlink()
    assert simenv("report", "evals/films").out == said
    assert Path("evals/films/report.html").is_file()
    Path("evals/films/evaluation.json").write_text("{}")
    assert "evaluation.json: not an evaluation's figures" in simenv("report", "evals/films").error


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["films", "--policies", "poop"], "no policy 'poop'"),
        (["films", "--policies", "pop,pop"], "--policies pop,pop, policies: two policies are labelled 'pop'"),
        (["films", "--policies", "pop,{"], "policies"),
        (["films", "--k", "ten"], "--k ten, k.0: is 'ten'"),
        (["films", "--k", "5000"], "k: 5000 wanted, but user"),
        (["films", "--users", "100000"], "takes them all"),
        (["films", "--candidates", "llmrank"], "comes with none"),
        (["films", "--candidates", "luck"], "--candidates luck, candidates.name: is 'luck'"),
        (["films", "--history", "all"], "--history all, history: is 'all'"),
        (["films", "--set", "depth=3"], "--set depth=3, depth: unknown key"),
        (["films", "--out", "taken"], "not empty and not an evaluation"),
        (["nowhere"], "nowhere: no such file, folder or imported data set"),
        (["nowhere.yaml"], "nowhere.yaml: no such file; give an evaluation's YAML file, or a data set"),
    ],
)
def test_a_mistake_in_an_evaluation_is_a_sentence(simenv: Command, words: list[str], told: str):
    Path("taken").mkdir()
    Path("taken/photo.jpg").write_bytes(b"")
    answer = simenv("evaluate", *words)
    assert answer.code == 2
    assert answer.error.startswith("error: ")
    assert told in answer.error
    assert "Traceback" not in answer.error


def test_an_interrupted_evaluation_says_how_to_go_on(simenv: Command, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("simenv.scenarios.evaluation.fitted", interrupt)
    answer = simenv("evaluate", "films", *FILMS, "--policies", "pop")
    assert answer.code == 130
    assert "the same command goes on" in answer.error
    assert not Path("evals").exists()


def test_a_second_run_takes_the_fitted_policy_unless_fresh(
    simenv: Command, tiny_file: TinyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SIMENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("simenv.scenarios.fitted.WORTH_KEEPING", 0.0)

    quick = tiny_file(fidelity=False)

    assert "pop: fitted in no time, kept as" in simenv("run", quick, "--out", "one").error
    assert "pop: reused, fitted on" in simenv("run", quick, "--out", "two").error
    assert "pop: reused" in simenv("evaluate", "films", *FILMS, "--policies", "pop").error
    assert "pop: fitted in" in simenv("run", quick, "--out", "three", "--fresh").error
    metrics = [Path(folder, "metrics.json").read_text() for folder in ("one", "two", "three")]
    assert metrics[0] == metrics[1] == metrics[2]

    told = simenv("cache", "list").out
    assert "pop" in told
    assert "films" in told
    assert simenv("cache", "clear").out == "2 removed\n"
    assert simenv("cache", "list").out.startswith("0 kept in")


@pytest.mark.parametrize("name", ["choice", "truth", "voters"])
def test_the_habits_of_users_who_browse_are_listed_with_their_ranges(simenv: Command, name: str):
    rows = {line.split()[0]: line for line in simenv("list", name).out.splitlines() if line.strip()}

    habits = {field.name: field.default for field in fields(Habits)}
    assert len(habits) == 11
    assert all(str(default) in rows[habit].split() for habit, default in habits.items())
    assert "a number, from 0 to 1" in rows["look"]
    assert "a number, from -1 to 1" in rows["first_mood"]


PLUG_IN = """
class Policy:
    def __init__(self, depth=1):
        self.depth = self._deeper(depth)

    def _deeper(self, depth):
        return 1 / (depth - 1)

    def fit(self, dataset): pass

    def recommend(self, context, k): pass
"""


def test_a_plug_ins_own_traceback_can_be_had(
    simenv: Command, tiny_file: TinyFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "failing_maker.py").write_text(PLUG_IN)
    (tmp_path / "failing_import.py").write_text("def deep():\n    return [].pop()\n\n\ndeep()\n")
    monkeypatch.syspath_prepend(tmp_path)
    made = ("run", tiny_file(policies=["failing_maker:Policy"]), "--out", "made")
    quiet = simenv(*made)
    assert "Traceback" not in quiet.error
    assert "SIMENV_TRACEBACK=1" in quiet.error

    monkeypatch.setenv("SIMENV_TRACEBACK", "1")
    loud = simenv(*made)
    assert "in _deeper\n    return 1 / (depth - 1)" in loud.error
    assert loud.code == 2
    imported = simenv("run", tiny_file(policies=["failing_import:Policy"]), "--out", "imported")
    assert "in deep\n    return [].pop()" in imported.error


FAILING = """
import json

from simenv.agents.choice import ChoicePopulation
from simenv.recommenders.pop import Pop


class InFit(Pop):
    def fit(self, dataset):
        self._read()

    def _read(self):
        json.loads("{")  # fails deep in the standard library


class InRecommend(Pop):
    def recommend(self, context, k):
        return super().recommend(context, k) / self.share


class InEnter(ChoicePopulation):
    def enter(self, users, luck):
        return {}["nobody"]
"""


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("policies=[failing_code:InFit]", 'failing_code.py:13: json.loads("{")'),
        (
            "policies=[failing_code:InRecommend]",
            "failing_code.py:18: return super().recommend(context, k) / self.share",
        ),
        ("population=failing_code:InEnter", 'failing_code.py:23: return {}["nobody"]'),
    ],
)
def test_an_error_in_a_plug_in_names_its_own_last_line_and_how_to_see_all(
    simenv: Command, tiny_file: TinyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, line: str
):
    (tmp_path / "failing_code.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)

    answer = simenv("run", tiny_file(fidelity=False), "--set", setting, "--out", "run")

    assert answer.code == 2
    assert line in answer.error
    assert "SIMENV_TRACEBACK=1 before the command shows the whole traceback" in answer.error


@pytest.mark.parametrize("command", ["run", "personas", "fidelity", "train"])
def test_a_file_that_is_not_there_is_told_before_anything_heavy_is_imported(command: str):
    script = (
        "import sys; from simenv.scenarios import cli; sys.argv = ['simenv', sys.argv[1], 'nope.yaml']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'scipy', 'pyarrow', 'numba', 'rich.table'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script, command], capture_output=True, text=True, check=False)
    assert "nope.yaml: no such" in answer.stderr
    assert answer.stdout.strip() == "[]"


def test_a_strangers_manifest_moves_no_cursor(simenv: Command, tiny_file: TinyFile):
    hostile = "ap\x1b[2Jple\u202egnp.exe\x9b31m\x07"
    for folder in ("one", "other"):
        assert simenv("run", tiny_file(policies=["pop"]), "--out", folder, "--no-fidelity").code == 0
    told = json.loads(Path("other/manifest.json").read_text(encoding="utf-8"))
    told["population"]["options"] = {"look": hostile}
    Path("other/manifest.json").write_text(json.dumps(told), encoding="utf-8")
    for words in (("compare", "one", "other"), ("compare", "one", "other", "--markdown")):
        answer = simenv(*words)
        assert "gnp.exe" in answer.out + answer.error
        assert not set(hostile[2:3] + "\u202e\x9b\x07") & set(answer.out + answer.error)
