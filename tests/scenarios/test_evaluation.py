"""An evaluation ranks under the protocol that it names, and its figures say which that was."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simenv.arrays import IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import DataError, RunError, ScenarioError, SimenvError
from simenv.metrics import offline_metrics
from simenv.ranking import ranking_table
from simenv.recommenders.pop import Pop
from simenv.scenarios.evaluation import Evaluation, evaluate, read_evaluation
from simenv.scenarios.steps import Step
from simenv.splits import Split

TINY = {"name": "tiny", "dataset": {"name": "films", "users": 40, "items": 80}, "policies": ["random", "pop"]}
Measure = Callable[..., dict[str, Any]]


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Return what an evaluation in the tiny world tells; say what differs."""

    def measured(**changes: Any) -> dict[str, Any]:
        folder = tmp_path / f"e{len(list(tmp_path.iterdir()))}"
        evaluate(Evaluation.model_validate(TINY | changes), folder)
        return json.loads((folder / "evaluation.json").read_text(encoding="utf-8")) | {"folder": folder}

    return measured


@pytest.fixture
def logged(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of data by heart: four users, items 1 to 6, and LLMRank's lists beside them."""

    def write(lists: dict[int, list[int]] | None = None, histories: dict[int, list[int]] | None = None) -> Path:
        folder = tmp_path / "mine"
        folder.mkdir(exist_ok=True)
        histories = histories or {1: [1, 2, 3, 4], 2: [1, 2, 4, 3], 3: [1, 3, 2, 5], 4: [1, 4, 6, 2]}
        rows = [(user, item, place) for user, items in histories.items() for place, item in enumerate(items)]
        columns = dict(zip(("user_id", "item_id", "position"), map(list, zip(*rows, strict=True)), strict=True))
        pq.write_table(pa.table(columns), folder / "interactions.parquet")
        if lists:
            told = {"subset": "all", "strategy": "random"}
            table = {name: [word] * len(lists) for name, word in told.items()}
            table |= {"user_id": list(lists), "item_ids": list(lists.values())}
            pq.write_table(pa.table(table), folder / "candidates_llmrank.parquet")
        return folder

    return write


class Asked(Pop):
    """Notes what it was fitted to and what it is asked with."""

    fitted: list[Dataset] = []  # noqa: RUF012
    contexts: list[Context] = []  # noqa: RUF012

    def fit(self, dataset: Dataset) -> None:
        super().fit(dataset)
        self.fitted.append(dataset)

    def rank(self, context: Context, k: int) -> IntArray:
        self.contexts.append(context)
        return super().rank(context, k)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> type[Asked]:
    """Return a policy that can be named stranger:Asked, and has not been asked yet."""
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])
    monkeypatch.setattr(Asked, "fitted", [])
    monkeypatch.setattr(Asked, "contexts", [])
    return Asked


def test_the_figures_are_those_of_the_ranking(measure: Measure, split: Split):
    found = measure(history="train")["metrics"]["pop"]

    policy = Pop()
    policy.fit(split.train)
    for k in (10, 20):
        wanted = offline_metrics(ranking_table(split, policy, np.arange(40), k))
        for name, interval in wanted.items():
            assert found[name]["mean"] == pytest.approx(interval.mean)
            assert (found[name]["low"], found[name]["high"]) == pytest.approx((interval.low, interval.high))


def test_policies_are_fitted_to_training_rows_and_asked_with_validation_rows_too(
    measure: Measure, asked: type[Asked], split: Split
):
    told = measure(policies=["stranger:Asked"])

    assert asked.fitted[-1].fingerprint == split.train.fingerprint
    history = asked.contexts[-1].train
    assert len(history.interactions) == len(split.train.interactions) + 40
    last = history.interactions.items[history.starts[1:] - 1]
    assert last.tolist() == split.valid.items.tolist()
    assert told["protocol"]["asked with"] == "all of a user's training and validation rows"
    assert told["protocol"]["fitted to"].endswith(
        "training rows alone; 40 validation rows tell those that learn by epochs when to stop"
    )


def test_a_policy_may_be_asked_with_training_rows_alone(measure: Measure, asked: type[Asked], split: Split):
    told = measure(policies=["stranger:Asked"], history="train")
    assert len(asked.contexts[-1].train.interactions) == len(split.train.interactions)
    assert told["protocol"]["asked with"] == "all of a user's training rows"


def test_a_split_by_time_asks_with_training_rows_unless_told(measure: Measure):
    assert measure(split={"by": "time"})["settings"]["history"] == "train"


def test_a_policy_may_be_asked_with_the_last_rows_alone(measure: Measure, asked: type[Asked]):
    told = measure(policies=["stranger:Asked"], history_length=3)
    context = asked.contexts[-1]
    assert np.diff(context.train.starts).tolist() == [3] * 40
    assert told["protocol"]["asked with"] == "each user's last 3 of the training and validation rows"
    assert measure(policies=["pop"])["metrics"]["pop"] == told["metrics"]["Asked"]  # the whole past is left out


def test_the_users_drawn_are_the_same_for_all(measure: Measure):
    told = measure(users=10)
    table = pq.read_table(told["folder"] / "values.parquet")
    ids = [table.filter(pa.compute.equal(table["policy"], label))["user_id"].to_pylist() for label in ("random", "pop")]
    assert ids[0] == ids[1]
    assert len(ids[0]) == told["users"] == 10
    assert "drawn from 40" in told["protocol"]["users"]


def test_the_values_of_users_are_kept(measure: Measure):
    told = measure(metrics=["ndcg", "mrr"], k=[5])
    table = pq.read_table(told["folder"] / "values.parquet")
    assert table.column_names == ["policy", "user_id", "held_out", "ndcg@5", "mrr@5"]
    pop = table.filter(pa.compute.equal(table["policy"], "pop"))
    assert np.mean(pop["ndcg@5"]) == pytest.approx(told["metrics"]["pop"]["ndcg@5"]["mean"])


def test_every_pair_is_compared_and_corrected(measure: Measure):
    told = measure(policies=["random", "pop", "item-knn"])
    rows = [row for row in told["comparisons"] if row["metric"] == "ndcg@10"]
    assert [(row["policy"], row["against"]) for row in rows] == [
        ("random", "pop"), ("random", "item-knn"), ("pop", "item-knn"),
    ]  # fmt: skip
    assert all(row["p"] <= row["p_holm"] for row in rows)


def test_random_comes_near_what_chance_gives(measure: Measure):
    told = measure(dataset={"name": "films", "users": 400, "items": 80}, policies=["random"])
    for name, estimate in told["metrics"]["random"].items():
        assert estimate["low"] - 0.02 < told["by_chance"][name] < estimate["high"] + 0.02


def test_an_evaluation_can_be_repeated_from_what_it_kept(measure: Measure, tmp_path: Path):
    told = measure(policies=["pop", {"name": "ease", "regularisation": 9.0}], k=[3], users=20)
    evaluate(read_evaluation(str(told["folder"] / "evaluation.yaml")), tmp_path / "again")
    again = json.loads((tmp_path / "again" / "evaluation.json").read_text())
    assert again["metrics"] == told["metrics"]
    assert again["policies"][1]["options"] == {"regularisation": 9.0}
    assert again["versions"].keys() >= {"python", "numpy", "scipy", "numba", "pyarrow"}


def test_whoever_watches_hears_of_every_policy(tmp_path: Path):
    steps: list[Step] = []
    evaluate(Evaluation.model_validate(TINY), tmp_path / "e", watch=steps.append)
    assert [step.stage for step in steps] == [
        "fitting random", "ranking by random", "fitting pop", "ranking by pop", "measuring",
    ]  # fmt: skip


LISTS = {1: [5, 6, 1, 2, 4], 2: [6, 5, 4, 1, 2], 3: [6, 4, 2, 1, 3], 4: [5, 3, 2, 1, 6]}


def test_llmranks_candidates_are_the_first_and_the_held_out_item(logged: Callable[..., Path], tmp_path: Path):
    """In training item 1 stands four times, item 2 twice, 3 and 4 once, 5 and 6 never: pop has 5 before 6."""
    question = read_evaluation(
        str(logged(LISTS)),
        {"candidates": ("", "llmrank"), "policies": ("", ["pop"])},
        ["candidates.count=3", "k=[1,3]"],
    )
    evaluate(question, tmp_path / "e")

    told = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    table = pq.read_table(tmp_path / "e" / "values.parquet")
    # Users 1, 2 and 4 have their item before two that nobody met; user 3 has his between 4 and 6.
    assert table["ndcg@1"].to_pylist() == [1.0, 1.0, 0.0, 1.0]
    assert table["ndcg@3"].to_pylist() == pytest.approx([1.0, 1.0, 1 / np.log2(3), 1.0])
    assert told["by_chance"]["ndcg@1"] == pytest.approx(1 / 3)
    assert told["in_percent"]
    assert told["protocol"]["ranked"] == (
        "3 candidates a user: of LLMRank's, strategy random, subset all, the first 2 and the held-out item"
    )
    assert told["protocol"]["left out"] == "nothing: a user's past may be ranked again"


def test_llmranks_own_figures_are_measured_unless_told(logged: Callable[..., Path]):
    question = read_evaluation(str(logged()), {"candidates": ("", "llmrank")})
    assert question.k == [1, 5, 10, 20]
    assert question.names == ["ndcg@1", "ndcg@5", "ndcg@10", "ndcg@20"]
    assert question.main == "ndcg@10"
    assert not question.leave_out_past


def test_lists_of_candidates_that_are_missing_are_told_with_their_place(logged: Callable[..., Path], tmp_path: Path):
    question = read_evaluation(str(logged()), {"candidates": ("", "llmrank")})
    with pytest.raises(DataError, match=r"mine/candidates_llmrank\.parquet: no such file; copy LLMRank's lists there"):
        evaluate(question, tmp_path / "e")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"policies": ["poop"]}, "did you mean 'pop'"),
        ({"policies": [{"name": "ease", "depth": 3}]}, "it takes regularisation"),
        ({"k": [10, 78]}, "k: 78 wanted, but user"),
        ({"users": 41}, "users: 41 wanted, but films has 40 who can be asked; users: 40 takes them all"),
        ({"dataset": {"name": "flims"}}, "there is films"),
        ({"dataset": {"path": "nowhere"}}, "nowhere"),
        ({"split": {"by": "published"}}, "no published split"),
        ({"candidates": "llmrank"}, "the built-in world films comes with none"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_fitted(tmp_path: Path, changes: dict, told: str):
    with pytest.raises(SimenvError, match=told):
        evaluate(Evaluation.model_validate(TINY | changes), tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_data_without_test_rows_are_told(logged: Callable[..., Path], tmp_path: Path):
    source = logged(histories={1: [1, 2], 2: [2, 3]})
    with pytest.raises(DataError, match="mine: no test rows when split leave one out"):
        evaluate(read_evaluation(str(source)), tmp_path / "e")


def test_more_than_the_candidates_cannot_be_asked_for(logged: Callable[..., Path], tmp_path: Path):
    question = read_evaluation(str(logged(LISTS)), {"candidates": ("", "llmrank")}, ["candidates.count=3"])
    with pytest.raises(
        ScenarioError, match="k: 20 wanted, but user 1 has 3 candidates to be ranked; k can be 3 at most"
    ):
        evaluate(question, tmp_path / "e")


def test_candidates_that_are_left_out_are_not_counted(logged: Callable[..., Path], tmp_path: Path):
    """User 3 has met 1 and 3 of his four candidates 6, 4, 1 and the held-out 5; user 2 none of 6, 5, 3 but 4 of all."""
    question = read_evaluation(
        str(logged({1: [5, 6, 1], 2: [6, 5, 4], 3: [6, 4, 1], 4: [5, 3, 1]})),
        {"candidates": ("", "llmrank"), "policies": ("", ["random"])},
        ["candidates.count=4", "k=[1,2]", "leave_out_past=true"],
    )
    evaluate(question, tmp_path / "e")
    told = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert told["by_chance"]["ndcg@1"] == pytest.approx(1 / 3)

    with pytest.raises(ScenarioError, match="k: 4 wanted, but user 1 has 3 candidates to be ranked"):
        evaluate(question.model_copy(update={"k": (4,)}), tmp_path / "f")


def test_an_evaluation_is_not_written_over(measure: Measure, tmp_path: Path):
    with pytest.raises(RunError, match="there is an evaluation here already"):
        evaluate(Evaluation.model_validate(TINY), measure()["folder"])
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "photo.jpg").write_bytes(b"")
    with pytest.raises(RunError, match="not empty and not an evaluation"):
        evaluate(Evaluation.model_validate(TINY), tmp_path / "taken")


GOOD = """\
dataset: {name: films, users: 40, items: 80}
policies:
  - pop
  - {name: ease, label: ease-9, regularisation: 9.0}
k: [5]
"""
FAULTS = {
    "k: 5": ("line 5, k: is 5", "list"),
    "k: [0]": ("line 5, k.0: is 0", "greater than or equal to 1"),
    "k: [5, 5]": ("line 5, k", "name each once"),
    "k: []": ("line 5, k", "at least 1"),
    "metrics: [auc]": ("line 5, metrics.0: is 'auc'", "'recall', 'ndcg', 'hit' or 'mrr'"),
    "history: valid": ("line 5, history: is 'valid'", "'train' or 'train and validation'"),
    "historylength: 5": ("line 5, historylength: unknown key", "did you mean history_length?"),
    "candidates: llmrnk": ("line 5, candidates.name: is 'llmrnk'", "'llmrank'"),
    "candidates: {name: llmrank, stategy: pop}": ("line 5, candidates.stategy: unknown key", "did you mean strategy?"),
    "split: halves": ("line 5, split.by: is 'halves'", "'leave-one-out', 'time' or 'published'"),
    "population: choice": ("line 5, population: unknown key", ""),
}


def test_a_file_needs_little_and_is_named_after_itself(tmp_path: Path):
    (tmp_path / "my films.yaml").write_text(GOOD)
    question = read_evaluation(str(tmp_path / "my films.yaml"))
    assert question.name == "my-films"
    assert [policy.label for policy in question.policies] == ["pop", "ease-9"]
    assert question.main == "ndcg@5"


@pytest.mark.parametrize("line", FAULTS)
def test_a_fault_of_a_file_is_told_with_line_key_and_remedy(tmp_path: Path, line: str):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("k: [5]", line))
    with pytest.raises(ScenarioError) as error:
        read_evaluation(str(path))
    where, remedy = FAULTS[line]
    assert f"{path}, {where}" in str(error.value)
    assert remedy in str(error.value)


def test_a_fault_of_a_flag_is_told_with_the_flag():
    with pytest.raises(ScenarioError, match=r"--k ten, k\.0: is 'ten'; should be a valid integer"):
        read_evaluation("films", {"k": ("--k ten", ["ten"])})
