"""How beams may go on: along the trie, or as they like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from simenv.arrays import BitArray
from simenv.chance import mix, uniform
from simenv.language.model import CausalModel

from .openings import Openings
from .search import Beams, Offer, top
from .trie import ItemTrie, flat

Normalise = Literal["vocabulary", "level", "children"]
Forced = Literal["count", "skip"]


@dataclass(frozen=True, slots=True, eq=False)
class AlongTrie:
    """Goes from node to child, and nowhere else."""

    model: CausalModel
    trie: ItemTrie
    openings: Openings | None = None  # None: everything is open to all
    normalise: Normalise = "vocabulary"
    forced: Forced = "count"
    masses: Tensor | None = None  # [B, N], how likely an assistant holds each node, as logarithms
    alpha: float = 1.0  # how much the model counts beside the assistant
    luck: BitArray | None = None  # [B], draws in place of taking the best
    temperature: float = 1.0

    @property
    def depth(self) -> int:
        """Return how many tokens the longest item has."""
        return self.trie.depth

    def offer(self, step: int, beams: Beams, found: Tensor, most: int) -> Offer:
        """Return the best children of the beams' nodes."""
        trie, (rows, wide) = self.trie, beams.states.shape
        nodes = torch.where(beams.ranks > -torch.inf, beams.states, trie.size)
        which, child = flat(*trie.children(nodes))
        if self.openings is not None:
            open_ = self.openings.has_open(which // wide, child)
            which, child = which[open_], child[open_]
        users = which // wide
        added = self._added(step, found, which, child)
        if self.masses is not None:
            held, above = self.masses[users, child], self.masses[users, nodes.flatten()[which]]
            held = torch.where(held > -torch.inf, held - above, held)
            added = self.alpha * added + (1 - self.alpha) * held.to(added.dtype)
        if self.forced == "skip":
            added = added.masked_fill(torch.bincount(which, minlength=rows * wide)[which] == 1, 0.0)
        if self.luck is not None:
            added = added.double() / self.temperature
            added = added - whole_of(added, which, rows * wide)[which]
        scores = beams.scores.flatten()[which] + added
        ranks = scores if self.luck is None else self._drawn(beams, scores, which, child)
        best, there = top(users, rows, ranks, (self._ties(step + 1, child),), most)
        chosen = Beams(child[best], scores[best], ranks[best].masked_fill(~there, -torch.inf))
        ends, runs = self._fates(chosen.states)
        return Offer(chosen, which[best] % wide, trie.token(chosen.states, step + 1), ends, runs)

    def _added(self, step: int, found: Tensor, which: Tensor, child: Tensor) -> Tensor:
        """Return the logarithms of how likely the model holds each child, given its parent."""
        first, end = (0, None) if self.normalise == "vocabulary" else self.trie.spans[step]
        scores = exact(self.model.scores(found, first, end)).flatten(0, 1)
        picked = scores[which, self.trie.token(child, step + 1) - first]
        if self.normalise == "children":
            return picked - whole_of(picked, which, len(scores))[which]
        return picked - scores.logsumexp(dim=1)[which]

    def _drawn(self, beams: Beams, scores: Tensor, which: Tensor, child: Tensor) -> Tensor:
        """Return ranks by which the best are a draw without replacement (Kool 2019), by each user's luck alone.

        Siblings' ranks are their logarithms and a Gumbel noise each, held to have their parent's rank as their best.
        """
        assert self.luck is not None
        wide = beams.states.shape[1]
        bits = mix(self.luck[(which // wide).cpu().numpy()], child.cpu().numpy())
        noise = torch.from_numpy(-np.log(-np.log(uniform(bits) + 2.0**-54))).to(scores.device)
        ranks = scores + noise
        best = ranks.new_full((beams.states.numel(),), -torch.inf)
        best = best.scatter_reduce(0, which, ranks, "amax")[which]
        bound = beams.ranks.flatten()[which]
        apart = bound - ranks + torch.log1p(-torch.exp(ranks - best))
        return bound - apart.clamp(min=0) - torch.log1p(torch.exp(-apart.abs()))

    def _ties(self, level: int, nodes: Tensor) -> Tensor:
        """Return by what equal nodes of a level are told apart: their first item, where some end, or their order."""
        begin, end = self.trie.levels[level], self.trie.levels[level + 1]
        bounds = torch.tensor([begin, end], device=nodes.device, dtype=self.trie.ends.dtype)
        first, after = torch.searchsorted(self.trie.ends, bounds).tolist()
        if first == after:
            return nodes
        place = torch.searchsorted(self.trie.ends, nodes.to(self.trie.ends.dtype)).clamp(max=len(self.trie) - 1)
        return torch.where(self.trie.ends[place] == nodes, self.trie.order[place].long(), len(self.trie) + nodes)

    def _fates(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Tell of nodes [B, K] whether an item ends there, and whether any lies below."""
        ends, runs = self.trie.own(nodes)[1] > 0, self.trie.children(nodes)[1] > 0
        if self.openings is not None:
            users = torch.arange(len(nodes), device=nodes.device)[:, None].expand_as(nodes)
            ends &= self.openings.ends(users, nodes)
            runs &= self.openings.goes_on(users, nodes)
        return ends, runs


@dataclass(frozen=True, slots=True, eq=False)
class Freely:
    """Takes any token after any other."""

    model: CausalModel
    longest: int  # tokens written at most
    ends: int | None = None  # the token that ends what is written; None: it ends when it is as long as it may be

    @property
    def depth(self) -> int:
        """Return how many tokens are written at most."""
        return self.longest

    def offer(self, step: int, beams: Beams, found: Tensor, most: int) -> Offer:
        """Return the best tokens after each beam."""
        scores = exact(self.model.scores(found)).log_softmax(dim=-1) + beams.scores[:, :, None]
        rows, wide, vocabulary = scores.shape
        scores = scores.masked_fill((beams.ranks == -torch.inf)[:, :, None], -torch.inf).flatten()
        each = torch.arange(len(scores), device=scores.device)
        best, there = top(each // (wide * vocabulary), rows, scores, (each,), most)
        tokens = best % vocabulary
        ended = tokens == self.ends if self.ends is not None else torch.zeros_like(there)
        chosen = Beams(tokens, scores[best], scores[best].masked_fill(~there, -torch.inf))
        ends = ended | torch.full_like(ended, step + 1 == self.longest)
        return Offer(chosen, best // vocabulary % wide, tokens, ends, ~ends)


def exact(scores: Tensor) -> Tensor:
    """Return scores in single precision at least."""
    return scores if scores.dtype == torch.float64 else scores.float()


def whole_of(scores: Tensor, which: Tensor, count: int) -> Tensor:
    """Return the logarithm of the sum of the exponentials of each group's scores [count]."""
    best = scores.new_full((count,), -torch.inf).scatter_reduce(0, which, scores, "amax")
    return best + torch.zeros_like(best).index_add(0, which, torch.exp(scores - best[which])).log()
