"""Fetching reaches the hosts it was given and no others, and ends in bounded time and size."""

import gzip

import pytest

from nader.literature import Endpoints, RefusedError, SourceError
from nader.literature.fetch import Fetcher, origin
from tests.literature.servers import ok, site


def fetcher(*origins: str, pause: float = 0.0, **options) -> Fetcher:
    """A fetcher that never really waits; how long it would is in `.slept`."""
    slept: list[float] = []
    made = Fetcher(dict.fromkeys(origins, pause), sleep=slept.append, **options)
    made.slept = slept
    return made


ORIGINS = [
    ("https://arxiv.org/abs/1", "https://arxiv.org:443"),
    ("https://ARXIV.org:443/x", "https://arxiv.org:443"),
    ("http://127.0.0.1:8080/a?b", "http://127.0.0.1:8080"),
    ("https://arxiv.org@evil.example/x", "https://evil.example:443"),
    ("https://arxiv.org.evil.example/x", "https://arxiv.org.evil.example:443"),
    ("file:///etc/passwd", ""),
    ("javascript:alert(1)", ""),
    ("//arxiv.org/x", "://arxiv.org:0"),
    ("http://[::1", ""),
    ("http://arxiv.org:999999/", ""),
    ("", ""),
]


@pytest.mark.parametrize(("url", "expected"), ORIGINS)
def test_the_origin_of_an_address_is_scheme_host_and_port(url, expected):
    assert origin(url) == expected


@pytest.mark.parametrize("url", [url for url, _ in ORIGINS[2:]])
def test_what_is_not_at_an_allowed_origin_is_never_asked(url):
    with pytest.raises(RefusedError, match="is not among the hosts papers are read from"):
        fetcher("https://arxiv.org").get(url)


def test_a_document_comes_whole():
    with site({"/paper.pdf": ok(b"%PDF-1.4 " + b"x" * 300_000)}) as server:
        assert len(fetcher(server.url).get(f"{server.url}/paper.pdf")) == 300_009


def test_redirects_within_the_allowed_hosts_are_followed():
    answers = {"/a": (302, {"Location": "/b"}, b""), "/b": ok(b"here")}
    with site(answers) as server:
        assert fetcher(server.url).get(f"{server.url}/a") == b"here"


def test_a_redirect_to_another_host_is_refused_and_not_followed():
    with site({"/secret": ok(b"secret")}) as other, site({}) as server:
        server.answer = lambda path: (302, {"Location": f"{other.url}/secret"}, b"")
        with pytest.raises(RefusedError):
            fetcher(server.url).get(f"{server.url}/a")
        assert other.asked == []


def test_redirects_without_end_end():
    with (
        site(lambda path: (302, {"Location": "/again"}, b"")) as server,
        pytest.raises(SourceError, match="redirects without end"),
    ):
        fetcher(server.url).get(f"{server.url}/a")


def test_a_document_that_is_too_large_is_not_taken_in():
    with (
        site({"/a": ok(b"x" * 2_000_000)}) as server,
        pytest.raises(SourceError, match=r"is larger than the 1 MiB allowed"),
    ):
        fetcher(server.url, max_bytes=2**20).get(f"{server.url}/a")


def test_the_size_is_that_after_decompression():
    body = gzip.compress(b"\0" * (8 * 2**20))
    with (
        site({"/a": (200, {"Content-Encoding": "gzip"}, body)}) as server,
        pytest.raises(SourceError, match="larger"),
    ):
        fetcher(server.url, max_bytes=2**20).get(f"{server.url}/a")


def test_a_document_that_is_not_complete_in_time_is_given_up():
    with (
        site({"/a": ok(b"x" * 1000)}) as server,
        pytest.raises(SourceError, match="was not complete after 0 s"),
    ):
        fetcher(server.url, seconds=0.0).get(f"{server.url}/a")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_faults_are_tried_again(status):
    answers = iter([(status, {}, b""), (status, {"Retry-After": "7"}, b""), ok(b"at last")])
    with site(lambda path: next(answers)) as server:
        reader = fetcher(server.url)
        assert reader.get(f"{server.url}/a") == b"at last"
        assert reader.slept == [2.0, 7.0]


def test_a_fault_that_stays_is_told_after_three_attempts():
    with site(lambda path: (503, {}, b"")) as server:
        with pytest.raises(SourceError, match=rf"{server.url} answered 503 to {server.url}/a."):
            fetcher(server.url).get(f"{server.url}/a")
        assert server.asked == ["/a"] * 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_faults_that_do_not_pass_are_not_tried_again(status):
    with site(lambda path: (status, {}, b"")) as server:
        with pytest.raises(SourceError, match=f"answered {status}"):
            fetcher(server.url).get(f"{server.url}/a")
        assert len(server.asked) == 1


def test_no_server_gives_one_sentence():
    with site({}) as server:
        gone = server.url
    with pytest.raises(SourceError, match=r"could not be read: no connection. Is there a network?"):
        fetcher(gone).get(f"{gone}/a")


def test_two_requests_to_one_host_keep_their_distance():
    with site({"/a": ok(b""), "/b": ok(b"")}) as server:
        reader = fetcher(server.url, pause=1000.0)
        reader.get(f"{server.url}/a")
        assert reader.slept == []
        reader.get(f"{server.url}/b")
        assert len(reader.slept) == 1 and 900 < reader.slept[0] <= 1000


def test_endpoints_may_be_named_in_the_environment(monkeypatch):
    for name in ("NADER_ARXIV_URL", "NADER_CVF_URL", "NADER_PAPER_PAUSE"):
        monkeypatch.delenv(name, raising=False)
    assert Endpoints.from_environment() == Endpoints()
    assert Endpoints().arxiv_pause == 3.0
    monkeypatch.setenv("NADER_ARXIV_URL", "http://127.0.0.1:8/")
    monkeypatch.setenv("NADER_PAPER_PAUSE", "0")
    endpoints = Endpoints.from_environment()
    assert (endpoints.arxiv, endpoints.arxiv_pause, endpoints.cvf_pause) == ("http://127.0.0.1:8", 0.0, 0.0)
    assert endpoints.cvf == Endpoints().cvf
