"""What the generative recommender writes with: a small model made from nothing, or a checkpoint of transformers."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from simenv.errors import SimenvError, StoreError
from simenv.language.llama import CONFIG, Llama, Shape, load_llama, save_llama
from simenv.options import check_choice, check_whole
from simenv.store import Arrays

from .publish import ITEMS, Published, read_published
from .wording import MOST, UNKNOWN, frequent, numbered, tokenizer_files

BEGINS, ENDS = "<begin>", "<end>"
RANK = 8


class Backbone(Protocol):
    """A kind of language model, and the numbers by which it knows our tokens."""

    made: bool  # whether it is made from nothing
    published: Published | None  # what its folder says of its items, if that was published from here

    def learn(self, names: Sequence[str], texts: Iterable[str] | None, most: int | None = MOST) -> None:
        """Give our tokens their numbers, one after the other; so many words of `texts`, if any, must be read."""
        ...

    def number(self, name: str) -> int:
        """Return the number of one of our tokens."""
        ...

    def token(self, number: int) -> str:
        """Return the name of any token."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of some tokens."""
        ...

    def make(self, context: int, dropout: float) -> Any:
        """Return a model for so many tokens at once, as it is before it learns; torch's luck draws what is new."""
        ...

    def rested(self, network: Any, context: int) -> Any:
        """Return the model that decodes, of one that learns."""
        ...

    def state(self) -> Arrays:
        """Return all that `make` needs besides the options."""
        ...

    def restore(self, arrays: Arrays) -> None:
        """Take back what `state` gave."""
        ...

    def publish(self, model: Any, folder: Path) -> None:
        """Write a model and its tokenizer as transformers loads them."""
        ...


class Made:
    """A small Llama with a vocabulary of its own, from nothing or from the folder that one was published in."""

    made = True

    def __init__(self, dimensions: int, layers: int, heads: int, published: Published | None = None) -> None:
        self.dimensions, self.layers, self.heads, self.published = dimensions, layers, heads, published
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        self.shape: Shape | None = None

    def learn(self, names: Sequence[str], texts: Iterable[str] | None, most: int | None = MOST) -> None:
        """Take our names, and the most frequent words of some texts, in this order."""
        if self.published is None:
            self._name([*names, *(() if texts is None else frequent(texts, most))])
            return
        self._name(_vocabulary(self.published.folder))
        for name in names:
            self.number(name)
        if texts is not None and UNKNOWN not in self._numbers:
            what = "its model reads no words; publish one that was fitted with titles or with tasks in words"
            raise SimenvError(f"{self.published.folder}: {what}")

    def _name(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._numbers = {name: number for number, name in enumerate(names)}

    def number(self, name: str) -> int:
        """Return the number of one of our tokens."""
        if name not in self._numbers:
            where = "the model" if self.published is None else str(self.published.folder)
            raise SimenvError(f"{where}: knows no token {name}; it was fitted without the task or the users it is for")
        return self._numbers[name]

    def token(self, number: int) -> str:
        """Return a token or word."""
        return self.names[number]

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text's words."""
        return numbered(text, self._numbers)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return some tokens by their names."""
        return " ".join(self.names[token] for token in tokens)

    def make(self, context: int, dropout: float) -> Llama:
        """Return a model of random weights, or the folder's."""
        if self.shape is None and self.published is not None:
            told = load_llama(self.published.folder)
            self.shape = told.shape
            model = Llama(_fitting(told.shape, len(self.names), context, self.published.folder), dropout=dropout)
            model.load_state_dict(told.state_dict())
            return model.train()
        shape = self.shape or Shape(len(self.names), self.dimensions, self.layers, self.heads)
        return Llama(_fitting(shape, len(self.names), context, None), dropout=dropout)

    def rested(self, network: Llama, context: int) -> Llama:
        """Return a copy that learns no more."""
        model = self.make(context, 0.0)
        model.load_state_dict(network.state_dict())
        return model.eval()

    def state(self) -> Arrays:
        """Return the tokens' names, and the size of a model that came from a folder."""
        arrays: Arrays = {"names": _bytes("\n".join(self.names))}
        if self.published is not None and self.shape is not None:
            one = self.shape
            arrays["shape"] = np.array([one.dimensions, one.layers, one.heads, one.width])
        return arrays

    def restore(self, arrays: Arrays) -> None:
        """Take back what `state` gave."""
        self._name(arrays["names"].tobytes().decode().split("\n"))
        if "shape" in arrays:
            self.shape = Shape(len(self.names), *arrays["shape"].tolist())

    def publish(self, model: Llama, folder: Path) -> None:
        """Write a Llama and a tokenizer of whole words."""
        ends, begins = self.number(ENDS), self.number(BEGINS)
        save_llama(model, folder, ends=ends, begins=begins, pads=ends)
        for name, content in tokenizer_files(self.names, ENDS, BEGINS).items():
            (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


class Checkpoint:
    """Any causal language model of transformers, from a folder: our tokens come after its own."""

    made = False

    def __init__(self, folder: Path, rank: int, published: Published | None = None) -> None:
        try:
            from transformers import AutoTokenizer
        except ImportError:
            from simenv.errors import MissingExtra

            raise MissingExtra("a checkpoint as a recommender", "hf") from None
        self.folder, self.rank, self.published = folder, rank, published
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise SimenvError(f"{folder}: its tokenizer cannot be loaded ({str(error)[:200]})") from None
        self.first, self.names = 0, [""]

    def learn(self, names: Sequence[str], texts: Iterable[str] | None, most: int | None = MOST) -> None:  # noqa: ARG002
        """Add our names to its tokenizer; one that was published has them already."""
        known = self.tokenizer.get_vocab()
        if self.published is not None:
            self._find(known, names)
            return
        for name in names:
            if name in known:
                what = f"its tokenizer has a token {name} already, and no {ITEMS} tells what it names"
                raise SimenvError(f"{self.folder}: {what}; publish it again, or take another checkpoint")
        self.names, self.first = list(names), len(self.tokenizer)
        self.tokenizer.add_tokens(self.names, special_tokens=True)
        self._find(self.tokenizer.get_vocab(), names)

    def _find(self, known: Mapping[str, int], names: Sequence[str]) -> None:
        """Find our tokens in its vocabulary: in one stretch, at its end."""
        missing = [name for name in names if name not in known]
        if missing:
            what = f"its tokenizer lacks {len(missing)} of {len(names)} tokens, {missing[0]} first"
            raise SimenvError(f"{self.folder}: {what}; a checkpoint without them cannot write items, publish it again")
        self.first = known[ENDS]
        self.names = sorted((name for name, number in known.items() if number >= self.first), key=known.__getitem__)
        if [known[name] for name in self.names] != list(range(self.first, self.first + len(self.names))):
            raise SimenvError(f"{self.folder}: its tokenizer does not number our tokens one after the other")

    def number(self, name: str) -> int:
        """Return the number of one of our tokens."""
        try:
            return self.first + self.names.index(name)
        except ValueError:
            what = "it was fitted without the task or the users it is for"
            raise SimenvError(f"{self.folder}: knows no token {name}; {what}") from None

    def token(self, number: int) -> str:
        """Return a token as its tokenizer writes it."""
        return str(self.tokenizer.convert_ids_to_tokens(number))

    def encode(self, text: str) -> list[int]:
        """Return a text's tokens; none stands for its beginning."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of some tokens."""
        return str(self.tokenizer.decode(list(tokens)))

    def make(self, context: int, dropout: float) -> Any:  # noqa: ARG002  (a checkpoint has its own)
        """Return the folder's model with rows for our tokens."""
        from simenv.language.widened import open_widened

        known = self.published is not None
        model = open_widened(self.folder, self.first, len(self.names), self.rank, known=known)
        if model.context is not None and model.context < context:
            what = f"its context holds {model.context:,} tokens, and the window asks for {context:,}"
            raise SimenvError(f"{self.folder}: {what}; take a shorter window")
        return model.train()

    def rested(self, network: Any, context: int) -> Any:  # noqa: ARG002
        """Return the model itself, at rest: a copy could be too much."""
        return network.eval()

    def state(self) -> Arrays:
        """Return our tokens' names, and a mark of the folder."""
        return {"names": _bytes("\n".join(self.names)), "mark": _bytes(_mark(self.folder))}

    def restore(self, arrays: Arrays) -> None:
        """Take back what `state` gave, and refuse another checkpoint in the folder."""
        if arrays["mark"].tobytes().decode() != _mark(self.folder):
            raise StoreError(f"{self.folder}: holds another checkpoint than what was learnt was learnt beside")
        self.learn(arrays["names"].tobytes().decode().split("\n"), None)

    def publish(self, model: Any, folder: Path) -> None:
        """Write the checkpoint with what was learnt in its weights, and its tokenizer with our tokens."""
        model.save_whole(folder)
        self.tokenizer.save_pretrained(folder)


def checked_backbone(backbone: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the option as it is kept, or tell what is wrong with it."""
    if backbone is None:
        return None
    if not isinstance(backbone, Mapping) or "path" not in backbone:
        raise SimenvError(f"backbone is {backbone!r}; it must name a path, and may name a rank")
    for name in backbone:
        check_choice(("path", "rank"), **{"part of a backbone": name})
    if "rank" in backbone:
        check_whole(least=0, rank=backbone["rank"])
    return {**backbone, "path": str(backbone["path"])}


def open_backbone(backbone: Mapping[str, Any] | None, dimensions: int, layers: int, heads: int) -> Backbone:
    """Return what is written with: made from nothing, unless a folder is named."""
    if backbone is None:
        return Made(dimensions, layers, heads)
    from simenv.chat.local import checked_folder

    folder = checked_folder(backbone["path"])
    published = read_published(folder)
    if published is not None and published.made:
        if "rank" in backbone:
            raise SimenvError(f"{folder}: holds a small model, which is learnt whole; leave out rank")
        return Made(dimensions, layers, heads, published)
    return Checkpoint(folder, int(backbone.get("rank", RANK)), published)


def _fitting(shape: Shape, names: int, context: int, folder: Path | None) -> Shape:
    if shape.vocabulary != names:
        what = f"its tokenizer knows {names:,} tokens and its model {shape.vocabulary:,}"
        raise StoreError(f"{folder}: {what}; publish it again")
    return Shape(names, shape.dimensions, shape.layers, shape.heads, shape.width, context)


def _vocabulary(folder: Path) -> list[str]:
    """Return the tokens of a folder's tokenizer in their order."""
    try:
        known = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        names = sorted(known, key=known.__getitem__)
        if [known[name] for name in names] != list(range(len(names))):
            raise ValueError("numbers are missing")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder}: its tokenizer cannot be read ({error}); publish it again") from None
    return names


def _mark(folder: Path) -> str:
    """Return a fingerprint of a checkpoint: its shape, and the beginning and size of its weights."""
    digest = hashlib.blake2b((folder / CONFIG).read_bytes(), digest_size=12)
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as content:
            digest.update(repr((file.name, file.stat().st_size)).encode() + content.read(1 << 20))
    return digest.hexdigest()


def _bytes(text: str) -> Any:
    return np.frombuffer(text.encode(), dtype=np.uint8).copy()
