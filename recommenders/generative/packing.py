"""How likely a model finds several answers to one prompt, which it reads once."""

import torch
from torch import Tensor
from torch.nn import functional as F

from simenv.language.model import CausalModel
from simenv.pages import EMPTY

Spans = tuple[tuple[int, int], ...]  # of each level of items, its first token, and one more than its last


def answer_likelihoods(
    model: CausalModel, prompts: Tensor, lengths: Tensor, answers: Tensor, spans: Spans | None = None
) -> Tensor:
    """Return the logarithm [B, M] of how likely each answer's tokens come one after the other after a prompt.

    Prompts [B, P] count up to their `lengths` [B]; answers [B, M, T] may end before T, EMPTY after their end. All stand
    in one row, each seeing the prompt and itself alone; of an answer's tokens the last need not be read at all. Each is
    told among those of its place in `spans`, or among the whole vocabulary.
    """
    rows, many, longest = answers.shape
    there = answers != EMPTY
    tokens = answers.clamp(min=0)
    read = tokens[:, :, :-1].reshape(rows, -1)  # [B, M (T - 1)]
    count, width = longest - 1, prompts.shape[1]
    device = prompts.device
    steps = torch.arange(count, device=device)
    positions = torch.cat(
        [
            torch.arange(width, device=device).expand(rows, -1),
            (lengths[:, None, None] + steps.expand(rows, many, -1)).reshape(rows, -1),
        ],
        dim=1,
    )
    found = model.forward(
        torch.cat([prompts, read], dim=1), positions=positions, mask=_seen(lengths, width, many, count)
    )
    last = found[torch.arange(rows, device=device), lengths - 1]  # [B, D], what the first tokens follow from
    after = found[:, width:].reshape(rows, many, count, found.shape[-1])
    # The first token of every answer follows from the same place: its scores are worked out once.
    levels = ((0, None),) * longest if spans is None else spans[:longest]
    first, end = levels[0]
    begun = F.log_softmax(model.scores(last, first, end), dim=-1).gather(1, (tokens[:, :, 0] - first).clamp(min=0))
    total = begun.masked_fill(~there[:, :, 0], 0.0)
    for level in dict.fromkeys(levels[1:]):
        wanted = there[:, :, 1:] & torch.tensor([one == level for one in levels[1:]], device=device)
        scores = model.scores(after[wanted], *level)
        each = -F.cross_entropy(scores, tokens[:, :, 1:][wanted] - level[0], reduction="none")
        total = total + torch.zeros_like(after[..., 0]).masked_scatter(wanted, each).sum(dim=2)
    return total


def _seen(lengths: Tensor, width: int, many: int, count: int) -> Tensor:
    """Return who sees whom [B, 1, L, L]: a prompt as ever, an answer its prompt and its own tokens before."""
    device = lengths.device
    size = width + many * count
    place = torch.arange(size, device=device)
    owner = torch.where(place < width, -1, (place - width) // max(count, 1))
    own = (owner[:, None] == owner) & (place[:, None] >= place)  # [L, L]
    prompt = (place < width) & (place < lengths[:, None])  # [B, L]
    seen = own | ((owner[:, None] >= 0) & prompt[:, None, :])
    return seen[:, None]
