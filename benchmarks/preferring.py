"""How fast preferences are learnt: beside TRL's trainer, beside plain text, and lists beside pairs.

A random Llama of ours, saved and loaded by transformers: both sides hold the same weights and read the same tokens.
A step teaches 16 pairs by DPO, forward, backward, clipping and AdamW, float32; each side runs in a process of its own,
one thread, CPU seconds, all variants in turn in every round, ratios within a round. TRL lives in an environment of its
own below `build/peers`. Of lists and pairs the same 21 answers count, though pairs read the chosen one twenty times.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from simenv.language.llama import Llama, Shape, save_llama

from .peer_workers import million, pairs
from .peers import OWN, Part, Variant, figures
from .record import Row, row, write

REJECTED = 20  # of a list
AGREED = 1e-4  # by how much log-probabilities of around -40 may differ


@dataclass(frozen=True)
class Setting:
    """A model, and how long its prompts and answers are."""

    shape: Shape
    prompt: int
    answer: int


SETTINGS = {
    "4 layers of 256, 64 + 5 tokens": Setting(Shape(2048, 256, 4, 8, 1024, 128), 64, 5),
    "2 layers of 128, 81 + 4 tokens": Setting(Shape(820, 128, 2, 4, 0, 128), 81, 4),  # as `generative` has it
}


def ours(task: str, note: str = "") -> Variant:
    return Variant("preferring", task, OWN, ("torch",), note)


def trl(task: str, note: str) -> Variant:
    return Variant("trl", task, "trl", ("trl", "transformers", "torch"), note)


PARTS = {
    "pairs": Part(
        "pairs per CPU second",
        5,
        {
            "ours": ours("ours"),
            "TRL, reference precomputed": trl("precomputed", "precompute_ref_log_probs"),
            "TRL, reference in the step": trl("default", "its default"),
            "plain text": ours("plain", "forward, backward and AdamW of the same rows, no reference"),
        },
        [
            ("ours", "TRL, reference precomputed", 1.8),
            ("ours", "TRL, reference in the step", 2.4),
            ("ours", "plain text", 1.4),
        ],
        note=f"{pairs.BATCH} pairs a step",
    ),
    "lists": Part(
        "answers per CPU second",
        5,
        {
            "a row a list": ours("list", f"1 + {REJECTED} answers in a row"),
            "a row a pair": ours("pairs", f"{REJECTED} rows of 2 answers for a list, its 21 answers count"),
        },
        [("a row a list", "a row a pair", 6)],
        note="4 lists a step",
    ),
}


def main() -> None:
    """Measure both sizes and write the figures."""
    wishes = argparse.ArgumentParser(prog="python -m benchmarks.preferring", description=(__doc__ or "").split("\n")[0])
    wishes.add_argument("--rounds", type=int, default=5)
    wish = wishes.parse_args()
    told: list[Row] = []
    for label, setting in SETTINGS.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            prepare(folder, setting)
            for name, part in PARTS.items():
                told += figures(f"{label}: {name}", part, folder, [], wish.rounds, part.note)
            told += list(differences(label, folder))
    at_most = [one.figure for one in told if one.figure.endswith("differ")]
    write("preferring", "make bench-generative", told, at_most=at_most)


def prepare(folder: Path, setting: Setting) -> None:
    """Write what the workers read: a model, preferences, and the log that every worker is handed, an empty one here."""
    torch.manual_seed(0)
    save_llama(Llama(setting.shape), folder / pairs.MODEL, ends=pairs.END)
    some = pairs.drawn(setting.shape.vocabulary, setting.prompt, setting.answer, pairs.STEPS * pairs.BATCH, REJECTED)
    pairs.save(some, folder / pairs.PAIRS)
    nobody = np.empty(0, dtype=np.int32)
    million.save(million.Log(nobody, nobody, nobody, nobody, 0, 0), folder / "log.npz")


def differences(label: str, folder: Path) -> Iterator[Row]:
    """Yield by how much the two sides' log-probabilities of the same answers differ at most."""
    figure = f"{label}: by how much log-probabilities differ"
    if not (folder / "trl.npy").exists():
        yield Row(figure, 0, 0, 0, AGREED, "not measured: TRL told none")
        return
    mine, theirs = np.load(folder / "ours.npy"), np.load(folder / "trl.npy")
    note = f"the greatest of {mine.size} answers, from {mine.min():.1f} to {mine.max():.1f}"
    yield row(figure, [float(np.abs(mine - theirs).max())], "nats", goal=AGREED, note=note)


if __name__ == "__main__":
    main()
