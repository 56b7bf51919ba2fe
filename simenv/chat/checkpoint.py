"""A checkpoint of transformers: what it reads for a question, and its answers, many at once and held to their forms."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import TemplateError

from simenv.errors import MissingExtra

from .faults import DeadEnd, Refused
from .model import Answer, Message, Question

try:
    import torch
    from llguidance import LLMatcher
    from llguidance.hf import from_tokenizer
    from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
    from torch import Tensor
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        GenerationConfig,
        LogitsProcessor,
        LogitsProcessorList,
        StoppingCriteria,
        StoppingCriteriaList,
    )
    from transformers.utils import logging as transformers_log
except ImportError:
    raise MissingExtra("a model from a folder", "local") from None

JSON: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}  # as json.dumps writes it


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question as the model reads it, and what its answer is held to."""

    tokens: list[int]
    most_tokens: int  # of the answer, so that both fit into the context
    grammar: str | None  # of the answer's form; None: any text
    luck: np.random.Generator  # a number of it for each token
    wanted: Callable[[], bool]  # whether somebody still waits for the answer


class Checkpoint:
    """A model and its tokenizer, from a folder and nowhere else."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        local: Any = {"local_files_only": True, "trust_remote_code": False}
        transformers_log.disable_progress_bar()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, **local)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype=dtype, **local)
        self.model = model.to(torch.device(device)).eval()
        config = self.model.config.get_text_config()
        self.context: int | None = getattr(config, "max_position_embeddings", None)
        self.vocabulary: int = max(config.vocab_size, len(self.tokenizer))  # either may have a few of its own
        told = [getattr(one, "eos_token_id", None) for one in (model.generation_config, config, self.tokenizer)]
        self.ends = _ends(told)
        if not self.ends:
            raise DeadEnd(f"the model {folder.name} names no token that ends an answer (eos_token in its tokenizer)")
        # Nothing else of the checkpoint's own settings may speak: transformers would fill what we leave open from it.
        self.model.generation_config = GenerationConfig()
        self.words = from_tokenizer(self.tokenizer, self.vocabulary, self.ends)  # type: ignore[arg-type]

    @property
    def about(self) -> str:
        """Return what was loaded, in words."""
        count = sum(weights.numel() for weights in self.model.parameters())
        return f"{count:,} weights of {self.model.dtype} on {self.model.device}"

    def prompt(
        self, question: Question, template: Mapping[str, Any], luck: np.random.Generator, wanted: Callable[[], bool]
    ) -> Prompt:
        """Return what is read for a question, or raise Refused where it can have no answer."""
        tokens = conversation_tokens(self.tokenizer, question.messages, template)
        room = question.most_tokens if self.context is None else min(question.most_tokens, self.context - len(tokens))
        if room < 1:
            what = f"the question takes {len(tokens):,} tokens, and the model's context holds {self.context:,}"
            raise Refused(f"{what} with the answer; show shorter pages or remember less")
        schema = question.schema
        grammar = None if schema is None else LLMatcher.grammar_from_json_schema(dict(schema), overrides=JSON)
        return Prompt(tokens, room, grammar, luck, wanted)

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], temperature: float) -> list[Answer | Refused]:
        """Return the answers, or why there is none: each as if its prompt had been alone."""
        begin = time.perf_counter()
        width = max(len(prompt.tokens) for prompt in prompts)
        read = torch.full((len(prompts), width), self.ends[0])
        seen = torch.zeros_like(read)
        for row, prompt in enumerate(prompts):  # what comes last stands last, so all answers begin in one column
            read[row, width - len(prompt.tokens) :] = torch.tensor(prompt.tokens)
            seen[row, width - len(prompt.tokens) :] = 1
        device = self.model.device
        grammars = [prompt.grammar for prompt in prompts]
        matchers = [None if one is None else LLMatcher(self.words, one) for one in grammars]
        forms = Forms(matchers, self.vocabulary, self.ends)
        made = self.model.generate(
            read.to(device),
            attention_mask=seen.to(device),
            generation_config=GenerationConfig(
                max_new_tokens=max(prompt.most_tokens for prompt in prompts),
                do_sample=False,  # `Luck` leaves one token to choose from
                eos_token_id=self.ends,
                pad_token_id=self.ends[0],
            ),
            logits_processor=LogitsProcessorList([forms, Luck(prompts, temperature)]),
            stopping_criteria=StoppingCriteriaList([Limits(prompts, forms, width)]),
        )
        seconds = time.perf_counter() - begin
        rows = made[:, width:].tolist()
        return [
            self._answer(prompt, tokens, fault, seconds)
            for prompt, tokens, fault in zip(prompts, rows, forms.faults(), strict=True)
        ]

    def _answer(self, prompt: Prompt, tokens: list[int], fault: str, seconds: float) -> Answer | Refused:
        """Return the answer that some tokens are: up to its end, or to the prompt's limit."""
        if fault:
            return Refused(f"the answer cannot be held to its schema: {fault[:200]}")
        tokens = tokens[: prompt.most_tokens]
        end = next((place for place, token in enumerate(tokens) if token in self.ends), None)
        text = self.tokenizer.decode(tokens[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        taken = len(tokens) if end is None else end + 1
        return Answer(text, len(prompt.tokens), taken, seconds, cut=end is None)


class Forms(LogitsProcessor):
    """Leaves each row the tokens alone with which its answer can still have its form."""

    def __init__(self, matchers: Sequence[LLMatcher | None], vocabulary: int, ends: Sequence[int]) -> None:
        self.matchers, self.vocabulary, self.ends = matchers, vocabulary, ends
        self.begun = False
        self.cut: set[int] = set()  # rows that were ended by their limit; others may go on

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores, those of all other tokens being minus infinity."""
        masks = allocate_token_bitmask(len(self.matchers), self.vocabulary)
        for row, matcher in enumerate(self.matchers):
            if matcher is None or row in self.cut:
                continue
            if self.begun and not matcher.is_stopped():
                token = int(input_ids[row, -1])
                if token in self.ends and not matcher.is_accepting():  # which its form would not have let it say
                    self.cut.add(row)
                    continue
                matcher.consume_token(token)
            if not matcher.is_error():
                fill_next_token_bitmask(matcher, masks, row)  # once all is said, of the tokens that end it
        self.begun = True
        allowed = np.unpackbits(masks.view(np.uint8), axis=1, bitorder="little")[:, : scores.shape[1]]
        return scores.masked_fill(torch.from_numpy(allowed == 0).to(scores.device), -torch.inf)

    def faults(self) -> list[str]:
        """Return what went wrong in each row, '' where nothing did: a schema may be more than the grammar can say."""
        return [matcher.get_error() if matcher is not None and matcher.is_error() else "" for matcher in self.matchers]


class Luck(LogitsProcessor):
    """Draws each row's token by the row's own luck, and leaves that token alone."""

    def __init__(self, prompts: Sequence[Prompt], temperature: float) -> None:
        self.prompts, self.temperature = prompts, temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002  (what was said is in the scores)
        """Return the scores, all but one of a row being minus infinity; as they are at temperature 0."""
        if not self.temperature:
            return scores
        luck = torch.tensor([[prompt.luck.random()] for prompt in self.prompts], dtype=torch.float64)
        reached = torch.softmax(scores / self.temperature, dim=-1, dtype=torch.float64).cumsum(dim=-1)
        drawn = torch.searchsorted(reached, luck.to(scores.device) * reached[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn.clamp(max=scores.shape[1] - 1), 0.0)


class Limits(StoppingCriteria):
    """Ends each row at its own limit, or where its answer comes to nothing: nobody waits for it, or it has no form."""

    def __init__(self, prompts: Sequence[Prompt], forms: Forms, start: int) -> None:
        self.prompts, self.forms, self.start = prompts, forms, start

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:  # noqa: ARG002
        """Tell of each row whether it ends here."""
        made = input_ids.shape[1] - self.start
        ended = [
            made >= prompt.most_tokens or bool(fault) or not prompt.wanted()
            for prompt, fault in zip(self.prompts, self.forms.faults(), strict=True)
        ]
        return torch.tensor(ended, device=input_ids.device)


def conversation_tokens(tokenizer: Any, messages: Sequence[Message], template: Mapping[str, Any]) -> list[int]:
    """Return a conversation as a model reads it, up to where its answer begins."""
    # A lone surrogate is no text that a tokenizer could read.
    turns = [{"role": one.role, "content": one.text.encode("utf-8", "replace").decode()} for one in messages]
    if tokenizer.chat_template is None:
        return tokenizer(plainly(turns))["input_ids"]
    told: Any = {"tokenize": False, "add_generation_prompt": True, **template}
    try:
        text = tokenizer.apply_chat_template(turns, **told)
    except TemplateError:  # some know no system, only a user
        text = tokenizer.apply_chat_template(without_system(turns), **told)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def plainly(turns: Sequence[Mapping[str, str]]) -> str:
    """Return a conversation as a model reads it that knows no chat: each turn under its name, the answer's open."""
    return "\n\n".join([*(f"{turn['role'].title()}: {turn['content']}" for turn in turns), "Assistant:"])


def without_system(turns: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return a conversation whose user says first what the system said."""
    if len(turns) < 2 or turns[0]["role"] != "system":
        return list(turns)
    system, first, *others = turns
    return [{"role": first["role"], "content": f"{system['content']}\n\n{first['content']}"}, *others]


def _ends(told: Sequence[int | Sequence[int] | None]) -> list[int]:
    """Return the tokens that end an answer, each once."""
    lists = [[one] if isinstance(one, int) else list(one or ()) for one in told]
    return sorted({token for some in lists for token in some})
