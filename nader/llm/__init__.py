"""Questions to language models: back ends, limits, budgets, prices and embeddings."""

from nader.llm.designer import RuleBasedDesigner
from nader.llm.errors import BudgetExceeded, ErrorKind, LLMError
from nader.llm.hashed import HashedNgrams
from nader.llm.types import BackendKind, ChatBackend, ChatReply, ChatRequest, Embedder, EmbedReply
from prompts import Message

__all__ = [
    "BackendKind",
    "BudgetExceeded",
    "ChatBackend",
    "ChatReply",
    "ChatRequest",
    "EmbedReply",
    "Embedder",
    "ErrorKind",
    "HashedNgrams",
    "LLMError",
    "Message",
    "RuleBasedDesigner",
]
