"""The command `simenv pairs`: a run's preferences as a file that training libraries read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import simenv
from simenv.arrays import BoolArray, GradeArray
from simenv.dataset import Dataset
from simenv.errors import DataError, RunError, SimenvError
from simenv.preferences.card import card_of, write_card
from simenv.preferences.choosing import is_among, is_balanced, is_first
from simenv.preferences.converting import Labels, Pairs, lists_of, some, to_labels, to_pairs
from simenv.preferences.exporting import FORMATS, Export, check_place, write_rows
from simenv.preferences.leaks import HOW, guard, leaks_of
from simenv.preferences.records import Records
from simenv.preferences.simulated import pages_of, without_an_answer
from simenv.preferences.wording import Wording
from simenv.rundir import RunDir
from simenv.splits import Split

from .redraw import redrawn_grades
from .scenario import read_scenario
from .stage import cut, open_world

RECORDS = "records"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user wants of a run's preferences."""

    form: str = "trl"
    against: str = "both"
    by: str = "grade"
    least_gap: float = 1.0
    balance: Sequence[str] = ()
    policies: Sequence[str] | None = None
    most_per_user: int | None = None
    window: int = 20
    leaks: str = "refuse"
    prompt: Path | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, and where the card that tells of it lies."""

    path: Path
    card: dict[str, Any]
    card_path: Path


def pairs(folder: Path, out: Path, wish: Wish, *, force: bool = False) -> Written:
    """Write the preferences of a run's users to a file, and a data card beside it."""
    _check(wish, out)
    check_place(out, force=force)
    run = RunDir.open(folder)
    run.check_whole()
    split = split_of(run)
    records = pages_of(run, split.train, window=wish.window, policies=wish.policies)
    leaking = leaks_of(records, split)
    leaked = {"held_out_candidates": int(leaking.candidates.sum()), "held_out_in_pasts": int(leaking.history.sum())}
    records = guard(records, split, wish.leaks)
    export = Export(records, split.train, _wording(split.train, wish.prompt))
    sure = None if wish.form == RECORDS else redrawn_grades(read_scenario(str(run.folder / "scenario.yaml")), records)
    found, left_out = _found(records, split.train, wish, sure)
    if not len(found):
        raise RunError(f"{folder}: nothing to write; {_why_nothing(records, wish, left_out)}")
    count = _write(out, export, found, wish)
    if wish.form != RECORDS:
        left_out["pages_without_a_row"] = len(records) - len(np.unique(found.rows))
    if wish.leaks != "keep":
        left_out = leaked | left_out
    told = _told(run, split, wish) | {
        "confidence_by": _how_sure(sure, wish),
        "left_out": without_an_answer(run, wish.policies) | left_out,
    }
    if wish.leaks == "keep":
        told["held_out_and_kept"] = leaked
    card = card_of(export, found, count, told)
    return Written(out, card, write_card(out, card)[1])


def _found(
    records: Records, train: Dataset, wish: Wish, redrawn: GradeArray | None
) -> tuple[Pairs | Labels, dict[str, int]]:
    """Return what is to be written, and how much was left out for which reason."""
    if wish.form == RECORDS:
        return to_labels(records), {}
    if wish.form == "kto":
        return _kept(to_labels(records, against=wish.against, train=train, redrawn=redrawn), train, wish)
    made = to_pairs(records, against=wish.against, by=wish.by, least_gap=wish.least_gap, train=train, redrawn=redrawn)
    return _kept(made, train, wish)


def _how_sure(redrawn: GradeArray | None, wish: Wish) -> str:
    """Return where the confidence of rows comes from."""
    if wish.form == RECORDS:
        return "how answers were read"
    if redrawn is not None and wish.by == "grade":
        return f"the same pages shown again to the same users {len(redrawn)} times, with other chance"
    return "the user's other judgements of the same items in this run; empty where there are none"


def _write(out: Path, export: Export, found: Pairs | Labels, wish: Wish) -> int:
    if wish.form == RECORDS:
        export.records.write(out, export.train)
        return len(export.records)
    rows = lists_of(found, seed=wish.seed) if isinstance(found, Pairs) and wish.form == "lists" else found
    return write_rows(out, export.rows(rows, wish.form))


def split_of(run: RunDir) -> Split:
    """Return the data of a run, cut as it was when it was run."""
    path = run.folder / "scenario.yaml"
    if not path.is_file():
        raise RunError(f"{run.folder}: no scenario.yaml, which says what data the run was of")
    scenario = read_scenario(str(path))
    return cut(open_world(scenario.dataset)[0], scenario.split)


def _check(wish: Wish, out: Path) -> None:
    if wish.form not in (*FORMATS, RECORDS):
        raise SimenvError(f"--format {wish.form}: there are {', '.join((*FORMATS, RECORDS))}")
    if wish.form == RECORDS and out.suffix != ".parquet":
        raise SimenvError(f"{out}: records are written as .parquet")
    if wish.leaks not in HOW:
        raise SimenvError(f"--leaks {wish.leaks}: there are {', '.join(HOW)}")
    if wish.form in ("kto", RECORDS) and (wish.by != "grade" or wish.least_gap != 1.0):
        raise SimenvError(f"--format {wish.form}: its rows have no gap; leave out --by and --least-gap")
    if wish.form == RECORDS and (wish.balance or wish.most_per_user is not None or wish.against != "both"):
        raise SimenvError(
            "--format records: it holds every page as it is; leave out --balance, --most-per-user, --against"
        )
    if wish.by == "rating" and wish.against != "both":
        raise SimenvError("--by rating: what is rejected follows from the ratings; leave out --against")


def _wording(train: Dataset, prompt: Path | None) -> Wording:
    if prompt is None:
        return Wording(train.catalog)
    try:
        return Wording(train.catalog, prompt.read_text(encoding="utf-8").strip())
    except UnicodeDecodeError:
        raise DataError(f"{prompt}: not a text in UTF-8") from None
    except DataError as error:
        raise DataError(f"{prompt}: {error}") from None


def _kept(rows: Any, train: Dataset, wish: Wish) -> tuple[Any, dict[str, int]]:
    """Return what is kept of pairs or labels, and how many were left out for which reason."""
    left_out: dict[str, int] = {}

    def keep(reason: str, kept: BoolArray) -> None:
        nonlocal rows
        left_out[reason] = int((~kept).sum())
        rows = some(rows, kept)

    keep("duplicates", is_first(rows))
    if wish.most_per_user is not None:
        keep("beyond_the_most_per_user", is_among(rows, wish.most_per_user, wish.seed))
    if wish.balance:
        keep("for_balance", is_balanced(rows, train, wish.balance, wish.seed))
    return rows, left_out


def _why_nothing(records: Records, wish: Wish, left_out: dict[str, int]) -> str:
    if left_out.get("for_balance"):
        return f"no pairs can be balanced by {' and '.join(wish.balance)}"
    if wish.by == "rating" and not np.isfinite(records.candidates.ratings).any():
        return "--by rating: its users gave no ratings; leave it out, and gaps are those of grades"
    gap = f" with a {wish.by} gap of {wish.least_gap:g}" if wish.form != "kto" else ""
    return f"none of its {len(records):,} pages has a liked item and one to reject ({wish.against}){gap}"


def _told(run: RunDir, split: Split, wish: Wish) -> dict[str, Any]:
    manifest = run.manifest
    population = manifest.get("population", {}).get("name")
    if not isinstance(population, str):
        raise RunError(f"{run.folder / 'manifest.json'}: it names no population; the file is damaged")
    return {
        "simenv": simenv.__version__,
        "run": run.folder.resolve().name,
        "question": manifest.get("question"),
        "status": manifest.get("status"),
        "format": f"{wish.form}: {FORMATS.get(wish.form, 'every page with its past and all grades')}",
        "dataset": split.train.name,
        "fingerprint": split.train.fingerprint,
        "split": split.protocol,
        "population": population,
        "population_seeds": manifest["seeds"],  # what learns from these rows must not be judged with them
        "fidelity": (manifest.get("fidelity") or {}).get("verdict", "not measured"),
        "against": wish.against,
        "by": wish.by,
        "least_gap": wish.least_gap,
        "balance": list(wish.balance) or None,
        "most_per_user": wish.most_per_user,
        "window": wish.window,
        "leaks": wish.leaks,
        "seed": wish.seed,
    }
