"""A language model's way through its lessons: watched, stopped early, and gone on with after a crash."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from simenv.chance import key
from simenv.errors import SimenvError, StoreError
from simenv.options import check_number, check_whole
from simenv.store import Arrays, read_state, write_state
from simenv.torches import hold_memory, set_rate
from simenv.training import Clock, Epoch

import torch  # isort: skip  (after torches, which says how to install it)
from torch import Tensor, nn

LOG = logging.getLogger(__name__)
SAVE_EVERY = 60.0  # seconds between two states kept on disk
Batch = TypeVar("Batch")


class Task(Protocol[Batch]):
    """What is to be learnt: batches, and the loss of each."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield an epoch's batches; all chance comes from its number."""
        ...

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Return the mean loss of a batch, and of how many it is the mean."""
        ...

    @property
    def steps(self) -> int:
        """Return how many batches an epoch has, about."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast is learnt, and for how long."""

    epochs: int = 10
    learning_rate: float = 1e-3
    warm_up: float = 0.05  # of all steps; then the rate falls along a cosine to a tenth
    decay: float = 0.01  # of weights
    longest: float = 1.0  # a step's gradient is cut to this length
    patience: int = 0  # checks that may be no better than the best; 0: all epochs are gone through

    def __post_init__(self) -> None:
        check_whole(least=0, epochs=self.epochs, patience=self.patience)
        check_number(above=0, learning_rate=self.learning_rate, longest=self.longest)
        check_number(least=0, most=1, warm_up=self.warm_up)
        check_number(least=0, decay=self.decay)

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step."""
        rising = self.warm_up * steps
        if step < rising:
            return self.learning_rate * (step + 1) / (rising + 1)
        share = min((step - rising) / max(steps - rising, 1), 1.0)
        return self.learning_rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share)))


@dataclass(frozen=True, slots=True)
class Past:
    """How a course went, epoch by epoch."""

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)  # the higher the better; empty where nobody judged
    kept: int = 0  # the epoch whose weights were kept, counted from 1; 0 where none was good enough


class Course(Generic[Batch]):
    """Takes a model through a task's epochs.

    `judge` says how good the model is by now, the higher the better: the best weights are kept, or with `least` the
    last that were judged to be as good as that. With a `folder` the state between two epochs lies on disk: the same
    course, begun again, goes on there and ends with the same weights.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task[Batch],
        pace: Pace,
        *,
        seed: int = 0,
        judge: Callable[[], float] | None = None,
        least: float | None = None,
        folder: Path | None = None,
        watch: Callable[[Epoch], None] = lambda _: None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.task, self.pace, self.seed = model, task, pace, seed
        self.judge, self.least, self.folder, self.watch = judge, least, folder, watch
        self.facts: dict[str, Any] = (facts or {}) | {"pace": asdict(pace), "seed": seed}  # what the state belongs to
        self.weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.optimiser = torch.optim.AdamW(
            [
                {
                    "params": [weight for weight in self.weights.values() if weight.dim() > 1],
                    "weight_decay": pace.decay,
                },
                {"params": [weight for weight in self.weights.values() if weight.dim() < 2], "weight_decay": 0.0},
            ],
            lr=pace.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best: Arrays = {}
        self.first = self._now() if least is not None else {}

    def run(self) -> Past:
        """Go through all epochs that are left; the model is as good as it was at its best."""
        hold_memory()
        timer = Clock()
        if self.folder is not None and self.folder.exists():
            self._take_up()
        first = len(self.losses)
        while len(self.losses) < self.pace.epochs and not self._is_hopeless():
            self.losses.append(self._epoch(len(self.losses)))
            self.model.eval()
            if self.judge is not None:
                self.scores.append(self.judge())
                if self._kept() == len(self.scores):
                    self.best = self._now()
            done = len(self.losses)
            left = timer.left(done - first, self.pace.epochs - first)
            news = Epoch(done, self.pace.epochs, self.losses[-1], self.scores[-1] if self.scores else None, left)
            LOG.info("%s", news)
            self.watch(news)
            if self.folder is not None and (
                timer.is_due(SAVE_EVERY) or done == self.pace.epochs or self._is_hopeless()
            ):
                self._keep()
        if self.best:
            self._become(self.best)
        elif self.scores:
            self._become(self.first)
        self.model.eval()
        return Past(self.losses, self.scores, self._kept())

    def _kept(self) -> int:
        """Return the epoch whose weights are kept, counted from 1; 0 where none was good enough."""
        if not self.scores:
            return len(self.losses)
        if self.least is None:
            return int(np.argmax(self.scores)) + 1
        return max((place + 1 for place, score in enumerate(self.scores) if score >= self.least), default=0)

    def _is_hopeless(self) -> bool:
        """Tell whether the last checks were no better than the best before them."""
        waited = len(self.scores) - 1 - int(np.argmax(self.scores)) if self.scores else 0
        return bool(self.pace.patience) and waited >= self.pace.patience

    def _epoch(self, number: int) -> float:
        total, count = 0.0, 0
        steps = max(self.task.steps, 1)
        self.model.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(key(self.seed, "course", number) >> np.uint64(1)))
            for step, batch in enumerate(self.task.batches(number)):
                rate = self.pace.rate(number * steps + step, self.pace.epochs * steps)
                set_rate(self.optimiser, rate)
                loss, size = self.task.loss(batch)
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(list(self.weights.values()), self.pace.longest)
                self.optimiser.step()
                total += float(loss.detach()) * size
                count += size
        mean = total / max(count, 1)
        if not math.isfinite(mean):
            raise SimenvError(f"the loss became {mean} in epoch {number + 1}; a smaller learning rate would help")
        return mean

    def _now(self) -> Arrays:
        return {name: weight.detach().cpu().numpy().copy() for name, weight in self.weights.items()}

    def _become(self, arrays: Arrays) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(torch.from_numpy(arrays[name]))

    def _keep(self) -> None:
        arrays = {f"now.{name}": array for name, array in self._now().items()}
        arrays |= {f"best.{name}": array for name, array in self.best.items()}
        for number, memory in self.optimiser.state_dict()["state"].items():
            arrays |= {f"optimiser.{number}.{name}": value.cpu().numpy() for name, value in memory.items()}
        assert self.folder is not None
        write_state(self.folder, self.facts | {"losses": self.losses, "scores": self.scores}, arrays)

    def _take_up(self) -> None:
        assert self.folder is not None
        facts, arrays = read_state(self.folder)
        self.losses, self.scores = facts.pop("losses", []), facts.pop("scores", [])
        if facts != self.facts:
            odd = next((name for name in self.facts if facts.get(name) != self.facts[name]), "what it holds")
            raise StoreError(f"{self.folder}: holds the learning of another course ({odd} differs); delete it")
        self._become({name[4:]: array for name, array in arrays.items() if name.startswith("now.")})
        self.best = {name[5:]: array for name, array in arrays.items() if name.startswith("best.")}
        memory: dict[int, dict[str, Tensor]] = {}
        for name, array in arrays.items():
            if name.startswith("optimiser."):
                _, number, part = name.split(".")
                memory.setdefault(int(number), {})[part] = torch.from_numpy(array.copy())
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": memory})
        LOG.info("goes on after epoch %d", len(self.losses))
