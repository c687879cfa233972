"""Where papers are fetched from; mirrors and test servers are named in the environment."""

import os

from pydantic import BaseModel, ConfigDict, Field

from nader.literature.fetch import Fetcher


class Endpoints(BaseModel):
    """Base addresses, no slash at the end, and the seconds between two requests to each.

    arXiv's terms of use ask for three seconds; CVF says nothing, and one is polite.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arxiv: str = "https://export.arxiv.org"
    cvf: str = "https://openaccess.thecvf.com"
    arxiv_pause: float = Field(default=3.0, ge=0)
    cvf_pause: float = Field(default=1.0, ge=0)

    @classmethod
    def from_environment(cls) -> "Endpoints":
        """The public servers, or those of NADER_ARXIV_URL, NADER_CVF_URL, NADER_PAPER_PAUSE."""
        given = {
            "arxiv": os.environ.get("NADER_ARXIV_URL", "").rstrip("/"),
            "cvf": os.environ.get("NADER_CVF_URL", "").rstrip("/"),
            "arxiv_pause": os.environ.get("NADER_PAPER_PAUSE", ""),
            "cvf_pause": os.environ.get("NADER_PAPER_PAUSE", ""),
        }
        return cls.model_validate({name: value for name, value in given.items() if value})

    def fetcher(self) -> Fetcher:
        """A fetcher that reaches these servers only, at their pace."""
        return Fetcher({self.arxiv: self.arxiv_pause, self.cvf: self.cvf_pause})
