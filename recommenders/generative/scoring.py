"""How likely a language model holds every item: exact, and for catalogues small enough for that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from simenv.language.model import CausalModel, at_rest

from .guides import Normalise, exact, whole_of
from .trie import ItemTrie, flat

LOGITS = 1 << 24  # held at once


@torch.no_grad()
def score_all(
    model: CausalModel,
    prompts: Tensor,
    trie: ItemTrie,
    *,
    lengths: Tensor | None = None,
    normalise: Normalise = "vocabulary",
) -> Tensor:
    """Return the logarithm of each item's probability [B, I], as `beam` scores it when nothing is closed.

    What items share is read once for all that are read together.
    """
    rows, longest = prompts.shape
    if lengths is None:
        lengths = torch.full((rows,), longest, device=prompts.device)
    ends = torch.unique(trie.ends.long())
    some = max(1, min(len(ends), LOGITS // max(1, rows * model.vocabulary * trie.depth)))
    with at_rest(model):
        past = model.past(rows, longest + some * (trie.depth - 1))
        read = model.forward(prompts, past=past)
        root = read.gather(1, (lengths - 1).view(rows, 1, 1).expand(-1, -1, read.shape[2]))
        there = torch.arange(longest, device=prompts.device) < lengths[:, None]
        told = exact(root).new_empty((rows, trie.size))
        for begin in range(0, len(ends), some):
            past.length = longest
            _score(model, trie, ends[begin : begin + some], root, lengths, there, past, normalise, told)
    return told[:, trie.nodes.long()]


def _score(
    model: CausalModel,
    trie: ItemTrie,
    ends: Tensor,
    root: Tensor,
    lengths: Tensor,
    there: Tensor,
    past: Any,
    normalise: Normalise,
    told: Tensor,
) -> None:
    """Fill in what is told [B, N] of all nodes from the root to some at which items end."""
    levels = torch.tensor(trie.levels, device=ends.device)
    nodes = _above(trie, ends)  # from the root on, without the ends that have no children
    inner = nodes[1:]
    found, told[:, 0] = root, 0
    if len(inner):
        level = torch.searchsorted(levels, inner, right=True) - 1
        firsts = torch.tensor([first for first, _ in trie.spans], device=ends.device)
        tokens = (trie.tokens[inner].long() + firsts[level - 1]).expand(len(root), -1)
        seen = torch.cat([there, there.new_zeros(len(root), len(inner))], dim=1)[:, None].expand(-1, len(inner), -1)
        seen = seen.clone()
        seen[:, :, there.shape[1] :] = _descent(trie, nodes)[1:, 1:]
        places = lengths[:, None] + level - 1
        found = torch.cat([root, model.forward(tokens, positions=places, mask=seen[:, None], past=past)], dim=1)
    for depth, (least, greatest) in enumerate(trie.spans):
        here = torch.nonzero((nodes >= trie.levels[depth]) & (nodes < trie.levels[depth + 1])).flatten()
        if not len(here):
            break
        first, end = (0, None) if normalise == "vocabulary" else (least, greatest)
        scores = exact(model.scores(found[:, here], first, end))
        which, child = flat(*trie.children(nodes[here]))
        picked = scores[:, which, trie.token(child, depth + 1) - first]
        whole = scores.logsumexp(dim=2)
        if normalise == "children":
            whole = torch.stack([whole_of(row, which, len(here)) for row in picked])
        told[:, child] = told[:, nodes[here[which]]] + picked - whole[:, which]


def _above(trie: ItemTrie, ends: Tensor) -> Tensor:
    """Return the root and all nodes below it that lead to some others, in their order."""
    nodes, above = [ends.new_zeros(1)], ends
    while len(above := torch.unique(trie.parents(above[above > 0]))):
        nodes.append(above)
    return torch.unique(torch.cat(nodes))


def _descent(trie: ItemTrie, nodes: Tensor) -> Tensor:
    """Tell which of some nodes, the root first and in order, are others or lie above them."""
    seen = torch.eye(len(nodes), dtype=torch.bool, device=nodes.device)
    parents = torch.searchsorted(nodes, trie.parents(nodes[1:]))
    for level in range(1, trie.depth):
        here = torch.nonzero((nodes >= trie.levels[level]) & (nodes < trie.levels[level + 1])).flatten()
        seen[here] |= seen[parents[here - 1]]
    return seen
