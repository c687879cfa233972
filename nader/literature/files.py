"""Papers on this machine: a file, a folder of files, or a table of titles and abstracts."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nader.literature.clean import clean_text, one_line
from nader.literature.errors import SourceError
from nader.literature.papers import ARXIV, Paper, PaperRecord, PaperText, TextFailure, paper_digest
from nader.literature.pdf import PdfLimits, pdf_text
from nader.literature.sections import abstract_of, title_of
from nader.literature.textfile import TEXT_SUFFIXES, text_file

PAPER_SUFFIXES = (".pdf", *TEXT_SUFFIXES)
_MAX_TABLE_BYTES = 256 * 2**20
_FRONT = PdfLimits(pages=2, seconds=30)
_ARXIV_ID = re.compile(
    r"(?:arxiv:|https?://arxiv\.org/(?:abs|pdf)/)?(\d{4}\.\d{4,5})(?:v\d+)?(?:\.pdf)?", re.I
)


class FolderSource:
    """A folder of PDFs and texts, read with its sub-folders in order of their names, or one such file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return f"{'folder' if self.path.is_dir() else 'file'} {self.path}"

    def papers(self, maximum: int) -> Iterator[PaperRecord]:
        """At most `maximum` records; files of the same contents count once.

        The front pages are read for title and abstract. A file that cannot be read still gives its record,
        and fails when its text is asked for.
        """
        seen: set[str] = set()
        for path in self._files():
            if len(seen) >= maximum:
                return
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
            except OSError:
                digest = paper_digest(str(path.name))
            if digest not in seen:
                seen.add(digest)
                yield self._record(path, digest)

    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        try:
            found = sorted(self.path.rglob("*"))
        except OSError as error:
            raise SourceError(f"{self.path} cannot be read: {error.strerror}.") from error
        files = [path for path in found if _is_paper(path, self.path)]
        if not files:
            raise SourceError(f"{self.path} holds no papers ({', '.join(PAPER_SUFFIXES)}).")
        return files

    def _record(self, path: Path, digest: str) -> PaperRecord:
        front: PaperText | TextFailure
        front = pdf_text(path, _FRONT) if path.suffix.lower() == ".pdf" else text_file(path)
        name = path.name if path == self.path else path.relative_to(self.path).as_posix()
        by_name = one_line(path.stem.replace("_", " ")) or digest
        title = (title_of(front) if isinstance(front, PaperText) else None) or by_name
        return PaperRecord(
            id=digest,
            paper=Paper(title=title[:1000], ref=one_line(name)[:500] or digest),
            abstract=abstract_of(front) if isinstance(front, PaperText) else "",
            path=path.resolve(),
        )


def _is_paper(path: Path, root: Path) -> bool:
    """Whether a path of a folder is to be read: a known kind, not hidden, no link out of the folder."""
    if path.suffix.lower() not in PAPER_SUFFIXES or not path.is_file():
        return False
    if any(part.startswith(".") for part in path.relative_to(root).parts):
        return False
    return path.resolve().is_relative_to(root.resolve())


class TableSource:
    """A JSON list or a CSV of papers: `title`, and if known `abstract`, `year`, `ref`, `url`, `pdf`.

    `pdf` is a path within the table's own folder; `ref`, `arxiv`, `doi` or `id` names the paper.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return f"table {self.path}"

    def papers(self, maximum: int) -> Iterator[PaperRecord]:
        """At most `maximum` records. Raises SourceError that names the row and what is wrong with it."""
        rows = read_rows(self.path)
        seen: set[str] = set()
        for number, row in enumerate(rows, start=1):
            if len(seen) >= maximum:
                return
            record = self._record(number, row)
            if record.id not in seen:
                seen.add(record.id)
                yield record

    def _record(self, number: int, row: dict[str, Any]) -> PaperRecord:
        fields = {str(key).strip().lower(): value for key, value in row.items() if value not in (None, "")}
        title = fields.get("title")
        if not isinstance(title, str) or not one_line(title):
            raise SourceError(f"{self.path.name}, entry {number}: a paper needs a title.")
        ref = next((str(fields[key]) for key in ("ref", "arxiv", "doi", "id") if key in fields), None)
        arxiv_id = _ARXIV_ID.fullmatch(ref.strip()) if ref else None
        ref = (
            f"{ARXIV}{arxiv_id[1]}" if arxiv_id else one_line(ref or "")[:500] or f"{self.path.name}#{number}"
        )
        return PaperRecord(
            id=paper_digest(ref),
            paper=Paper(
                title=one_line(title)[:1000],
                year=self._year(number, fields.get("year")),
                ref=ref,
                url=fields.get("url"),
            ),
            abstract=str(fields.get("abstract", "")),
            path=self._pdf(number, fields.get("pdf")),
        )

    def _year(self, number: int, value: Any) -> int | None:
        if value is None:
            return None
        try:
            year = int(value)
        except (TypeError, ValueError):
            year = 0
        if not 1900 <= year <= 2200:
            raise SourceError(f"{self.path.name}, entry {number}: {str(value)[:50]!r} is not a year.")
        return year

    def _pdf(self, number: int, value: Any) -> Path | None:
        if value is None:
            return None
        folder = self.path.resolve().parent
        try:
            path = (folder / str(value)).resolve()
            inside = path.is_relative_to(folder) and path.suffix.lower() in PAPER_SUFFIXES
        except (OSError, ValueError):
            inside = False
        if not inside:
            where = f"{self.path.name}, entry {number}"
            raise SourceError(f"{where}: {str(value)[:200]!r} is not a paper in the table's folder.")
        return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The entries of a JSON list (or of its one key that holds a list) or a CSV with a header line."""
    text = read_table_text(path)
    if path.suffix.lower() == ".csv":
        try:
            rows = list(csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True))
        except csv.Error as error:
            raise SourceError(f"{path.name} is not a CSV: {error}.") from error
        if rows and "title" not in {str(key).strip().lower() for key in rows[0]}:
            raise SourceError(f"{path.name}: the first line must name the columns, `title` among them.")
        return rows
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path.name} is not JSON: {error}.") from error
    if isinstance(data, dict):
        data = next((value for value in data.values() if isinstance(value, list)), None)
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise SourceError(f"{path.name}: expected a list of objects, each with a `title`.")
    return data


def read_table_text(path: Path) -> str:
    """The text of a table or list, clean; raises SourceError where it cannot be had."""
    try:
        if path.stat().st_size > _MAX_TABLE_BYTES:
            raise SourceError(f"{path} is larger than {_MAX_TABLE_BYTES // 2**20} MiB.")
        return clean_text(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 text (byte {error.start}).") from error
