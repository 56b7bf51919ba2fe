"""A generative policy's model as an ordinary folder of transformers, and what such a folder says of its items."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simenv import __version__
from simenv.arrays import IdArray, IntArray
from simenv.dataset import Dataset
from simenv.errors import SimenvError, StoreError
from simenv.pages import EMPTY
from simenv.provenance import LEARNT_FROM, plain_sources

from .disambiguation import collisions
from .titles import TitleTokenizer
from .tokens import Tokens

if TYPE_CHECKING:
    from .policy import Generative

ITEMS, USERS = "items.json", "users.json"


def publish(policy: "Generative", folder: Path, dataset: Dataset) -> None:
    """Write a fitted policy's model so that AutoModelForCausalLM and AutoTokenizer load it, with its items' tokens.

    The tokenizer knows every token by its name: "<begin><a_3><b_7>" is read as the policy writes it. `items.json`
    tells each item's tokens, by the data set's own ids, `among` what each is told, and from which simulated users it
    was learnt; `users.json` tells each user's tokens where the policy tells users.
    """
    folder = Path(folder)
    if not policy.item_count:
        raise SimenvError(f"{type(policy).__name__} has not been fitted: there is nothing to publish")
    policy.tokenizer.check(dataset)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ITEMS).is_file():
        raise StoreError(f"{folder}: holds other files; give a folder of its own")
    folder.mkdir(parents=True, exist_ok=True)
    policy.language.publish(policy.model, folder)
    made = {"made": policy.language.made, "simenv": __version__}
    spell, prompting = policy.language.token, policy.prompting
    items = _told(policy.tokenizer, dataset.catalog.ids, prompting.rows, spell)
    learnt_from = {LEARNT_FROM: plain_sources(policy.simulated_sources)} if policy.simulated_sources else {}
    _write(folder / ITEMS, made | {"among": policy.normalise} | learnt_from | items)
    if policy.user_names is not None and prompting.users is not None:
        policy.user_names.check(dataset)
        _write(folder / USERS, made | _told(policy.user_names, dataset.users.ids, prompting.users, spell))


@dataclass(frozen=True, slots=True, eq=False)
class Published:
    """What a published folder says of its items."""

    folder: Path
    made: bool  # whether its model was made from nothing, rather than of a checkpoint
    about: dict[str, Any]  # of its items

    def name(self, tokens: Tokens, dataset: Dataset) -> None:
        """Name a data set's items, or users, as they were named here."""
        about = self.about if tokens.what == "items" else _read(self.folder / USERS)
        count = len(dataset.catalog) if tokens.what == "items" else len(dataset.users)
        if tokens.fingerprint_of(dataset) != about["fingerprint"]:
            theirs = f"{len(about['rows'])} {tokens.what} of '{about['dataset']}'"
            raise SimenvError(
                f"{self.folder}: names {theirs}, and '{dataset.name}' has others ({count});"
                " take the data that it was fitted to, or another folder"
            )
        ids = dataset.catalog.ids if tokens.what == "items" else dataset.users.ids
        if list(about["rows"]) != [str(one) for one in ids.tolist()]:
            raise StoreError(f"{self.folder}: its rows are not those of the {count} {tokens.what}; publish it again")
        if isinstance(tokens, TitleTokenizer):
            tokens.fit(dataset)  # the folder's own tokenizer reads titles as it did
            return
        sizes = tuple(about["sizes"])
        tokens.codes, tokens.sizes = np.zeros((0, len(sizes)), np.int64), sizes
        places = {name: place for place, name in enumerate(tokens.names())}
        try:
            codes = _codes([[places[name] for name in names] for names in about["rows"].values()], sizes)
        except KeyError as missing:
            raise StoreError(f"{self.folder}: the token {missing} is none of its levels'; publish it again") from None
        tokens.keep(dataset, codes, sizes, collisions(codes))


def read_published(folder: Path) -> Published | None:
    """Return what a folder says of its items; None where it was not published from here."""
    if not (folder / ITEMS).is_file():
        return None
    about = _read(folder / ITEMS)
    return Published(folder, bool(about["made"]), about)


def _told(tokens: Tokens, ids: IdArray, rows: IntArray, spell: Callable[[int], str]) -> dict[str, Any]:
    told = {
        str(one): [spell(token) for token in row if token != EMPTY]
        for one, row in zip(ids.tolist(), rows.tolist(), strict=True)
    }
    about = {"dataset": tokens.dataset_name, "fingerprint": tokens.fingerprint, "sizes": list(tokens.sizes)}
    return about | {"rows": told}


def _codes(rows: Sequence[Sequence[int]], sizes: tuple[int, ...]) -> IntArray:
    """Return the codes of rows of tokens that are counted through all levels."""
    codes = np.full((len(rows), len(sizes)), EMPTY, dtype=np.int64)
    begins = np.cumsum((0, *sizes[:-1]))
    for place, row in enumerate(rows):
        mine = np.array(row, dtype=np.int64) - begins[: len(row)]
        if len(row) > len(sizes) or (mine < 0).any() or (mine >= np.array(sizes)[: len(row)]).any():
            raise KeyError("that stands at another level")
        codes[place, : len(row)] = mine
    return codes


def _write(file: Path, about: dict[str, Any]) -> None:
    file.write_text(json.dumps(about, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(file: Path) -> dict[str, Any]:
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(about, dict) or not {"rows", "sizes", "fingerprint", "dataset", "made"} <= about.keys():
            raise ValueError("not what was written")
        if not isinstance(about["rows"], dict) or not all(isinstance(names, list) for names in about["rows"].values()):
            raise ValueError("its rows are no lists of tokens")
        if not isinstance(about["sizes"], list) or not all(isinstance(size, int) for size in about["sizes"]):
            raise ValueError("its sizes are no whole numbers")
    except FileNotFoundError:
        raise StoreError(f"{file.parent}: has no {file.name}; publish it from a policy that tells users") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{file}: cannot be read ({error}); publish it again") from None
    return about
