"""Best of several: items are drawn as likely as the model makes them, and a scorer of one's own keeps the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from simenv.arrays import BitArray
from simenv.errors import SimenvError
from simenv.language.model import CausalModel
from simenv.options import check_whole
from simenv.pages import EMPTY

from .beam import Decoded, beam
from .trie import ItemTrie


def best_of(
    model: CausalModel,
    prompts: Tensor,
    trie: ItemTrie,
    k: int,
    scorer: Callable[[Tensor], Tensor],
    *,
    drawn: int,
    luck: BitArray,
    **options: Any,
) -> Decoded:
    """Return the best `k`, by a scorer of items [B, N] (EMPTY where there are fewer), of so many that are drawn.

    They are drawn by each user's `luck`, all different; `options` are those of `beam`. The scores are the scorer's;
    ties go to the lower item, and what it scores minus infinity or NaN is left out.
    """
    check_whole(k=k, drawn=drawn)
    some = beam(model, prompts, trie, drawn, luck=luck, **options).items
    scores = torch.as_tensor(scorer(some), device=some.device)
    if scores.shape != some.shape:
        raise SimenvError(f"the scorer gave scores of shape {tuple(scores.shape)} for items {tuple(some.shape)}")
    ranks = scores.masked_fill((some == EMPTY) | scores.isnan(), -torch.inf).flatten()
    rows = len(some)
    users = torch.arange(rows * drawn, device=some.device) // drawn
    items = some.flatten()
    return Decoded.best(items, ranks, users, rows, ranks, (items,), k)
