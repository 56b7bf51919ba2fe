"""MultVAE: a history is squeezed into a few numbers and told again whole (Liang 2018)."""

from typing import Literal

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.chance import key, stream
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.options import check_choice, check_number, check_whole
from simenv.products import product
from simenv.store import Arrays
from simenv.torches import hold_memory, kept_progress, resume_progress, set_rate

from .learned import Learned, falling
from .recommender import seen_matrix

import torch  # isort: skip  (after torches, which says how to install it)
from torch import Tensor, nn
from torch.nn import functional as F


class MultVAE(Learned):
    """Reads a history, this session included, and scores all items by how well they would complete it.

    The pull of the hidden numbers toward the normal distribution grows over the first half of the epochs, to
    `pull` at most: enough to generalise, too little to forget. The learning rate falls evenly to a tenth over all of
    them.

    With the `precision` 'bfloat16' the scores of all items, by far the most work, are learnt from rounded products:
    half the time on a processor that knows such numbers, more on one that does not. Recommending is as exact as ever.
    """

    learnt = ("read", "read_offset", "squeeze", "squeeze_offset", "unfold", "unfold_offset", "table", "offsets")

    def __init__(
        self,
        *,
        hidden: int = 600,
        latent: int = 200,
        dropout: float = 0.5,
        pull: float = 0.2,
        precision: Literal["float32", "bfloat16"] = "float32",
        learning_rate: float = 0.001,
        batch_size: int = 512,
        epochs: int = 60,
        patience: int = 5,
        check_every: int = 1,
        seed: int = 0,
    ) -> None:
        check_whole(hidden=hidden, latent=latent, batch_size=batch_size, epochs=epochs, check_every=check_every)
        check_whole(least=0, seed=seed, patience=patience)
        check_number(least=0, most=0.99, dropout=dropout)
        check_number(least=0, pull=pull)
        check_choice(("float32", "bfloat16"), precision=precision)
        check_number(above=0, learning_rate=learning_rate)
        self.hidden = hidden
        self.latent = latent
        self.dropout = dropout
        self.pull = pull
        self.precision = precision
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.check_every = check_every
        self.seed = seed

    def begin(self, dataset: Dataset) -> None:
        """Draw the weights."""
        hold_memory()
        seen = seen_matrix(dataset)
        self._seen = seen[np.flatnonzero(np.diff(seen.indptr))]  # who has a history
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(key(self.seed, "multvae") >> np.uint64(1)))
            self._network = Network(len(dataset.catalog), self.hidden, self.latent, self.precision == "bfloat16")
        self._optimiser = torch.optim.Adam(self._network.parameters(), lr=self.learning_rate, fused=True)

    def epoch(self, number: int) -> float:
        """Take a step for each batch of histories."""
        rng = stream(self.seed, "multvae", number)
        set_rate(self._optimiser, falling(self.learning_rate, number, self.epochs))
        order = rng.permutation(self._seen.shape[0])
        batches = -(-len(order) // self.batch_size)
        self._network.train()
        total = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(key(self.seed, "multvae", number) >> np.uint64(1)))
            for batch in range(batches):
                rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
                pull = self.pull * min(1.0, 2 * (number * batches + batch) / (self.epochs * batches))
                total += self.step(rows, pull) * len(rows)
        return total / max(len(order), 1)

    def step(self, rows: IntArray, pull: float) -> float:
        """Take one step for a batch of histories; return the mean loss."""
        histories = self._seen[rows]
        counts = np.diff(histories.indptr)
        items = torch.from_numpy(histories.indices.astype(np.int64))
        weights = torch.from_numpy(np.repeat(1 / np.sqrt(counts), counts).astype(np.float32))
        weights = F.dropout(weights, self.dropout, training=True)
        told, mean, spread = self._network(items, weights, torch.from_numpy(histories.indptr[:-1].astype(np.int64)))
        owners = torch.from_numpy(np.repeat(np.arange(len(rows)), counts))
        right = told[owners, items].sum() - (torch.logsumexp(told, dim=1) * torch.from_numpy(counts)).sum()
        divergence = -0.5 * (1 + spread - mean**2 - spread.exp()).sum()
        loss = (pull * divergence - right) / len(rows)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return float(loss.detach())

    def ready(self) -> None:
        """Keep the weights; the hidden numbers' spread is for learning alone."""
        net = {name: value.detach().numpy().copy() for name, value in self._network.state_dict().items()}
        self.read, self.read_offset = net["read.weight"], net["read_offset"]
        self.squeeze, self.squeeze_offset = net["squeeze.weight"][: self.latent], net["squeeze.bias"][: self.latent]
        self.unfold, self.unfold_offset = net["unfold.weight"], net["unfold.bias"]
        self.table, self.offsets = net["tell.weight"], net["tell.bias"]

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` items that complete each history best."""
        return context.top_products(self.vectors(context), self.table, k, offsets=self.offsets)

    def vectors(self, context: Context) -> FloatArray:
        """Return what each history unfolds to: [B, hidden]."""
        profile = context.profile()
        norms = np.sqrt(np.asarray(profile.multiply(profile).sum(axis=1)).reshape(-1))
        profile.data /= np.repeat(np.maximum(norms, 1e-9), np.diff(profile.indptr)).astype(np.float32)
        found = np.tanh(profile @ self.read + self.read_offset)
        squeezed = product(found, self.squeeze.T) + self.squeeze_offset
        return np.tanh(product(squeezed, self.unfold.T) + self.unfold_offset)

    def progress(self) -> Arrays:
        """Return the weights, and the optimiser's memory of them."""
        return kept_progress(self._network, self._optimiser)

    def resume(self, arrays: Arrays) -> None:
        """Go on with these weights."""
        resume_progress(self._network, self._optimiser, arrays)


class Network(nn.Module):
    """Reads histories as bags of items and tells them again."""

    def __init__(self, items: int, hidden: int, latent: int, rounded: bool) -> None:
        super().__init__()
        self.rounded = rounded
        # A bag instead of a product with a matrix that is nearly all zeros.
        self.read = nn.EmbeddingBag(items, hidden, mode="sum")
        self.read_offset = nn.Parameter(torch.zeros(hidden))
        self.squeeze = nn.Linear(hidden, 2 * latent)
        self.unfold = nn.Linear(latent, hidden)
        self.tell = nn.Linear(hidden, items)
        for layer in (self.read, self.squeeze, self.unfold, self.tell):
            nn.init.xavier_normal_(layer.weight)
        for layer in (self.squeeze, self.unfold, self.tell):
            nn.init.normal_(layer.bias, std=0.001)

    def forward(self, items: Tensor, weights: Tensor, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scores of all items [B, I], and mean and log variance of the hidden numbers [B, latent]."""
        found = torch.tanh(self.read(items, starts, per_sample_weights=weights) + self.read_offset)
        mean, spread = self.squeeze(found).chunk(2, dim=1)
        hidden = mean + torch.randn_like(mean) * torch.exp(0.5 * spread) if self.training else mean
        unfolded = torch.tanh(self.unfold(hidden))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.rounded):
            told = self.tell(unfolded)
        return told.float(), mean, spread
