"""A loopback HTTP server for the tests of sources: answers by path, and a record of what was asked."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Site:
    """A running server: its address, what it answers, and the paths that were asked for, in order."""

    url: str
    answer: Callable[[str], Answer]
    asked: list[str] = field(default_factory=list)


def ok(body: str | bytes, kind: str = "text/html; charset=utf-8") -> Answer:
    return 200, {"Content-Type": kind}, body.encode() if isinstance(body, str) else body


@contextmanager
def site(answer: Callable[[str], Answer] | dict[str, Answer]) -> Iterator[Site]:
    """Serves on a free port of 127.0.0.1; a table of answers gives 404 for what is not in it."""
    if isinstance(answer, dict):
        table = answer
        answer = lambda path: table.get(path, (404, {}, b"not here"))  # noqa: E731
    running = Site("", answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running.asked.append(self.path)
            status, headers, body = running.answer(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # the client may have read enough
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
