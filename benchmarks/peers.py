"""How fast our recommenders learn and list items beside those one would pick instead.

Every peer lives in an environment of its own below `build/peers`, made from its requirement file where it is
missing, and is measured by a small program of ours there: CPU seconds of that process, on one thread, 64
dimensions, the same rows. All variants of a part are taken in turn in every round; a ratio is taken within a
round. The data are made up (`million.py`) unless `--data` names a folder that simenv reads.

A peer that cannot be installed or fails is a row of its own, `not measured`, with the reason: never a pass.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from simenv.readers import open_dataset

from .peer_workers.million import Log, cut, million, save
from .record import Row, row, update

WORKERS = Path(__file__).parent / "peer_workers"
HOMES = Path(__file__).parents[1] / "build" / "peers"
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
OWN = ""  # the environment that the driver itself runs in


@dataclass(frozen=True)
class Variant:
    """Something measured: a worker's task, and where it runs."""

    worker: str
    task: str
    home: str = OWN
    packages: tuple[str, ...] = ()  # whose versions go into the notes
    note: str = ""


@dataclass(frozen=True)
class Part:
    """Variants that are measured beside each other, and what is wanted of their ratios."""

    unit: str
    rounds: int
    variants: dict[str, Variant]
    goals: Sequence[tuple[str, str, float | None]]  # above, below, the least ratio
    tells: Mapping[str, str] = field(default_factory=dict)  # what a unit tells and is asked for, if not how fast it was
    note: str = ""


def recbole(task: str, note: str = "") -> Variant:
    return Variant("recbole", task, "recbole", ("recbole", "torch"), note)


def rectools(task: str, note: str = "") -> Variant:
    return Variant("rectools", task, "rectools", ("rectools", "torch"), note)


PARTS = {
    "bpr": Part(
        "rows per CPU second",
        7,
        {
            "ours": Variant("ours", "bpr"),
            "RecBole": recbole("bpr"),
            "implicit": Variant("implicit", "bpr", "graph", ("implicit",), "draws as many pairs as rows, skips some"),
        },
        [("ours", "RecBole", 4), ("ours", "implicit", 0.3)],
        note="whole epochs",
    ),
    "lightgcn": Part(
        "steps per CPU second",
        5,
        {
            "ours, 2,048 rows": Variant("ours", "lightgcn-2048"),
            "RecBole, 2,048 rows": recbole("lightgcn"),
            "ours, 8,192 rows": Variant("ours", "lightgcn-8192"),
            "torch_geometric, 8,192 rows": Variant("pyg", "lightgcn", "graph", ("torch-geometric", "torch")),
        },
        [
            ("ours, 2,048 rows", "RecBole, 2,048 rows", 4),
            ("ours, 8,192 rows", "torch_geometric, 8,192 rows", 20),
        ],
        note="3 layers, a few steps",
    ),
    "multvae": Part(
        "users per CPU second",
        7,
        {"ours": Variant("ours", "multvae", OWN, ("torch",)), "RecBole": recbole("multvae")},
        [("ours", "RecBole", 0.95)],
        note="600-64-600, whole epochs in batches of 2,048 users",
    ),
    "sasrec": Part(
        "positions per CPU second",
        5,
        {
            "ours": Variant("ours", "sasrec", OWN, ("torch",), "full softmax"),
            "ours, 512 drawn": Variant("ours", "sasrec-drawn", OWN, ("torch",), "512 shared negatives"),
            "RecBole": recbole("sasrec", "a row for each prefix, full softmax, a step of 2,048"),
            "RecTools": rectools("sasrec", "full softmax"),
        },
        [("ours", "RecBole", 30), ("ours", "RecTools", 2.2), ("ours, 512 drawn", "RecTools", None)],
        note="2 layers, window 50, batch 128; positions that are no padding",
    ),
    "sasrec quality": Part(
        "NDCG@20",
        1,
        {
            "ours": Variant("ours", "sasrec-quality", OWN, ("torch",), "full softmax, all rows of a history"),
            "ours, as many positions": Variant("ours", "sasrec-share-quality", OWN, ("torch",), "fewer epochs"),
            "ours, 512 drawn": Variant("ours", "sasrec-drawn-quality", OWN, ("torch",), "all rows of a history"),
            "RecTools": rectools("sasrec-quality", "full softmax, the last 51 rows of a history"),
        },
        [
            ("ours", "RecTools", 1),
            ("ours, as many positions", "RecTools", None),
            ("ours, 512 drawn", "RecTools", None),
        ],
        tells={"ndcg": "all held-out rows", "next ndcg": "the first held-out row"},
    ),
    "recommend": Part(
        "users per CPU second",
        9,
        {
            "ours": Variant("ours", "recommend"),
            "floor": Variant(
                "floor", "recommend", OWN, ("torch",), "a product, a scatter, a top-k for 256 users at once"
            ),
            "implicit": Variant("implicit", "recommend", "graph", ("implicit",), "all users in one call"),
            "LensKit": Variant("lenskit", "recommend", "lenskit", ("lenskit",), "implicit ALS, 604 users"),
        },
        [("ours", "floor", 0.8), ("ours", "implicit", 1.5), ("ours", "LensKit", 30)],
        note="top 20, seen left out",
    ),
}


class NotMeasured(Exception):
    """Why a peer has no figure."""


def main() -> None:
    """Measure the parts asked for, and write the figures of each as soon as it is done; others stay as they were."""
    wishes = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").split("\n")[0])
    names = sorted({name.split()[0] for name in PARTS})
    wishes.add_argument("--only", choices=names, action="append", help="measure this part; may be given again")
    wishes.add_argument("--data", type=Path, help="a folder of logged data, in place of the made-up million")
    wishes.add_argument("--rounds", type=int, help="rounds of every part, in place of its own number")
    wishes.add_argument("--epochs", type=int, default=3, help="epochs before the NDCG of SASRec is taken")
    wish = wishes.parse_args()
    log = million() if wish.data is None else logged(wish.data)
    file, command = "peers", "make bench-peers"
    if wish.data is not None:
        file, command = f"peers-{wish.data.name}", f"python -m benchmarks.peers --data {wish.data.name}"
    with tempfile.TemporaryDirectory() as folder:
        save(log, Path(folder) / "log.npz")
        for name, part in PARTS.items():
            if not wish.only or name.split()[0] in wish.only:
                note = f"after {wish.epochs} epochs each" if part.tells else part.note
                rows = figures(name, part, Path(folder), [f"epochs={wish.epochs}"], wish.rounds or part.rounds, note)
                update(file, command, rows, f"{name}: ")


def logged(folder: Path) -> Log:
    """Return the rows of a folder that simenv can read, each user's last fifth held out."""
    dataset = open_dataset(folder)
    log = dataset.interactions
    return cut(log.users, log.items, len(dataset.users), len(dataset.catalog))


def figures(name: str, part: Part, folder: Path, options: Sequence[str], rounds: int, note: str) -> list[Row]:
    """Return a part's rows: first the ratios, then what they were taken from."""
    told, missing = rounds_of(name, part, folder, options, rounds)
    found = []
    for key, meaning in (part.tells or {"speed": ""}).items():
        values = {label: [one[key] for one in units] for label, units in told.items()}
        on = f", {meaning}" if meaning else ""
        for above, below, goal in part.goals:
            figure = f"{name}: {above} / {below}{on}"
            if reason := missing.get(above) or missing.get(below):
                found.append(Row(figure, 0, 0, 0, goal, f"not measured: {reason}"))
                continue
            ratios = [one / other for one, other in zip(values[above], values[below], strict=True)]
            remarks = "; ".join(filter(None, (note, part.variants[above].note, described(part.variants[below]))))
            found.append(row(figure, ratios, "ratio", goal=goal, note=remarks))
        for label, variant in part.variants.items():
            if label in missing:
                found.append(Row(f"{name}: {label}{on}", 0, 0, 0, None, f"not measured: {missing[label]}"))
                continue
            remarks = "; ".join(filter(None, (note, described(variant))))
            found.append(row(f"{name}: {label}{on}", values[label], part.unit, note=remarks))
    return found


def rounds_of(
    name: str, part: Part, folder: Path, options: Sequence[str], rounds: int
) -> tuple[dict[str, list[dict[str, float]]], dict[str, str]]:
    """Return what each variant told in each round, and why some told nothing."""
    told: dict[str, list[dict[str, float]]] = {}
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        running: dict[str, Worker] = {}
        for label, variant in part.variants.items():
            try:
                running[label] = stack.enter_context(started(variant, folder, options))
            except NotMeasured as reason:
                missing[label] = str(reason)
        for _ in range(rounds):
            for label, worker in list(running.items()):
                try:
                    unit = worker.go()
                except NotMeasured as reason:
                    missing[label] = str(reason)
                    del running[label]
                    continue
                told.setdefault(label, []).append(unit | {"speed": unit["units"] / unit["cpu_seconds"]})
                print(f"{name}: {label}: {told[label][-1]}", file=sys.stderr, flush=True)
    return told, missing


@dataclass
class Worker:
    """A process that does a unit of work for each line it is sent."""

    process: "subprocess.Popen[str]"
    diary: Path  # what it says besides

    def go(self) -> dict[str, Any]:
        """Let it work once and return what it tells."""
        try:
            print("go", file=self._stdin, flush=True)
        except BrokenPipeError:
            raise NotMeasured(self.last_words()) from None
        return json.loads(self.hear())

    def hear(self) -> str:
        """Return its next line."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise NotMeasured(self.last_words())
        return line

    def last_words(self) -> str:
        """Return what it said before it died."""
        lines = self.diary.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return f"{last} (all of it: build/peers/{self.diary.name})"

    @property
    def _stdin(self) -> IO[str]:
        assert self.process.stdin
        return self.process.stdin


@contextmanager
def started(variant: Variant, folder: Path, options: Sequence[str]) -> Iterator[Worker]:
    """Start a worker, wait until it is warm, and end it at last."""
    python = sys.executable if variant.home == OWN else home(variant.home)
    HOMES.mkdir(parents=True, exist_ok=True)
    diary = HOMES / f"{variant.worker}-{variant.task}.log"
    command = [python, str(WORKERS / f"{variant.worker}_worker.py"), variant.task, str(folder / "log.npz"), *options]
    with diary.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            cwd=folder,
            env=os.environ | dict.fromkeys(THREADS, "1"),
        )
    worker = Worker(process, diary)
    try:
        worker.hear()
        yield worker
    finally:
        assert process.stdin
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()
        assert process.stdout
        process.stdout.close()


def home(name: str) -> str:
    """Return the interpreter of an environment, made from its requirement file where it is missing or has changed."""
    place, wanted = HOMES / name, (WORKERS / f"{name}.txt").read_text(encoding="utf-8")
    python, done = place / "bin" / "python", place / "made-from.txt"
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        print(f"making build/peers/{name}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        command = [str(python), "-m", "pip", "install", "-q", "--no-compile", "-r", str(WORKERS / f"{name}.txt")]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            errors = [line for line in made.stderr.splitlines() if line.startswith("ERROR")]
            raise NotMeasured(f"pip failed: {errors[-1] if errors else made.stderr.strip()[-200:]}")
        done.write_text(wanted, encoding="utf-8")
    return str(python)


def described(variant: Variant) -> str:
    """Return which packages were measured, and how; nothing of an environment that could not be made."""
    ask = (
        "import sys; from importlib.metadata import version as of; print(*(f'{one} {of(one)}' for one in sys.argv[1:]))"
    )
    python = sys.executable if variant.home == OWN else str(HOMES / variant.home / "bin" / "python")
    packages = variant.packages or ("numpy", "numba")
    if not Path(python).exists():
        return variant.note
    told = subprocess.run([python, "-c", ask, *packages], capture_output=True, text=True, check=False).stdout.strip()
    return ", ".join(filter(None, (told, variant.note)))


if __name__ == "__main__":
    main()
