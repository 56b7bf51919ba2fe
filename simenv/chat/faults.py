"""Why a model gave no answer: what may go better later, what this question cannot get, and what nobody can."""

from simenv.errors import ChatError


class Passing(ChatError):
    """No answer this time; the same question may well be answered later."""

    def __init__(self, what: str, retry_after: float | None = None, status: int | None = None) -> None:
        super().__init__(what)
        self.retry_after = retry_after  # seconds, where the endpoint told
        self.status = status  # of HTTP, where there was one


class Unreachable(Passing):
    """Nobody listens at the address, or there is no such host."""


class Refused(ChatError):
    """This question gets no answer however often it is asked; another may."""


class DeadEnd(ChatError):
    """No question gets an answer before a person changes something: a key, a name, an address, a record."""
