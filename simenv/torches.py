"""What all share that learns with torch: its state as arrays, and its memory."""

import ctypes

from simenv.errors import MissingExtra
from simenv.store import Arrays

try:
    import torch
    from torch import Tensor, nn
except ImportError:
    raise MissingExtra("what learns with torch", "torch") from None


def kept_progress(network: nn.Module, optimiser: torch.optim.Optimizer) -> Arrays:
    """Return a network's weights and its optimiser's memory of them, as arrays by name."""
    kept = {f"network.{name}": value.numpy() for name, value in network.state_dict().items()}
    for number, memory in optimiser.state_dict()["state"].items():
        kept |= {f"optimiser.{number}.{name}": value.numpy() for name, value in memory.items()}
    return kept


def resume_progress(network: nn.Module, optimiser: torch.optim.Optimizer, arrays: Arrays) -> None:
    """Take back what `kept_progress` gave."""
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    network.load_state_dict(
        {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
    )
    memory: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, number, part = name.split(".")
            memory.setdefault(int(number), {})[part] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": memory})


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Learn at this rate from here on."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def hold_memory() -> None:
    """Ask the C library to keep big blocks rather than hand each back: a third of a step may go into that."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        return  # another system's library: slower, nothing else
