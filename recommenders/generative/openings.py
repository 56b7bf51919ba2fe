"""Which items are open to each user of a batch, and so which nodes of the trie, at the cost of what is told alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from simenv.arrays import IntArray
from simenv.dataset import Ragged
from simenv.pages import EMPTY

from .trie import ItemTrie


@dataclass(frozen=True, slots=True, eq=False)
class Openings:
    """What is open to whom, told by what is closed, or, where candidates are given, by what is open.

    Each is a sorted list of one number for a user and a node (or item) together.
    """

    trie: ItemTrie
    told_is_open: bool
    nodes: Tensor  # below or at which some item is open, or none is
    within: Tensor  # strictly below which some item is open, or none is though there are some
    here: Tensor  # at which some item ends that is open, or none is though there are some
    items: Tensor

    @classmethod
    def of(cls, trie: ItemTrie, exclude: Ragged | None, candidates: IntArray | None) -> Openings | None:
        """Return what is open to each user, None if everything is to all.

        `exclude` tells where each user's closed items begin [B + 1], and which they are; `candidates` [B, C], EMPTY
        where there are fewer, are the only items that may be open.
        """
        device, count = trie.nodes.device, len(trie)
        closed = torch.zeros(0, dtype=torch.long, device=device)
        if exclude is not None:
            starts, items = (torch.as_tensor(part, device=device).long() for part in exclude)
            closed = torch.unique(torch.repeat_interleave(starts.diff()) * count + items)
        if candidates is not None:
            told = torch.as_tensor(candidates, device=device).long()
            row, column = torch.nonzero(told != EMPTY, as_tuple=True)
            told = torch.unique(row * count + told[row, column])
            return cls._open(trie, told[~_among(told, closed)])
        return cls._closed(trie, closed) if len(closed) else None

    @classmethod
    def _open(cls, trie: ItemTrie, items: Tensor) -> Openings:
        """Return what is open if these items are: their nodes and all nodes above."""
        here = torch.unique(_with(items, len(trie), trie.nodes, trie.size))
        nodes, above = [here], here
        while len(above):
            above = torch.unique(_up(trie, above))
            nodes.append(above)
        within = torch.unique(torch.cat([here[:0], *nodes[1:]]))
        return cls(trie, True, torch.unique(torch.cat(nodes)), within, here, items)

    @classmethod
    def _closed(cls, trie: ItemTrie, items: Tensor) -> Openings:
        """Return what is closed if these items are: the nodes all of whose items and children are."""
        size = trie.size
        here, spent = torch.unique(_with(items, len(trie), trie.nodes, size), return_counts=True)
        here = here[spent == trie.own(here % size)[1]]
        within = here[:0]
        nodes = here[trie.children(here % size)[1] == 0]
        fresh = nodes
        while len(fresh):
            above, gone = torch.unique(_up(trie, nodes), return_counts=True)
            within = above[gone == trie.children(above % size)[1]]
            bare = (trie.own(within % size)[1] == 0) | _among(within, here)
            fresh = within[bare & ~_among(within, nodes)]
            nodes = torch.cat([nodes, fresh]).sort().values
        return cls(trie, False, nodes, within, here, items)

    def has_open(self, users: Tensor, nodes: Tensor) -> Tensor:
        """Tell whether any item is open to a user at or below a node."""
        return _among(users * self.trie.size + nodes, self.nodes) == self.told_is_open

    def goes_on(self, users: Tensor, nodes: Tensor) -> Tensor:
        """Tell whether any item is open to a user below a node that has children."""
        return _among(users * self.trie.size + nodes, self.within) == self.told_is_open

    def ends(self, users: Tensor, nodes: Tensor) -> Tensor:
        """Tell whether any item is open to a user at a node where some end."""
        return _among(users * self.trie.size + nodes, self.here) == self.told_is_open

    def is_open(self, users: Tensor, items: Tensor) -> Tensor:
        """Tell whether an item is open to a user."""
        return _among(users * len(self.trie) + items, self.items) == self.told_is_open

    def only(self, scores: Tensor) -> Tensor:
        """Return scores [B, I], those of what is not open to a user being minus infinity."""
        told = torch.zeros_like(scores, dtype=torch.bool)
        told.view(-1)[self.items] = True
        return scores.masked_fill(told != self.told_is_open, -torch.inf)


def _with(keys: Tensor, count: int, table: Tensor, size: int) -> Tensor:
    """Return numbers for a user and an item, of so many, as numbers for the user and what a table has for the item."""
    return keys // count * size + table[keys % count]


def _up(trie: ItemTrie, keys: Tensor) -> Tensor:
    """Return, for nodes of users that are not the root, their parents."""
    nodes = keys % trie.size
    below = nodes > 0
    return keys[below] - nodes[below] + trie.parents(nodes[below])


def _among(keys: Tensor, told: Tensor) -> Tensor:
    """Tell which numbers are in a sorted list."""
    if not len(told):
        return torch.zeros_like(keys, dtype=torch.bool)
    place = torch.searchsorted(told, keys).clamp(max=len(told) - 1)
    return told[place] == keys
