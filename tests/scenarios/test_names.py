"""What a user may type: ours, an installed plug-in's, or a class by its path."""

import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from simenv.agents.truth import TruthPopulation
from simenv.errors import MissingExtra, ScenarioError
from simenv.films import World
from simenv.options import may_be
from simenv.plugins import load_plugin
from simenv.policy import Policy
from simenv.population import Population
from simenv.recommenders.ease import Ease
from simenv.recommenders.pop import Pop
from simenv.scenarios import names
from simenv.scenarios.names import LENT, POLICIES, POPULATIONS, build, known_names
from simenv.splits import Split
from simenv.store import parameters_of

GIFTS = {"truth": None, "held_out": None}


@pytest.mark.parametrize("kind", ["policy", "population"])
def test_every_name_of_the_table_is_a_class_that_keeps_the_protocol(kind: str):
    protocol = {"policy": Policy, "population": Population}[kind]
    for entry in known_names(kind).values():
        assert issubclass(load_plugin(entry.path, kind), protocol)


def test_the_table_names_ours_and_tells_of_them():
    assert all(entry.about for entry in [*POLICIES.values(), *POPULATIONS.values()])


def test_options_reach_the_class():
    made = build("policy", "ease", {"regularisation": 7.0}, GIFTS)
    assert isinstance(made, Ease)
    assert made.regularisation == 7


def test_a_class_by_its_path_is_built():
    assert isinstance(build("policy", "simenv.recommenders.pop:Pop", {}, GIFTS), Pop)


def test_the_truth_is_lent_to_those_who_take_it(world):
    made = build("population", "truth", {}, {"truth": world.truth})
    assert isinstance(made, TruthPopulation)
    assert made.truth is world.truth


@pytest.mark.parametrize(("kind", "name", "gift"), [
    ("policy", "oracle", "truth"), ("population", "truth", "truth"), ("population", "replay", "held-out"),
])  # fmt: skip
def test_what_needs_a_gift_says_so(kind: str, name: str, gift: str):
    with pytest.raises(ScenarioError, match=f"{kind} '{name}' needs a data set whose {gift} is known"):
        build(kind, name, {}, GIFTS)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ese", "did you mean 'ease'"),
        ("zzz", "there are anti-oracle, "),
        ("simenv.recommenders.pop:Nobody", "has no Nobody"),
        ("simenv.recommenders.nobody:Pop", "cannot import"),
        (":Pop", ""),
        ("simenv.recommenders.pop:", ""),
    ],
)
def test_a_name_that_is_nothing_is_told(name: str, told: str):
    with pytest.raises(ScenarioError) as error:
        build("policy", name, {}, GIFTS)
    assert told in str(error.value)


@pytest.mark.parametrize("text", ["def fit(self:", "1 / 0"])
def test_a_module_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ScenarioError, match="policy 'broken:Policy': cannot import broken"):
        build("policy", "broken:Policy", {}, GIFTS)


def test_an_unknown_option_says_which_there_are():
    with pytest.raises(ScenarioError, match=r"policy 'item-knn'.*it takes neighbours, shrink"):
        build("policy", "item-knn", {"depth": 3}, GIFTS)


@pytest.mark.parametrize("name", [*POLICIES, *POPULATIONS])
@pytest.mark.parametrize("value", ["ten", 1.5, None, True, [1], {"a": 1}])
def test_an_option_of_the_wrong_kind_is_told_before_anything_is_fitted_and_in_no_words_of_python(
    world: World, split: Split, name: str, value: object
):
    kind, entry = ("policy", POLICIES[name]) if name in POLICIES else ("population", POPULATIONS[name])
    gifts = {"truth": world.truth, "held_out": split.test}
    needed = {"saved": {"path": "nowhere"}, "half": {"of": ["choice"]}, "mixture": {"of": ["choice"]}}.get(name, {})
    try:
        parameters = parameters_of(load_plugin(entry.path, kind)).values()
    except MissingExtra:
        pytest.skip(f"{name} wants a library that is not here")
    for option in parameters:
        if option.name in LENT or may_be(value, option.annotation) or "Member" in str(option.annotation):
            continue
        with pytest.raises(ScenarioError, match=f"{kind} '{name}'") as error:
            build(kind, name, needed | {option.name: value}, gifts)
        assert not re.search(r"__init__|NoneType|object|argument|PathLike|subscript|Error", str(error.value))


@pytest.mark.parametrize(
    ("kind", "name", "options", "told"),
    [
        ("policy", "saved", {}, "it needs path"),
        ("policy", "saved", {"path": "nowhere"}, "nowhere: no saved policy here"),
        ("population", "half", {"which": "first"}, "it needs of"),
        ("policy", "ease", {"regularization": 3.0}, "did you mean regularisation?"),
        ("population", "choice", {"lok": 0.5}, "did you mean look?"),
        ("population", "choice", {"look": 1.5}, "it must be from 0 to 1"),
        ("population", "llm", {"memory": "ten"}, "memory: must be a mapping of options to values"),
        ("population", "llm", {"memory": {"a": 1}}, "memory: takes no option 'a'"),
        ("population", "llm", {"model": {"kind": "endpoint"}}, "model endpoint: needs model"),
        ("policy", "unisrec", {"encoder": "sentences", "model": "no-such-model"}, "no sentence model 'no-such-model'"),
        ("policy", "unisrec", {"encoder": "sentences", "pretrained": "nowhere"}, "no saved policy here"),
        ("policy", "generative", {"backbone": {"path": "nowhere"}}, "no folder 'nowhere' with a model"),
    ],
)
def test_what_an_option_lacks_is_told_at_once(kind: str, name: str, options: dict[str, object], told: str):
    if name in ("unisrec", "generative"):
        pytest.importorskip("torch")
        pytest.importorskip("sentence_transformers" if name == "unisrec" else "transformers")
    with pytest.raises(ScenarioError) as error:
        build(kind, name, options, {})
    assert told in str(error.value)


def test_an_installed_plug_in_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch):
    point = EntryPoint("mine", "simenv.recommenders.pop:Pop", "simenv.policies")
    monkeypatch.setattr(names, "entry_points", lambda group: [point] if group == point.group else [])

    assert isinstance(build("policy", "mine", {}, GIFTS), Pop)
    assert "mine" not in known_names("population")


def test_a_plug_in_cannot_take_the_name_of_ours(monkeypatch: pytest.MonkeyPatch):
    point = EntryPoint("ease", "simenv.recommenders.pop:Pop", "simenv.policies")
    monkeypatch.setattr(names, "entry_points", lambda group: [point] if group == point.group else [])
    assert isinstance(build("policy", "ease", {}, GIFTS), Ease)
