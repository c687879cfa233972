"""A person as the model: each prompt becomes a file, and its answer is a file beside it."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import anyio

import prompts
from nader.llm.errors import ErrorKind, LLMError
from nader.llm.types import BackendKind, ChatReply, ChatRequest

PROMPT = ".prompt.md"
ANSWER = ".answer.md"
LARGEST_ANSWER = 1024 * 1024
"""Bytes of an answer file."""
_ID = re.compile(r"[a-z0-9_]+-[0-9a-f]{16}")
_WORD = re.compile(r"[A-Za-z0-9][\w.:/-]*")
"""What may be the id of an inspiration in a question."""
_AGAIN = re.compile(r"\A<!-- .* -->\n<!-- Asked again: (.*) -->\n")


class InboxError(LLMError):
    """A request that is not in the inbox, or an answer that cannot be put there."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.BAD_REQUEST, message)


@dataclass(frozen=True)
class Waiting:
    """A question that waits for an answer."""

    id: str
    prompt: str
    """The template's name."""
    path: Path
    asked: datetime
    text: str
    again: str = ""
    """Why it is asked once more: what is amiss with the last answer; empty at the first time."""

    def complaint(self, text: str) -> str:
        """Why a text cannot be used as the answer, in one sentence; empty where it can be read."""
        try:
            prompts.parse_answer(self.prompt, text, ids=set(_WORD.findall(self.text)))
        except prompts.AnswerError as error:
            return str(error)
        except prompts.PromptError:  # a question of another make, whose form is not known here
            return ""
        return ""


class Inbox:
    """Asks by files in a folder: `<id>.prompt.md`, answered by `<id>.answer.md` (`nader answer`, or by hand).

    The id is a function of the request's key and messages, so that after a restart an answer given meanwhile
    is found, and a changed prompt asks anew. Both files stay, as a record.
    """

    name = "inbox"
    kind = BackendKind.INBOX

    def __init__(self, folder: Path, *, poll_s: float = 0.5) -> None:
        self.folder = folder
        self._poll = poll_s

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Waits, for as long as it takes, until the answer's file is there and whole. Raises LLMError."""
        name = request_id(request)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            question = self.folder / f"{name}{PROMPT}"
            if not question.exists():
                _write(question, _page(name, request))
            text = await self._answer(self.folder / f"{name}{ANSWER}")
        except OSError as error:
            raise InboxError(f"the inbox {self.folder} cannot be used: {error.strerror or error}.") from error
        return ChatReply(text=text, model="person", cost=0.0)

    async def aclose(self) -> None:
        """Nothing to give back."""

    async def _answer(self, path: Path) -> str:
        seen: tuple[int, int] | None = None
        while True:
            stamp = _stamp(path)
            # An editor may write in steps: the file counts once it has text and no longer changes.
            if stamp is not None and stamp == seen and (text := _read(path)).strip():
                return text
            seen = stamp
            await anyio.sleep(self._poll)


def request_id(request: ChatRequest) -> str:
    """The request's name in an inbox: template, and 16 hexadecimal digits."""
    digest = hashlib.sha256(f"{request.key}\n{request.digest}".encode()).hexdigest()
    return f"{request.prompt}-{digest[:16]}"


def waiting(folder: Path) -> list[Waiting]:
    """The unanswered questions, oldest first; empty where there is no such folder."""
    if not folder.is_dir():
        return []
    found = []
    for path in folder.glob(f"*{PROMPT}"):
        name = path.name.removesuffix(PROMPT)
        if _ID.fullmatch(name) and not (folder / f"{name}{ANSWER}").exists():
            asked = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            text = path.read_text(encoding="utf-8", errors="replace")
            again = _AGAIN.match(text)
            found.append(Waiting(name, name.rpartition("-")[0], path, asked, text, again[1] if again else ""))
    return sorted(found, key=lambda item: (item.asked, item.id))


def answer(folder: Path, name: str, text: str) -> Path:
    """Puts an answer into the inbox, whole; `name` may be the id's first letters. Raises InboxError."""
    matching = [item.id for item in waiting(folder) if item.id.startswith(name)]
    exact = [i for i in matching if i == name] or matching
    if not exact:
        if _ID.fullmatch(name) and (folder / f"{name}{ANSWER}").exists():
            raise InboxError(f"{name} is answered already.")
        raise InboxError(f"no question in {folder} has an id that begins with {name!r}.")
    if len(exact) > 1:
        raise InboxError(f"several questions begin with {name!r}: {', '.join(exact)}.")
    if not text.strip():
        raise InboxError("an answer must have text.")
    if len(text.encode()) > LARGEST_ANSWER:
        raise InboxError(f"an answer may have {LARGEST_ANSWER:,} bytes at most.")
    path = folder / f"{exact[0]}{ANSWER}"
    try:
        _write(path, text)
    except OSError as error:
        raise InboxError(f"{path} cannot be written: {error.strerror or error}.") from error
    return path


def _page(name: str, request: ChatRequest) -> str:
    head = f"<!-- Answer in {name}{ANSWER}, or with: nader answer {name} -->"
    if any(message.role == "assistant" for message in request.messages):
        # A repair turn: the answer before this question and what is amiss with it stand at its end.
        amiss = " ".join(request.messages[-1].content.split()).replace("-->", "→")
        head += f"\n<!-- Asked again: {amiss} -->"
    parts = [f"# {message.role.capitalize()}\n\n{message.content}" for message in request.messages]
    return "\n\n".join([head, *parts]) + "\n"


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if status.st_size > LARGEST_ANSWER:
        raise LLMError(
            ErrorKind.TOO_LARGE, f"{path} is larger than {LARGEST_ANSWER:,} bytes.", retriable=False
        )
    return status.st_size, status.st_mtime_ns


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
