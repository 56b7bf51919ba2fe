"""A language model in this very process: a folder that transformers can load, asked in batches."""

import asyncio
import hashlib
import importlib.util
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from simenv.chance import stream
from simenv.errors import MissingExtra, ScenarioError, SimenvError
from simenv.options import check_number, check_whole

from .faults import DeadEnd, Refused
from .model import Answer, Question
from .record import Keys

if TYPE_CHECKING:
    from .checkpoint import Checkpoint, Prompt

log = logging.getLogger(__name__)

NEEDED = ("torch", "transformers", "llguidance")
MATTERS = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")  # files that answers follow from
GATHERING = 0.01  # seconds without another question until a batch begins that is not full
RULES = 1  # how questions are written and tokens drawn; another number where answers change


@dataclass(eq=False, slots=True)
class Waiting:
    """A question, and where its answer is waited for; cancelled where nobody does any longer."""

    question: Question
    answer: Future[Answer]
    prompt: "Prompt | None" = None

    @property
    def length(self) -> int:
        """Return the tokens of its prompt."""
        return 0 if self.prompt is None else len(self.prompt.tokens)


class Local:
    """A checkpoint in a folder, loaded when it is first asked; weights are safetensors, and no code of its own runs.

    Questions that wait are answered `batch_size` at once, those of like length together, in a thread of their own. An
    answer with a schema cannot but fit it, unless it is cut. At temperature 0 the likeliest token is always taken;
    otherwise each answer has a luck of its own that follows from the question, its draw and `seed`. So an answer does
    not depend on its batch, save for the last bits of a float: these may decide between two tokens of a hair's
    breadth, and with a batch_size of 1 there are none. `template` holds what the chat template is told besides the
    messages, such as `enable_thinking: false`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        batch_size: int = 16,
        temperature: float = 1.0,
        seed: int = 0,
        device: str = "cpu",
        dtype: str = "auto",
        template: Mapping[str, Any] | None = None,
    ) -> None:
        if not all(map(importlib.util.find_spec, NEEDED)):
            raise MissingExtra("a model from a folder", "local")
        check_whole(batch_size=batch_size)
        check_whole(least=0, seed=seed)
        check_number(least=0, temperature=temperature)
        self.folder, self.batch_size, self.temperature = checked_folder(path), batch_size, float(temperature)
        self.seed, self.device, self.dtype, self.template = seed, device, dtype, dict(template or {})
        self.batches = 0  # generated so far
        self._mark = _fingerprint(self.folder)
        self._keys = Keys({})
        self._waiting: list[Waiting] = []
        self._lock = Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._checkpoint: Checkpoint | None = None

    @property
    def name(self) -> str:
        """Return what the folder is called; where it lies is told to nobody."""
        return self.folder.name

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return what answers follow from: the files by their content, and how tokens are chosen."""
        settings: dict[str, Any] = {"kind": "local", "model": self.name, "weights": self._mark, "rules": RULES}
        settings |= {"temperature": self.temperature, "seed": self.seed, "template": self.template}
        return settings | {"device": self.device, "dtype": self.dtype}

    async def ask(self, question: Question) -> Answer:
        """Return the answer, or raise Refused where the context is too short for it, and DeadEnd where all fails."""
        one = Waiting(question, Future())
        with self._lock:
            self._waiting.append(one)
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "simenv model")
            self._thread.submit(self._next_batch)
        return await asyncio.wrap_future(one.answer)

    async def close(self) -> None:
        """Let go of the weights; they are loaded again when they are needed."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.shutdown)
        self._checkpoint = None

    def _next_batch(self) -> None:
        """Answer some of those who wait, in the model's thread: one at least, so a call for each who asks is enough."""
        self._gather()
        with self._lock:
            self._waiting = [one for one in self._waiting if not one.answer.cancelled()]
            waiting = list(self._waiting)
        if not waiting:
            return
        told: Mapping[Waiting, Answer | SimenvError]
        try:
            told = self._answers(waiting)
        except Exception as error:  # whatever it is, those who wait must hear of it
            log.debug("%s", self.name, exc_info=error)
            told = {one: self._dead(error) for one in waiting}
        with self._lock:
            self._waiting = [one for one in self._waiting if one not in told]
        for one, answer in told.items():
            _tell(one, answer)

    def _gather(self) -> None:
        """Wait while more and more wait: agents ask together, but not in the same instant."""
        count = 0
        while count < len(self._waiting) < self.batch_size:
            count = len(self._waiting)
            time.sleep(GATHERING)

    def _answers(self, waiting: Sequence[Waiting]) -> Mapping[Waiting, Answer | SimenvError]:
        """Return the answers to the longest wait and to those of nearest length, or why some get none."""
        if self._checkpoint is None:
            self._checkpoint = self._load()
        refused: dict[Waiting, Answer | SimenvError] = {}
        for one in waiting:
            try:
                one.prompt = one.prompt or self._prompt(self._checkpoint, one)
            except Refused as error:
                refused[one] = error
        if refused:
            return refused
        near = sorted(waiting, key=lambda one: abs(one.length - waiting[0].length))[: self.batch_size]
        self.batches += 1
        answers = self._checkpoint.generate([one.prompt for one in near if one.prompt is not None], self.temperature)
        return dict(zip(near, answers, strict=True))

    def _prompt(self, checkpoint: "Checkpoint", one: Waiting) -> "Prompt":
        """Return what the model reads, and the luck of its answer: neither depends on who else asks."""
        luck = stream(self.seed, "answer", self._keys.of(one.question).hex())
        return checkpoint.prompt(one.question, self.template, luck, lambda: not one.answer.cancelled())

    def _load(self) -> "Checkpoint":
        begin = time.perf_counter()
        from .checkpoint import Checkpoint

        loaded = Checkpoint(self.folder, self.device, self.dtype)
        log.info("%s: %s in %.1f s", self.name, loaded.about, time.perf_counter() - begin)
        return loaded

    def _dead(self, error: Exception) -> SimenvError:
        """Return the error as those may be told who wait; where the folder lies is no part of it."""
        if isinstance(error, SimenvError):
            return error
        what = " ".join(str(error).split()).replace(str(self.folder), self.name)[:300]
        doing = "cannot be loaded" if self._checkpoint is None else "failed"
        mend = "; a smaller batch_size takes less memory" if "memory" in what else ""
        return DeadEnd(f"the model {self.name} {doing} ({type(error).__name__}: {what}){mend}")


def _tell(one: Waiting, answer: Answer | SimenvError) -> None:
    """Tell an answer, or why there is none, to whoever still waits."""
    with suppress(InvalidStateError):
        if isinstance(answer, SimenvError):
            one.answer.set_exception(answer)
        else:
            one.answer.set_result(answer)


def checked_folder(path: str | Path) -> Path:
    """Return the folder, if it looks like one that can be loaded."""
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise ScenarioError(f"no folder '{path}' with a model; nothing is downloaded, so save one there first")
    if not (folder / "config.json").is_file():
        raise ScenarioError(f"'{path}' holds no config.json, so it is no model that transformers saved")
    if not any(folder.glob("*.safetensors")):
        what = "its weights are to be safetensors, which run no code (save_pretrained writes them)"
        raise ScenarioError(f"'{path}' holds no *.safetensors; {what}")
    return folder


def _fingerprint(folder: Path) -> str:
    """Return a fingerprint of all files that answers follow from."""
    files = sorted(file for pattern in MATTERS for file in folder.glob(pattern))
    digest = hashlib.blake2b(digest_size=12)
    for file in files:
        stat = file.stat()
        digest.update(repr((file.name, _digest(file, stat.st_size, stat.st_mtime_ns))).encode())
    return digest.hexdigest()


@lru_cache(maxsize=1024)
def _digest(file: Path, size: int, changed: int) -> str:  # noqa: ARG001  (a file that changed is another)
    with file.open("rb") as content:
        return hashlib.file_digest(content, "blake2b").hexdigest()
