"""A server on loopback that speaks chat completions as it is told to, faults included."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

from aiohttp import web

Body = dict[str, Any]


def completion(text: str | None, finish: str = "stop", **message: Any) -> Body:
    """Return a chat completion that says this."""
    told = {"role": "assistant", "content": text} | message
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "message": told, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


def obeying(body: Body) -> str:
    """Return the smallest text that has the schema of a request, as a good server would."""
    if "response_format" in body:
        return json.dumps(smallest(body["response_format"]["json_schema"]["schema"]))
    if "tools" in body:
        return json.dumps(smallest(body["tools"][0]["function"]["parameters"]))
    return "Blue."


def smallest(schema: Body) -> Any:
    """Return the smallest value of a schema; knows what our forms use."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: smallest(one) for name, one in schema["properties"].items()}
    return {"integer": schema.get("minimum", 0), "number": 0.5, "boolean": True, "array": []}.get(schema["type"], "x")


def deciding(body: Body, chances: Callable[[str, list[str]], list[float] | None] | None = None) -> Body:
    """Return decisions: of each, by its name and outcomes, these probabilities, or equal ones; none is a refusal."""
    answers = []
    for asked in body["questions"]:
        options = [one["value"] for one in asked.get("choices", ())] or [
            one["label"] for one in asked.get("levels", ())
        ]
        told = chances(asked["name"], options) if chances else [1 / max(len(options), 2)] * len(options)
        answers.append(decision(asked["name"], asked["type"], options, told))
    usage = {"input_tokens": 90, "output_tokens": 2, "total_tokens": 92}
    return {"model": body["model"], "answers": answers, "usage": usage}


def decision(name: str, kind: str, options: list[str], chances: list[float] | None) -> Body:
    """Return one decision as an endpoint answers it."""
    told = {"name": name, "type": kind}
    if chances is None:
        return told | {"type": "refusal"}
    if kind == "predicate":
        return told | {"probability": chances[0] if chances else 0.5}
    each = list(zip(options, chances, strict=True))
    if kind == "choice":
        likely = [{"value": option, "probability": chance} for option, chance in each]
        return told | {"choice": options[0], "confidence": 0.5, "probabilities": likely}
    likely = [{"label": option, "probability": chance, "value": place} for place, (option, chance) in enumerate(each)]
    return told | {"score": 1.0, "confidence": 0.5, "probabilities": likely}


def embedding(body: Body, size: int = 26) -> Body:
    """Return a vector that counts the letters of a text, which must not be empty."""
    assert body["input"].strip()
    vector = [float(body["input"].lower().count(chr(97 + place))) for place in range(size)]
    data = [{"object": "embedding", "index": 0, "embedding": vector}]
    return {"object": "list", "model": body["model"], "data": data, "usage": {"prompt_tokens": 7, "total_tokens": 7}}


class ScriptedServer:
    """Answers in a thread of its own; `answer` says what, `faults` come before that, one a request."""

    def __init__(self) -> None:
        self.answer: Callable[[Body], str] = obeying
        self.faults: list[Callable[[web.Request], Any]] = []
        self.always: Callable[[web.Request], Any] | None = None  # a fault that stays
        self.takes = {"response_format", "tools"}  # the ways it obeys; others are ignored, as many servers do
        self.refuses: dict[str, int] = {}  # the ways it refuses, and with what status
        self.decides: Callable[[Body], Body] | None = None  # what it answers to decisions; None: it knows of none
        self.embeds: Callable[[Body], Body] = embedding
        self.knocks = 0  # requests that ask nothing: refused, and not counted among the rest
        self.deciding = 0  # requests to the path of decisions, whether it knows of them or not
        self.models = ["scripted"]
        self.wants_key = False  # even to list its models
        self.delay = 0.0  # seconds
        self.bodies: list[bytes] = []  # as they came
        self.by_length = False  # whether an answer costs by the length of what was asked
        self.billed, self.bills = [0, 0], 0  # tokens in and out of those that did, and how many these were
        self.headers: list[dict[str, str]] = []
        self.in_flight = self.most_in_flight = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def url(self) -> str:
        """Return its base_url."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[Body]:
        """Return what was asked, probes included."""
        return [json.loads(body) for body in self.bodies]

    @property
    def asked(self) -> list[Body]:
        """Return what was asked, without the probes."""
        return [
            body for body in self.requests if "rainbow" not in (body.get("input") or body["messages"][0]["content"])
        ]

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        app = web.Application(client_max_size=2**26)
        for root in ("/v1", "/k-9931-secret/gate"):  # some gateways take a key as a part of the path
            app.router.add_post(f"{root}/chat/completions", self._chat)
            app.router.add_post(f"{root}/decisions", self._decisions)
            app.router.add_post(f"{root}/embeddings", self._chat)
            app.router.add_get(f"{root}/models", self._models)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _models(self, request: web.Request) -> web.Response:
        if self.wants_key and request.headers.get("Authorization") in (None, "Bearer none"):
            return problem(401, "a key is wanted")
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            raw = await request.read()
            if (told := json.loads(raw)).get("messages") == [] or told.get("input") == "":
                return await self._refused(request, told)
            self.bodies.append(raw)
            self.headers.append(dict(request.headers))
            if self.delay:
                await asyncio.sleep(self.delay)
            return await self._reply(request, json.loads(raw))
        finally:
            self.in_flight -= 1

    async def _refused(self, request: web.Request, told: Body) -> web.StreamResponse:
        self.knocks += 1
        if self.always is not None:
            found: web.StreamResponse = await self.always(request)
            return found
        if told["model"] not in self.models:
            return problem(404, f"The model `{told['model']}` does not exist.")
        return problem(400, "nothing was asked")

    async def _decisions(self, request: web.Request) -> web.StreamResponse:
        self.deciding += 1
        if self.decides is None:
            return web.Response(status=404, text="404: Not Found")
        return await self._chat(request)

    async def _reply(self, request: web.Request, body: Body) -> web.StreamResponse:
        fault = self.faults.pop(0) if self.faults else self.always
        if fault is not None:
            told: web.StreamResponse = await fault(request)
            return told
        if body["model"] not in self.models:
            return problem(404, f"The model `{body['model']}` does not exist.")
        for way, status in self.refuses.items():
            if way in body:
                return problem(status, f"{way} is not supported")
        if "input" in body and "questions" not in body:
            return self._billed(body, self.embeds(body))
        if "questions" in body:
            assert self.decides is not None
            return self._billed(body, self.decides(body))
        seen = {
            key: value for key, value in body.items() if key in self.takes or key not in ("response_format", "tools")
        }
        text = self.answer(seen)
        if "tools" in seen:
            call = {"id": "1", "type": "function", "function": {"name": "answer", "arguments": text}}
            return self._billed(body, completion(None, "tool_calls", tool_calls=[call]))
        return self._billed(body, completion(text))

    def _billed(self, body: Body, told: Body) -> web.Response:
        """Return what is told, with what it costs where that goes by length."""
        if self.by_length:
            names = ("input_tokens", "output_tokens") if "questions" in body else ("prompt_tokens", "completion_tokens")
            tokens = len(json.dumps(body)) // 5, 3 + len(json.dumps(told)) // 50
            told["usage"] = dict(zip(names, tokens, strict=True))
            self.billed = [sum(both) for both in zip(self.billed, tokens, strict=True)]
            self.bills += 1
        return web.json_response(told)


def problem(status: int, message: str, **headers: str) -> web.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response({"error": {"message": message}}, status=status, headers=named)


def status(code: int, message: str = "out of order", **headers: str) -> Callable[[web.Request], Any]:
    """Return a fault: this status."""

    async def fault(_: web.Request) -> web.Response:
        return problem(code, message, **headers)

    return fault


def body(raw: bytes) -> Callable[[web.Request], Any]:
    """Return a fault: 200, with this body."""

    async def fault(_: web.Request) -> web.Response:
        return web.Response(body=raw, content_type="application/json")

    return fault


async def cut_short(request: web.Request) -> web.StreamResponse:
    """Promise 1,000 bytes, send ten, hang up."""
    response = web.StreamResponse()
    response.content_length = 1000
    await response.prepare(request)
    await response.write(b'{"choices"')
    assert request.transport is not None
    request.transport.close()
    return response


async def hung_up(request: web.Request) -> web.StreamResponse:
    """Hang up without a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def echoing(request: web.Request) -> web.Response:
    """Refuse, and repeat the key."""
    return problem(401, f"Incorrect API key provided: {request.headers.get('Authorization')}")
