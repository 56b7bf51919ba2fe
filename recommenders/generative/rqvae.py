"""RQ-VAE: a small network learns the vectors whose codes tell the most (Zeghidour 2021; TIGER's settings, smaller)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from simenv.arrays import FloatArray, IntArray
from simenv.chance import key, stream
from simenv.errors import MissingExtra

from .kmeans import kmeans, nearest, revive
from .quantisers import Quantised

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F
except ImportError:
    raise MissingExtra("quantiser: rqvae", "torch") from None

COMMITMENT = 0.25  # how strongly vectors are drawn to their centres, against centres to their vectors
BATCH = 1024
WARM = 0.2  # of the epochs go by before codes are used at all
LEARNING_RATE = 1e-3


def rqvae(vectors: FloatArray, levels: int, codes: int, seed: int, *, latent: int, epochs: int) -> Quantised:
    """Learn to tell vectors again through codes; return these and the centres, in the network's own space.

    The network first learns without codes; then its vectors are clustered to begin with, and after every epoch a code
    that stood for nothing is moved to the vectors that are told worst.
    """
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(key(seed, "tokenizer", "rqvae") >> np.uint64(1)))
        points = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
        points = points * float(np.sqrt(vectors.shape[1]) / max(float(np.sqrt((vectors**2).sum(axis=1).mean())), 1e-9))
        coder = Coder((vectors.shape[1], 256, 128, latent), levels, codes)
        optimiser = torch.optim.Adam(coder.parameters(), lr=LEARNING_RATE)
        warm = max(1, round(WARM * epochs))
        for epoch in range(epochs):
            if epoch == warm:
                coder.begin(points, seed)
            for rows in batches(len(points), seed, "rqvae", epoch):
                loss, _ = coder.loss(points[rows], quantise=epoch >= warm)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            if epoch >= warm and epoch < epochs - 1:
                coder.revive(points)
        if epochs <= warm:
            coder.begin(points, seed)
        return coder.quantised(points)


class Coder(nn.Module):
    """Makes a vector smaller, tells it as a sum of centres, and makes it whole again."""

    def __init__(self, widths: Sequence[int], levels: int, codes: int) -> None:
        super().__init__()
        self.squeeze = perceptron(*widths)
        self.unfold = perceptron(*reversed(widths))
        self.books = nn.Parameter(torch.zeros(levels, codes, widths[-1]))

    def loss(self, points: Tensor, *, quantise: bool) -> tuple[Tensor, Tensor]:
        """Return how badly vectors [B, D] are told again and how far they and their centres are apart, and the codes.

        There are codes [B, L] only where they are used.
        """
        small = self.squeeze(points)
        target = points.detach()  # or what is learnt together with it would be drawn to what is easily told
        if not quantise:
            return F.mse_loss(self.unfold(small), target), torch.empty((len(points), 0), dtype=torch.int64)
        told, apart, codes = self.told(small)
        return F.mse_loss(self.unfold(small + (told - small).detach()), target) + apart, codes

    def told(self, small: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums of centres [B, latent], how far these are from what they tell, and the codes [B, L].

        What one level leaves goes on to the next without a gradient through the centres before it.
        """
        rest, told, apart, codes = small, torch.zeros_like(small), small.new_zeros(()), []
        for book in self.books:
            mine = torch.cdist(rest.detach(), book.detach()).argmin(dim=1)
            centres = book[mine]
            apart = apart + F.mse_loss(centres, rest.detach()) + COMMITMENT * F.mse_loss(rest, centres.detach())
            told = told + centres
            rest = rest - centres.detach()
            codes.append(mine)
        return told, apart, torch.stack(codes, dim=1)

    @torch.no_grad()
    def begin(self, points: Tensor, seed: int) -> None:
        """Put the centres where vectors cluster by now."""
        rest = self.squeeze(points).numpy()
        for level, book in enumerate(self.books):
            centres = kmeans(rest, len(book), stream(seed, "tokenizer", "rqvae", "begin", level))
            book.copy_(torch.from_numpy(centres))
            rest = rest - centres[nearest(rest, centres)[0]]

    @torch.no_grad()
    def revive(self, points: Tensor) -> None:
        """Move the centres that stand for nothing."""
        rest = self.squeeze(points).numpy()
        for book in self.books:
            centres = book.numpy().copy()
            codes, far = nearest(rest, centres)
            revive(centres, rest, codes, far)
            book.copy_(torch.from_numpy(centres))
            rest = rest - centres[nearest(rest, centres)[0]]

    @torch.no_grad()
    def quantised(self, points: Tensor) -> Quantised:
        """Return the codes of all vectors."""
        small = self.squeeze(points).numpy()
        rest, books, rows = small, [], []
        for book in self.books.numpy():
            mine, _ = nearest(rest, book)
            rest = rest - book[mine]
            books.append(book.copy())
            rows.append(mine)
        sizes = tuple(len(book) for book in books)
        return Quantised(np.stack(rows, axis=1), sizes, small, tuple(books))


def perceptron(*sizes: int) -> nn.Sequential:
    """Return layers of these sizes with a bend between each two."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def batches(count: int, seed: int, *names: str | int) -> Iterator[IntArray]:
    """Yield the row numbers in a drawn order, some at a time."""
    order = stream(seed, "tokenizer", *names).permutation(count)
    for first in range(0, count, BATCH):
        yield order[first : first + BATCH]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and NumPy use one thread each, so that sums are taken in one order whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
