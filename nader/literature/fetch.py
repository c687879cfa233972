"""Fetching from the few hosts that papers come from: bounded in size, time and pace."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from nader.literature.errors import RefusedError, SourceError

if TYPE_CHECKING:
    import httpx

_REDIRECTS = 5
_RETRIED = {429, 500, 502, 503, 504}


def origin(url: str) -> str:
    """Scheme, host and port of an address, in one form: what addresses of one server share."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname else ""


class Fetcher:
    """Gets documents from the origins it was given, and from nowhere else, whatever a page or redirect says.

    pauses: addresses whose scheme, host and port are allowed, each with the seconds between two requests;
    max_bytes: of one document, decompressed; seconds: for one document, from the first to the last byte;
    attempts: on faults that pass (connection, 429, 5xx). Not for several threads at once.
    """

    def __init__(
        self,
        pauses: Mapping[str, float],
        *,
        max_bytes: int = 64 * 2**20,
        seconds: float = 120.0,
        attempts: int = 3,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx  # takes a quarter of a second, which most commands never need

        self._pauses = {place: pause for url, pause in pauses.items() if (place := origin(url))}
        self.max_bytes = max_bytes
        self.seconds = seconds
        self.attempts = attempts
        self._sleep = sleep
        self._last: dict[str, float] = {}
        self._client = httpx.Client(
            timeout=httpx.Timeout(30.0, connect=10.0),
            follow_redirects=False,
            headers={"User-Agent": "nader (reads papers for network design)"},
        )

    def close(self) -> None:
        self._client.close()

    def allows(self, url: str) -> bool:
        """Whether an address is at one of the allowed origins."""
        return origin(url) in self._pauses

    def get(self, url: str) -> bytes:
        """The document at an address. Raises SourceError with a sentence; RefusedError for other hosts."""
        for attempt in range(1, self.attempts + 1):
            try:
                return self._get(url)
            except _PassingError as error:
                if attempt == self.attempts:
                    raise SourceError(str(error)) from error
                self._sleep(min(60.0, error.wait if error.wait is not None else 2.0**attempt))
        raise AssertionError("attempts is at least 1")

    def _get(self, url: str) -> bytes:
        import httpx

        deadline = time.monotonic() + self.seconds
        for _ in range(_REDIRECTS + 1):
            if not self.allows(url):
                raise RefusedError(f"{_host(url)} is not among the hosts papers are read from.")
            self._keep_pace(url)
            try:
                with self._client.stream("GET", url) as response:
                    if response.has_redirect_location:
                        url = urljoin(url, response.headers["location"])
                        continue
                    return self._body(response, url, deadline)
            except httpx.InvalidURL as error:
                raise SourceError(f"{url[:200]!r} is not an address.") from error
            except httpx.HTTPError as error:
                raise _PassingError(f"{_host(url)} could not be read: {_why(error)}") from error
        raise SourceError(f"{_host(url)} redirects without end.")

    def _body(self, response: "httpx.Response", url: str, deadline: float) -> bytes:
        if response.status_code in _RETRIED:
            wait = response.headers.get("retry-after", "")
            seconds = float(wait) if wait.isdigit() else None
            raise _PassingError(f"{_host(url)} answered {response.status_code} to {url[:200]}.", seconds)
        if response.status_code != 200:
            raise SourceError(f"{_host(url)} answered {response.status_code} to {url[:200]}.")
        chunks, size = [], 0
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > self.max_bytes:
                raise SourceError(f"{url[:200]} is larger than the {self.max_bytes / 2**20:g} MiB allowed.")
            if time.monotonic() > deadline:
                raise SourceError(f"{url[:200]} was not complete after {self.seconds:g} s.")
            chunks.append(chunk)
        return b"".join(chunks)

    def _keep_pace(self, url: str) -> None:
        place, now = origin(url), time.monotonic()
        if (last := self._last.get(place)) is not None and (rest := last + self._pauses[place] - now) > 0:
            self._sleep(rest)
        self._last[place] = time.monotonic()


class _PassingError(SourceError):
    """A fault that may be gone at the next try; wait: seconds the server asked for."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def _host(url: str) -> str:
    return origin(url).removesuffix(":443").removesuffix(":80") or repr(url[:200])


def _why(error: Exception) -> str:
    import httpx

    if isinstance(error, httpx.TimeoutException):
        return "it did not answer in time."
    if isinstance(error, httpx.ConnectError):
        return "no connection. Is there a network?"
    return f"{type(error).__name__}: {error}"[:200]
