"""What a generative policy says when it is asked something else than what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.context import Context
from simenv.errors import SimenvError
from simenv.options import check_whole
from simenv.pages import EMPTY

from .beam import beam
from .packing import answer_likelihoods
from .tasks import NO, TASKS, YES, Case, Pick, Search, YesNo, case_of

import torch  # isort: skip  (after the model, which says how to install it)
from torch import Tensor

if TYPE_CHECKING:
    from .policy import Generative


@torch.inference_mode()
def answer(policy: Generative, task: str, context: Context, candidates: IntArray | None) -> FloatArray:
    """Return what the model says of each user's candidates [B, C]; NaN where there is none (EMPTY)."""
    if task not in (YesNo.name, Pick.name):
        raise SimenvError(f"no task {task!r} that judges candidates; there are {YesNo.name}, {Pick.name}")
    _check_taught(policy, task)
    candidates = context.candidates if candidates is None else candidates
    if candidates is None or len(candidates) != len(context):
        raise SimenvError(f"the task {task} wants candidates for each of the {len(context)} users")
    items, grades = policy.histories(context)
    users = policy.known_users(context)
    told = np.full(candidates.shape, np.nan, dtype=np.float32)
    for row, among in enumerate(candidates):
        there = np.flatnonzero(among != EMPTY)
        if not len(there):
            continue
        user = EMPTY if users is None else int(users[row])
        case = case_of(user, items[row], None if grades is None else grades[row], among[there].tolist())
        told[row, there] = _liked(policy, case) if task == YesNo.name else _picked(policy, case)
    return told


@torch.inference_mode()
def search(policy: Generative, query: str, k: int) -> IntArray:
    """Return up to `k` items that some words call for, best first."""
    check_whole(k=k)
    _check_taught(policy, Search.name)
    words = policy.pen.text(query)
    if not words:
        raise SimenvError(f"the query {query!r} holds no word")
    tokens, lengths = _laid([policy.pen.prompt(Search.name, words)], policy.prompting.end)
    width = max(policy.beams, k)
    told = beam(policy.model, tokens, policy.trie, width, lengths=lengths)  # told among all, as it was taught
    items = told.items[0, :k].numpy().astype(np.int32)
    return items[items != EMPTY]


def _liked(policy: Generative, case: Case) -> FloatArray:
    """Return how likely the user is to like each candidate [C]."""
    prompts = [TASKS[YesNo.name].prompt(policy.pen, replace(case, item=item)) for item in case.candidates]
    tokens, lengths = _laid(prompts, policy.prompting.end)
    found = policy.model(tokens)[torch.arange(len(tokens)), lengths - 1]
    numbers = map(policy.language.number, (YES, NO))
    yes, no = (policy.model.scores(found, number, number + 1) for number in numbers)
    liked: FloatArray = (yes - no).sigmoid()[:, 0].numpy()
    return liked


def _picked(policy: Generative, case: Case) -> FloatArray:
    """Return how likely each candidate is to come next [C]: one of them does."""
    tokens, lengths = _laid([TASKS[Pick.name].prompt(policy.pen, case)], policy.prompting.end)
    answers = torch.from_numpy(policy.prompting.rows[np.array(case.candidates)])[None]
    shares: FloatArray = answer_likelihoods(policy.model, tokens, lengths, answers)[0].softmax(dim=0).numpy()
    return shares


def _check_taught(policy: Generative, task: str) -> None:
    if not policy.item_count:
        raise SimenvError(f"{type(policy).__name__} has not been fitted: call fit(dataset) first")
    if task not in policy.tasks:
        taught = ", ".join(policy.tasks)
        raise SimenvError(f"the task {task} was not taught, only {taught}; fit with tasks: {{{task}: 1, ...}}")


def _laid(rows: Sequence[Sequence[int]], end: int) -> tuple[Tensor, Tensor]:
    """Return rows of tokens side by side [B, L], `end` after their end, and their lengths."""
    lengths = [len(row) for row in rows]
    laid = torch.full((len(rows), max(lengths)), end)
    for place, row in enumerate(rows):
        laid[place, : len(row)] = torch.tensor(row)
    return laid, torch.tensor(lengths)
