"""Every figure that the README quotes is the figure of the benchmark file that it names."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "reports" / "bench"

POLICY_ROWS = {  # benchmark, policy: where its row stands in the README, by the metrics in its order
    ("gowalla", "item-knn"): ("Gowalla", ("recall@20", "ndcg@20")),
    ("gowalla", "ease"): ("Gowalla", ("recall@20", "ndcg@20")),
    ("gowalla", "bpr"): ("Gowalla", ("recall@20", "ndcg@20")),
    ("gowalla", "multvae"): ("Gowalla", ("recall@20", "ndcg@20")),
    ("gowalla", "lightgcn"): ("Gowalla", ("recall@20", "ndcg@20")),
    ("amazon-beauty", "sasrec"): ("Amazon Beauty", ("recall@10", "ndcg@10")),
    ("amazon-beauty", "generative"): ("Amazon Beauty", ("recall@10", "ndcg@10")),
    ("ml-1m", "sasrec"): ("MovieLens 1M, leave-one-out", ("recall@10", "ndcg@10")),
}
LLMRANK = {"ml-1m-llmrank": "MovieLens 1M, LLMRank", "amazon-games-llmrank": "Amazon Games, the same"}
QUOTED = [  # file, figure, how it is written, a sentence or row of the README that has it
    ("peers-ml-1m", "sasrec quality: ours / RecTools, all held-out rows", "{:.2f} times RecTools", ""),
    ("peers-ml-1m", "sasrec quality: ours, as many positions / RecTools, all held-out rows", "it is {:.2f} times", "0"),
    ("peers-ml-1m", "sasrec: ours / RecTools", "1 / {:.1f} of the time", ""),
    ("peers", "sasrec quality: ours / RecTools, all held-out rows", "come to {:.2f} times", "0"),
    ("peers", "sasrec: ours / RecBole", "RecBole and RecTools | {:.0f} ×", ""),
    ("peers", "sasrec: ours / RecTools", "64 ×, {:.1f} ×", ""),
    ("stepping", "1 user / SARDINE", "(10 of 1,000) | {:.1f} ×", ""),
    ("stepping", "1 user / floor", "NumPy loop we could write | {:.2f} ×", ""),
    ("stepping", "1,024 users / 1 user", "against one | {:.0f} ×", ""),
    ("stepping", "1,024 users / floor", "NumPy at 1,024 | {:.1f} ×", ""),
    ("stepping", "runner's own cost per user and page", "loop, log and metrics | {:.0f} µs", ""),
    ("decoding", "4 layers of 256: beam / generate, 1 M", "the same items | {:.0f} ×", ""),
    ("decoding", "4 layers of 256: beam / plain forwards, 1 M", "the prompt read once | {:.1f} |", ""),
    ("decoding", "index of 1 M items", "bytes an item | {:.0f} |", ""),
]


def figures(name: str) -> dict[str, float]:
    rows = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    return {row["figure"]: row["value"] for row in rows}


def policy_row(benchmark: str, policy: str) -> str:
    """Return the README's row of a policy, below the first row that names its benchmark."""
    rows = README[README.index(f"| {benchmark}") :].split("\n")
    return next(row for row in rows if f"| `{policy}` |" in row)


def here(row: str) -> list[str]:
    return re.findall(r"[\d.]+", row.split("|")[3])


@pytest.mark.parametrize(("benchmark", "policy"), POLICY_ROWS)
def test_a_policys_row_is_that_of_its_benchmark(benchmark: str, policy: str):
    name, metrics = POLICY_ROWS[benchmark, policy]
    measured = [figures("policies")[f"{benchmark}, {policy}: {metric}"] for metric in metrics]
    assert here(policy_row(name, policy)) == [f"{value:.4f}".lstrip("0") for value in measured]


@pytest.mark.parametrize("policy", ["pop", "bpr", "sasrec"])
@pytest.mark.parametrize("benchmark", LLMRANK)
def test_a_row_of_twenty_candidates_is_that_of_its_benchmark(benchmark: str, policy: str):
    measured = [figures("policies")[f"{benchmark}, {policy}: ndcg@{k}"] for k in (1, 5, 10, 20)]
    assert here(policy_row(LLMRANK[benchmark], policy)) == [f"{100 * value:.1f}" for value in measured]


@pytest.mark.parametrize(("name", "figure", "form", "drop"), QUOTED)
def test_a_quoted_figure_is_that_of_its_benchmark(name: str, figure: str, form: str, drop: str):
    quoted = form.format(figures(name)[figure])
    quoted = re.sub(r"\b0(?=\.)", "", quoted) if drop else quoted
    assert quoted in " ".join(README.split()), f"{name}.json says {quoted!r}"


RF_DPO = (("teachers", "grade"), ("judges", "grade"), ("held out", "recall@10"))


def bare(value: float) -> str:
    return f"{value:.3f}".replace("-", "−").replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def change_of(figure: str) -> str:
    rows = json.loads((RESULTS / "rf-dpo.json").read_text(encoding="utf-8"))["rows"]
    row = next(row for row in rows if row["figure"] == figure)
    return f"{'+' if row['value'] > 0 else ''}{bare(row['value'])} [{bare(row['low'])}, {bare(row['high'])}]"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_row_of_what_feedback_taught_is_that_of_its_benchmark(seed: int):
    known, cells = figures("rf-dpo"), [str(seed)]
    for who, metric in RF_DPO:
        ends = [known[f"seed {seed}, {stage}, {who}: {metric}"] for stage in ("0 sft", "6 passed-2")]
        cells.append(f"{' > '.join(map(bare, ends))}: {change_of(f'seed {seed}, change, {who}: {metric}')}")
    assert f"| {' | '.join(cells)} |" in README


@pytest.mark.parametrize("over", ["users", "seeds"])
def test_what_feedback_taught_over_all_seeds_is_that_of_its_benchmark(over: str):
    cells = [change_of(f"all seeds, change, {who}: {metric}, over {over}") for who, metric in RF_DPO]
    assert f"| all, over {over} | {' | '.join(cells)} |" in README
