"""A campaign with a real language model, far too small to design: every failure is recorded, and it ends."""

from collections import Counter

import pytest

from tests.e2e.campaigns import check_log, events, folded, run_campaign
from tests.servers.local_llm import local_server

pytestmark = [pytest.mark.local_llm, pytest.mark.timeout(3000)]

SETS = (
    "search.candidates=3",
    "search.width=3",
    "search.retrieved=3",
    "modifier.rounds=1",
    "modifier.tries=2",
    "llm.backend=openai",
    "llm.max_tokens=192",
    "llm.concurrency=2",
    "llm.deadline_s=600",
    "llm.retries=1",
    "synchronous=NORMAL",
)


def test_a_campaign_of_three_candidates_ends_with_every_failure_recorded(tmp_path):
    with local_server() as server:
        sets = (*SETS, f"llm.base_url={server.url}", f"llm.model={server.model}")
        ending = run_campaign(tmp_path, sets)
    check_log(tmp_path)
    log = events(tmp_path)
    types = Counter(e.type for e in log)
    assert ending.kind == "finished" and types["CampaignFinished"] == 1
    assert types["HandlerFailed"] == 0
    assert types["ChatRequested"] == types["ChatCompleted"] + types["ChatFailed"] > 0
    assert types["ProposalMade"] == types["DesignReady"] + types["DesignAbandoned"] >= 3
    assert all(e.event.reason and e.event.category for e in log if e.type == "DesignAbandoned")
    booked = sum(e.event.output_tokens for e in log if e.type in ("ChatCompleted", "ChatFailed"))
    views, _ = folded(tmp_path)
    assert views.ledger.totals().output_tokens == booked > 0
