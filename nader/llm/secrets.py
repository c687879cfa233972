"""Keys: where they come from, and how they stay out of everything that is written down."""

from __future__ import annotations

import os
from urllib.parse import urlsplit, urlunsplit


class Secret:
    """An API key that never shows itself in a repr, a log or an error message."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value.strip()

    @classmethod
    def from_environment(cls, variable: str) -> Secret | None:
        """The key in that environment variable, or None where it is unset or blank."""
        value = os.environ.get(variable, "").strip()
        return cls(value) if value else None

    def reveal(self) -> str:
        """The key itself, for the client that sends it."""
        return self._value

    def hide_in(self, text: str) -> str:
        """The text with every occurrence of the key replaced."""
        return text.replace(self._value, "[key]") if len(self._value) >= 4 else text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


def shown_url(url: str) -> str:
    """The URL without user name, password, query or fragment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, f"{host}{port}", parts.path, "", ""))
