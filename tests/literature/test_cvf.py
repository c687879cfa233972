"""A conference's listing on the CVF open access site gives its papers."""

import pytest

from nader.literature import Endpoints, SourceError, parse_source
from tests.literature.servers import ok, site

PAGE = """<html><body><div id="content"><dl><dd><dt class="ptitle"><br>
<a href="/content/CVPR2023/html/{name}_CVPR_2023_paper.html">{title}</a></dt></dd></dl>
<div id="abstract" > {abstract} <div class="inner">More.</div></div><p>Not the abstract.</p></div>
</body></html>"""


def listing(*papers: tuple[str, str]) -> str:
    items = "".join(
        f"""<dt class="ptitle"><br>
<a href="/content/CVPR2023/html/{name}_CVPR_2023_paper.html">{title}</a></dt>
<dd><form class="authsearch"><a href="#" onclick="x">An Author</a></form></dd>
<dd>[<a href="/content/CVPR2023/papers/{name}_CVPR_2023_paper.pdf">pdf</a>]
[<a href="/content/CVPR2023/supplemental/{name}_supplemental.pdf">supp</a>]
[<a href="http://arxiv.org/abs/2301.00001">arXiv</a>]
<div class="bibref">@InProceedings{{x, title = {{{title}}}}}</div></dd>"""
        for name, title in papers
    )
    return f'<html><body><div id="content"><dl>{items}</dl></div></body></html>'


PAPERS = [("He_Blocks", "Blocks &amp; Layers"), ("Li_Gates", "Gates\n for <i>All</i>"), ("Wu_Paths", "Paths")]


def answers(**more) -> dict:
    table = {"/CVPR2023?day=all": ok(listing(*PAPERS))}
    for name, title in PAPERS:
        page = PAGE.format(name=name, title=title, abstract=f"Abstract of {name}.")
        table[f"/content/CVPR2023/html/{name}_CVPR_2023_paper.html"] = ok(page)
    return table | more


def source(url: str, conference: str = "CVPR2023", cache=None):
    return parse_source(f"cvf:{conference}", Endpoints(cvf=url, cvf_pause=0.0), cache)


def test_a_listing_gives_titles_abstracts_and_pdfs_in_its_order():
    with site(answers()) as server:
        records = list(source(server.url).papers(10))
    assert [r.paper.title for r in records] == ["Blocks & Layers", "Gates for All", "Paths"]
    first = records[0]
    assert first.paper.ref == "CVPR2023/He_Blocks_CVPR_2023"
    assert first.paper.year == 2023
    assert first.abstract == "Abstract of He_Blocks. More."
    assert first.pdf_url == f"{server.url}/content/CVPR2023/papers/He_Blocks_CVPR_2023_paper.pdf"
    assert first.paper.link == f"{server.url}/content/CVPR2023/html/He_Blocks_CVPR_2023_paper.html"


def test_pages_are_fetched_only_for_the_papers_asked_for():
    with site(answers()) as server:
        assert len(list(source(server.url).papers(2))) == 2
        assert len(server.asked) == 3


def test_a_listing_that_was_broken_off_goes_on_where_it_was(tmp_path):
    with site(answers()) as server:
        before = list(source(server.url, cache=tmp_path / "cache").papers(2))
        after = list(source(server.url, cache=tmp_path / "cache").papers(3))
        assert [path for path in server.asked if "Li_Gates" in path] == [
            "/content/CVPR2023/html/Li_Gates_CVPR_2023_paper.html"
        ]
    assert after[:2] == before and len(after) == 3
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {f"{r.id}.abstract" for r in after}


def test_a_missing_page_leaves_the_abstract_empty():
    table = answers()
    del table["/content/CVPR2023/html/Li_Gates_CVPR_2023_paper.html"]
    with site(table) as server:
        assert [bool(r.abstract) for r in source(server.url).papers(10)] == [True, False, True]


def test_years_that_list_by_day_are_read_day_by_day():
    table = answers()
    del table["/CVPR2023?day=all"]
    days = '<a href="/CVPR2023?day=2023-06-20">1</a><a href="CVPR2023?day=2023-06-21">2</a>'
    table["/CVPR2023"] = ok(days)
    table["/CVPR2023?day=2023-06-20"] = ok(listing(*PAPERS[:2]))
    table["/CVPR2023?day=2023-06-21"] = ok(listing(*PAPERS[1:]))
    with site(table) as server:
        assert [r.paper.title for r in source(server.url).papers(10)] == [
            "Blocks & Layers",
            "Gates for All",
            "Paths",
        ]


def test_a_conference_the_site_does_not_have_is_told():
    with site({}) as server, pytest.raises(SourceError, match="answered 404"):
        list(source(server.url, "ICCV2035").papers(10))


def test_a_page_without_papers_is_told():
    with (
        site({"/WACV2024": ok("<html>nothing</html>")}) as server,
        pytest.raises(SourceError, match=r"lists no papers. Is WACV2024 a conference of the site?"),
    ):
        list(source(server.url, "WACV2024").papers(10))


def test_links_to_other_hosts_are_not_followed():
    html = (
        '<dt class="ptitle"><a href="http://evil.example/page.html">A Title</a></dt>'
        '<dd><a href="http://evil.example/papers/x.pdf">pdf</a></dd>'
        '<dt class="ptitle"><a href="http://[broken">Broken</a></dt>'
        '<dt class="ptitle"><a href="javascript:alert(1)">Script</a></dt>'
    )
    with site({"/CVPR2023?day=all": ok(html)}) as server:
        records = list(source(server.url).papers(10))
        assert server.asked == ["/CVPR2023?day=all"]
    assert all(not record.has_text and record.abstract == "" for record in records)
    assert [record.paper.link for record in records] == ["http://evil.example/page.html", None]
