"""A tokenizer of one's own, learnt from the very texts that a model is to read."""

from collections.abc import Iterable
from typing import Any

from simenv.errors import MissingExtra

try:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
except ImportError:
    raise MissingExtra("a tokenizer", "local") from None

END = "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}" + END + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def learn_words(texts: Iterable[str], size: int, breaks: str) -> Any:
    """Return a tokenizer of at most so many tokens, those that shorten these texts the most; it can write any text.

    What matches the regular expression `breaks` stands alone; whatever stands between can become one token, so that a
    phrase which is always said alike is one.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [
            pre_tokenizers.Split(Regex(breaks), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT,
        clean_up_tokenization_spaces=False,
    )
