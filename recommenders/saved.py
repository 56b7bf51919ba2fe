"""A policy that was fitted before and lies in a folder."""

from pathlib import Path
from typing import Any

from simenv.arrays import IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.policy import Policy
from simenv.provenance import SimulatedSource, read_sources
from simenv.store import load_policy, read_about


class Saved:
    """Recommends what the policy in the folder `path` does; it is not fitted again, whatever the rows are."""

    def __init__(self, *, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._policy: Policy | None = None

    def check_sources(self) -> None:
        """Say so where nothing was saved."""
        read_about(self.path)

    @property
    def simulated_sources(self) -> tuple[SimulatedSource, ...]:
        """The simulated users that it learnt from, whose seeds must not judge it."""
        return read_sources(read_about(self.path), self.path)

    def fit(self, dataset: Dataset) -> None:
        """Load it, and see that it knows this catalogue."""
        policy: Any = load_policy(self.path)
        known = int(getattr(policy, "item_count", len(dataset.catalog)))
        if known != len(dataset.catalog):
            raise SimenvError(f"{self.path}: it was fitted to {known} items; {dataset.name} has {len(dataset.catalog)}")
        if hasattr(policy, "tokenizer"):
            policy.tokenizer.check(dataset)
        self._policy = policy

    def recommend(self, context: Context, k: int) -> IntArray:
        """Return what it recommends."""
        if self._policy is None:
            raise SimenvError("Saved has not been fitted: call fit(dataset) first, which loads it")
        return self._policy.recommend(context, k)
