"""The generative recommender: a small language model over items' tokens, which writes the next item."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from simenv.arrays import FloatArray, GradeArray, IntArray
from simenv.chance import key, stream
from simenv.context import Context
from simenv.dataset import Dataset, grades_of
from simenv.errors import SimenvError
from simenv.language.llama import Shape
from simenv.language.rows import TokenRows
from simenv.options import check_choice, check_number, check_whole
from simenv.pages import EMPTY, Grade
from simenv.provenance import SimulatedSource, read_sources
from simenv.store import Arrays
from simenv.torches import hold_memory, kept_progress, resume_progress, set_rate

from ..learned import Learned
from .answering import answer, search
from .backbones import Backbone, checked_backbone, open_backbone
from .beam import beam
from .disambiguation import Way
from .features import Kind
from .guides import Normalise
from .histories import Histories, unlikelihood
from .packing import Spans
from .prompting import END, FIRST_ITEM, SPECIAL, Prompting
from .tasks import NEXT, TASKS, Lore, Writing, checked_tasks, drawn, room, shares, task_tokens
from .titles import TitleTokenizer
from .tokenizer import QUANTISERS, ItemTokenizer, Quantiser, UserTokenizer
from .tokens import Tokens, UserTokens
from .trie import ItemTrie

import torch  # isort: skip  (after the model, which says how to install it)
from torch import Tensor

LOG = logging.getLogger(__name__)
TOGETHER = 32  # users whose pages are written at once, never more or fewer
NUMBERS = " ".join(map(str, range(2, 100)))  # by which titles that are alike are told apart
STEPS = (4, 10, 20)  # the lengths in items that histories are filled up to, besides the window itself


class Generative(Learned):
    """Names each item by a few tokens and learns, as a causal language model, to write histories on.

    An item's name begins with `levels` codes of what it is like by its `features`: of `codes` clusters each, found by
    the `quantiser`; `disambiguation` then tells items of one name apart, by a token of their own, by a digit, or by
    another code (see `ItemTokenizer`). A page holds the items of the best beams, `beams` of them at least; no item can
    come that the catalogue does not hold, that is left out, or that stands on the page already. With `grades` a history
    tells how each item was taken, and a session's disliked and passed items stand in it too. With `users` a user's own
    tokens stand before the history, unless nothing was known of him; the `quantiser` 'dual' learns both together (see
    `DualTokenizer`), and 'titles' names items by the words of their titles.

    What comes next is told `among` the tokens of its own level of items, as it is when pages are written; or, as titles
    are, among the whole vocabulary.

    `backbone` names a folder to begin from: `{path: ..., rank: 8}` any causal model of transformers, of which `rank`
    says how much is learnt beside its layers (0: all of it); or what `publish` wrote. `tasks` are what is learnt, and
    their weights (see `tasks.TASKS`).
    """

    fewest_epochs = 1

    def __init__(
        self,
        *,
        features: Kind = "both",
        quantiser: Quantiser | Literal["dual", "titles"] = "residual",
        levels: int = 1,
        codes: int = 256,
        disambiguation: Way = "own",
        dimensions: int = 128,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.2,
        window: int = 20,
        grades: bool = False,
        users: bool = False,
        among: Literal["level", "vocabulary"] | None = None,
        tasks: Mapping[str, float] | None = None,
        backbone: Mapping[str, Any] | None = None,
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
        self.window, self.grades, self.users, self.among, self.beams = window, grades, users, among, beams
        self.tasks, self.backbone = checked_tasks(tasks, users or quantiser == "dual"), checked_backbone(backbone)
        self.learning_rate, self.decay, self.smoothing = learning_rate, decay, smoothing
        self.batch_size, self.epochs, self.patience, self.check_every = batch_size, epochs, patience, check_every
        self.seed = seed
        self.simulated_sources: tuple[SimulatedSource, ...] = ()  # whose seeds must not judge it
        self.new_tokenizer()  # its options are checked at the door too
        if among is not None:
            check_choice(("level", "vocabulary"), among=among)
        if quantiser == "titles" and among == "level":
            raise SimenvError("titles are written in words of any kind, so they are told among: vocabulary")
        Shape(FIRST_ITEM, dimensions, layers, heads)

    def check_sources(self) -> None:
        """Say so where the folder to begin from is missing."""
        if self.backbone is not None:
            from simenv.chat.local import checked_folder

            checked_folder(self.backbone["path"])

    def new_tokenizer(self) -> Tokens:
        """Return the items' tokenizer, before it is fitted."""
        check_choice((*QUANTISERS, "dual", "titles"), quantiser=self.quantiser)
        if self.quantiser == "titles":
            return TitleTokenizer(lambda text: self.language.encode(text), END)
        how: dict[str, Any] = {"features": self.features, "levels": self.levels, "codes": self.codes, "seed": self.seed}
        if self.quantiser == "dual":
            from .dual import DualTokenizer

            return DualTokenizer(disambiguation=self.disambiguation, **how)
        return ItemTokenizer(quantiser=self.quantiser, disambiguation=self.disambiguation, **how)

    def new_user_names(self) -> UserTokens | None:
        """Return the users' tokenizer, before it is fitted: the items' own where both are learnt together."""
        if self.quantiser == "dual":
            return self.tokenizer.users  # type: ignore[attr-defined, no-any-return]
        how: dict[str, Any] = {"features": self.features, "levels": self.levels, "codes": self.codes, "seed": self.seed}
        if self.quantiser != "titles":
            how["quantiser"] = self.quantiser
        return UserTokenizer(**how) if self.users else None

    def begin(self, dataset: Dataset) -> None:
        """Name the items, draw the weights, and cut the histories."""
        hold_memory()
        self._histories = Histories.of(dataset, self.window)
        if not len(self._histories):
            raise SimenvError(f"{dataset.name}: nobody has two interactions, so there is no next item to learn")
        self._open_language()
        self.tokenizer = self.new_tokenizer()
        titles = self.tokenizer if isinstance(self.tokenizer, TitleTokenizer) else None
        if titles is None:
            self._name(self.tokenizer, dataset)
        self._name_users(dataset)
        self._lore = Lore(dataset, self.window, None if self.user_names is None else self.user_names.rows())
        reads = any(TASKS[name].reads for name in self.tasks if name != NEXT)
        if titles is None:
            self.language.learn(self._names(), self._lore.texts() if reads else None)
        else:  # which are written in words, so these come first, all of them
            self.language.learn(self._names(), [*self._lore.texts(), *self._lore.years(), NUMBERS], None)
            titles.end = self.language.number(SPECIAL[END])
            self._name(titles, dataset)
        self._write()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(key(self.seed, "generative") >> np.uint64(1)))
            self._network = self.language.make(self._room(), self.dropout)
        matrices = [weight for weight in self._network.parameters() if weight.dim() > 1]
        others = [weight for weight in self._network.parameters() if weight.dim() < 2]
        groups = [{"params": matrices, "weight_decay": self.decay}, {"params": others, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.98), fused=True)

    def _open_language(self) -> None:
        """Open what is written with; whom a published folder learnt from, the policy learnt from too."""
        self.language = self.new_language()
        published = self.language.published
        self.simulated_sources = () if published is None else read_sources(published.about, published.folder)

    def new_language(self) -> Backbone:
        """Return what is written with, before it knows any item."""
        return open_backbone(self.backbone, self.dimensions, self.layers, self.heads)

    def _name(self, tokens: Tokens, dataset: Dataset) -> None:
        """Name items or users; a published folder has named them already."""
        if self.language.published is not None:
            self.language.published.name(tokens, dataset)
        else:
            tokens.fit(dataset)  # type: ignore[attr-defined]

    def _name_users(self, dataset: Dataset) -> None:
        """Name the users, where they are told."""
        self.user_names = self.new_user_names()
        if self.user_names is None:
            return
        if isinstance(self.user_names, UserTokenizer) or self.language.published is not None:
            self._name(self.user_names, dataset)
        self.user_names.codes[np.diff(dataset.starts) == 0] = EMPTY  # of whom nothing is known

    def _names(self) -> list[str]:
        """Return all tokens that are ours, but for words."""
        users = [] if self.user_names is None else self.user_names.names()
        items = [] if isinstance(self.tokenizer, TitleTokenizer) else self.tokenizer.names()
        return [*SPECIAL, *items, *users, *task_tokens(self.tasks)]

    def _write(self) -> None:
        """Find the numbers by which the model knows items, users and tasks."""
        number = self.language.number
        names = self.tokenizer.names()
        rows = self.tokenizer.rows(number(names[0]) if names else 0)  # of titles the numbers are known
        users = None if self.user_names is None else self.user_names.rows(number(self.user_names.names()[0]))
        self.prompting = Prompting(rows, self.grades, number(SPECIAL[END]), users)
        for name in task_tokens(self.tasks):
            number(name)
        self.pen = Writing(self.prompting, number, self.language.encode)
        self.trie = ItemTrie.of(self.prompting.rows, vocabulary=number(names[-1]) + 1 if names else None)
        self._their_train: Dataset | None = None

    def _room(self) -> int:
        """Return how many tokens are read at once at most."""
        # One item more than the window: the one that is written after it.
        longest = self.prompting.head + (self.window + 1) * self.prompting.longest
        return max(longest, room(self.tasks, self.prompting, self.window))

    def epoch(self, number: int) -> float:
        """Take a step for each batch of like-long stretches."""
        rng = stream(self.seed, "generative", number)
        set_rate(self._optimiser, self.learning_rate * (0.1 + 0.9 * (1 + np.cos(np.pi * number / self.epochs)) / 2))
        total, count = 0.0, 0
        self._network.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(key(self.seed, "generative", number) >> np.uint64(1)))
            for batch in self._batches(number, rng):
                loss, told = self.step(batch) if isinstance(batch, np.ndarray) else self._taught(*batch)
                total += loss * told
                count += told
        return total / max(count, 1)

    def _batches(self, number: int, rng: np.random.Generator) -> Iterator[IntArray | tuple[Tensor, Tensor]]:
        """Yield an epoch's batches: of rows of histories, and of the other tasks' tokens and which are wanted."""
        if self.tasks.keys() == {NEXT}:
            yield from self._histories.batches(self.batch_size, rng)
            return
        batches: list[Any] = list(self._histories.batches(self.batch_size, rng)) if NEXT in self.tasks else []
        for name, count in shares(self.tasks, len(self._histories)).items():
            luck = stream(self.seed, "generative", name, number)
            rows = TokenRows.of(drawn(TASKS[name], self._lore, self.pen, count, luck))
            if not len(rows):
                raise SimenvError(f"{self._lore.dataset.name}: nothing to learn the task {name} from")
            some = rows.batches(self.batch_size * self.prompting.longest, luck)
            batches += [(rows, places) for places in some]
        for place in stream(self.seed, "mixture", number).permutation(len(batches)):
            batch = batches[place]
            yield batch if isinstance(batch, np.ndarray) else batch[0].laid(batch[1])

    def step(self, laid: IntArray) -> tuple[float, int]:
        """Take one step for a batch of stretches of rows [B, L]; return the mean loss, and of how many tokens."""
        return self._taught(*self._histories.written(self.prompting, laid), self.spans)

    def _taught(self, tokens: Tensor, wanted: Tensor, spans: Spans | None = None) -> tuple[float, int]:
        """Take one step for the wanted of some tokens [B, L]; return the mean loss, and of how many."""
        loss = unlikelihood(self._network, tokens, wanted, spans, self.smoothing)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimiser.step()
        return float(loss.detach()), int(wanted[:, 1:].sum())

    def ready(self) -> None:
        """Keep a model that no longer changes."""
        self.model = self.language.rested(self._network, self._room())

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the items of the best beams."""
        items, grades = self.histories(context)
        begins, left_out = context.left_out()
        lengths = (items != EMPTY).sum(axis=1)
        users = self.known_users(context)
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
                who = None if users is None else users[few]
                found[few] = self.write(items[few, self.window - size :], told, k, exclude, among, who)
        return found

    @torch.inference_mode()
    def write(
        self,
        items: IntArray,
        grades: GradeArray | None,
        k: int,
        exclude: tuple[IntArray, IntArray] | None = None,
        candidates: IntArray | None = None,
        users: IntArray | None = None,
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
            users = None if users is None else np.concatenate([users, np.full(TOGETHER - count, EMPTY)])
        tokens, lengths = self.prompting.written(items, grades, users)
        whole = self.prompting.head + items.shape[1] * self.prompting.longest
        prompts = np.full((len(tokens), whole), self.prompting.end, dtype=np.int64)
        prompts[:, : tokens.shape[1]] = tokens
        told = beam(
            self.model,
            torch.from_numpy(prompts),
            self.trie,
            max(self.beams, k),
            lengths=torch.from_numpy(lengths),
            exclude=exclude,
            candidates=candidates,
            normalise=self.normalise,
        )
        return told.items[:count, :k].numpy().astype(np.int32)

    @property
    def normalise(self) -> Normalise:
        """Return among what an item's tokens are told."""
        return self.among or ("vocabulary" if self.quantiser == "titles" else "level")

    @property
    def spans(self) -> Spans | None:
        """Return of each level of items the tokens among which one is told; None: the whole vocabulary."""
        return self.trie.spans if self.normalise == "level" else None

    def answer(self, task: str, context: Context, candidates: IntArray | None = None) -> FloatArray:
        """Return what the model says of each user's candidates [B, C]; NaN where there is none (EMPTY).

        To 'yes-no', how likely the user is to like each; to 'pick', how likely it is the one of them that comes next.
        """
        self._check(context, 1)
        return answer(self, task, context, candidates)

    def search(self, query: str, k: int) -> IntArray:
        """Return up to `k` items that some words call for, best first."""
        return search(self, query, k)

    def known_users(self, context: Context) -> IntArray | None:
        """Return the users whose tokens are told, EMPTY for those of another data set; None where none are told."""
        if self.user_names is None:
            return None
        if self._their_train is not context.train:
            self._their_train = context.train
            self._same_users = self.user_names.fingerprint_of(context.train) == self.user_names.fingerprint
            if not self._same_users:
                LOG.warning("%s has users that the policy was not fitted to; it tells none", context.train.name)
        return context.users if self._same_users else np.full(len(context), EMPTY)

    def histories(self, context: Context) -> tuple[IntArray, GradeArray | None]:
        """Return each user's last items [B, window], this session's included; with `grades` how they were taken."""
        if not self.grades:
            return context.histories(self.window), None
        return graded_histories(context, self.window)

    def state(self) -> Arrays:
        """Return the items' codes and the model's weights."""
        parts = {"tokenizer": self.tokenizer.state(), "language": self.language.state()}
        if isinstance(self.user_names, UserTokenizer):
            parts["users"] = self.user_names.state()
        kept = {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
        weights = {f"model.{name}": value.numpy() for name, value in self.model.state_dict().items()}
        return super().state() | kept | weights

    def restore(self, arrays: Arrays) -> None:
        """Take back what `state` gave."""
        super().restore(arrays)
        self._open_language()
        self.language.restore(_below(arrays, "language."))
        self.tokenizer = self.new_tokenizer()
        self.tokenizer.restore(_below(arrays, "tokenizer."))
        self.user_names = self.new_user_names()
        if isinstance(self.user_names, UserTokenizer):
            self.user_names.restore(_below(arrays, "users."))
        self._write()
        self.model = self.language.make(self._room(), 0.0)
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
