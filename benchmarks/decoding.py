"""How fast constrained decoding is: beside transformers' own, and beside the forward passes that it cannot do without.

Eight users with prompts of 64 tokens, 20 beams, items of 4 codes of 256, float32, one thread, CPU seconds of this
process; all variants in turn in every round, ratios within a round. The model is ours, of random weights, saved and
loaded into transformers, so that all run the same. "Plain forwards" read the prompt once a user, copy what was read
for every beam, and read three more tokens: no search, no constraint.
"""

import os

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from simenv.arrays import IntArray
from simenv.language.llama import Llama, Past, Shape, load_llama, save_llama
from simenv.language.pretrained import Pretrained, load_pretrained
from simenv.recommenders.generative.beam import beam
from simenv.recommenders.generative.trie import ItemTrie, flat

from .record import Row, row, write

USERS, LONG, BEAMS, CODES, KINDS, WORDS = 8, 64, 20, 4, 256, 1024
SIZES = {"3.7 k": 3_700, "100 k": 100_000, "1 M": 1_000_000}
SHAPES = {
    "4 layers of 256": Shape(WORDS + CODES * KINDS, 256, 4, 8, 1024, 128),
    "4 layers of 128": Shape(WORDS + CODES * KINDS, 128, 4, 4, 0, 128),
    "2 layers of 128": Shape(WORDS + CODES * KINDS, 128, 2, 4, 0, 128),
}
Timed = dict[str, list[float]]


def main() -> None:
    """Measure everything in turn and write the figures."""
    wishes = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=(__doc__ or "").split("\n")[0])
    wishes.add_argument("--rounds", type=int, default=5)
    wish = wishes.parse_args()
    torch.set_num_threads(1)
    rows = {name: items(count) for name, count in SIZES.items()}
    tries = {name: ItemTrie.of(some) for name, some in rows.items()}
    told: list[Row] = []
    at_most: list[str] = []
    told += index(rows["1 M"], wish.rounds, at_most)
    told += masks(rows, tries, wish.rounds, at_most)
    for label, shape in SHAPES.items():
        told += decoding(label, shape, rows, tries, wish.rounds, at_most, full=shape.dimensions == 256)
    write("decoding", "make bench-generative", told, at_most=at_most)


def items(count: int) -> IntArray:
    """Return items of four codes each, each code's tokens its own."""
    codes = np.random.default_rng(count).integers(0, KINDS, (count, CODES))
    return codes + WORDS + KINDS * np.arange(CODES)


def decoding(
    label: str,
    shape: Shape,
    rows: dict[str, IntArray],
    tries: dict[str, ItemTrie],
    rounds: int,
    at_most: list[str],
    *,
    full: bool,
) -> list[Row]:
    """Return how fast a model is decoded from; beside `generate` at every size of the catalogue, or at one."""
    prompts = torch.randint(0, WORDS, (USERS, LONG), generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        save_llama(lively(shape), Path(folder), ends=0)
        ours, adapted = load_llama(Path(folder)), load_pretrained(Path(folder))
    theirs = adapted.model
    found: dict[str, Tensor] = {}
    sizes = list(SIZES) if full else ["100 k"]
    variants: dict[str, Callable[[], Any]] = {"plain forwards": lambda: plain(ours, prompts)}
    if full:
        variants["plain forwards, transformers"] = lambda: plain_theirs(adapted, prompts)
    for size in SIZES:
        variants[f"beam, {size}"] = lambda size=size: keep(
            found, f"beam, {size}", beam(ours, prompts, tries[size], BEAMS).items
        )
    if full:
        variants["beam, 1 M, 100 closed to each"] = lambda: beam(
            ours, prompts, tries["1 M"], BEAMS, exclude=closed(found["beam, 1 M"])
        )
        variants["beam on transformers' model, 1 M"] = lambda: beam(adapted, prompts, tries["1 M"], BEAMS)
    allowed = {size: prefixes(rows[size]) for size in sizes}
    for size in sizes:
        variants[f"generate, {size}"] = lambda size=size: keep(
            found, f"generate, {size}", generate(theirs, prompts, allowed[size])
        )
    timed = in_turn(variants, rounds)
    note = f"{label}; torch {version('torch')}, transformers {version('transformers')}"
    told = []
    for size in SIZES:
        figure = f"{label}: beam / plain forwards, {size}"
        at_most.append(figure)
        told.append(row(figure, ratios(timed, f"beam, {size}", "plain forwards"), "time", goal=1.2, note=note))
    for size in sizes:
        fast = ratios(timed, f"generate, {size}", f"beam, {size}")
        told.append(row(f"{label}: beam / generate, {size}", fast, "users per second", goal=5, note=note))
        pairs = zip(found[f"beam, {size}"], found[f"generate, {size}"], strict=True)
        same = [agree(mine, some, rows[size]) for mine, some in pairs]
        told.append(row(f"{label}: items of generate's, {size}", same, "share", goal=1, note="of each user's 20"))
    if full:
        more = ratios(timed, "beam, 1 M, 100 closed to each", "beam, 1 M")
        told.append(row(f"{label}: beam, 1 M, 100 closed to each / none", more, "time", note="the best among them"))
        figure = f"{label}: beam on transformers' model / its plain forwards, 1 M"
        pair = ("beam on transformers' model, 1 M", "plain forwards, transformers")
        told.append(row(figure, ratios(timed, *pair), "time", note=note))
    wrong = [faults(found[f"beam, {size}"], SIZES[size]) for size in SIZES]
    at_most.append(f"{label}: items that are none or come twice")
    told.append(row(at_most[-1], wrong, "items", goal=0, note="at all three sizes"))
    for name, seconds in timed.items():
        told.append(row(f"{label}: {name}", [USERS / one for one in seconds], "users per CPU second", note=note))
    return told


def lively(shape: Shape) -> Llama:
    """Return a model of random weights that are great enough for what was read to matter."""
    torch.manual_seed(0)
    model = Llama(shape)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight *= 3
    return model


@torch.no_grad()
def plain(model: Llama, prompts: Tensor) -> None:
    """Read the prompts, copy what was read for all beams, and read three more tokens of each."""
    past = model.past(USERS, LONG)
    model.scores(model(prompts, past=past)[:, -1])
    wide = Past(USERS * BEAMS, LONG + CODES - 1)
    for layer, (keys, values) in enumerate(past._layers):
        wide.grow(layer, keys.repeat_interleave(BEAMS, dim=0), values.repeat_interleave(BEAMS, dim=0))
    wide.length = LONG
    for code in range(CODES - 1):
        model.scores(model(torch.full((USERS * BEAMS, 1), WORDS + KINDS * code), past=wide)[:, -1])


@torch.no_grad()
def plain_theirs(model: Pretrained, prompts: Tensor) -> None:
    """Do as much with transformers' own model and cache."""
    theirs, cache = model.model, transformers.DynamicCache()
    theirs(prompts, past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(BEAMS)
    for code in range(CODES - 1):
        tokens = torch.full((USERS * BEAMS, 1), WORDS + KINDS * code)
        theirs(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)


def prefixes(rows: IntArray) -> dict[tuple[int, ...], list[int]]:
    """Return which tokens may follow which, as one would write it for `generate`."""
    told: dict[tuple[int, ...], set[int]] = {}
    for item in rows.tolist():
        for place, token in enumerate(item):
            told.setdefault(tuple(item[:place]), set()).add(token)
    return {prefix: list(tokens) for prefix, tokens in told.items()}


def generate(model: Any, prompts: Tensor, allowed: dict[tuple[int, ...], list[int]]) -> Tensor:
    """Return the rows of tokens [B, W, T] that `generate` finds under a prefix function."""
    settings = transformers.GenerationConfig(
        num_beams=BEAMS,
        num_return_sequences=BEAMS,
        max_new_tokens=CODES,
        length_penalty=0.0,
        do_sample=False,
        pad_token_id=0,
    )
    told = model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        generation_config=settings,
        prefix_allowed_tokens_fn=lambda _, read: allowed[tuple(read[LONG:].tolist())],
    )
    return told[:, LONG:].reshape(USERS, BEAMS, CODES)


def index(rows: IntArray, rounds: int, at_most: list[str]) -> list[Row]:
    """Return what the index of a million items costs."""
    size = ItemTrie.of(rows).bytes / len(rows)
    timed = in_turn({"trie": lambda: ItemTrie.of(rows), "dicts": lambda: prefixes(rows)}, min(rounds, 3))
    at_most += ["index of 1 M items", "index of 1 M items / one of dicts"]
    return [
        row(at_most[-2], [size], "bytes an item", goal=20),
        row(at_most[-1], ratios(timed, "trie", "dicts"), "time to build", goal=1),
        row("index of 1 M items: build", timed["trie"], "CPU seconds"),
    ]


def masks(rows: dict[str, IntArray], tries: dict[str, ItemTrie], rounds: int, at_most: list[str]) -> list[Row]:
    """Return what it costs to find the scores of all allowed tokens after three codes, for 1,280 beams at once."""
    scores = torch.randn(64 * BEAMS, WORDS + CODES * KINDS)
    rng = np.random.default_rng(0)

    def ours(size: str) -> Callable[[], Any]:
        trie = tries[size]
        nodes = torch.from_numpy(rng.integers(trie.levels[CODES - 1], trie.levels[CODES], len(scores)))

        def mask() -> None:
            for _ in range(50):
                which, child = flat(*trie.children(nodes))
                scores[which, trie.token(child, CODES)]

        return mask

    variants = {size: ours(size) for size in SIZES}
    allowed = prefixes(rows["1 M"])
    begun = torch.from_numpy(rows["1 M"][: len(scores), : CODES - 1])
    processor = transformers.PrefixConstrainedLogitsProcessor(lambda _, read: allowed[tuple(read.tolist())], BEAMS)
    variants["callback"] = lambda: processor(begun, scores)
    timed = in_turn(variants, 4 * rounds)
    at_most += ["mask of 1,280 beams: 1 M items / 3.7 k"]
    return [
        row(at_most[-1], ratios(timed, "1 M", "3.7 k"), "time", goal=1.3, note="the last of four codes"),
        row(
            "mask of 1,280 beams: callback / ours, 1 M items",
            [50 * one for one in ratios(timed, "callback", "1 M")],
            "time",
            goal=10,
            note="transformers' own processor with a dict of prefixes",
        ),
        row("mask of 1,280 beams, 1 M items", [one / 50 * 1e3 for one in timed["1 M"]], "CPU milliseconds"),
    ]


def in_turn(variants: dict[str, Callable[[], Any]], rounds: int) -> Timed:
    """Return the CPU seconds of each variant in each round, after one that does not count."""
    timed: Timed = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, variant in variants.items():
            begin = time.process_time()
            variant()
            if number:
                timed[name].append(time.process_time() - begin)
    return timed


def ratios(timed: Timed, above: str, below: str) -> list[float]:
    return [one / other for one, other in zip(timed[above], timed[below], strict=True)]


def closed(found: Tensor) -> tuple[IntArray, IntArray]:
    """Return a hundred items for each user, those found among them."""
    others = np.random.default_rng(0).integers(0, SIZES["1 M"], (USERS, 100 - BEAMS))
    return 100 * np.arange(USERS + 1), np.concatenate([found.numpy(), others], axis=1).ravel()


def keep(found: dict[str, Tensor], name: str, value: Tensor) -> None:
    found[name] = value


def agree(mine: Tensor, theirs: Tensor, rows: IntArray) -> float:
    """Return which share of a user's items have a row that `generate` found too."""
    wanted = {tuple(one) for one in theirs.tolist()}
    return float(np.mean([tuple(rows[item].tolist()) in wanted for item in mine.tolist()]))


def faults(found: Tensor, count: int) -> int:
    """Return how many places hold no item, or one that stands there twice."""
    valid = (found >= 0) & (found < count)
    return int((~valid).sum()) + sum(len(some) - len(set(some)) for some in found.tolist())


if __name__ == "__main__":
    main()
