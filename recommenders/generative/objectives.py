"""What a language model is taught by: the loss of answers' log-probabilities, and nothing else.

Every published scheme is a setting of three: `CrossEntropy` (SFT, best-of-N, LETTER's by its temperature),
`ListwisePreference` (DPO, S-DPO, RecPO by margins, several positives) and `GroupPolicyGradient` (GRPO, ReRe).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from simenv.errors import SimenvError
from simenv.options import check_choice, check_number
from simenv.store import options_of

CLOSE = 1e-4  # added to a spread of rewards


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """How likely a batch's answers are to the model and to its reference, and what they are worth."""

    policy: Tensor  # [B, M], logarithms; whatever it is where `there` is false
    reference: Tensor  # [B, M], the same as the stage began
    there: Tensor  # [B, M], whether there is an answer
    worth: Tensor  # [B, M]: 1 for a chosen answer and 0 for a rejected one; for groups the reward
    gaps: Tensor  # [B, M], how much worse than the chosen one a rejected answer is; 0 for chosen ones


class Objective(Protocol):
    """Turns log-probabilities into a loss."""

    def loss(self, told: Told) -> Tensor:
        """Return the mean loss of a batch."""
        ...


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Makes the chosen answers likelier."""

    temperature: float = 1.0  # below 1 the unlikelier answers count for more

    def __post_init__(self) -> None:
        check_number(above=0, temperature=self.temperature)

    def loss(self, told: Told) -> Tensor:
        """Return how unlikely the chosen answers are."""
        chosen = told.there & (told.worth > 0)
        return -(told.policy / self.temperature)[chosen].mean()


@dataclass(frozen=True, slots=True)
class ListwisePreference:
    """Makes chosen answers likelier than rejected ones, beyond what the reference makes of them.

    With one rejected answer this is DPO (Rafailov 2023), with several S-DPO (Chen 2024): a softmax over the chosen and
    the rejected. `margin` times the gap is wanted between the two (RecPO). Several positives share the softmax's mass.
    `sft` adds the chosen answers' own cross-entropy, lest they grow unlikely together with the rejected.
    """

    beta: float = 1.0
    margin: float = 0.0
    sft: float = 0.0
    reference: Literal["stage", "none"] = "stage"

    def __post_init__(self) -> None:
        check_number(above=0, beta=self.beta)
        check_number(least=0, margin=self.margin, sft=self.sft)
        check_choice(("stage", "none"), reference=self.reference)

    def loss(self, told: Told) -> Tensor:
        """Return the cross-entropy of the chosen answers among all."""
        gained = told.policy if self.reference == "none" else told.policy - told.reference
        chosen = told.there & (told.worth > 0)
        scores = self.beta * gained + self.margin * told.gaps
        among = F.log_softmax(scores.masked_fill(~told.there, -torch.inf), dim=1)
        many = chosen.sum(dim=1).clamp(min=1)
        wanted = -(among.masked_fill(~chosen, 0.0).sum(dim=1) / many).mean()
        return wanted + self.sft * CrossEntropy().loss(told) if self.sft else wanted


@dataclass(frozen=True, slots=True)
class GroupPolicyGradient:
    """Makes answers likelier that were rewarded more than their group (GRPO, Shao 2024)."""

    clip: float = 0.2
    kl: float = 0.001
    normalise: bool = True  # whether a group's rewards are brought to one spread

    def __post_init__(self) -> None:
        check_number(above=0, clip=self.clip)
        check_number(least=0, kl=self.kl)

    def loss(self, told: Told) -> Tensor:
        """Return the clipped loss of advantages, with the distance to the reference."""
        gains = advantages(told.worth, told.there, self.normalise)
        # What was drawn was drawn from the reference, or from the policy itself: the ratio is 1 there.
        ratio = (told.policy - told.reference).masked_fill(~told.there, 0.0).exp()
        least = torch.minimum(ratio * gains, ratio.clamp(1 - self.clip, 1 + self.clip) * gains)
        apart = (told.reference - told.policy).masked_fill(~told.there, 0.0)
        distance = apart.exp() - apart - 1
        each = (self.kl * distance - least).masked_fill(~told.there, 0.0)
        return (each.sum(dim=1) / told.there.sum(dim=1).clamp(min=1)).mean()


def advantages(rewards: Tensor, there: Tensor, normalise: bool = True) -> Tensor:
    """Return how much better than their group answers were rewarded; 0 for all of a group that were rewarded alike."""
    count = there.sum(dim=1, keepdim=True).clamp(min=1)
    known = rewards.masked_fill(~there, 0.0)
    mean = known.sum(dim=1, keepdim=True) / count
    apart = (known - mean).masked_fill(~there, 0.0)
    if not normalise:
        return apart
    spread = (apart.square().sum(dim=1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
    return apart / (spread + CLOSE)


def rule_and_rank(items: Tensor, targets: Tensor, *, rank: bool = True) -> Tensor:
    """Return ReRe's rewards of beams [B, W], best first, for the true items [B] (Tan 2025).

    1 for the true item. With `rank` each other item of a group that holds it loses by how high it stands: the shares
    are 1 / log2(place + 2), brought to a sum of one. A group without it gets nothing.
    """
    right = items == targets[:, None]
    rewards = right.to(torch.float32)
    if rank:
        shares = 1 / torch.log2(torch.arange(items.shape[1], device=items.device) + 2.0)
        found = right.any(dim=1, keepdim=True)
        rewards = rewards - (shares / shares.sum()) * (found & ~right)
    return rewards


OBJECTIVES = {
    "cross-entropy": CrossEntropy,
    "listwise": ListwisePreference,
    "group": GroupPolicyGradient,
}


def objective_of(name: str, options: Mapping[str, Any]) -> Objective:
    """Return the objective of this name, made with these options."""
    check_choice(OBJECTIVES, objective=name)
    taken = options_of(OBJECTIVES[name])
    for option in options:
        if option not in taken:
            raise SimenvError(f"objective {name} has no option '{option}'; it takes {', '.join(taken)}")
    made: Objective = OBJECTIVES[name](**options)
    return made
