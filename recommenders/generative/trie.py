"""Which tokens may follow which, so that whatever is written is an item: a tree in a few flat tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from simenv.arrays import IntArray
from simenv.errors import MissingExtra, SimenvError

try:
    import torch
    from torch import Tensor
except ImportError:
    raise MissingExtra("the generative recommender", "torch") from None

NONE = -1  # stands after the last token of a row


@dataclass(frozen=True, slots=True, eq=False)
class ItemTrie:
    """The items' rows of tokens, those that begin alike together.

    Nodes are numbered from the root, 0, level by level, in each level as the rows would be sorted; so the children of
    a node stand side by side. Items with the same row share a node.
    """

    levels: tuple[int, ...]  # where the nodes of each level begin, the root's first; then how many there are
    spans: tuple[tuple[int, int], ...]  # the first token of each level below the root, and one more than the last
    tokens: Tensor  # [N], of each node, less the first of its level; as small a type as will do
    starts: Tensor  # [N less the deepest level, and 1], where the children of each node begin
    order: Tensor  # [I], the items sorted by the node at which they end
    ends: Tensor  # [I], those nodes
    nodes: Tensor  # [I], the node at which each item ends

    @classmethod
    def of(cls, rows: IntArray, *, vocabulary: int | None = None) -> ItemTrie:
        """Return the trie of items whose tokens are given, [I, T], with -1 after the last where rows are ragged."""
        rows = _checked(np.asarray(rows), vocabulary)
        count, depth = rows.shape
        order = np.lexsort(rows.T[::-1]) if count else np.zeros(0, np.int64)
        lengths = (rows != NONE).sum(axis=1)
        levels, spans, tokens, starts = [0, 1], [], [np.zeros(1, np.int64)], []
        differs = np.zeros(count, dtype=bool)
        differs[:1] = True
        place = np.zeros(count, np.int64)  # of each sorted row's node within its level
        nodes = np.zeros(count, np.int64)
        for level in range(depth):
            column = rows[order, level]
            differs[1:] |= column[1:] != column[:-1]
            fresh = differs & (column != NONE)
            found = column[fresh].astype(np.int64)
            children = np.bincount(place[fresh], minlength=levels[-1] - levels[-2])
            starts.append(levels[-1] + np.cumsum(children) - children)
            place = np.cumsum(fresh) - 1
            spans.append((int(found.min()), int(found.max()) + 1))
            tokens.append(found - spans[-1][0])
            here = lengths[order] == level + 1
            nodes[order[here]] = levels[-1] + place[here]
            levels.append(levels[-1] + len(found))
        starts.append(np.array([levels[-1]]))
        by_node = np.argsort(nodes, kind="stable")
        return cls(
            tuple(levels),
            tuple(spans),
            _small(np.concatenate(tokens)),
            _small(np.concatenate(starts), least=np.int32),
            _small(by_node, least=np.int32),
            _small(nodes[by_node], least=np.int32),
            _small(nodes, least=np.int32),
        )

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self.nodes)

    @property
    def depth(self) -> int:
        """Return how many tokens the longest row has."""
        return len(self.spans)

    @property
    def size(self) -> int:
        """Return how many nodes there are."""
        return self.levels[-1]

    @property
    def bytes(self) -> int:
        """Return how much memory it takes."""
        return sum(tensor.nbytes for tensor in self._tensors().values())

    def to(self, device: torch.device) -> ItemTrie:
        """Return the trie on a device."""
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in self._tensors().items()}
        return replace(self, **moved)

    def children(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the children of some nodes begin, and how many they are."""
        inner = len(self.starts) - 1
        known = nodes.clamp(max=inner - 1)
        begin = self.starts[known].long()
        return begin, (self.starts[known + 1].long() - begin) * (nodes < inner)

    def token(self, nodes: Tensor, level: int) -> Tensor:
        """Return the tokens of some nodes of a level, which is counted from 1."""
        return self.tokens[nodes].long() + self.spans[level - 1][0]

    def parents(self, nodes: Tensor) -> Tensor:
        """Return the parents of some nodes, none of which is the root."""
        return torch.searchsorted(self.starts, nodes.to(self.starts.dtype), right=True) - 1

    def own(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return where in `order` the items begin that end at some nodes, and how many they are."""
        wanted = nodes.to(self.ends.dtype)
        begin = torch.searchsorted(self.ends, wanted)
        return begin, torch.searchsorted(self.ends, wanted, right=True) - begin

    def find(self, rows: Tensor) -> Tensor:
        """Return the nodes [M] that rows of tokens [M, T] lead to, -1 for those that lead nowhere."""
        found = torch.zeros(len(rows), dtype=torch.long, device=rows.device)
        alive = torch.ones_like(found, dtype=torch.bool)
        for level in range(1, min(self.depth, rows.shape[1]) + 1):
            token = rows[:, level - 1]
            going = alive & (token != NONE)
            beams, child = flat(*self.children(torch.where(going, found, self.size)))
            same = self.token(child, level) == token[beams]
            alive &= ~going
            alive[beams[same]] = True
            found[beams[same]] = child[same]
        if rows.shape[1] > self.depth:
            alive &= (rows[:, self.depth :] == NONE).all(dim=1)
        return torch.where(alive, found, -1)

    def _tensors(self) -> dict[str, Tensor]:
        return {one.name: value for one in fields(self) if isinstance(value := getattr(self, one.name), Tensor)}


def flat(begins: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return, for stretches one after the other, which of them each place belongs to, and the place."""
    begins, counts = begins.flatten(), counts.flatten()
    which = torch.repeat_interleave(counts)
    before = counts.cumsum(0) - counts
    return which, torch.arange(len(which), device=which.device) + (begins - before)[which]


def _checked(rows: IntArray, vocabulary: int | None) -> IntArray:
    """Return rows without needless columns, or tell what is wrong with them."""
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.integer):
        what = f"items' tokens are of shape {rows.shape} and {rows.dtype}"
        raise SimenvError(f"{what}; they must be whole numbers [I, T]")
    there = rows >= 0
    if len(rows) and not (there.any(axis=1).all() and (rows >= NONE).all() and (there[:, :-1] >= there[:, 1:]).all()):
        raise SimenvError("an item's tokens are numbers from 0, at least one, and after the last of them only -1")
    if vocabulary is not None and rows.size and rows.max() >= vocabulary:
        raise SimenvError(f"an item has the token {rows.max()}; the model knows {vocabulary}, counted from 0")
    rows = rows[:, : int(there.sum(axis=1).max(initial=0))]
    return rows.astype(np.int16) if rows.size and rows.max() < 2**15 else rows  # which is sorted by counting


def _small(numbers: IntArray, *, least: type[np.integer[Any]] = np.uint8) -> Tensor:
    """Return whole numbers from 0 in the smallest type that holds them."""
    greatest = numbers.max(initial=0)
    kinds = [kind for kind in (np.uint8, np.int16, np.int32, np.int64) if np.iinfo(kind).bits >= np.iinfo(least).bits]
    return torch.from_numpy(numbers.astype(next(kind for kind in kinds if greatest <= np.iinfo(kind).max)))
