"""Policies that learn by epochs: watched, stopped early on validation rows, kept and gone on with."""

import json
import logging
from abc import abstractmethod
from pathlib import Path

import numpy as np

from simenv.dataset import Dataset
from simenv.errors import SimenvError, StoreError
from simenv.ranking import ndcg, new_pairs
from simenv.store import Arrays, read_state, save_policy, settings_of, write_state
from simenv.training import Clock, Epoch, Training

from .recommender import Recommender

LOG = logging.getLogger(__name__)
SAVE_EVERY = 60.0  # seconds between two states kept on disk
JUDGES = 10_000  # users who are asked, at most, how good it is by now


def falling(rate: float, number: int, epochs: int) -> float:
    """Return the learning rate of an epoch: it falls evenly to a tenth over all of them."""
    return rate * (1 - 0.9 * number / epochs)


class Learned(Recommender):
    """A policy that goes over the training rows again and again.

    `epochs` at most; with validation rows it stops once `patience` checks in a row, one every `check_every`
    epochs, have not been better, and keeps the best.
    """

    epochs: int
    patience: int = 10
    check_every: int = 1

    @abstractmethod
    def begin(self, dataset: Dataset) -> None:
        """Lay out what is to be learnt, as it is before the first epoch."""

    @abstractmethod
    def epoch(self, number: int) -> float:
        """Go over the training rows once; return the mean loss. All chance comes from the epoch's number."""

    @abstractmethod
    def ready(self) -> None:
        """Make the attributes named in `learnt` of what was learnt so far."""

    @abstractmethod
    def progress(self) -> Arrays:
        """Return all that the next epoch needs, optimiser included: the arrays themselves, not copies."""

    @abstractmethod
    def resume(self, arrays: Arrays) -> None:
        """Take back what `progress` gave; `begin` was called before."""

    def learn(self, dataset: Dataset) -> None:
        """Learn for all epochs."""
        self.train(dataset, Training())

    def train(self, dataset: Dataset, training: Training) -> None:
        """Learn, or go on with what was kept in the training's folder."""
        self.begin(dataset)
        self.item_count = len(dataset.catalog)
        try:
            _Course(self, dataset, training).run()
        except Exception:
            self.item_count = 0  # nothing that could be shown was learnt
            raise


class _Course:
    """One policy's way through its epochs."""

    def __init__(self, policy: Learned, dataset: Dataset, training: Training) -> None:
        self.policy, self.dataset, self.training = policy, dataset, training
        valid = training.valid
        self.valid = valid if valid is not None and len(valid) and policy.patience else None
        if self.valid is not None and not len(new_pairs(dataset, self.valid)):
            LOG.warning("%s: no validation row is new to its user, so none tells when to stop", type(policy).__name__)
            self.valid = None
        self.done, self.waited, self.best, self.best_epoch = 0, 0, -np.inf, 0
        self.best_state: Arrays = {}
        self.loss = float("nan")
        self.score: float | None = None
        self._kept: tuple[dict[str, object], Arrays] | None = None

    def run(self) -> None:
        policy, clock = self.policy, Clock()
        self._take_up()
        first = self.done
        try:
            while self.done < policy.epochs and not (self.valid is not None and self.waited >= policy.patience):
                self.loss = policy.epoch(self.done)
                if not np.isfinite(self.loss):
                    raise SimenvError(
                        f"the loss became {self.loss} in epoch {self.done + 1}; a smaller learning rate would help"
                    )
                self.done += 1
                self._judge()
                self._remember()
                left = clock.left(self.done - first, policy.epochs - first)
                news = Epoch(self.done, policy.epochs, self.loss, self.score, left)
                LOG.info("%s: %s", type(policy).__name__, news)
                self.training.watch(news)
                if clock.is_due(SAVE_EVERY):
                    self._keep()
        except KeyboardInterrupt:
            self._keep()
            raise
        if self.best_state:
            policy.restore(self.best_state)
            LOG.info("%s: kept epoch %d of %d", type(policy).__name__, self.best_epoch, self.done)
        else:
            policy.ready()
        if self.training.folder is not None:
            save_policy(policy, checkpoint_folder(self.training.folder), epochs_done=self.done, finished=True)

    def _judge(self) -> None:
        """Ask the validation rows, if there are any and it is time; keep the state if it is the best."""
        policy = self.policy
        if self.valid is None or (self.done % policy.check_every and self.done < policy.epochs):
            return
        policy.ready()
        self.score = ndcg(policy, self.dataset, self.valid, 10, most=JUDGES)
        if self.score > self.best:
            self.best, self.best_epoch, self.waited = self.score, self.done, 0
            self.best_state = {name: array.copy() for name, array in policy.state().items()}
        else:
            self.waited += 1

    def _remember(self) -> None:
        """Hold the state between two epochs: an epoch may be interrupted in its middle."""
        if self.training.folder is None:
            return
        facts: dict[str, object] = {
            "epochs_done": self.done,
            "waited": self.waited,
            "best": self.best if self.best_state else None,
            "best_epoch": self.best_epoch,
            "score": self.score,
            "settings": settings_of(self.policy),
            "rows": self._rows(),
        }
        arrays = {f"next.{name}": array.copy() for name, array in self.policy.progress().items()}
        self._kept = facts, arrays | {f"best.{name}": array for name, array in self.best_state.items()}

    def _keep(self) -> None:
        """Write the last whole epoch's state, and a policy made of it that can be loaded."""
        if self.training.folder is None or self._kept is None:
            return
        facts, arrays = self._kept
        write_state(progress_folder(self.training.folder), facts, arrays)
        policy = self.policy
        if self.best_state:
            policy.restore(self.best_state)
        else:
            policy.resume({name[5:]: array for name, array in arrays.items() if name.startswith("next.")})
            policy.ready()
        done = facts["epochs_done"]  # an epoch that was not whole counts for nothing
        save_policy(policy, checkpoint_folder(self.training.folder), epochs_done=done, finished=False)
        policy.resume({name[5:]: array.copy() for name, array in arrays.items() if name.startswith("next.")})

    def _rows(self) -> list[str]:
        valid = [] if self.valid is None else [self.dataset.only(self.valid).fingerprint]
        return [self.dataset.fingerprint, *valid]

    def _take_up(self) -> None:
        folder = self.training.folder
        if folder is None or not progress_folder(folder).exists():
            return
        facts, arrays = read_state(progress_folder(folder))
        if facts.get("settings") != json.loads(json.dumps(settings_of(self.policy))):  # in JSON a tuple is a list
            raise StoreError(f"{folder}: holds the learning of other settings; delete it, or choose another folder")
        if facts.get("rows") != self._rows():
            raise StoreError(f"{folder}: holds the learning of other rows; delete it, or choose another folder")
        self.policy.resume({name[5:]: array for name, array in arrays.items() if name.startswith("next.")})
        self.best_state = {name[5:]: array for name, array in arrays.items() if name.startswith("best.")}
        self.done, self.waited, self.best_epoch = (int(facts[key]) for key in ("epochs_done", "waited", "best_epoch"))
        self.best = float(facts["best"]) if facts["best"] is not None else -np.inf
        self.score = facts["score"]
        LOG.info("%s: goes on after epoch %d", type(self.policy).__name__, self.done)


def progress_folder(folder: Path) -> Path:
    """Return where the state between two epochs is kept."""
    return folder / "progress"


def checkpoint_folder(folder: Path) -> Path:
    """Return where the best policy so far is saved, to be loaded like any other."""
    return folder / "checkpoint"
