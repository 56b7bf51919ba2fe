"""Our own preference training, a few steps at a time, by the course and the task that a policy is taught by."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pairs
import torch
from million import Log
from serving import Unit, serve
from torch import Tensor
from torch.nn import functional as F

from simenv.language.course import Course, Pace
from simenv.language.llama import Llama, load_llama
from simenv.recommenders.generative.objectives import ListwisePreference
from simenv.recommenders.generative.preferring import Offers, Preferring
from simenv.torches import hold_memory

LISTS = 4  # a step
PACE = Pace(learning_rate=pairs.RATE)


@dataclass(frozen=True, eq=False)
class Prompts:
    """Prompts as they are: a history is the number of one."""

    prompts: Any  # [N, P]
    rows: Any  # [I, T], each answer's tokens

    def written(self, items: Any, _: Any) -> tuple[Any, Any]:
        """Return prompts and their lengths."""
        found = self.prompts[items[:, 0]]
        return found, np.full(len(found), found.shape[1])


def ours(_: Log) -> Unit:
    """Teach pairs, each prompt read once; what the model thought of them at first is kept for comparison."""
    told = pairs.load(Path(pairs.PAIRS))
    model = load_llama(Path(pairs.MODEL))
    task = preferring(model, pairs.Pairs(told.prompts, told.answers[:, :2]), pairs.BATCH)
    np.save("ours.npy", task.offers.reference)
    return epochs(model, task, len(told.prompts))


def listed(_: Log) -> Unit:
    """Teach lists, a prompt and all its answers in a row; what counts are answers."""
    told, model = pairs.load(Path(pairs.PAIRS)), load_llama(Path(pairs.MODEL))
    return epochs(model, preferring(model, told, LISTS), told.answers[:, :, 0].size)


def paired(_: Log) -> Unit:
    """Teach a step's lists as pairs, a row for each rejected answer; what counts are the lists' answers."""
    told, model = pairs.load(Path(pairs.PAIRS)), load_llama(Path(pairs.MODEL))
    told = pairs.Pairs(told.prompts[:LISTS], told.answers[:LISTS])
    rejected = told.answers.shape[1] - 1
    chosen = told.answers[:, :1].repeat(rejected, axis=0)
    each = np.concatenate([chosen, told.answers[:, 1:].reshape(len(chosen), 1, -1)], axis=1)
    rows = pairs.Pairs(told.prompts.repeat(rejected, axis=0), each)
    return epochs(model, preferring(model, rows, LISTS * rejected), told.answers[:, :, 0].size)


def plain(_: Log) -> Unit:
    """Learn the same rows as text is learnt: prompt and answer of each, nothing shared, no reference."""
    told, model = pairs.load(Path(pairs.PAIRS)), load_llama(Path(pairs.MODEL))
    return epochs(model, Plain(model, told), len(told.prompts))


def preferring(model: Llama, told: pairs.Pairs, batch: int) -> Preferring:
    """Return the task of some preferences, the chosen answer first."""
    many, width, longest = told.answers.shape
    worth = np.zeros((many, width), dtype=np.float32)
    worth[:, 0] = 1
    offers = Offers(
        np.arange(many)[:, None],
        np.zeros((many, 1), dtype=np.int8),
        np.arange(many * width).reshape(many, width),
        worth,
        np.zeros_like(worth),
    )
    prompts: Any = Prompts(told.prompts, told.answers.reshape(-1, longest))
    return Preferring(model, prompts, offers, ListwisePreference(pairs.BETA), batch_size=batch)


class Plain:
    """The task of rows of text whose ends are learnt."""

    def __init__(self, model: Llama, told: pairs.Pairs) -> None:
        self.model, self.answer = model, told.answers.shape[2]
        prompts = told.prompts[:, None].repeat(2, axis=1)
        self.rows = torch.from_numpy(np.concatenate([prompts, told.answers[:, :2]], axis=2))
        self.steps = len(self.rows) // pairs.BATCH

    def batches(self, _: int) -> Any:
        """Return the rows, two for each pair."""
        return (rows.flatten(0, 1) for rows in self.rows.split(pairs.BATCH))

    def loss(self, rows: Tensor) -> tuple[Tensor, int]:
        """Return how unlikely the answers are."""
        ends = self.model(rows)[:, -self.answer - 1 : -1]
        scores = self.model.scores(ends).flatten(0, 1)
        return F.cross_entropy(scores, rows[:, -self.answer :].flatten()), len(rows)


def epochs(model: Llama, task: Any, units: int) -> Unit:
    """Return a unit of an epoch."""
    course = Course(model, task, PACE)
    hold_memory()  # as a course does that is run as a whole

    def unit() -> dict[str, Any]:
        course._epoch(0)
        return {"units": units}

    return unit


if __name__ == "__main__":
    serve({"ours": ours, "list": listed, "pairs": paired, "plain": plain})
