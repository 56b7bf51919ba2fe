"""Teaches a generative policy on MovieLens 1M from itself and from simulated users, once for each of three seeds.

No seed of the users both teaches and grades. Before the users who teach, met anew, the grade is to be higher at the
end than at the beginning, their intervals apart; held-out recall is to fall by no more than 3 % of itself. Judges, of
another kind and known by other rows, grade too. The last rows put the seeds together.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from simenv.intervals import differences
from simenv.scenarios.grading import read_figures
from simenv.scenarios.told import Told
from simenv.scenarios.training import Training, read_training, train

from .record import Row, update

FILE = Path(__file__).parent / "trainings" / "rf-dpo.yaml"
MOST_LOST = 0.03
MAIN = (("held_out", "recall@10"), ("held_out", "ndcg@10"), ("teachers", "grade"), ("judges", "grade"))
MAIN += (("teachers", "N_like"), ("judges", "N_like"), ("teachers", "S_sat"), ("teachers", "popularity_lift"))
MAIN += (("teachers", "diversity"),)
PAIRED = (("held_out", "recall@10"), ("teachers", "grade"), ("judges", "grade"), ("judges", "N_like"))


def main() -> None:
    """Go through the training for every seed, and write the figures of each stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the data sets lie")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, help="where the trainings go, to be gone on with; a temporary folder")
    parser.add_argument("--graded", choices=("all", "ends"), default="ends", help="after which stages users grade")
    parser.add_argument("--judge-again", action="store_true", help="have the trainings in --work graded anew")
    parser.add_argument("--made-world", action="store_true", help="only time the shipped training, from nothing")
    told = parser.parse_args()
    if told.made_world:
        made_world()
        return
    if not (told.data / "ml-1m").exists():
        raise SystemExit(f"ml-1m: not in {told.data}")
    with tempfile.TemporaryDirectory() as folder:
        work = told.work or Path(folder)
        for seed in told.seeds:
            values = Told.read(FILE, FILE.name)
            values.lay([f"dataset.path={told.data / 'ml-1m'}", f"policy.seed={seed}", f"seeds=[{seed}]"])
            values.lay([f"graded={told.graded}", "fidelity=false"])
            out = work / f"seed-{seed}"
            again = told.judge_again and out.exists()
            how: Any = {"resume": out.exists(), "judge_again": again, "watch": lambda step: print(step, flush=True)}
            seeded = f"seed {seed}, "
            found = train(values.check(Training), out, **how)
            update("rf-dpo", "make bench-rf-dpo", rows(found, seed), seeded, at_most=[f"{seeded}recall lost"])
        update("rf-dpo", "make bench-rf-dpo", together([work / f"seed-{seed}" for seed in told.seeds]), "all seeds, ")


def made_world() -> None:
    """Time the shipped training, nothing of it taken from the cache."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SIMENV_CACHE"] = str(Path(folder) / "cache")
        begin = time.perf_counter()
        found = train(read_training("rf-dpo"), Path(folder) / "out")
        seconds = round(time.perf_counter() - begin, 1)
    note = (
        "fit, self-play, two rounds of feedback, each graded by 1,000 users of three kinds, two held against real ones"
    )
    made = [Row("made world, the whole training", seconds, seconds, seconds, 180.0, "seconds", note)]
    made += [
        _change(f"made world, {one['who'].replace('_', ' ')}: {one['metric']}, change", one) for one in changes(found)
    ]
    thrown = sum(stage.get("kept") == 0 and "prompts" in stage for stage in found["stages"])
    made.append(Row("made world, stages thrown away", thrown, thrown, thrown, None, "stages"))
    command = "python -m benchmarks.rf_dpo --made-world"
    update("rf-dpo", command, made, "made world, ", at_most=["made world, the whole training"])


def changes(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the changes that a training's verdict rests on."""
    return [one for one in found["changes"] if one["change"]["mean"] is not None]


def rows(found: Mapping[str, Any], seed: int) -> list[Row]:
    """Return every graded stage's figures, those of what stands beside, and whether the bars are met."""
    made = []
    stages = [stage for stage in found["stages"] if "held_out" in stage]
    for number, stage in enumerate(found["stages"]):
        for who, name in MAIN if stage in stages else ():
            one = stage[who][name]
            title = f"seed {seed}, {number} {stage['name']}, {who.replace('_', ' ')}: {name}"
            made.append(Row(title, *(round(one[end], 5) for end in ("mean", "low", "high")), None, ""))
    for label, figures in found["beside"].items():
        for who, name in MAIN:
            one = figures[who][name]
            title = f"seed {seed}, beside {label}, {who.replace('_', ' ')}: {name}"
            made.append(Row(title, *(round(one[end], 5) for end in ("mean", "low", "high")), None, ""))
    first, last = stages[0], stages[-1]
    apart = last["teachers"]["grade"]["low"] - first["teachers"]["grade"]["high"]
    note = "the last stage's lower end less the first one's upper; above 0 the intervals are apart"
    made.append(Row(f"seed {seed}, grade of the teachers, apart", round(apart, 5), 0, 0, 0.0, "", note))
    for who, name in PAIRED:
        gained = last[who][name]["gained"]
        title = f"seed {seed}, change, {who.replace('_', ' ')}: {name}"
        ends = (round(gained[end], 5) for end in ("mean", "low", "high"))
        made.append(Row(title, *ends, None, "", "last stage less first, paired by user, 95 %"))
    before, after = (stage["held_out"]["recall@10"]["mean"] for stage in (first, last))
    lost = 1 - after / before
    made.append(Row(f"seed {seed}, recall lost", round(lost, 5), 0, 0, MOST_LOST, "share", "negative: gained"))
    return made


def together(folders: Sequence[Path]) -> list[Row]:
    """Return the changes over all seeds: by users, each one's mean over the seeds; and by seeds, as few as they are."""
    made = []
    for who, name in PAIRED:
        by_seed = np.stack([_last(folder, who)[name] - _first(folder, who)[name] for folder in folders])
        change = differences(np.nanmean(by_seed, axis=0)[:, None])[0]
        title = f"all seeds, change, {who.replace('_', ' ')}: {name}"
        ends = (round(value, 5) for value in (change.mean, change.low, change.high))
        made.append(Row(f"{title}, over users", *ends, None, "", f"mean of {len(folders)} seeds, paired by user, 95 %"))
        if len(folders) > 1:
            means = np.nanmean(by_seed, axis=1)
            reach = float(student.ppf(0.975, len(means) - 1)) * means.std(ddof=1) / np.sqrt(len(means))
            ends = (round(float(value), 5) for value in (means.mean(), means.mean() - reach, means.mean() + reach))
            note = f"Student's t over {len(folders)} seeds of fitting, teaching and grading"
            made.append(Row(f"{title}, over seeds", *ends, None, "", note))
    return made


def _first(folder: Path, who: str) -> Mapping[str, Any]:
    return _figures(sorted(folder.glob("[0-9]*"))[0], who)


def _last(folder: Path, who: str) -> Mapping[str, Any]:
    return _figures(sorted(folder.glob("[0-9]*"))[-1], who)


def _figures(stage: Path, who: str) -> Mapping[str, Any]:
    return read_figures(stage / "held_out.npz" if who == "held_out" else stage / who / "figures.npz")


def _change(title: str, one: Mapping[str, Any]) -> Row:
    ends = (round(one["change"][end], 5) for end in ("mean", "low", "high"))
    return Row(
        title, *ends, None, "", "last stage less first; the intervals hold for all changes of this training at once"
    )


if __name__ == "__main__":
    main()
