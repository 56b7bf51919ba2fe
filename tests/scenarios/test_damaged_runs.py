"""A command says what is wrong with a damaged run, and measures no rows that are not the run's."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from simenv.errors import RunError, SimenvError
from simenv.metrics import measure
from simenv.rundir import RunDir
from simenv.scenarios.cli import app
from simenv.scenarios.runner import run

Tables = list[Path]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from simenv.scenarios.scenario import Scenario

    scenario = Scenario.model_validate(
        {
            "name": "tiny",
            "dataset": {"name": "films", "users": 30, "items": 60},
            "population": "truth",
            "policies": ["random", "pop"],
            "page_size": 3,
            "max_pages": 3,
            "fidelity": False,
        }
    )
    return run(scenario, tmp_path_factory.mktemp("whole") / "run").folder


def parts(folder: Path, kind: str) -> Tables:
    return sorted((folder / kind).glob("part-*.parquet"))


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)


def replaced(name: str, values: Callable[[pa.Table], pa.Array]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, values(table))


DAMAGE: dict[str, tuple[str, Callable[[pa.Table], pa.Table]]] = {
    "an unknown grade": ("events", replaced("grade", lambda table: pa.array(["adored"] * len(table)))),
    "no grade": ("events", replaced("grade", lambda table: pa.nulls(len(table), pa.string()))),
    "a grade of numbers": ("events", replaced("grade", lambda table: pa.array([1] * len(table)))),
    "no ids": ("events", replaced("item_id", lambda table: pa.nulls(len(table), table["item_id"].type))),
    "other ids": ("events", replaced("item_id", lambda table: pa.array([10**6] * len(table)))),
    "ids as fractions": ("events", replaced("user_id", lambda table: pa.array([0.5] * len(table)))),
    "rows thrice": ("events", lambda table: pa.concat_tables([table] * 3)),
    "pages thrice": ("pages", lambda table: pa.concat_tables([table] * 3)),
    "no rows": ("events", lambda table: table.slice(0, 0)),
    "no pages": ("pages", lambda table: table.slice(0, 0)),
    "a row less": ("events", lambda table: table.slice(1)),
    "a page less": ("pages", lambda table: table.slice(1)),
    "a column less": ("events", lambda table: table.drop_columns(["rank"])),
    "a column of pages less": ("pages", lambda table: table.drop_columns(["satisfaction"])),
    "pages as words": ("events", replaced("page", lambda table: pa.array(["one"] * len(table)))),
    "a page before the first": ("pages", replaced("page", lambda table: pa.array([-1] * len(table), pa.int32()))),
    "boundless satisfaction": ("pages", replaced("satisfaction", lambda table: pa.array([1e9] * len(table)))),
    "exits as words": ("pages", replaced("exit", lambda table: pa.array(["yes"] * len(table)))),
    "ratings as words": ("events", replaced("rating", lambda table: pa.array(["good"] * len(table)))),
}
COMMANDS = (["report"], ["rescore"], ["compare"], ["plan"], ["pairs"], ["personas"])


def called(folder: Path, command: str, whole: Path) -> Any:
    words = {
        "compare": ["compare", str(folder), str(whole)],
        "plan": ["plan", str(folder), "--difference", "0.5"],
        "pairs": ["pairs", str(folder), "--out", str(folder / "pairs.jsonl"), "--leaks", "drop", "--force"],
    }.get(command, [command, str(folder)])
    return CliRunner().invoke(app, words)


def says_so(result: Any) -> bool:
    """Whether a command did its work, or ended in an error that the command line prints as a sentence."""
    expected = result.exception is None or isinstance(result.exception, SimenvError | SystemExit)
    return expected and result.exit_code in (0, 1, 2)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_rows_are_refused_by_whatever_reads_them(whole: Path, tmp_path: Path, damage: str):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    kind, change = DAMAGE[damage]
    rewritten(parts(folder, kind)[0], change)
    with pytest.raises(SimenvError):
        measure(RunDir.open(folder))
    for (command,) in COMMANDS:
        result = called(folder, command, whole)
        assert says_so(result), (command, result.exception)
        if command in ("rescore", "pairs"):
            assert result.exception is not None, command


def test_edited_json_is_told_and_never_a_traceback(whole: Path, tmp_path: Path):
    draw = random.Random(5)
    names = ["manifest.json", "metrics.json", "comparisons.json", "pages.json"]
    for number in range(60):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        path = folder / draw.choice(names)
        content = json.loads(path.read_text(encoding="utf-8"))
        at: Any = content
        while True:
            key = draw.choice(list(at)) if isinstance(at, dict) and at else draw.randrange(len(at)) if at else None
            if key is None or not isinstance(at[key], dict | list) or not at[key] or draw.random() < 0.2:
                break
            at = at[key]
        if key is not None:
            at[key] = draw.choice([None, "x", -3, 1e400, [], {}, [1], {"a": 1}, True])
        path.write_text(json.dumps(content), encoding="utf-8")
        for command in ("report", "compare", "pairs", "plan"):
            result = called(folder, command, whole)
            assert says_so(result), (path.name, key, at, command, result.exception)


def test_a_file_that_is_no_table_or_no_json_is_told(whole: Path, tmp_path: Path):
    for number, name in enumerate(("items.parquet", "users.parquet", "manifest.json", "metrics.json", "scenario.yaml")):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        (folder / name).write_bytes(b"\x00\xffnot this")
        for (command,) in COMMANDS:
            result = called(folder, command, whole)
            assert says_so(result), (name, command, result.exception)


def test_an_intact_run_passes_every_check(whole: Path):
    run_dir = RunDir.open(whole)
    assert run_dir.manifest["rows"] == {"events": len(run_dir.events), "pages": len(run_dir.pages)}
    measure(run_dir)


def test_rows_written_thrice_do_not_treble_the_likes(whole: Path, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    for path in parts(folder, "events"):
        rewritten(path, lambda table: pa.concat_tables([table] * 3))
    with pytest.raises(RunError, match="written twice"):
        measure(RunDir.open(folder))
