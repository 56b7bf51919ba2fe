"""Vectors of texts as questions and answers, so that a record holds them like any others."""

import base64

import numpy as np

from simenv.arrays import FloatArray

from .model import Message, Question

KIND = "embedding"  # of question: its one message is the text


def embedded(text: str) -> Question:
    """Return the question for a text's vector; endpoints refuse a text of nothing."""
    return Question(KIND, (Message("user", text if text.strip() else "(nothing)"),), most_tokens=1)


def unpacked(text: str) -> FloatArray:
    """Return the vector that an answer holds."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float32)


def packed(vector: FloatArray) -> str:
    """Return a vector as an answer holds it."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
