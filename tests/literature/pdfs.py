"""A minimal writer of PDFs, so that tests make theirs by hand: text pages, image pages, several pages."""

import io
import textwrap
import zlib

import pypdf

LINES_A_PAGE = 60


def write_pdf(pages: list[bytes], *, title: str | None = None, images: bool = False) -> bytes:
    """A PDF from page content streams; with `images`, each page has a grey 8×8 picture under the name /Im."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{5 + 2 * i} 0 R" for i in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    picture = zlib.compress(bytes(range(0, 256, 4)))
    objects.append(
        b"<< /Type /XObject /Subtype /Image /Width 8 /Height 8 /ColorSpace /DeviceGray /BitsPerComponent 8 "
        b"/Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(picture), picture)
    )
    extra = b"/XObject << /Im 4 0 R >>" if images else b""
    for number, content in enumerate(pages):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F 3 0 R >> %s >> "
            b"/Contents %d 0 R >>" % (extra, 6 + 2 * number)
        )
        stream = zlib.compress(content)
        objects.append(
            b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(stream), stream)
        )
    info = b""
    if title is not None:
        objects.append(b"<< /Title (%s) >>" % _escape(title))
        info = b" /Info %d 0 R" % len(objects)
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R%s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        info,
        start,
    )
    return bytes(out)


def text_page(lines: list[str]) -> bytes:
    """The content of a page with one line of text under the other."""
    shown = b" T*\n".join(b"(%s) Tj" % _escape(line) for line in lines)
    return b"BT /F 9 Tf 11 TL 40 750 Td\n%s\nET" % shown


def titled_page(title: list[str], lines: list[str], *, stamp: str = "") -> bytes:
    """The content of a first page: a title of some lines in large type, a stamp up the margin, then text."""
    large = b" 0 -20 Td\n".join(b"(%s) Tj" % _escape(line) for line in title)
    margin = b"BT /F 30 Tf 0 1 -1 0 20 200 Tm (%s) Tj ET\n" % _escape(stamp)
    return margin + b"BT /F 17 Tf 80 770 Td %s ET\n" % large + text_page(lines)


def text_pdf(text: str, *, title: str | None = None) -> bytes:
    """A PDF of a text, wrapped to 95 characters and broken into pages; a form feed begins a page."""
    pages: list[bytes] = []
    for part in text.split("\f"):
        lines = [line for raw in part.splitlines() for line in (textwrap.wrap(raw, 95) or [""])]
        pages += [text_page(lines[i : i + LINES_A_PAGE]) for i in range(0, max(1, len(lines)), LINES_A_PAGE)]
    return write_pdf(pages, title=title)


def scanned_pdf(count: int) -> bytes:
    """A PDF of pictures only, as a scanner makes it."""
    return write_pdf([b"q 600 0 0 780 0 0 cm /Im Do Q"] * count, images=True)


def encrypted_pdf(plain: bytes, *, user_password: str) -> bytes:
    """The same document, to be opened with a password ("" needs none, and is encrypted all the same)."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(plain))
    writer.encrypt(user_password, "owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _escape(text: str) -> bytes:
    return (
        text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode("cp1252", errors="replace")
    )
