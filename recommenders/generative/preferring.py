"""Teaching a generative policy from preference records: lists of chosen and rejected items, or groups with rewards."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from simenv.arrays import FloatArray, GradeArray, IntArray
from simenv.chance import stream
from simenv.errors import SimenvError
from simenv.language.model import CausalModel, at_rest
from simenv.pages import EMPTY
from simenv.preferences.converting import Groups, Lists, SFTRows
from simenv.preferences.records import Graded, Records

from .objectives import Objective, Told
from .packing import Spans, answer_likelihoods
from .prompting import Prompting

import torch  # isort: skip  (after the model, which says how to install it)
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Offers:
    """What a model is taught by: after each of some histories a few items, and what each is worth."""

    users: IntArray  # [N], whose histories they are
    items: IntArray  # [N, L], histories that end at the right, EMPTY before the first
    grades: GradeArray  # [N, L], how each item was taken
    candidates: IntArray  # [N, M], EMPTY where there are fewer
    worth: FloatArray  # [N, M], 1 for chosen and 0 for rejected ones, or rewards
    gaps: FloatArray  # [N, M], how much worse than what was chosen; 0 for what was
    reference: FloatArray | None = None  # [N, M], logarithms: how likely they were when the stage began

    def __len__(self) -> int:
        return len(self.items)

    def some(self, rows: IntArray) -> "Offers":
        """Return these of them."""
        return Offers(
            self.users[rows],
            self.items[rows],
            self.grades[rows],
            self.candidates[rows],
            self.worth[rows],
            self.gaps[rows],
            None if self.reference is None else self.reference[rows],
        )


def offers_of(records: Records, told: Lists | Groups | SFTRows, window: int) -> Offers:
    """Return what a model of a window is taught by the lists, groups or rows that records were converted to."""
    if not len(told):
        raise SimenvError("no preferences to learn from: nowhere was an item liked more than another")
    users = records.users[told.rows]
    items, grades = windows(records.history, told.rows, window)
    if isinstance(told, Lists):
        candidates = np.concatenate([told.chosen, told.rejected], axis=1)
        worth = np.zeros(candidates.shape, dtype=np.float32)
        worth[:, : told.chosen.shape[1]] = 1
        gaps = np.concatenate([np.zeros(told.chosen.shape, dtype=np.float32), told.gaps], axis=1)
        return Offers(users, items, grades, candidates, worth, gaps)
    if isinstance(told, Groups):
        return Offers(users, items, grades, told.candidates, np.nan_to_num(told.rewards), np.zeros_like(told.rewards))
    one = told.items[:, None]
    return Offers(users, items, grades, one, np.ones(one.shape, np.float32), np.zeros(one.shape, np.float32))


def windows(history: Graded, rows: IntArray, window: int) -> tuple[IntArray, GradeArray]:
    """Return the last items of some histories [N, window] and how each was taken; EMPTY before the first."""
    ends, lengths = history.starts[rows + 1], np.minimum(history.lengths[rows], window)
    place = np.arange(window)
    there = place >= window - lengths[:, None]
    at = np.where(there, ends[:, None] - window + place, 0)
    if not len(history.items):
        return np.full(there.shape, EMPTY), np.zeros(there.shape, np.int8)
    return np.where(there, history.items[at], EMPTY), np.where(there, history.grades[at], 0).astype(np.int8)


class Preferring:
    """The task of an objective over offers; what the model thought of them as the stage began is worked out once."""

    def __init__(
        self,
        model: CausalModel,
        prompting: Prompting,
        offers: Offers,
        objective: Objective,
        *,
        spans: Spans | None = None,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        self.model, self.prompting, self.objective, self.spans = model, prompting, objective, spans
        self.batch_size, self.seed = batch_size, seed
        self.offers = offers if offers.reference is not None else replace(offers, reference=self.likelihoods(offers))

    @property
    def steps(self) -> int:
        """Return how many batches an epoch has."""
        return -(-len(self.offers) // self.batch_size)

    def batches(self, epoch: int) -> Iterator[IntArray]:
        """Yield the places of offers after histories of like length, in an order by chance."""
        rng = stream(self.seed, "preferences", epoch)
        drawn = rng.permutation(len(self.offers))
        lengths = (self.offers.items[drawn] != EMPTY).sum(axis=1)
        drawn = drawn[np.argsort(lengths, kind="stable")]
        cuts = np.arange(self.batch_size, len(drawn), self.batch_size)
        chunks = np.split(drawn, cuts)
        for chunk in rng.permutation(len(chunks)):
            yield chunks[chunk]

    def loss(self, batch: IntArray) -> tuple[Tensor, int]:
        """Return the objective's loss of a batch."""
        some = self.offers.some(batch)
        assert some.reference is not None
        told = Told(
            self._told(some),
            torch.from_numpy(some.reference),
            torch.from_numpy(some.candidates != EMPTY),
            torch.from_numpy(some.worth),
            torch.from_numpy(some.gaps),
        )
        return self.objective.loss(told), len(batch)

    def likelihoods(self, offers: Offers) -> FloatArray:
        """Return the logarithm of how likely the model finds each candidate [N, M], chance left out."""
        found = np.zeros(offers.candidates.shape, dtype=np.float32)
        order = np.argsort((offers.items != EMPTY).sum(axis=1), kind="stable")
        with torch.no_grad(), at_rest(self.model):
            for first in range(0, len(order), self.batch_size):
                few = order[first : first + self.batch_size]
                found[few] = self._told(offers.some(few)).numpy()
        return found

    def chosen(self) -> float:
        """Return the mean logarithm of how likely the model finds what was chosen, by now."""
        now = self.likelihoods(self.offers)
        return float(now[(self.offers.candidates != EMPTY) & (self.offers.worth > 0)].mean())

    def _told(self, some: Offers) -> Tensor:
        longest = int((some.items != EMPTY).sum(axis=1).max(initial=0))
        items = some.items[:, some.items.shape[1] - longest :]
        grades = some.grades[:, some.grades.shape[1] - longest :]
        prompts, lengths = self.prompting.written(items, grades, some.users)
        answers = self.prompting.rows[np.maximum(some.candidates, 0)]
        answers = np.where((some.candidates == EMPTY)[:, :, None], EMPTY, answers)
        read, ends, offered = map(torch.from_numpy, (prompts, lengths, answers))
        return answer_likelihoods(self.model, read, ends, offered, self.spans)
