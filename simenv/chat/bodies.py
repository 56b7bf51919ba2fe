"""The request for a question, as fields or as bytes that are mostly made beforehand."""

import json
from collections.abc import Mapping
from typing import Any

from .decisions import in_request, parts, said
from .model import Decision, Question
from .once import Once
from .ways import Way, way_fields, words

HELD = 256  # endings kept; a run has some ten


class Bodies:
    """Makes the requests of one model.

    The messages stand first and whatever depends on the draw stands last, so that questions which begin alike are
    sent alike up to where they differ.
    """

    def __init__(self, model: str, temperature: float | None, seed: bool, extra: Mapping[str, Any]) -> None:
        self.model, self.seed = model, seed
        self.limit = "max_tokens"  # or max_completion_tokens, where an endpoint insists
        self._constant = ({} if temperature is None else {"temperature": temperature}) | dict(extra)
        self._head = f'{{"model":{_dumps(model)},"messages":['
        self._endings: dict[tuple[int, str, int, Way | None, str], tuple[object, str, str]] = {}
        self._asked: Once[tuple[Decision, ...], list[str]] = Once(
            lambda some: [_dumps(list(map(in_request, part))) for part in parts(some)]
        )

    def fields(self, question: Question, way: Way | None) -> dict[str, Any]:
        """Return the request."""
        turns: list[dict[str, str]] = [{"role": message.role, "content": message.text} for message in question.messages]
        turns[0]["content"] += self._words(question, way)
        for turn in turns:
            turn["content"] = turn["content"].encode("utf-8", "replace").decode()
        made = {"model": self.model, "messages": turns} | self._rest(question, way)
        return made | {"seed": question.draw} if self.seed else made

    def nothing(self) -> dict[str, Any]:
        """Return a request that asks nothing; should one answer it all the same, then with one token."""
        return {"model": self.model, "messages": [], self.limit: 1}

    def pack(self, question: Question, way: Way | None) -> bytes:
        """Return the same request as bytes."""
        words, rest = self._ending(question, way)
        first, *others = question.messages
        turns = [f'{{"role":"{first.role}","content":{_dumps(first.text + words)}}}']
        turns += [f'{{"role":"{message.role}","content":{_dumps(message.text)}}}' for message in others]
        end = f',"seed":{question.draw}}}' if self.seed else "}"
        # A lone surrogate is no text that an endpoint could read.
        return f"{self._head}{','.join(turns)}],{rest}{end}".encode("utf-8", "replace")

    def decision_fields(self, question: Question) -> list[dict[str, Any]]:
        """Return the requests for a question's decisions, with as many as one takes in each.

        They hold nothing of what concerns words: no temperature, no seed, nothing extra.
        """
        about = said(question).encode("utf-8", "replace").decode()
        return [
            {"model": self.model, "input": about, "questions": list(map(in_request, part))}
            for part in parts(question.decisions)
        ]

    def pack_decisions(self, question: Question) -> list[bytes]:
        """Return the same requests as bytes."""
        begin = f'{{"model":{_dumps(self.model)},"input":{_dumps(said(question))},"questions":'
        return [f"{begin}{part}}}".encode("utf-8", "replace") for part in self._asked(question.decisions)]

    def _rest(self, question: Question, way: Way | None) -> dict[str, Any]:
        return {self.limit: question.most_tokens} | self._constant | way_fields(way, question)

    def _words(self, question: Question, way: Way | None) -> str:
        return words(question.schema) if way is Way.JSON and question.schema is not None else ""

    def _ending(self, question: Question, way: Way | None) -> tuple[str, str]:
        """Return what ends the first message and what follows the messages, made once for a kind and schema."""
        key = (id(question.schema), question.kind, question.most_tokens, way, self.limit)
        held = self._endings.get(key)
        if held is None:
            if len(self._endings) >= HELD:
                self._endings.clear()
            rest = _dumps(self._rest(question, way))[1:-1]
            # The schema is held too, so that no other can come to bear its id.
            held = self._endings[key] = (question.schema, self._words(question, way), rest)
        return held[1], held[2]


_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
