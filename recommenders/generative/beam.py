"""The decoder: a language model's best items for each user."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from simenv.arrays import BitArray, FloatArray, IntArray
from simenv.dataset import Ragged
from simenv.errors import SimenvError
from simenv.language.model import CausalModel
from simenv.options import check_choice, check_number, check_whole
from simenv.pages import EMPTY

from .guides import AlongTrie, Forced, Freely, Normalise
from .openings import Openings
from .search import search, top
from .trie import ItemTrie, flat


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Items for each user, best first."""

    items: Tensor  # [B, W], EMPTY where there are no more
    scores: Tensor  # [B, W], logarithms of probabilities; minus infinity where there is no item

    @classmethod
    def best(
        cls, items: Tensor, scores: Tensor, users: Tensor, rows: int, ranks: Tensor, ties: tuple[Tensor, ...], k: int
    ) -> Decoded:
        """Return the best `k` of flat lists, as `top` chooses them."""
        best, there = top(users, rows, ranks, ties, k)
        found = cls(items.new_full((rows, k), EMPTY), scores.new_full((rows, k), -torch.inf))
        found.items[:, : best.shape[1]] = items[best].masked_fill(~there, EMPTY)
        found.scores[:, : best.shape[1]] = scores[best].masked_fill(~there, -torch.inf)
        return found


def beam(
    model: CausalModel,
    prompts: Tensor,
    trie: ItemTrie,
    width: int,
    *,
    lengths: Tensor | None = None,
    exclude: Ragged | None = None,
    candidates: IntArray | None = None,
    normalise: Normalise = "vocabulary",
    forced: Forced = "count",
    assistant: Tensor | FloatArray | None = None,
    alpha: float = 0.5,
    prior: Tensor | FloatArray | None = None,
    luck: BitArray | None = None,
    temperature: float = 1.0,
    constrained: bool = True,
    ends: int | None = None,
) -> Decoded:
    """Return the best items that beams of a width come upon; all that are open, scored exactly, if it is as great.

    Prompts [B, P] may be shorter than P: `lengths` [B] tells how many tokens of each count, from the first on.
    `exclude` tells where each user's forbidden items begin [B + 1], and which they are; with `candidates` [B, C],
    EMPTY where there are fewer, only those come. The items are those that a trie without all others would give.

    An item's score is the sum of its tokens' logarithms, whatever their number: a probability among the whole
    `vocabulary`, among the tokens of the trie's `level`, or among the `children` that are open. A `forced` token, the
    only open child, may be left out of the sum ('skip'). An `assistant`, a logit for each user and item [B, I], adds
    its own by 1 - `alpha` (D3, Bao 2024): how likely it holds a node's items, among those of the node's parent.

    Items with the same tokens come in the order of a `prior` [I] or [B, I], else of their number, as do all equals.

    With each user's `luck` the items are drawn, without replacement, as likely as the scores at a `temperature` make
    each child among its siblings; they come in the order drawn, and their score is the logarithm of being the first.

    Not `constrained`, beams write what they like, up to the token `ends`, and what is no item, or no open one, is lost.
    """
    _check(model, trie, width, normalise, forced, alpha, temperature)
    openings = Openings.of(trie, exclude, candidates)
    if not constrained:
        written = search(model, prompts, lengths, width, Freely(model, trie.depth, ends))
        nodes = trie.find(written.tokens.flatten(0, 1)).view_as(written.beams.states)
        ranks = written.beams.ranks.masked_fill(nodes < 0, -torch.inf)
        return _items(trie, nodes, written.beams.scores, ranks, openings, prior, width)
    masses = None
    if assistant is not None:
        masses = _masses(trie, torch.as_tensor(assistant, device=prompts.device), openings)
    guide = AlongTrie(model, trie, openings, normalise, forced, masses, alpha, luck, temperature)
    told = search(model, prompts, lengths, min(width, max(1, len(trie))), guide).beams
    return _items(trie, told.states, told.scores, told.ranks, openings, prior, width)


def _items(
    trie: ItemTrie,
    nodes: Tensor,
    scores: Tensor,
    ranks: Tensor,
    openings: Openings | None,
    prior: Tensor | FloatArray | None,
    width: int,
) -> Decoded:
    """Return the items that end at nodes [B, M], best first."""
    rows, many = nodes.shape
    begins, counts = trie.own(nodes.clamp(min=0))
    which, place = flat(begins, counts * (ranks > -torch.inf))
    item = trie.order[place].long()
    users = which // max(many, 1)
    if openings is not None:
        open_ = openings.is_open(users, item)
        which, item, users = which[open_], item[open_], users[open_]
    ties: tuple[Tensor, ...] = (item,)
    if prior is not None:
        weights = torch.as_tensor(prior, device=item.device)
        ties = (-(weights[item] if weights.dim() == 1 else weights[users, item]), item)
    return Decoded.best(item, scores.flatten()[which], users, rows, ranks.flatten()[which], ties, width)


def _masses(trie: ItemTrie, scores: Tensor, openings: Openings | None) -> Tensor:
    """Return the logarithms of how likely the items at and below each node are, [B, N], from a logit for each item."""
    scores = scores.double()
    shares = (scores if openings is None else openings.only(scores)).softmax(dim=1).nan_to_num()
    masses = shares.new_zeros((len(scores), trie.size)).index_add(1, trie.nodes.long(), shares)
    for level in range(trie.depth, 0, -1):
        nodes = torch.arange(trie.levels[level], trie.levels[level + 1], device=scores.device)
        masses.index_add_(1, trie.parents(nodes), masses[:, nodes])
    return masses.log()


def _check(
    model: CausalModel,
    trie: ItemTrie,
    width: int,
    normalise: str,
    forced: str,
    alpha: float,
    temperature: float,
) -> None:
    check_whole(width=width)
    check_choice(("vocabulary", "level", "children"), normalise=normalise)
    check_choice(("count", "skip"), forced=forced)
    check_number(least=0, most=1, alpha=alpha)
    check_number(above=0, temperature=temperature)
    if trie.depth and max(end for _, end in trie.spans) > model.vocabulary:
        greatest = max(end for _, end in trie.spans) - 1
        raise SimenvError(f"the trie has the token {greatest}; the model knows {model.vocabulary}, counted from 0")
