"""Vectors from an endpoint: of length 1, recorded, and never a word that could be taken for one."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simenv.chat.embedding import Embedding
from simenv.chat.faults import DeadEnd, Passing
from simenv.chat.opening import Answers, open_embedding
from simenv.chat.vectors import embedded, packed, unpacked
from simenv.errors import ScenarioError


def vector(model: Any, text: str) -> np.ndarray:
    async def go() -> np.ndarray:
        try:
            return unpacked((await model.ask(embedded(text))).text)
        finally:
            await model.close()

    return asyncio.run(go())


def test_a_text_gets_a_vector_of_length_one(server: Any):
    found = vector(Embedding("scripted", server.url, dimensions=26), "abba")
    assert found.dtype == np.float32
    assert found[:3] == pytest.approx([2 / 8**0.5, 2 / 8**0.5, 0])
    asked = json.loads(server.bodies[0])
    assert asked == {"model": "scripted", "input": "abba", "encoding_format": "float", "dimensions": 26}


def test_vectors_that_come_packed_are_unpacked(server: Any):
    coded = base64.b64encode(np.array([3, 4], dtype="<f4").tobytes()).decode()
    server.embeds = lambda _: {"data": [{"embedding": coded}]}
    assert vector(Embedding("scripted", server.url), "any") == pytest.approx([0.6, 0.8])
    assert unpacked(packed(np.array([0.5, -2.0]))).tolist() == [0.5, -2.0]


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"data": []},
        {"data": [{"embedding": []}]},
        {"data": [{"embedding": [0.0, 0.0]}]},
        {"data": [{"embedding": [[1.0]]}]},
        {"data": [{"embedding": ["a", None]}]},
        {"data": [{"embedding": "no base64!"}]},
        {"data": [{"embedding": {"a": 1}}]},
        {"data": "x", "usage": 3},
    ],
)
def test_what_is_no_vector_is_not_taken_for_one(server: Any, told: Any):
    server.embeds = lambda _: told
    with pytest.raises(Passing, match="answered with no vector"):
        vector(Embedding("scripted", server.url), "any")


def test_an_endpoint_without_vectors_or_model_says_so(server: Any, script: Any):
    with pytest.raises(DeadEnd, match="knows no model 'other'; it has scripted"):
        vector(Embedding("other", server.url), "any")
    server.always = script.status(404, "Not Found")
    with pytest.raises(DeadEnd, match="has no embeddings"):
        vector(Embedding("scripted", server.url), "any")
    with pytest.raises(ScenarioError, match="takes model, base_url, dimensions, slots and timeout, not temperature"):
        Embedding("scripted", server.url, temperature=1.0)


def test_a_text_is_asked_once_and_replayed(server: Any, tmp_path: Path):
    record = tmp_path / "answers.sqlite"
    first = vector(open_embedding(Answers(record), model="scripted", base_url=server.url), "abba")
    again = vector(open_embedding(Answers(record), model="scripted", base_url=server.url), "abba")
    replayed = vector(open_embedding(Answers(record, True), model="scripted", base_url=server.url), "abba")
    assert len(server.bodies) == 1
    assert first.tolist() == again.tolist() == replayed.tolist()
    with pytest.raises(DeadEnd, match="no answer to this question of kind 'embedding'"):
        vector(open_embedding(Answers(record, True), model="scripted", base_url=server.url), "new")
