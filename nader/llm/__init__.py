"""Questions to language models: back ends, limits, budgets, prices and embeddings."""

from nader.llm.budget import Budget, Caps, Hold, Spent
from nader.llm.call import Attempt, RetryPolicy, call, call_embed
from nader.llm.check import Check, check_endpoint, unlisted_models
from nader.llm.clock import Clock
from nader.llm.connection import Connection
from nader.llm.designer import RuleBasedDesigner
from nader.llm.errors import BudgetExceeded, ErrorKind, LLMError
from nader.llm.hashed import HashedNgrams
from nader.llm.inbox import Inbox, InboxError, Waiting, answer, request_id, waiting
from nader.llm.limiter import Limiter
from nader.llm.openai_chat import OpenAIChat
from nader.llm.openai_embed import OpenAIEmbedder
from nader.llm.prices import Price, Prices, cost
from nader.llm.secrets import Secret, shown_url
from nader.llm.tokens import prompt_bound, texts_bound
from nader.llm.types import BackendKind, ChatBackend, ChatReply, ChatRequest, Embedder, EmbedReply
from prompts import Message

__all__ = [
    "Attempt",
    "BackendKind",
    "Budget",
    "BudgetExceeded",
    "Caps",
    "ChatBackend",
    "ChatReply",
    "ChatRequest",
    "Check",
    "Clock",
    "Connection",
    "EmbedReply",
    "Embedder",
    "ErrorKind",
    "HashedNgrams",
    "Hold",
    "Inbox",
    "InboxError",
    "LLMError",
    "Limiter",
    "Message",
    "OpenAIChat",
    "OpenAIEmbedder",
    "Price",
    "Prices",
    "RetryPolicy",
    "RuleBasedDesigner",
    "Secret",
    "Spent",
    "Waiting",
    "answer",
    "call",
    "call_embed",
    "check_endpoint",
    "cost",
    "prompt_bound",
    "request_id",
    "shown_url",
    "texts_bound",
    "unlisted_models",
    "waiting",
]
