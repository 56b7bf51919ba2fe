"""Text in whole words, for a model that has read nothing yet: a catalogue's most frequent, <unknown> for others."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

UNKNOWN = "<unknown>"
MOST = 4000  # words that are told from <unknown>
WORD = r"\w+"


def words_of(text: str) -> list[str]:
    """Return a text's words, in small letters."""
    return re.findall(WORD, text.lower())


def frequent(texts: Iterable[str], most: int | None = MOST) -> list[str]:
    """Return <unknown> and the most frequent words of some texts, the most frequent first; ties by the alphabet."""
    counts = Counter(word for text in texts for word in words_of(text))
    return [UNKNOWN, *sorted(counts, key=lambda word: (-counts[word], word))[:most]]


def numbered(text: str, numbers: Mapping[str, int]) -> list[int]:
    """Return the numbers of a text's words."""
    return [numbers.get(word, numbers[UNKNOWN]) for word in words_of(text)]


def tokenizer_files(names: Sequence[str], ends: str, begins: str) -> dict[str, object]:
    """Return the files, as JSON, by which transformers reads these tokens and words, numbered in their order."""
    own = [name for name in names if name.startswith("<")]
    numbers = {name: number for number, name in enumerate(names)}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "tokenizer.json": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": numbers[name], "content": name, **plain} for name in own],
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": WORD}, "behavior": "Removed", "invert": True},
            "post_processor": None,
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": numbers, "unk_token": UNKNOWN},
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": begins,
            "eos_token": ends,
            "pad_token": ends,
            "clean_up_tokenization_spaces": False,
        }
        | ({"unk_token": UNKNOWN} if UNKNOWN in numbers else {}),
    }
