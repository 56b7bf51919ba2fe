"""The generative recommender: a small language model over items' tokens, which writes the next item."""

from dataclasses import replace
from typing import Any

import numpy as np

from simenv.arrays import GradeArray, IntArray
from simenv.chance import key, stream
from simenv.context import Context
from simenv.dataset import Dataset, grades_of
from simenv.errors import SimenvError
from simenv.language.llama import Llama, Shape
from simenv.options import check_number, check_whole
from simenv.pages import EMPTY, Grade
from simenv.store import Arrays
from simenv.torches import hold_memory, kept_progress, resume_progress

from ..learned import Learned
from ..sequences import stretches
from .beam import beam
from .prompting import FIRST_ITEM, Prompting
from .tokenizer import ItemTokenizer
from .trie import ItemTrie

import torch  # isort: skip  (after the model, which says how to install it)
from torch.nn import functional as F

TOGETHER = 32  # users whose pages are written at once, never more or fewer
STEPS = (4, 10, 20)  # the lengths in items that histories are filled up to, besides the window itself


class Generative(Learned):
    """Names each item by a few tokens and learns, as a causal language model, to write histories on.

    The tokenizer's `features`, `quantiser`, `levels`, `codes` and `disambiguation` are those of `ItemTokenizer`. A page
    holds the items of the best beams, `beams` of them at least; no item can come that the catalogue does not hold, that
    is left out, or that stands on the page already. With `grades` a history tells how each item was taken, and a
    session's disliked and passed items stand in it too.
    """

    fewest_epochs = 1

    def __init__(
        self,
        *,
        features: str = "both",
        quantiser: str = "residual",
        levels: int = 3,
        codes: int = 256,
        disambiguation: str = "digit",
        dimensions: int = 128,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.2,
        window: int = 20,
        grades: bool = False,
        beams: int = 20,
        learning_rate: float = 0.002,
        decay: float = 0.05,
        smoothing: float = 0.0,
        batch_size: int = 2048,
        epochs: int = 30,
        patience: int = 3,
        check_every: int = 3,
        seed: int = 0,
    ) -> None:
        check_whole(dimensions=dimensions, layers=layers, heads=heads, window=window, batch_size=batch_size)
        check_whole(beams=beams, check_every=check_every)
        check_whole(least=self.fewest_epochs, epochs=epochs)
        check_whole(least=0, patience=patience, seed=seed)
        check_number(least=0, most=0.9, dropout=dropout)
        check_number(least=0, most=0.9, smoothing=smoothing)
        check_number(above=0, learning_rate=learning_rate)
        check_number(least=0, decay=decay)
        self.features, self.quantiser, self.levels, self.codes = features, quantiser, levels, codes
        self.disambiguation = disambiguation
        self.dimensions, self.layers, self.heads, self.dropout = dimensions, layers, heads, dropout
        self.window, self.grades, self.beams = window, grades, beams
        self.learning_rate, self.decay, self.smoothing = learning_rate, decay, smoothing
        self.batch_size, self.epochs, self.patience, self.check_every = batch_size, epochs, patience, check_every
        self.seed = seed
        self.new_tokenizer()  # its options are checked at the door too
        Shape(FIRST_ITEM, dimensions, layers, heads)

    def new_tokenizer(self) -> ItemTokenizer:
        """Return the tokenizer, before it is fitted."""
        return ItemTokenizer(
            features=self.features,
            quantiser=self.quantiser,
            levels=self.levels,
            codes=self.codes,
            disambiguation=self.disambiguation,
            seed=self.seed,
        )

    def begin(self, dataset: Dataset) -> None:
        """Name the items, draw the weights, and cut the histories."""
        hold_memory()
        # Of rows, by their numbers: what became of each is told with it.
        self._stretches = replace(stretches(dataset, self.window), items=np.arange(len(dataset.interactions)))
        if not len(self._stretches.starts):
            raise SimenvError(f"{dataset.name}: nobody has two interactions, so there is no next item to learn")
        self._items = dataset.interactions.items
        self._known = grades_of(dataset.interactions.ratings)
        self.tokenizer = self.new_tokenizer()
        self.tokenizer.fit(dataset)
        self._write()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(key(self.seed, "generative") >> np.uint64(1)))
            self._network = self._new_model(self.dropout)
        matrices = [weight for weight in self._network.parameters() if weight.dim() > 1]
        others = [weight for weight in self._network.parameters() if weight.dim() < 2]
        groups = [{"params": matrices, "weight_decay": self.decay}, {"params": others, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.98), fused=True)

    def _write(self) -> None:
        self.prompting = Prompting(self.tokenizer.rows(FIRST_ITEM), self.grades)
        self.trie = ItemTrie.of(self.prompting.rows, vocabulary=FIRST_ITEM + sum(self.tokenizer.sizes))

    def _new_model(self, dropout: float) -> Llama:
        # One item more than the window: the one that is written after it.
        context = 1 + (self.window + 1) * self.prompting.longest
        size = FIRST_ITEM + sum(self.tokenizer.sizes)
        return Llama(Shape(size, self.dimensions, self.layers, self.heads, context=context), dropout=dropout)

    def epoch(self, number: int) -> float:
        """Take a step for each batch of like-long stretches."""
        rng = stream(self.seed, "generative", number)
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate * (0.1 + 0.9 * (1 + np.cos(np.pi * number / self.epochs)) / 2)
        total, count = 0.0, 0
        self._network.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(key(self.seed, "generative", number) >> np.uint64(1)))
            for laid in self._stretches.batches(self.batch_size, rng):
                loss, told = self.step(laid)
                total += loss * told
                count += told
        return total / max(count, 1)

    def step(self, laid: IntArray) -> tuple[float, int]:
        """Take one step for a batch of stretches [B, L]; return the mean loss of a token, and how many there were."""
        items = np.where(laid == EMPTY, EMPTY, self._items[laid])
        tokens, lengths = map(torch.from_numpy, self.prompting.written(items, self._known[laid]))
        there = torch.arange(tokens.shape[1]) < lengths[:, None]
        wanted = there & (tokens >= FIRST_ITEM)
        found = self._network(tokens[:, :-1])[wanted[:, 1:]]
        scores = self._network.scores(found)
        loss = F.cross_entropy(scores, tokens[:, 1:][wanted[:, 1:]], label_smoothing=self.smoothing)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimiser.step()
        return float(loss.detach()), len(found)

    def ready(self) -> None:
        """Keep a model that no longer changes."""
        self.model = self._new_model(0.0)
        self.model.load_state_dict(self._network.state_dict())
        self.model.eval()

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the items of the best beams."""
        items, grades = self.histories(context)
        begins, left_out = context.left_out()
        lengths = (items != EMPTY).sum(axis=1)
        found = np.full((len(context), k), EMPTY, dtype=np.int32)
        before = -1
        for size in [*(step for step in STEPS if step < self.window), self.window]:
            rows = np.flatnonzero((lengths > before) & (lengths <= size))
            before = size
            for first in range(0, len(rows), TOGETHER):
                few = rows[first : first + TOGETHER]
                spans = [left_out[begins[row] : begins[row + 1]] for row in few]
                exclude = np.cumsum([0, *map(len, spans)]), np.concatenate(spans)
                among = None if context.candidates is None else context.candidates[few]
                told = None if grades is None else grades[few, self.window - size :]
                found[few] = self.write(items[few, self.window - size :], told, k, exclude, among)
        return found

    @torch.inference_mode()
    def write(
        self,
        items: IntArray,
        grades: GradeArray | None,
        k: int,
        exclude: tuple[IntArray, IntArray] | None = None,
        candidates: IntArray | None = None,
    ) -> IntArray:
        """Return `k` items that go on from each of a few histories [B, L]; each as if it had been alone."""
        count = len(items)
        if count < TOGETHER:  # the library sums one shape in one order
            items = np.concatenate([items, np.full((TOGETHER - count, items.shape[1]), EMPTY)])
            grades = None if grades is None else np.concatenate([grades, np.zeros_like(items[count:], np.int8)])
            if exclude is not None:
                exclude = np.concatenate([exclude[0], np.full(TOGETHER - count, exclude[0][-1])]), exclude[1]
            if candidates is not None:
                more = np.full((TOGETHER - count, candidates.shape[1]), EMPTY)
                candidates = np.concatenate([candidates, more])
        tokens, lengths = self.prompting.written(items, grades)
        whole = 1 + items.shape[1] * self.prompting.longest
        prompts = np.zeros((len(tokens), whole), dtype=np.int64)
        prompts[:, : tokens.shape[1]] = tokens
        told = beam(
            self.model,
            torch.from_numpy(prompts),
            self.trie,
            max(self.beams, k),
            lengths=torch.from_numpy(lengths),
            exclude=exclude,
            candidates=candidates,
        )
        return told.items[:count, :k].numpy().astype(np.int32)

    def histories(self, context: Context) -> tuple[IntArray, GradeArray | None]:
        """Return each user's last items [B, window], this session's included; with `grades` how they were taken."""
        if not self.grades:
            return context.histories(self.window), None
        return graded_histories(context, self.window)

    def state(self) -> Arrays:
        """Return the items' codes and the model's weights."""
        codes = {f"tokenizer.{name}": array for name, array in self.tokenizer.state().items()}
        weights = {f"model.{name}": value.numpy() for name, value in self.model.state_dict().items()}
        return super().state() | codes | weights

    def restore(self, arrays: Arrays) -> None:
        """Take back what `state` gave."""
        super().restore(arrays)
        self.tokenizer = self.new_tokenizer()
        self.tokenizer.restore(_below(arrays, "tokenizer."))
        self._write()
        self.model = self._new_model(0.0)
        self.model.load_state_dict({name: torch.from_numpy(one) for name, one in _below(arrays, "model.").items()})
        self.model.eval()

    def progress(self) -> Arrays:
        """Return the weights, and the optimiser's memory of them."""
        return kept_progress(self._network, self._optimiser)

    def resume(self, arrays: Arrays) -> None:
        """Go on with these weights."""
        resume_progress(self._network, self._optimiser, arrays)


def graded_histories(context: Context, window: int) -> tuple[IntArray, GradeArray]:
    """Return each user's last items [B, window], EMPTY before the first, and how they were taken; no unseen ones."""
    train = context.train
    known = grades_of(train.interactions.ratings)
    items = np.full((len(context), window), EMPTY, dtype=np.int32)
    grades = np.full(items.shape, Grade.UNSEEN, dtype=np.int8)
    for row, user in enumerate(context.users.tolist()):
        met = (context.shown[row] != EMPTY) & (context.grades[row] != Grade.UNSEEN)
        past = slice(max(train.starts[user], train.starts[user + 1] - window), train.starts[user + 1])
        mine = np.concatenate([train.interactions.items[past], context.shown[row][met]])[-window:]
        taken = np.concatenate([known[past], context.grades[row][met]])[-window:]
        if len(mine):
            items[row, -len(mine) :], grades[row, -len(mine) :] = mine, taken
    return items, grades


def _below(arrays: Arrays, prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
