"""Recommending by what a model writes freely: the items whose vectors lie nearest (BIGRec, Bao 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from simenv.arrays import FloatArray, IntArray
from simenv.dataset import Ragged
from simenv.errors import SimenvError
from simenv.language.model import CausalModel, at_rest
from simenv.options import check_number, check_whole
from simenv.pages import EMPTY

from .beam import Decoded
from .guides import Freely
from .search import search, top

TOGETHER = 256  # rows read at once


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """What was written for each user, best first."""

    tokens: Tensor  # [B, W, T], -1 after the last
    scores: Tensor  # [B, W], minus infinity where nothing came to an end


def write(
    model: CausalModel,
    prompts: Tensor,
    width: int,
    *,
    lengths: Tensor | None = None,
    longest: int = 32,
    ends: int | None = None,
) -> Texts:
    """Return the best that beams of a width write freely: up to the token `ends`, which is a part of it, or `longest`.

    Prompts [B, P] are as for `beam`. What is as long as it may be ends there.
    """
    check_whole(width=width, longest=longest)
    told = search(model, prompts, lengths, width, Freely(model, longest, ends))
    rows, many = told.beams.ranks.shape
    each = torch.arange(rows * many, device=prompts.device)
    best, there = top(each // max(many, 1), rows, told.beams.ranks.flatten(), (each,), width)
    tokens = told.tokens.new_full((rows, width, longest), -1)
    scores = told.beams.scores.new_full((rows, width), -torch.inf)
    tokens[:, : best.shape[1]] = told.tokens.flatten(0, 1)[best].masked_fill(~there[:, :, None], -1)
    scores[:, : best.shape[1]] = told.beams.scores.flatten()[best].masked_fill(~there, -torch.inf)
    return Texts(tokens, scores)


@torch.no_grad()
def embed(model: CausalModel, rows: Tensor | IntArray) -> Tensor:
    """Return what the model knows at the end of each row [N, D], of tokens [N, T] with -1 after the last."""
    rows = torch.as_tensor(rows)
    lengths = (rows >= 0).sum(dim=1)
    if len(rows) and int(lengths.min()) < 1:
        raise SimenvError("a row of no tokens has no vector")
    order = lengths.argsort(stable=True)  # rows about as long are read together
    told = []
    with at_rest(model):
        for some in torch.split(order, TOGETHER):
            last = lengths[some] - 1
            read = model.forward(rows[some, : int(last.max()) + 1].clamp(min=0))
            told.append(read[torch.arange(len(some), device=read.device), last])
    if not told:
        raise SimenvError("there are no rows to embed")
    return torch.cat(told)[order.argsort()]


def ground(
    vectors: Tensor | FloatArray,
    table: Tensor | FloatArray,
    k: int,
    *,
    exclude: Ragged | None = None,
    candidates: IntArray | None = None,
    weights: Tensor | FloatArray | None = None,
    gamma: float = 1.0,
) -> Decoded:
    """Return the `k` items nearest to each user's vector [B, D], of a table [I, D].

    Distances and `weights` ([I] or [B, I]: how popular items are, or what another recommender scores them) are both
    brought to 0 .. 1 for each user, and items go by distance / (1 + weight) ** `gamma`. A score is that, negative.
    `exclude` and `candidates` are as for `beam`; ties go to the lower item.
    """
    check_whole(k=k)
    check_number(least=0, gamma=gamma)
    vectors, table = torch.as_tensor(vectors), torch.as_tensor(table)
    rows, count = len(vectors), len(table)
    far = torch.cdist(vectors, table, compute_mode="donot_use_mm_for_euclid_dist")
    if weights is not None:
        held = torch.as_tensor(weights, device=far.device).to(far.dtype).expand(rows, -1)
        far = _unit(far) / (1 + _unit(held)) ** gamma
    near = -far
    if candidates is not None:
        near = near.masked_fill(~_told(torch.as_tensor(candidates, device=far.device), rows, count), -torch.inf)
    if exclude is not None:
        starts, items = (torch.as_tensor(part, device=far.device).long() for part in exclude)
        near[torch.repeat_interleave(starts.diff()), items] = -torch.inf
    each, scores = torch.arange(near.numel(), device=near.device), near.flatten()
    items = each % max(count, 1)
    return Decoded.best(items, scores, each // max(count, 1), rows, scores, (items,), k)


def _unit(values: Tensor) -> Tensor:
    """Return each row's values brought to 0 .. 1; 0 where all are alike."""
    least, most = values.amin(dim=1, keepdim=True), values.amax(dim=1, keepdim=True)
    return (values - least) / (most - least).clamp(min=torch.finfo(values.dtype).tiny)


def _told(items: Tensor, rows: int, count: int) -> Tensor:
    """Return which of so many items are among those told [B, C], as [B, I]."""
    told = torch.zeros((rows, count + 1), dtype=torch.bool, device=items.device)
    told.scatter_(1, torch.where(items == EMPTY, count, items).long(), True)
    return told[:, :count]
