"""How good the policies are on public data, held against the best published figures.

Each file in `questions/` asks an evaluation; `simenv evaluate benchmarks/questions/NAME.yaml` asks the same. The
figures of a policy are written as soon as it has them, so one that is stopped goes on with the next call.
"""

import argparse
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simenv.scenarios.evaluation import Evaluation, evaluate, read_evaluation
from simenv.scenarios.progress import watching

from .record import Row, update

QUESTIONS = Path(__file__).parent / "questions"
RESULTS = Path("build") / "bench-policies"
# What was published, by question and policy. Where it is a policy that learns nothing but numbers of rows, ours must
# lie within `NEAR` of it.
LLMRANK = ("ndcg@1", "ndcg@5", "ndcg@10", "ndcg@20")
PUBLISHED: dict[tuple[str, str], dict[str, float]] = {
    ("gowalla", "item-knn"): {"recall@20": 0.1570, "ndcg@20": 0.1214},
    ("gowalla", "ease"): {"recall@20": 0.1765, "ndcg@20": 0.1467},
    ("gowalla", "bpr"): {"recall@20": 0.1627, "ndcg@20": 0.1378},
    ("gowalla", "multvae"): {"recall@20": 0.1641, "ndcg@20": 0.1335},
    ("gowalla", "lightgcn"): {"recall@20": 0.1820, "ndcg@20": 0.1547},
    ("amazon-beauty", "sasrec"): {"recall@10": 0.0921, "ndcg@10": 0.0531},
    ("amazon-beauty", "generative"): {"recall@10": 0.0648},
    ("ml-1m", "sasrec"): {"recall@10": 0.2929, "ndcg@10": 0.1684},
    ("ml-1m-llmrank", "random"): dict(zip(LLMRANK, (0.0500, 0.1474, 0.2272, 0.3520), strict=True)),
    ("ml-1m-llmrank", "pop"): dict(zip(LLMRANK, (0.2291, 0.4516, 0.5233, 0.5536), strict=True)),
    ("ml-1m-llmrank", "bpr"): dict(zip(LLMRANK, (0.3460, 0.5987, 0.6429, 0.6539), strict=True)),
    ("ml-1m-llmrank", "sasrec"): dict(zip(LLMRANK, (0.6139, 0.7639, 0.7889, 0.7979), strict=True)),
    ("amazon-games-llmrank", "pop"): dict(zip(LLMRANK, (0.2835, 0.4742, 0.5296, 0.5745), strict=True)),
    ("amazon-games-llmrank", "bpr"): dict(zip(LLMRANK, (0.4492, 0.6233, 0.6627, 0.6894), strict=True)),
    ("amazon-games-llmrank", "sasrec"): dict(zip(LLMRANK, (0.5690, 0.7319, 0.7592, 0.7714), strict=True)),
}
NEAR = 0.02


def main() -> None:
    """Ask every question of every policy, or those that were named, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="a question, a policy, or question/policy")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the data sets lie")
    parser.add_argument("--fresh", action="store_true", help="fit anew what is in the cache")
    told = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    known = list(asked(told.only or [], told.data))
    if not known:
        raise SystemExit(f"--only {' '.join(told.only)}: no such question or policy in {QUESTIONS}")
    for question in known:
        ask(question, fresh=told.fresh)


def asked(only: list[str], data: Path) -> Iterator[Evaluation]:
    """Yield one question to one policy at a time; a data set that is not there is told and left out."""
    for file in sorted(QUESTIONS.glob("*.yaml")):
        whole = read_evaluation(str(file))
        folder = data / str(whole.dataset.path)
        for policy in whole.policies:
            names = {whole.name, policy.label, f"{whole.name}/{policy.label}"}
            if only and not names & set(only):
                continue
            if not folder.is_dir():
                print(f"{whole.name}/{policy.label}: not measured, there is no {folder}")
                continue
            dataset = whole.dataset.model_copy(update={"path": str(folder)})
            yield whole.model_copy(update={"dataset": dataset, "policies": [policy]})


def ask(question: Evaluation, *, fresh: bool) -> None:
    """Measure a policy and write its figures beside those of the others."""
    (policy,) = question.policies
    folder = RESULTS / question.name / policy.label
    shutil.rmtree(folder, ignore_errors=True)
    with watching() as watch:
        evaluate(question, folder, fresh=fresh, watch=watch)
    found = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    rows = list(rows_of(question.name, policy.label, found))
    update("policies", "make bench-policies", rows, f"{question.name}, {policy.label}: ")


def rows_of(question: str, label: str, found: dict[str, Any]) -> Iterator[Row]:
    """Yield a row for each metric, and how long the fit took."""
    (policy,) = found["policies"]
    goals = PUBLISHED.get((question, label), {})
    protocol = found["protocol"]
    told = "; ".join(f"{key}: {protocol[key]}" for key in ("split", "asked with", "ranked", "left out", "users"))
    told += f"; settings: {json.dumps(policy['options'])}"
    fixed = label in ("pop", "random")
    for metric, figure in found["metrics"][label].items():
        goal = None if metric not in goals else goals[metric] - (NEAR if fixed else 0)
        note = f"published {goals[metric]}, to be within {NEAR}; {told}" if goal is not None and fixed else told
        name = f"{question}, {label}: {metric}"
        yield Row(name, *(round(figure[key], 5) for key in ("mean", "low", "high")), goal, "share", note)
    if question.endswith("llmrank") and label == "bm25":
        chance = found["by_chance"]["ndcg@10"]
        margin = round(found["metrics"][label]["ndcg@10"]["mean"] / chance, 4)
        yield Row(f"{question}, {label}: ndcg@10 / random", margin, margin, margin, 1.0, "ratio", told)
    seconds = policy["fit"]["seconds"]
    yield Row(f"{question}, {label}: fit", seconds, seconds, seconds, None, "seconds", "two cores, shared with others")


if __name__ == "__main__":
    main()
