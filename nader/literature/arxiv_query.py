"""Papers that answer a query to arXiv's API, newest first."""

import re
from collections.abc import Iterator
from typing import Any

import arxiv
import requests
from requests.adapters import HTTPAdapter

from nader.literature.clean import one_line
from nader.literature.endpoints import Endpoints
from nader.literature.errors import SourceError
from nader.literature.fetch import origin
from nader.literature.papers import ARXIV, Paper, PaperRecord, paper_digest

_PAGE = 100
_MAX_FEED_BYTES = 32 * 2**20


class ArxivSource:
    """What `arxiv:QUERY` names; the query is arXiv's own syntax (`cat:cs.CV AND abs:"large kernel"`)."""

    def __init__(self, query: str, endpoints: Endpoints) -> None:
        self.query = query
        self.endpoints = endpoints

    def __str__(self) -> str:
        return f"arXiv, {self.query!r}"

    def papers(self, maximum: int) -> Iterator[PaperRecord]:
        """At most `maximum` records, newest first. Raises SourceError where arXiv cannot be asked."""
        client = self._client(maximum)
        search = arxiv.Search(
            self.query,
            max_results=maximum,
            sort_by=arxiv.SortCriterion.SubmittedDate,
            sort_order=arxiv.SortOrder.Descending,
        )
        try:
            for result in client.results(search):
                yield self._record(result)
        except arxiv.HTTPError as error:
            raise SourceError(f"arXiv answered {error.status} to the query {self.query!r}.") from error
        except arxiv.UnexpectedEmptyPageError as error:
            raise SourceError(f"arXiv broke off its answer to {self.query!r}; try again later.") from error
        except requests.RequestException as error:
            raise SourceError(f"arXiv could not be asked: {_why(error)}") from error

    def _client(self, maximum: int) -> arxiv.Client:
        """The package's client, which keeps the pause between requests, pointed at the endpoint."""
        pause = self.endpoints.arxiv_pause
        client = arxiv.Client(page_size=min(_PAGE, maximum), delay_seconds=pause, num_retries=3)
        client.query_url_format = self.endpoints.arxiv + "/api/query?{}"
        adapter = _BoundedAdapter(self.endpoints.arxiv)
        # The client sets neither time-out nor bound; its session is where both can be had.
        client._session.mount("https://", adapter)
        client._session.mount("http://", adapter)
        return client

    def _record(self, result: arxiv.Result) -> PaperRecord:
        number = re.sub(r"v\d+$", "", result.get_short_id())
        ref = f"{ARXIV}{number}"
        title = one_line(result.title)[:1000] or ref
        return PaperRecord(
            id=paper_digest(ref),
            paper=Paper(
                title=title, year=result.published.year, ref=ref, url=f"https://arxiv.org/abs/{number}"
            ),
            abstract=result.summary,
            pdf_url=f"{self.endpoints.arxiv}/pdf/{number}",
        )


class _BoundedAdapter(HTTPAdapter):
    """Sends requests to one origin only, with time-outs, and takes no more than a feed's worth of bytes."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._origin = origin(base)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        if origin(request.url or "") != self._origin:
            raise requests.exceptions.InvalidURL(f"a redirect to {request.url!r}, which is not arXiv")
        response = super().send(request, **{**kwargs, "stream": True, "timeout": (10, 60)})
        body = response.raw.read(_MAX_FEED_BYTES + 1, decode_content=True)
        if len(body) > _MAX_FEED_BYTES:
            raise requests.exceptions.ContentDecodingError("an answer of more than 32 MiB")
        response._content = body
        response._content_consumed = True
        return response


def _why(error: Exception) -> str:
    if isinstance(error, requests.Timeout):
        return "it did not answer in time."
    if isinstance(error, requests.ConnectionError):
        return "no connection. Is there a network?"
    return f"{error}"[:300]
