"""A server on loopback, and models that ask it."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from simenv.chat.model import Message, Question

if TYPE_CHECKING:
    from simenv.chat.direct import Direct
    from simenv.chat.endpoint import Endpoint

PROXIES = [name for scheme in ("http", "https", "all", "no") for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper())]


@pytest.fixture(scope="session")
def script() -> ModuleType:
    """The module of the scripted server, with its faults."""
    spec = importlib.util.spec_from_file_location("scripted_server", Path(__file__).with_name("scripted_server.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def server(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server that answers well until it is told otherwise; the environment names a key and nothing else."""
    for name in (*PROXIES, "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-quite-secret-7731")
    server = script.ScriptedServer()
    yield server
    server.stop()


@pytest.fixture(params=["direct", "compatible"])
def made(request: pytest.FixtureRequest, server: Any) -> "Callable[..., Endpoint[Any]]":
    """Return a maker of models that ask the server, on either path."""
    from simenv.chat.compatible import Compatible
    from simenv.chat.direct import Direct

    client: Any = {"direct": Direct, "compatible": Compatible}[request.param]
    return lambda **options: client(options.pop("model", "scripted"), server.url, **{"timeout": 5.0} | options)


@pytest.fixture
def direct(server: Any) -> "Callable[..., Direct]":
    """Return a maker of models that ask the server on the direct path."""
    from simenv.chat.direct import Direct

    return lambda **options: Direct(options.pop("model", "scripted"), server.url, **{"timeout": 5.0} | options)


@pytest.fixture
def question() -> Callable[..., Question]:
    """Return a maker of questions; say what differs."""

    def make(text: str = "How was it?", **changes: Any) -> Question:
        messages = (Message("system", "You watch films."), Message("user", text))
        return Question(**{"kind": "page", "messages": messages} | changes)

    return make


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two tiny models that know nothing: `qwen`, which knows chat, and `llama`, which does not."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, kind in (("qwen", "Qwen2"), ("llama", "Llama")):
        words = _words()
        if name == "qwen":
            words.chat_template = TEMPLATE
        size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
        size |= {"num_key_value_heads": 2, "vocab_size": len(words), "max_position_embeddings": CONTEXT}
        torch.manual_seed(7)
        config = getattr(transformers, f"{kind}Config")(**size, bos_token_id=None, eos_token_id=words.eos_token_id)
        model = getattr(transformers, f"{kind}ForCausalLM")(config)
        # One dimension is the same for all tokens, and from it comes a liking for those that end something.
        enders = [token for word, token in words.get_vocab().items() if any(mark in word for mark in '"]}')]
        with torch.no_grad():
            model.get_input_embeddings().weight[:, 0] = 1.0
            model.lm_head.weight[:, 0] = 0.0
            model.lm_head.weight[enders, 0] = 0.5
        model.save_pretrained(folder / name)
        words.save_pretrained(folder / name)
    return folder


CONTEXT = 4096
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)


def _words() -> Any:
    """Return a tokenizer of some hundred words, learnt from a text that does not change and an answer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    marks, letters = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1024, special_tokens=marks, initial_alphabet=letters, show_progress=False)
    form = {"items": [{"letter": "A", "act": "skip", "rating": 0, "feeling": ""}], "satisfaction": 5, "why": ""}
    licence = Path(__file__).parents[3] / "LICENSE"
    words.train_from_iterator([licence.read_text(encoding="utf-8"), *[json.dumps(form)] * 9], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|im_end|>", pad_token="<|endoftext|>")
