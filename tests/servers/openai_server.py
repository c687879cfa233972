"""A scripted server that speaks the OpenAI API on loopback: `python -m tests.servers.openai_server --port 0`.

It answers from a scenario file or by the rule-based designer, fails when the scenario says so, and counts the
tokens that it reported in answers a client can read to the end (GET /stats).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nader.llm import HashedNgrams, LLMError
from nader.llm.rules import answer_prompt
from prompts import Message
from tests.servers.scenario import Fault, FaultKind, Scenario

_TASK = re.compile(r"^Task: ([a-z_]+)$", re.MULTILINE)
_TOKEN = re.compile(r"\w+|[^\w\s]")
_PLAIN = {
    FaultKind.RATE_LIMITED: (429, "rate_limit_exceeded", "too many requests"),
    FaultKind.RATE_LIMITED_WITH_PAUSE: (429, "rate_limit_exceeded", "too many requests"),
    FaultKind.QUOTA: (429, "insufficient_quota", "you have used up your quota"),
    FaultKind.SERVER_ERROR: (500, "server_error", "something broke"),
    FaultKind.UNAVAILABLE: (503, "overloaded", "overloaded"),
    FaultKind.UNAUTHORISED: (401, "invalid_api_key", "Incorrect API key provided: {key}"),
    FaultKind.NO_MODEL: (404, "model_not_found", "The model '{model}' does not exist"),
}


def count_tokens(text: str) -> int:
    """Words and signs: the server's own measure."""
    return len(_TOKEN.findall(text))


class ScriptedServer(ThreadingHTTPServer):
    """The server; `url` is its base URL for a client."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, scenario: Scenario, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.scenario = scenario
        self.stopping = threading.Event()
        self.bodies: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._tries: Counter[str] = Counter()
        self._played: Counter[str] = Counter()
        self._in_flight = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the script."""

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def in_flight(self) -> int:
        """Requests that it works on now."""
        return self._in_flight

    def stats(self) -> dict[str, Any]:
        """Requests, faults, tokens reported, and the most requests at once."""
        with self._lock:
            names = ("chat", "embeddings", "models", "prompt_tokens", "completion_tokens", "embedding_tokens")
            counts = {name: self._counts[name] for name in names}
            return {**counts, "max_in_flight": self._counts["max_in_flight"], "faults": dict(self._faults)}

    def count(self, **amounts: int) -> None:
        """Adds to the statistics."""
        with self._lock:
            self._counts.update(amounts)

    @contextmanager
    def flying(self) -> Iterator[None]:
        """One more request in flight."""
        with self._lock:
            self._in_flight += 1
            self._counts["max_in_flight"] = max(self._counts["max_in_flight"], self._in_flight)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1

    def fault(self, endpoint: str, digest: str, task: str) -> Fault | None:
        """The fault that befalls this request, if any."""
        with self._lock:
            self._counts[endpoint] += 1
            self._tries[digest] += 1
            number, tries = self._counts[endpoint], self._tries[digest]
            for fault in self.scenario.faults:
                if fault.endpoint == endpoint and fault.befalls(number, digest, tries, task):
                    self._faults[fault.kind.value] += 1
                    return fault
        return None

    def answer(self, messages: list[Message], task: str) -> str:
        """What the scenario says to these messages."""
        by_task = self.scenario.task_answers.get(task, ())
        with self._lock:
            turn = self._played[task]
            self._played[task] += 1
            self._played["*"] += 1
            overall = self._played["*"] - 1
        if turn < len(by_task):
            return by_task[turn]
        if self.scenario.answers:
            return self.scenario.answers[overall % len(self.scenario.answers)]
        try:
            return answer_prompt(messages)
        except LLMError:
            return "ready"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedServer

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the statistics tell."""

    def do_GET(self) -> None:
        if self.path == "/stats":
            self._send(200, self.server.stats())
        elif self.path == "/v1/models" and self._authorised():
            self.server.count(models=1)
            extra = {"context_length": self.server.scenario.context_length}
            scenario = self.server.scenario
            names = scenario.models if scenario.listed is None else scenario.listed
            data = [{"id": name, "object": "model", **extra} for name in names]
            self._send(200, {"object": "list", "data": data})
        elif self.path != "/v1/models":
            self._fail(404, "not_found", f"no such path {self.path}")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with self.server.flying():
            try:
                body = json.loads(raw)
            except ValueError:
                self._fail(400, "invalid_json", "the request is not JSON")
                return
            self.server.bodies.append(body)
            routes = {
                "/v1/chat/completions": self._chat,
                "/v1/responses": self._responses,
                "/v1/embeddings": self._embeddings,
            }
            if self.path not in routes:
                self._fail(404, "not_found", f"no such path {self.path}")
            elif self._authorised():
                with contextlib.suppress(ConnectionError, TimeoutError):
                    routes[self.path](body)

    # -- endpoints

    def _chat(self, body: dict[str, Any]) -> None:
        spoken = self._spoken(body, body.get("messages", []), ("max_tokens", "max_completion_tokens"))
        if spoken is None:
            return
        text, fault, asked, told = spoken
        kind = fault.kind if fault else None
        finish = "length" if kind is FaultKind.LENGTH else "stop"
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if kind is FaultKind.REFUSAL:
            message = {"role": "assistant", "content": None, "refusal": text}
        choices = [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}]
        usage = {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told}
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [] if kind is FaultKind.EMPTY_CHOICES else choices,
            "usage": usage,
        }
        self._deliver(answer, fault, prompt_tokens=asked, completion_tokens=told)

    def _responses(self, body: dict[str, Any]) -> None:
        spoken = self._spoken(body, body.get("input", []), ("max_output_tokens",))
        if spoken is None:
            return
        text, fault, asked, told = spoken
        kind = fault.kind if fault else None
        part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
        if kind is FaultKind.REFUSAL:
            part = {"type": "refusal", "refusal": text}
        item = {"type": "message", "role": "assistant", "status": "completed", "content": [part]}
        cut = kind is FaultKind.LENGTH
        answer = {
            "id": "resp-1",
            "object": "response",
            "model": body["model"],
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [] if kind is FaultKind.EMPTY_CHOICES else [item],
            "usage": {"input_tokens": asked, "output_tokens": told, "total_tokens": asked + told},
        }
        self._deliver(answer, fault, prompt_tokens=asked, completion_tokens=told)

    def _embeddings(self, body: dict[str, Any]) -> None:
        texts = body.get("input", [])
        digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
        fault = self.server.fault("embeddings", digest, "")
        if fault and fault.kind in _PLAIN:
            self._plain(fault, body)
            return
        if body["model"] not in self.server.scenario.models:
            self._fail(404, "model_not_found", f"The model '{body['model']}' does not exist")
            return
        if "dimensions" in self.server.scenario.rejects and "dimensions" in body:
            self._fail(
                400, "unsupported_parameter", "This model does not support dimensions.", param="dimensions"
            )
            return
        embedder = HashedNgrams(body.get("dimensions", self.server.scenario.dimension))
        vectors = embedder.vectors(texts).tolist()
        if fault and fault.kind is FaultKind.WRONG_DIMENSION:
            vectors = [vector[:-1] for vector in vectors]
        if fault and fault.kind is FaultKind.WRONG_COUNT:
            vectors = vectors[:-1]
        tokens = sum(count_tokens(text) for text in texts)
        data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "model": body["model"], "data": data, "usage": usage}
        self._deliver(answer, fault, embedding_tokens=tokens)

    # -- answers and faults

    def _spoken(
        self, body: dict[str, Any], said: list[dict[str, Any]], limits: tuple[str, ...]
    ) -> tuple[str, Fault | None, int, int] | None:
        """The text to answer with, the fault, and the tokens of both sides; None where a refusal was sent."""
        scenario = self.server.scenario
        messages = [Message(role=m["role"], content=m["content"]) for m in said]
        tasks = _TASK.findall(messages[0].content) if messages else []
        task = tasks[-1] if tasks else ""
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        fault = self.server.fault("chat", digest, task)
        if body["model"] not in scenario.models:
            self._fail(404, "model_not_found", f"The model '{body['model']}' does not exist")
            return None
        for name in (*scenario.rejects, *scenario.rejects_of.get(body["model"], ())):
            if name in body:
                self._fail(400, "unsupported_parameter", f"Unsupported parameter: '{name}'.", param=name)
                return None
        if scenario.delay_s:
            self.server.stopping.wait(scenario.delay_s)
        if fault and fault.kind in _PLAIN:
            self._plain(fault, body)
            return None
        kind = fault.kind if fault else None
        text = "" if kind is FaultKind.SILENT else self.server.answer(messages, task)
        if kind is FaultKind.EMPTY_TEXT:
            text = ""
        elif kind is FaultKind.REFUSAL:
            text = "I would rather not."
        elif kind is FaultKind.LENGTH:
            text = text[: len(text) // 2]
        elif kind is FaultKind.WRONG_FORM:
            text = "That is a good question; one could do many things."
        asked = sum(count_tokens(m.content) for m in messages)
        told = count_tokens(text)
        limit = min((body[name] for name in limits if name in body), default=told)
        if told > limit:
            text = text[: len(text) * limit // told]
            fault, told = Fault(kind=FaultKind.LENGTH), limit
        return text, fault, asked, told

    def _deliver(self, answer: dict[str, Any], fault: Fault | None, **tokens: int) -> None:
        kind = fault.kind if fault else None
        payload = json.dumps(answer).encode()
        if kind is FaultKind.SILENT and fault:
            self.server.stopping.wait(fault.seconds)
            self._drop()
        elif kind is FaultKind.SLOW_DRIP and fault:
            self._drip(payload, fault.seconds)
        elif kind is FaultKind.RESET:
            self._head(200, len(payload))
            self.wfile.write(payload[: len(payload) // 2])
            self.wfile.flush()
            self._drop()
        elif kind is FaultKind.TRUNCATED:
            self._raw(200, payload[: len(payload) // 2])
        elif kind is FaultKind.NOT_JSON:
            self._raw(200, b"<html><body>Bad gateway</body></html>", "text/html")
        elif kind is FaultKind.ERROR_200:
            self._send(200, {"error": {"message": "the model crashed", "code": 500}})
        elif kind is FaultKind.LARGE:
            self._raw(200, json.dumps({"padding": "x" * 10_000_000, **answer}).encode())
        else:
            # Counted before it is sent: whoever has read the answer finds it in the statistics.
            self.server.count(**tokens)
            self._raw(200, payload)

    def _plain(self, fault: Fault, body: dict[str, Any]) -> None:
        status, code, message = _PLAIN[fault.kind]
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        headers = {}
        if fault.kind is FaultKind.RATE_LIMITED_WITH_PAUSE:
            headers["Retry-After"] = f"{fault.retry_after_s:g}"
        self._fail(status, code, message.format(key=sent, model=body.get("model")), headers=headers)

    def _drip(self, payload: bytes, seconds: float) -> None:
        self._head(200, len(payload))
        end = time.monotonic() + seconds
        for byte in payload[:-1]:
            if time.monotonic() > end or self.server.stopping.wait(0.05):
                break
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
        self._drop()

    def _drop(self) -> None:
        """Resets the connection: the client gets an error, not an end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _authorised(self) -> bool:
        key = self.server.scenario.key
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if key and sent != key:
            self._fail(401, "invalid_api_key", f"Incorrect API key provided: {sent}")
            return False
        return True

    def _fail(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._send(
            status, {"error": {"message": message, "type": code, "code": code, "param": param}}, headers
        )

    def _send(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        self._raw(status, json.dumps(value).encode(), headers=headers)

    def _raw(
        self,
        status: int,
        payload: bytes,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        self._head(status, len(payload), kind, headers)
        self.wfile.write(payload)
        self.wfile.flush()

    def _head(
        self, status: int, length: int, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def serve(scenario: Scenario | None = None, port: int = 0) -> Iterator[ScriptedServer]:
    """A server on a thread of this process, until the block ends."""
    server = ScriptedServer(scenario or Scenario(), port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def main() -> None:
    """Serves a scenario until interrupted; the first line printed is the base URL."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.openai_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--scenario", type=Path, help="a JSON file; without it the rule-based designer answers"
    )
    parser.add_argument(
        "--delay", type=float, help="seconds before each chat answer, in place of the scenario's"
    )
    given = parser.parse_args()
    scenario = Scenario.load(given.scenario) if given.scenario else Scenario()
    if given.delay is not None:
        scenario = scenario.model_copy(update={"delay_s": given.delay})
    server = ScriptedServer(scenario, given.port)
    print(server.url, flush=True)
    try:
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        pass
    finally:
        server.stopping.set()
        server.server_close()


if __name__ == "__main__":
    main()
