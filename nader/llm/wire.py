"""What servers of the OpenAI API send back, turned into replies and typed errors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from nader.llm.errors import ErrorKind, LLMError
from nader.llm.types import ChatReply

if TYPE_CHECKING:
    import openai

SHOWN = 300
"""Characters of a server's own words that an error message repeats."""
MOST_TOKENS = 10**9
"""A count beyond this is no count."""


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises LLMError (malformed answer)."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise LLMError(
            ErrorKind.MALFORMED, f"the answer is not JSON, or cut off; it ends in {_shown(body[-80:])!r}."
        ) from None
    if not isinstance(value, dict):
        raise LLMError(ErrorKind.MALFORMED, f"the answer is a JSON {type(value).__name__}, not an object.")
    if isinstance(value.get("error"), dict) and "choices" not in value and "data" not in value:
        # Some servers report a failure with status 200.
        raise LLMError(ErrorKind.SERVER, f"the server reports: {_said(value)}", retriable=True)
    return value


def chat_reply(body: Mapping[str, Any]) -> ChatReply:
    """A Chat Completions body as a reply. Raises LLMError for what is not a whole answer, with its usage."""
    used = _usage(body, "prompt_tokens", "completion_tokens")
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _error(ErrorKind.EMPTY, "the answer has no choices.", used)
    choice = choices[0]
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    text = message.get("content")
    if isinstance(text, list):  # content in parts
        text = "".join(p.get("text") or "" for p in text if isinstance(p, dict))
    text = text if isinstance(text, str) else ""
    finish = str(choice.get("finish_reason") or "stop")
    if message.get("refusal"):
        raise _error(ErrorKind.REFUSAL, f"the model declines: {_said(message['refusal'])}", used)
    return _whole(text, finish, str(body.get("model") or ""), used)


def response_reply(body: Mapping[str, Any]) -> ChatReply:
    """A Responses body as a reply. Raises LLMError for what is not a whole answer, with its usage."""
    used = _usage(body, "input_tokens", "output_tokens")
    parts: list[str] = []
    for item in _dicts(body.get("output")):
        for part in _dicts(item.get("content")):
            if part.get("type") == "refusal":
                raise _error(ErrorKind.REFUSAL, f"the model declines: {_said(part.get('refusal'))}", used)
            if part.get("type") == "output_text" and isinstance(part.get("text"), str):
                parts.append(part["text"])
    finish = "stop"
    if body.get("status") == "incomplete":
        details = body.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        finish = "length" if reason == "max_output_tokens" else str(reason or "incomplete")
    elif body.get("status") == "failed":
        raise _error(ErrorKind.SERVER, f"the server reports: {_said(body)}", used)
    return _whole("".join(parts), finish, str(body.get("model") or ""), used)


def failure(error: openai.OpenAIError) -> LLMError:
    """The typed error for one of the client's."""
    import openai

    # Without a connection nothing was sent, so nothing can have been charged.
    unsent = type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout", "PoolTimeout")
    if isinstance(error, openai.APITimeoutError):
        return LLMError(ErrorKind.TIMEOUT, "the connection timed out.", usage_known=unsent)
    if isinstance(error, openai.APIStatusError):
        return _status(error)
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__
        why = f" ({type(cause).__name__}: {str(cause)[:SHOWN]})" if cause else ""
        what = "no connection" if unsent else "the connection broke"
        return LLMError(ErrorKind.CONNECTION, f"{what}{why}.", usage_known=unsent)
    return LLMError(ErrorKind.BAD_REQUEST, f"the client reports: {str(error)[:SHOWN]}")


def _status(error: openai.APIStatusError) -> LLMError:
    status, said = error.status_code, _said(error.body if error.body is not None else error.message)
    message = f"the server answers {status}: {said}"
    low = said.lower()
    code = str(getattr(error, "code", None) or "")
    after = retry_after(error.response.headers)
    if status == 402 or code == "insufficient_quota" or "insufficient_quota" in low:
        return LLMError(ErrorKind.QUOTA, message)
    if status == 429:
        return LLMError(ErrorKind.RATE_LIMITED, message, retry_after=after)
    if status in (401, 403):
        return LLMError(ErrorKind.AUTHENTICATION, message)
    if status == 404 or code == "model_not_found":
        return LLMError(ErrorKind.NO_MODEL, message)
    if status == 408:
        return LLMError(ErrorKind.TIMEOUT, message, retry_after=after)
    if status >= 500 or status in (409, 425):
        return LLMError(ErrorKind.SERVER, message, retriable=True, retry_after=after)
    if code == "context_length_exceeded" or ("context" in low and ("length" in low or "size" in low)):
        return LLMError(ErrorKind.CONTEXT_LENGTH, message)
    if code == "content_filter" or "content_policy" in low:
        return LLMError(ErrorKind.REFUSAL, message)
    return LLMError(ErrorKind.BAD_REQUEST, message)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks us to wait: `retry-after-ms`, or `retry-after` as a number or as a date."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        said = headers.get(name, "")
        try:
            seconds = float(said) / scale
        except ValueError:
            seconds = _until(said, headers.get("date", ""))
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def _until(date: str, now: str) -> float:
    """Seconds between two HTTP dates, both by the server's clock; NaN where one is none."""
    try:
        return (parsedate_to_datetime(date) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError):
        return math.nan


def _whole(text: str, finish: str, model: str, used: tuple[int, int] | None) -> ChatReply:
    if finish == "length":
        raise _error(ErrorKind.CUT_OFF, "the answer was cut off at the token limit.", used)
    if finish == "content_filter":
        raise _error(ErrorKind.REFUSAL, "a content filter withheld the answer.", used)
    if not text.strip():
        raise _error(ErrorKind.EMPTY, "the answer has no text.", used)
    tokens = used or (0, 0)
    return ChatReply(
        text=_encodable(text),
        model=_said(model),
        finish=_said(finish),
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        usage_known=used is not None,
    )


def _usage(body: Mapping[str, Any], prompt: str, answer: str) -> tuple[int, int] | None:
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return None
    counts = []
    for name in (prompt, answer):
        value = usage.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MOST_TOKENS:
            return None
        counts.append(value)
    return counts[0], counts[1]


def _error(kind: ErrorKind, message: str, used: tuple[int, int] | None) -> LLMError:
    tokens = used or (0, 0)
    return LLMError(
        kind,
        message,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        usage_known=used is not None,
    )


def _said(body: object) -> str:
    """The server's own words, short, printable and on one line."""
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        if isinstance(inner, Mapping):
            body = inner.get("message") or inner.get("code") or json.dumps(inner, default=str)
        else:
            body = inner
    words = " ".join(str(body).split())[:SHOWN]
    return "".join(c if c.isprintable() else "\ufffd" for c in words)


def _encodable(text: str) -> str:
    """The text without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _shown(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _dicts(value: object) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
