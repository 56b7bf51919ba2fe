import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from simenv.errors import DataError, SimenvError
from simenv.readers import open_dataset
from simenv.scenarios.data_commands import app, options_of

MOVIES = "movieId,title,genres\n1,Heat (1995),Action|Crime\n2,[REC] (2007),Horror\n"
RATINGS = "userId,movieId,rating,timestamp\n1,1,4.5,100\n1,2,3.0,50\n2,2,0.5,70\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIMENV_DATA", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def ml(home: Path) -> Path:
    folder = home.parent / "ml"
    folder.mkdir()
    (folder / "movies.csv").write_text(MOVIES)
    (folder / "ratings.csv").write_text(RATINGS)
    return folder


def data(*words: str, width: int = 80) -> Result:
    return CliRunner().invoke(app, words, env={"COLUMNS": str(width)})


@pytest.mark.usefixtures("home")
def test_the_list_names_the_built_in_world_and_every_format():
    shown = data("list").output

    assert "films" in shown
    for name in ("plain", "movielens", "amazon", "steam", "table"):
        assert name in shown


def test_an_imported_set_is_listed_and_opened_by_its_name(ml: Path):
    result = data("import", "ml", "--name", "mine")

    assert result.exit_code == 0
    assert result.output.startswith("mine: 2 users, 2 items, 3 interactions, kept in")
    assert "mine   3 interactions" in data("list").output
    assert open_dataset("mine").fingerprint == open_dataset(ml).fingerprint


def test_an_import_can_go_to_a_folder(ml: Path):
    data("import", str(ml), "--out", "out/plain")

    assert len(open_dataset("out/plain").interactions) == 3


@pytest.mark.usefixtures("ml")
def test_nothing_is_overwritten_without_force():
    data("import", "ml", "--name", "mine")

    refused = data("import", "ml", "--name", "mine")

    assert isinstance(refused.exception, DataError)
    assert "exists already" in str(refused.exception)
    assert data("import", "ml", "--name", "mine", "--force").exit_code == 0


@pytest.mark.parametrize("name", ["films", "../up", ".hidden", "a/b"])
@pytest.mark.usefixtures("ml")
def test_a_name_must_be_a_name(name: str):
    refused = data("import", "ml", "--name", name)

    assert "not a name for a data set" in str(refused.exception)


def test_a_failed_import_leaves_nothing_behind(ml: Path, home: Path):
    (ml / "ratings.csv").write_text(RATINGS + "1,1,9,100\n")

    result = data("import", "ml")

    assert isinstance(result.exception, SimenvError)
    assert not home.exists() or not list(home.iterdir())


@pytest.mark.usefixtures("ml")
def test_a_killed_import_leaves_nothing_behind(home: Path):
    slow = (
        "import time, simenv.readers.plain as plain\n"
        "write = plain.pq.write_table\n"
        "def slowly(*given, **named):\n"
        "    write(*given, **named)\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
        "plain.pq.write_table = slowly\n"
        "from simenv.scenarios.data_commands import app\n"
        "app(['import', 'ml', '--name', 'mine'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.PIPE, env={**os.environ})
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    assert [path.name.startswith(".mine.draft-") for path in home.iterdir()] == [True]

    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)

    assert process.returncode == 143
    assert not list(home.iterdir())


@pytest.mark.usefixtures("ml")
def test_a_description_tells_sizes_times_and_texts():
    shown = data("describe", "ml", "--option", "name=few").output

    for told in ("few", "3, density 75.000%", "1 at least, median 1.5", "1970-01-01", "year 100%", "Horror"):
        assert told in shown


@pytest.mark.usefixtures("ml")
def test_a_description_as_json_can_be_read_by_a_program():
    told = json.loads(data("describe", "ml", "--json").output)

    assert told["ratings"] == {"0.5": 1, "3": 1, "4.5": 1}
    assert told["per user"] == {"min": 1, "median": 1.5, "max": 2}
    assert told["items with"]["description"] == 0


def test_the_built_in_world_can_be_described():
    assert json.loads(data("describe", "films", "--json").output)["name"] == "films"


@pytest.mark.parametrize("width", [60, 160])
@pytest.mark.usefixtures("ml")
def test_a_description_keeps_to_the_terminal(width: int):
    lines = data("describe", "ml", width=width).output.splitlines()

    assert max(len(line) for line in lines) <= width


@pytest.mark.usefixtures("ml")
def test_a_check_of_good_data_says_ok():
    result = data("check", "ml")

    assert (result.exit_code, result.output) == (0, "ok: 2 users, 2 items, 3 interactions\n")


def test_a_check_lists_every_problem_and_exits_with_2(ml: Path):
    (ml / "ratings.csv").write_text(RATINGS + "1,1,9,100\n2,77,3,100\n")

    result = data("check", "ml", width=200)

    assert result.exit_code == 2
    assert "ml/ratings.csv, line 5: rating 9 is outside 0.5..5" in result.output
    assert "ml/ratings.csv, line 6: item 77 is not among" in result.output
    assert "2 problems found" in result.output


@pytest.mark.usefixtures("home")
def test_an_unknown_source_is_told_with_those_imported():
    result = data("describe", "nowhere")

    assert "nowhere: no such file, folder or imported data set; imported so far: none yet" in str(result.exception)


def test_options_are_words_and_may_be_nested():
    assert options_of(["a=1", "where.variant=dense", "where.x=y=z"]) == {
        "a": "1",
        "where": {"variant": "dense", "x": "y=z"},
    }
    with pytest.raises(DataError, match="give KEY=VALUE"):
        options_of(["alone"])
