"""A scenario says what it wants; where it is wrong, the error says file, line, key and remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from simenv.errors import ScenarioError, SimenvError
from simenv.scenarios.scenario import Scenario, homeless, read_scenario
from simenv.scenarios.shipped import shipped
from simenv.scenarios.stage import open_world

GOOD = """\
name: good
dataset:
  name: films
  users: 40
  items: 80
policies:
  - random
  - {name: ease, label: ease-9, regularisation: 9.0}
page_size: 3
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Return a writer of scenario files, which gives the file's name."""

    def written(text: str) -> str:
        (tmp_path / "play.yaml").write_text(text, encoding="utf-8")
        return str(tmp_path / "play.yaml")

    return written


def test_a_scenario_needs_little(write: Callable[[str], str]):
    scenario = read_scenario(write(GOOD))

    assert scenario.population.name == "choice"
    assert scenario.split.by == "leave-one-out"
    assert [policy.label for policy in scenario.policies] == ["random", "ease-9"]
    assert scenario.policies[1].options == {"regularisation": 9.0}
    assert scenario.dataset.options == {"users": 40, "items": 80}
    assert scenario.seeds == [0]


FAULTS = {
    "pagesize: 3": ("line 9, pagesize: unknown key", "did you mean page_size?"),
    "colour: red": ("line 9, colour: unknown key", "the keys are name"),
    "page_size: ten": ("line 9, page_size: is 'ten'", "integer"),
    "page_size: 3.5": ("line 9, page_size: is 3.5", "integer"),
    "page_size: true": ("line 9, page_size: is True", "integer"),
    "page_size: 0": ("line 9, page_size: is 0", "greater than or equal to 1"),
    "page_size:": ("line 9, page_size: is None", "integer"),
    "max_pages: 10001": ("line 9, max_pages: is 10001", "10000"),
    "users: 0": ("line 9, users: is 0", "greater than or equal to 1"),
    "seeds: 3": ("line 9, seeds: is 3", "list"),
    "seeds: []": ("line 9, seeds", "at least 1"),
    "seeds: [0, -1]": ("line 9, seeds.1: is -1", "greater than or equal to 0"),
    "seeds: [1, 1]": ("line 9, seeds", "name each once"),
    "offline: 0": ("line 9, offline: is 0", "greater than or equal to 1"),
    "leave_out_past: maybe": ("line 9, leave_out_past: is 'maybe'", "boolean"),
    "split: halves": ("line 9, split.by: is 'halves'", "'leave-one-out', 'time' or 'published'"),
    "split: {by: time, test: 2}": ("line 9, split.test: is 2", "less than 1"),
    "split: {by: time, tst: 0.2}": ("line 9, split.tst: unknown key", "did you mean test?"),
    "population: {look: 0.5}": ("line 9, population.name: missing", "needs it"),
    "population: 7": ("line 9, population: is 7", ""),
}


@pytest.mark.parametrize("line", FAULTS)
def test_a_fault_is_told_with_file_line_key_and_remedy(write: Callable[[str], str], line: str):
    path = write(GOOD.replace("page_size: 3", line))
    where, remedy = FAULTS[line]

    with pytest.raises(ScenarioError) as error:
        read_scenario(path)

    assert f"{path}, {where}" in str(error.value)
    assert remedy in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: good\npolicies: [random]\n", "dataset: missing; a scenario needs it"),
        ("name: good\ndataset: {name: films}\n", "policies: missing; a scenario needs it"),
        ("name: good\ndataset: {users: 3}\npolicies: [pop]\n", "line 2, dataset: give either name"),
        ("name: good\ndataset: {name: films, path: there}\npolicies: [pop]\n", "line 2, dataset: give either name"),
        ("name: a b\ndataset: {name: films}\npolicies: [pop]\n", "line 1, name: is 'a b'"),
        ("name: 7\ndataset: {name: films}\npolicies: [pop]\n", "line 1, name: is 7"),
        ("name: x\ndataset: {name: films}\npolicies: pop\n", "line 3, policies: is 'pop'"),
        ("name: x\ndataset: {name: films}\npolicies: []\n", "line 3, policies"),
        ("name: x\ndataset: {name: films}\npolicies: [pop, pop]\n", "labelled 'pop'; give one of them a label"),
        ("name: x\ndataset: {name: films}\npolicies:\n  - pop\n  - {label: x}\n", "line 5, policies.1.name: missing"),
        ("name: x\ndataset: {name: films}\npolicies:\n  - {name: pop, label: a/b}\n", "policies.0.label: is 'a/b'"),
        ("name: x\nname: y\n", "line 2, name: the key stands twice (first in line 1); keep one"),
        ("name: x\ndataset:\n  name: a\n  name: b\n", "line 4, dataset.name: the key stands twice"),
        ("name: x\ndataset: {name: films\n", "not readable as YAML"),
        ("name: x\n\tdataset: films\n", "line 2: not readable as YAML"),
        ("name: !!python/object:os.system x\n", "not readable as YAML"),
        (
            "name: 2024-13-45\ndataset: {name: films}\n",
            "not readable as YAML: month must be in 1..12; put text in quotes",
        ),
        ("name: x\ndataset: {name: films}\npage_size: 0x_\n", "not readable as YAML"),
        ("", "a scenario is a mapping"),
        ("# nothing yet\n", "a scenario is a mapping"),
        ("- random\n", "a scenario is a mapping"),
        ("films\n", "a scenario is a mapping"),
    ],
)
def test_a_broken_file_is_told(write: Callable[[str], str], text: str, told: str):
    path = write(text)
    with pytest.raises(ScenarioError) as error:
        read_scenario(path)
    assert str(error.value).startswith(path)
    assert told in str(error.value)


def test_every_fault_is_told_at_once(write: Callable[[str], str]):
    with pytest.raises(ScenarioError) as error:
        read_scenario(write(GOOD + "colour: red\nmax_pages: 0\n"))
    assert len(str(error.value).splitlines()) == 2


def test_a_file_that_is_no_text_is_told(tmp_path: Path):
    path = tmp_path / "play.yaml"
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ScenarioError, match="not UTF-8 text at byte 9; save it as UTF-8"):
        read_scenario(str(path))


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path):
    path = tmp_path / "play.yaml"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert read_scenario(str(path)).name == "good"


def test_a_missing_file_says_which_are_shipped():
    with pytest.raises(ScenarioError, match=r"no such scenario file; shipped scenarios are .*quickstart"):
        read_scenario("nowhere.yaml")


def test_a_folder_is_no_scenario(tmp_path: Path):
    with pytest.raises(ScenarioError, match="no such scenario file"):
        read_scenario(str(tmp_path))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("page_size=5", lambda scenario: scenario.page_size == 5),
        ("seeds=[1, 2]", lambda scenario: scenario.seeds == [1, 2]),
        ("dataset.users=50", lambda scenario: scenario.dataset.options == {"users": 50, "items": 80}),
        ("policies.1.regularisation=2", lambda scenario: scenario.policies[1].options == {"regularisation": 2}),
        ("policies.0=pop", lambda scenario: scenario.policies[0].name == "pop"),
        ("policies.0.label=luck", lambda scenario: scenario.policies[0].label == "luck"),
        ("policies=[pop]", lambda scenario: [policy.name for policy in scenario.policies] == ["pop"]),
        ("population=truth", lambda scenario: scenario.population.name == "truth"),
        ("population.look=0.5", lambda scenario: scenario.population.options == {"look": 0.5}),
        ("split.by=time", lambda scenario: scenario.split.by == "time"),
        ("question=a = b", lambda scenario: scenario.question == "a = b"),
        ("users=null", lambda scenario: scenario.users is None),
        ("dataset.path=there", lambda scenario: (scenario.dataset.name, scenario.dataset.path) == (None, "there")),
        ("dataset={name: films}", lambda scenario: scenario.dataset.options == {}),
    ],
)
def test_a_setting_lays_one_value_over_the_file(
    write: Callable[[str], str], setting: str, value: Callable[[Scenario], bool]
):
    text = GOOD + ("population: choice\n" if setting.startswith("population.") else "")
    assert value(read_scenario(write(text), [setting]))


def test_a_setting_reaches_into_a_default(write: Callable[[str], str]):
    """The population need not stand in the file to be told something."""
    assert read_scenario(write(GOOD), ["population.name=truth"]).population.name == "truth"


def test_later_settings_win(write: Callable[[str], str]):
    assert read_scenario(write(GOOD), ["page_size=5", "page_size=6"]).page_size == 6


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("page_size", "--set page_size: write it as key=value"),
        ("=5", "--set =5: write it as key=value"),
        ("pagesize=5", "--set pagesize=5, pagesize: unknown key; did you mean page_size?"),
        ("page_size=ten", "--set page_size=ten, page_size: is 'ten'"),
        ("page_size=", "--set page_size=, page_size: is None"),
        ("policies.7.label=x", "--set policies.7.label=x: nothing stands at policies.7"),
        ("policies.7=x", "--set policies.7=x: nothing stands at policies.7"),
        ("policies.first=x", "--set policies.first=x: nothing stands at policies.first"),
        ("page_size.more=x", "--set page_size.more=x: nothing stands at page_size"),
        ("seeds=[1", "--set seeds=[1, seeds: is '[1'"),
    ],
)
def test_a_wrong_setting_is_told_as_it_was_written(write: Callable[[str], str], setting: str, told: str):
    path = write(GOOD)
    with pytest.raises(ScenarioError) as error:
        read_scenario(path, [setting])
    assert told in str(error.value)


@pytest.mark.parametrize("name", list(shipped()))
def test_what_is_shipped_can_be_read(name: str):
    assert read_scenario(name).name == name


def test_a_file_of_ones_own_goes_before_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text(GOOD, encoding="utf-8")
    assert read_scenario("quickstart").name == "good"


@pytest.mark.parametrize("name", list(shipped()))
def test_a_scenario_written_out_is_the_same_scenario(tmp_path: Path, name: str):
    scenario = read_scenario(name)
    path = tmp_path / "again.yaml"
    path.write_text(scenario.text(), encoding="utf-8")

    assert read_scenario(str(path)) == scenario
    assert yaml.safe_load(scenario.text())["batch_size"] == scenario.batch_size


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        ({"name": "flims"}, "no built-in world 'flims'; there is films"),
        ({"name": "films", "user": 5}, "user"),
        ({"name": "films", "users": 1}, "at least 2 users"),
        ({"path": "/nowhere/at/all"}, "/nowhere/at/all"),
    ],
)
def test_a_data_set_that_cannot_be_opened_is_told(tiny: Callable[..., Scenario], dataset: dict, told: str):
    with pytest.raises(SimenvError, match=told):
        open_world(tiny(dataset=dataset).dataset)


@pytest.mark.parametrize(
    ("text", "told"),
    [("/home/ann/ml-1m", "~/ml-1m"), ("/home/anna/ml-1m", "/home/anna/ml-1m"), ("run --out /home/ann", "run --out ~")],
)
def test_a_home_is_not_named(monkeypatch: pytest.MonkeyPatch, text: str, told: str):
    monkeypatch.setenv("HOME", "/home/ann")
    assert homeless(text) == told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"item_texts": "/home/ann/runs/one"}, {"item_texts": "~/runs/one"}),
        ({"item_texts": {"run": "/home/ann/one", "seed": 1}}, {"item_texts": {"run": "~/one", "seed": 1}}),
        (
            {"encoder": {"kind": "sentences", "model": "/home/ann/e"}},
            {"encoder": {"kind": "sentences", "model": "~/e"}},
        ),
        ({"model": {"kind": "local", "path": "/home/ann/qwen"}}, {"model": {"kind": "local", "path": "~/qwen"}}),
        (
            {"model": {"kind": "endpoint", "model": "/home/ann/q"}},
            {"model": {"kind": "endpoint", "model": "/home/ann/q"}},
        ),
    ],
)
def test_no_option_that_is_a_path_names_a_home(
    tiny: Callable[..., Scenario], monkeypatch: pytest.MonkeyPatch, options: dict, told: dict
):
    """But what an endpoint calls its model is a name, which it wants as it is."""
    monkeypatch.setenv("HOME", "/home/ann")
    scenario = tiny(population={"name": "llm"} | options, policies=[{"name": "unisrec", "pretrained": "/home/ann/p"}])
    assert scenario.population.options == told
    assert scenario.policies[0].options == {"pretrained": "~/p"}
