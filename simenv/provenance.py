"""From which simulated users a policy learnt: what taught it must not grade it.

A simulated verdict is a fixed function of the users, their items and the seed. A policy that learnt from the verdicts
of a seed has seen the answers that the same seed would judge it by, whichever population gives them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from .dataset import Dataset
from .errors import SimenvError, StoreError

LEARNT_FROM = "learnt_from"  # the key under which files keep it


@dataclass(frozen=True, slots=True)
class SimulatedSource:
    """Sessions of simulated users that a policy learnt from."""

    world: str  # which users and items, see `world_of`
    population: str
    seeds: tuple[int, ...]
    users: int  # how many users' verdicts were learnt from

    def __post_init__(self) -> None:
        if not self.seeds or not all(type(seed) is int for seed in self.seeds):
            raise SimenvError(f"simulated source: seeds are {list(self.seeds)}; at least one whole number is needed")


@runtime_checkable
class LearntFromSimulation(Protocol):
    """A policy that tells from which simulated users it learnt; a stranger's may tell it too."""

    simulated_sources: Sequence[SimulatedSource]


def world_of(dataset: Dataset) -> str:
    """Return a hash of the users and items, in their order: chance is drawn by these, whatever rows are held out."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((dataset.users.ids.tolist(), dataset.catalog.ids.tolist())).encode())
    return digest.hexdigest()


def sources_of(policy: object) -> tuple[SimulatedSource, ...]:
    """Return from which simulated users a policy learnt, as far as it tells."""
    return tuple(policy.simulated_sources) if isinstance(policy, LearntFromSimulation) else ()


def seeds_seen(policy: object, dataset: Dataset) -> set[int]:
    """Return the seeds of these users and items from which a policy learnt."""
    world = world_of(dataset)
    return {seed for source in sources_of(policy) if source.world == world for seed in source.seeds}


def check_unseen(policy: object, dataset: Dataset, seeds: Iterable[int], label: str) -> None:
    """Raise an error if a policy is to be judged with a seed from which it learnt."""
    if not sources_of(policy):
        return
    seen = sorted(seeds_seen(policy, dataset) & set(seeds))
    if seen:
        which = f"seed{'s' if len(seen) > 1 else ''} {', '.join(map(str, seen))}"
        raise SimenvError(
            f"policy '{label}': it learnt from these users' verdicts with {which}, which would be the same again;"
            " judge it with other seeds"
        )


def plain_sources(sources: Iterable[SimulatedSource]) -> list[dict[str, Any]]:
    """Return sources as JSON holds them."""
    return [{**asdict(source), "seeds": list(source.seeds)} for source in sources]


def read_sources(about: Mapping[str, Any], where: object) -> tuple[SimulatedSource, ...]:
    """Return the sources that a file's JSON tells of; none where it tells of none."""
    try:
        return tuple(
            SimulatedSource(str(one["world"]), str(one["population"]), tuple(one["seeds"]), int(one["users"]))
            for one in about.get(LEARNT_FROM, ())
        )
    except (KeyError, TypeError, ValueError, SimenvError) as error:
        raise StoreError(f"{where}: what it learnt from cannot be read ({type(error).__name__}: {error})") from None
