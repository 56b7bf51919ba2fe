"""SASRec: a transformer tells the next item from those before it (Kang 2018), with today's losses."""

from typing import Literal

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.chance import key, stream
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_choice, check_number, check_whole
from simenv.pages import EMPTY
from simenv.store import Arrays
from simenv.torches import hold_memory, kept_progress, resume_progress, set_rate

from .learned import Learned, falling
from .recommender import fame_of
from .sequences import stretches
from .transformer import Trunk, read_histories

import torch  # isort: skip  (after the trunk, which says how to install it)
from torch import Tensor, nn
from torch.nn import functional as F

SMALL = 5000  # items that are all told apart at each place, unless told otherwise
USUAL = 1024  # items drawn of a larger catalogue


class SASRec(Learned):
    """Learns, at every place of every history, to tell the next item; a session's likes and views are appended.

    loss 'softmax': against `negatives` drawn for the whole batch, or all items if that is 0; unless told, all of a
    catalogue of up to 5,000, and 1,024 of a larger one. loss 'gbce': the binary loss, made less sure of itself by
    `calibration` (Petrov 2023). `batch_size` counts places in histories. The learning
    rate falls evenly to a tenth over the epochs.
    """

    fewest_epochs = 1

    def __init__(
        self,
        *,
        dimensions: int = 64,
        layers: int = 1,
        heads: int = 1,
        window: int = 50,
        dropout: float = 0.2,
        loss: Literal["softmax", "gbce"] = "softmax",
        negatives: int | None = None,
        calibration: float = 0.75,
        learning_rate: float = 0.001,
        batch_size: int = 6400,
        epochs: int = 100,
        patience: int = 10,
        check_every: int = 1,
        seed: int = 0,
    ) -> None:
        check_whole(dimensions=dimensions, layers=layers, heads=heads, window=window, batch_size=batch_size)
        check_whole(least=self.fewest_epochs, epochs=epochs)
        check_whole(check_every=check_every)
        check_whole(least=0, seed=seed, patience=patience, **({} if negatives is None else {"negatives": negatives}))
        if dimensions % heads:
            raise SimenvError(
                f"dimensions is {dimensions} and heads {heads}; the first must be a multiple of the second"
            )
        check_choice(("softmax", "gbce"), loss=loss)
        check_number(least=0, most=0.99, dropout=dropout)
        check_number(least=0, most=1, calibration=calibration)
        check_number(above=0, learning_rate=learning_rate)
        self.dimensions = dimensions
        self.layers = layers
        self.heads = heads
        self.window = window
        self.dropout = dropout
        self.loss = loss
        self.negatives = negatives
        self.calibration = calibration
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.check_every = check_every
        self.seed = seed

    def items_of(self, dataset: Dataset) -> nn.Module:
        """Return what gives the vectors of items [N] by their numbers: here, one learnt for each."""
        table = nn.Embedding(len(dataset.catalog), self.dimensions)
        nn.init.normal_(table.weight, std=0.02)
        return table

    def begin(self, dataset: Dataset) -> None:
        """Draw the weights, and cut the histories."""
        hold_memory()
        self._stretches = stretches(dataset, self.window)
        if not len(self._stretches.starts):
            raise SimenvError(f"{dataset.name}: nobody has two interactions, so there is no next item to learn")
        self._count = len(dataset.catalog)
        usual = 0 if self._count <= SMALL else USUAL
        self._drawn = usual if self.negatives is None else self.negatives
        self._fame = fame_of(dataset)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(key(self.seed, "sasrec") >> np.uint64(1)))
            self._lay_out(dataset)
        self._optimiser = torch.optim.Adam(
            self._network.parameters(), lr=self.learning_rate, betas=(0.9, 0.98), fused=True
        )

    def _lay_out(self, dataset: Dataset) -> None:
        trunk = Trunk(self.dimensions, self.layers, self.heads, self.window, self.dropout)
        self._network = nn.ModuleDict({"catalog": self.items_of(dataset), "trunk": trunk})

    def epoch(self, number: int) -> float:
        """Take a step for each batch of like-long stretches."""
        rng = stream(self.seed, "sasrec", number)
        set_rate(self._optimiser, falling(self.learning_rate, number, self.epochs))
        total, places = 0.0, 0
        self._network.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(key(self.seed, "sasrec", number) >> np.uint64(1)))
            for laid in self._stretches.batches(self.batch_size, rng):
                loss, count = self.step(laid, rng)
                total += loss * count
                places += count
        return total / max(places, 1)

    def step(self, laid: IntArray, rng: np.random.Generator) -> tuple[float, int]:
        """Take one step for a batch of stretches [B, L]; return the mean loss and how many places were told."""
        told = laid[:, 1:] != EMPTY
        wanted = torch.from_numpy(laid[:, 1:][told])
        drawn = None
        if self._drawn:
            drawn = torch.from_numpy(rng.integers(self._count, size=self._drawn))
        before = torch.from_numpy(np.maximum(laid[:, :-1], 0))
        items = self._network["catalog"]
        found = self._network["trunk"](items(before))[torch.from_numpy(told)]
        loss = self._loss(found, wanted, drawn)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return float(loss.detach()), len(wanted)

    def _loss(self, found: Tensor, wanted: Tensor, drawn: Tensor | None) -> Tensor:
        items = self._network["catalog"]
        if drawn is None:
            everything = found @ items(torch.arange(self._count)).T
            if self.loss == "softmax":
                return F.cross_entropy(everything, wanted)
            right = everything.gather(1, wanted[:, None])[:, 0]
            wrong = everything.scatter(1, wanted[:, None], -torch.inf)
        else:
            right = (found * items(wanted)).sum(dim=1)
            wrong = found @ items(drawn).T
            wrong = wrong.masked_fill(wanted[:, None] == drawn, -torch.inf)  # what was drawn may be what was wanted
        if self.loss == "softmax":
            whole = torch.logaddexp(torch.logsumexp(wrong, dim=1), right)
            return (whole - right).mean()
        share = min(1.0, wrong.shape[1] / max(self._count - 1, 1))
        power = share * (self.calibration * (1 - 1 / share) + 1 / share)
        return (F.softplus(wrong).sum(dim=1) - power * F.logsigmoid(right)).mean()

    def ready(self) -> None:
        """Keep the items' vectors and a trunk that no longer changes."""
        self._network.eval()
        with torch.no_grad():
            self.table = self._network["catalog"](torch.arange(self._count)).numpy().copy()
        self.offsets = self._fame
        self.trunk = self._new_trunk(
            {name: value.clone() for name, value in self._network["trunk"].state_dict().items()}
        )

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` items with the greatest product."""
        return context.top_products(self.vectors(context), self.table, k, offsets=self.offsets)

    def vectors(self, context: Context) -> FloatArray:
        """Return the vector at the end of each user's history, this session included: [B, D]."""
        with torch.inference_mode():
            return read_histories(self.trunk, torch.from_numpy(self.table), context.histories(self.window))

    def state(self) -> Arrays:
        """Return the items' vectors and the trunk's weights."""
        weights = {f"trunk.{name}": value.numpy() for name, value in self.trunk.state_dict().items()}
        return super().state() | {"table": self.table, "offsets": self.offsets} | weights

    def restore(self, arrays: Arrays) -> None:
        """Take back what `state` gave."""
        super().restore(arrays)
        self.table, self.offsets = arrays["table"], arrays["offsets"]
        weights = {name[6:]: torch.from_numpy(array) for name, array in arrays.items() if name.startswith("trunk.")}
        self.trunk = self._new_trunk(weights)

    def progress(self) -> Arrays:
        """Return the weights, and the optimiser's memory of them."""
        return kept_progress(self._network, self._optimiser)

    def resume(self, arrays: Arrays) -> None:
        """Go on with these weights."""
        resume_progress(self._network, self._optimiser, arrays)

    def _new_trunk(self, weights: dict[str, Tensor]) -> Trunk:
        trunk = Trunk(self.dimensions, self.layers, self.heads, self.window, 0.0)
        trunk.load_state_dict(weights)
        return trunk.eval()
