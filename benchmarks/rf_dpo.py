"""Teaches a generative policy on MovieLens 1M from itself and from simulated users, once for each of three seeds.

Before the users who teach, the grade is to be higher at the end than at the beginning, their intervals apart;
held-out recall is to fall by no more than 3 % of itself. Users of another kind, known by other rows, grade too and
teach nothing.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simenv.scenarios.told import Told
from simenv.scenarios.training import Training, read_training, train

from .record import Row, update

FILE = Path(__file__).parent / "trainings" / "rf-dpo.yaml"
MOST_LOST = 0.03
MAIN = (("held_out", "recall@10"), ("held_out", "ndcg@10"), ("taught", "grade"), ("judged", "grade"))
MAIN += (("taught", "S_sat"), ("taught", "N_like"), ("taught", "popularity_lift"), ("taught", "diversity"))


def main() -> None:
    """Go through the training for every seed, and write the figures of each stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the data sets lie")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, help="where the trainings go, to be gone on with; a temporary folder")
    parser.add_argument("--made-world", action="store_true", help="only time the shipped training, from nothing")
    told = parser.parse_args()
    if told.made_world:
        made_world()
        return
    if not (told.data / "ml-1m").exists():
        raise SystemExit(f"ml-1m: not in {told.data}")
    with tempfile.TemporaryDirectory() as folder:
        for seed in told.seeds:
            values = Told.read(FILE, FILE.name)
            values.lay([f"dataset.path={told.data / 'ml-1m'}", f"policy.seed={seed}", f"seeds=[{seed}]"])
            out = (told.work or Path(folder)) / f"seed-{seed}"
            found = train(values.check(Training), out, resume=out.exists(), watch=lambda step: print(step, flush=True))
            seeded = f"seed {seed}, "
            update("rf-dpo", "make bench-rf-dpo", rows(found, seed), seeded, at_most=[f"{seeded}recall lost"])


def made_world() -> None:
    """Time the shipped training, nothing of it taken from the cache."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SIMENV_CACHE"] = str(Path(folder) / "cache")
        begin = time.perf_counter()
        found = train(read_training("rf-dpo"), Path(folder) / "out")
        seconds = round(time.perf_counter() - begin, 1)
    note = (
        "fit, self-play, two rounds of feedback, each shown to 1,000 users of two kinds, these held against real ones"
    )
    made = [Row("made world, the whole training", seconds, seconds, seconds, 180.0, "seconds", note)]
    for part, name in MAIN[:4]:
        for number in (0, -1):
            stage = found["stages"][number]
            values = (round(stage[part][name][end], 5) for end in ("mean", "low", "high"))
            made.append(Row(f"made world, {stage['name']}, {part.replace('_', ' ')}: {name}", *values, None, ""))
    command = "python -m benchmarks.rf_dpo --made-world"
    update("rf-dpo", command, made, "made world, ", at_most=["made world, the whole training"])


def rows(found: Mapping[str, Any], seed: int) -> list[Row]:
    """Return every stage's figures, and whether the bars are met."""
    made = []
    stages = found["stages"]
    for number, stage in enumerate(stages):
        for part, name in MAIN:
            one = stage[part][name]
            title = f"seed {seed}, {number} {stage['name']}, {part.replace('_', ' ')}: {name}"
            made.append(Row(title, *(round(one[end], 5) for end in ("mean", "low", "high")), None, ""))
    first, last = stages[0], stages[-1]
    apart = last["taught"]["grade"]["low"] - first["taught"]["grade"]["high"]
    note = "the last stage's lower end less the first one's upper; above 0 the intervals are apart"
    made.append(Row(f"seed {seed}, grade of the teachers, apart", round(apart, 5), 0, 0, 0.0, "", note))
    before, after = (stage["held_out"]["recall@10"]["mean"] for stage in (first, last))
    lost = 1 - after / before
    made.append(Row(f"seed {seed}, recall lost", round(lost, 5), 0, 0, MOST_LOST, "share", "negative: gained"))
    return made


if __name__ == "__main__":
    main()
