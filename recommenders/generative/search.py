"""Beam search: the prompt is read once for each user, and what is written hangs below it as a tree.

The newest tokens of all of a user's beams are read as tokens of one row, each of which sees the prompt and the beam
it belongs to; so nothing that was read is ever copied or moved, whatever the width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from simenv.errors import SimenvError
from simenv.language.model import CausalModel, at_rest


@dataclass(frozen=True, slots=True, eq=False)
class Beams:
    """What is being written for each user, best first."""

    states: Tensor  # [B, W], what the guide knows each by
    scores: Tensor  # [B, W]
    ranks: Tensor  # [B, W], what they are chosen by; minus infinity where there is no beam


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """The best ways to go on, best first, up to twice as many as there may be beams."""

    beams: Beams  # [B, K]
    parents: Tensor  # [B, K], which beam each goes on from
    tokens: Tensor  # [B, K], by which token
    ends: Tensor  # [B, K], whether it may end so
    runs: Tensor  # [B, K], whether it may go on


class Guide(Protocol):
    """Tells how beams may go on; a beam that does never ranks higher for it."""

    @property
    def depth(self) -> int:
        """Return how many tokens are written at most."""
        ...

    def offer(self, step: int, beams: Beams, found: Tensor, most: int) -> Offer:
        """Return up to so many of the best ways to go on after `step` tokens, of which this is known [B, W, D]."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """All that came to an end, in no order."""

    beams: Beams  # [B, M]
    tokens: Tensor  # [B, M, T], -1 after the last


@torch.no_grad()
def search(model: CausalModel, prompts: Tensor, lengths: Tensor | None, width: int, guide: Guide) -> Written:
    """Return what beams of a width end in; prompts [B, P] may be shorter than P, with anything after their end."""
    rows, longest = prompts.shape
    if lengths is None:
        lengths = torch.full((rows,), longest, device=prompts.device)
    elif rows and not (int(lengths.min()) >= 1 and int(lengths.max()) <= longest):
        raise SimenvError(f"prompts of {int(lengths.min())} to {int(lengths.max())} tokens; 1 to {longest} were given")
    lasting = _Lasting(rows, width, guide.depth, prompts.device)
    if not rows or not guide.depth:
        return lasting.all()
    with at_rest(model):
        past = model.past(rows, longest + width * (guide.depth - 1))
        last = (lengths - 1).view(rows, 1, 1)
        read = model.forward(prompts, past=past)  # what stands after the end of a prompt is seen by nothing before it
        found = read.gather(1, last.expand(-1, -1, read.shape[2]))
        seen = (torch.arange(longest, device=prompts.device) < lengths[:, None])[:, None]
        kind = torch.float64 if found.dtype == torch.float64 else torch.float32
        first = torch.zeros((rows, 1), device=prompts.device, dtype=kind)
        beams = Beams(first.long(), first, first)
        paths = torch.zeros((rows, 1, 0), dtype=torch.long, device=prompts.device)
        for step in range(guide.depth):
            offer = guide.offer(step, beams, found, 2 * width)
            lasting.add(offer, paths)
            beams, parents, tokens = _running(offer, width)
            if not tokens.shape[1] or step + 1 == guide.depth or lasting.beat(beams):
                break
            paths = torch.cat([_of(paths, parents), tokens[:, :, None]], dim=2)
            own = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device).expand(rows, -1, -1)
            seen = torch.cat([_of(seen, parents), own], dim=2)
            places = (lengths + step)[:, None].expand_as(tokens)
            found = model.forward(tokens, positions=places, mask=seen[:, None], past=past)
    return lasting.all()


def top(users: Tensor, rows: int, ranks: Tensor, ties: tuple[Tensor, ...], most: int) -> tuple[Tensor, Tensor]:
    """Return the places [rows, K] of each user's best in flat lists, best first, and whether there is one.

    `users` rise, and K is at most `most`; equal ranks are told apart by the first of `ties`, then the next, the
    lesser first; minus infinity is never chosen.
    """
    counts = torch.bincount(users, minlength=rows)
    begins = counts.cumsum(0) - counts
    longest = int(counts.max()) if rows else 0
    if longest > most:
        spread = ranks.new_full((rows, longest), -torch.inf)
        spread[users, torch.arange(len(users), device=users.device) - begins[users]] = ranks
        least = spread.topk(most, sorted=False).values.min(dim=1).values
        places = torch.nonzero((ranks >= least[users]) & (ranks > -torch.inf)).flatten()
    else:
        places = torch.nonzero(ranks > -torch.inf).flatten()
    for tie in reversed(ties):
        places = places[tie[places].argsort(stable=True)]
    places = places[ranks[places].argsort(stable=True, descending=True)]
    places = places[users[places].argsort(stable=True)]
    kept = torch.bincount(users[places], minlength=rows)
    column = torch.arange(len(places), device=users.device) - (kept.cumsum(0) - kept)[users[places]]
    wide = min(most, int(kept.max())) if rows else 0
    best = torch.zeros((rows, wide), dtype=torch.long, device=users.device)
    fits = column < wide
    best[users[places[fits]], column[fits]] = places[fits]
    return best, torch.arange(wide, device=users.device) < kept[:, None]


class _Lasting:
    """What has come to an end so far."""

    def __init__(self, rows: int, width: int, depth: int, device: torch.device) -> None:
        self.width, self.depth = width, depth
        none = torch.zeros((rows, 0), device=device)
        self.beams = Beams(none.long(), none, none)
        self.tokens = torch.zeros((rows, 0, depth), dtype=torch.long, device=device)

    def add(self, offer: Offer, paths: Tensor) -> None:
        """Keep those of the best `width` that may end so."""
        beams, few = offer.beams, slice(self.width)
        ends = offer.ends[:, few] & (beams.ranks[:, few] > -torch.inf)
        if not ends.any():
            return
        ranks = beams.ranks[:, few].masked_fill(~ends, -torch.inf)
        rows = torch.cat([_of(paths, offer.parents[:, few]), offer.tokens[:, few, None]], dim=2)
        rows = torch.nn.functional.pad(rows, (0, self.depth - rows.shape[2]), value=-1)
        told = self.beams
        self.beams = Beams(
            torch.cat([told.states, beams.states[:, few]], dim=1),
            torch.cat([told.scores.to(ranks.dtype), beams.scores[:, few].masked_fill(~ends, -torch.inf)], dim=1),
            torch.cat([told.ranks.to(ranks.dtype), ranks], dim=1),
        )
        self.tokens = torch.cat([self.tokens, rows], dim=1)

    def beat(self, beams: Beams) -> bool:
        """Tell whether so many have ended, and all so well, that none of these beams can still come among them."""
        if self.beams.ranks.shape[1] < self.width:
            return False
        worst = self.beams.ranks.topk(self.width).values[:, -1]
        best = beams.ranks.max(dim=1).values
        return bool(((worst > best) | (best == -torch.inf)).all())

    def all(self) -> Written:
        """Return what has come to an end."""
        return Written(self.beams, self.tokens)


def _running(offer: Offer, width: int) -> tuple[Beams, Tensor, Tensor]:
    """Return the best beams of those that may go on, where they come from, and their newest tokens."""
    runs = offer.runs & (offer.beams.ranks > -torch.inf)
    wide = min(width, int(runs.sum(dim=1).max()))
    best = (~runs).byte().argsort(dim=1, stable=True)[:, :wide]
    runs = runs.gather(1, best)
    beams = offer.beams
    states, scores, ranks = (one.gather(1, best) for one in (beams.states, beams.scores, beams.ranks))
    kept = Beams(states, scores, ranks.masked_fill(~runs, -torch.inf))
    return kept, offer.parents.gather(1, best), offer.tokens.gather(1, best)


def _of(values: Tensor, parents: Tensor) -> Tensor:
    """Return, of values [B, W, X], those of some beams [B, K]."""
    return values.gather(1, parents[:, :, None].expand(-1, -1, values.shape[2]))
