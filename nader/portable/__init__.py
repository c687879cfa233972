"""One file that holds whole runs: JSON lines in zstd, readable without NADER (`zstdcat FILE | head`),
checked on import.

The file, line by line: a header with the format and the branches; for each branch its events, each after
the blobs it names and before the acknowledgements that count from it; a last line with the counts and the
SHA-256 of all lines above.

Import reads the file twice: once to check all of it (form, chain, blobs, counts), and only then to write.
A branch that the log holds already must agree with the file event for event, as far as both go; then only
what is missing is added. So an import that was cut short is run again, and a newer export of a run brings
the older one up to date.
"""

from nader.portable.checking import check_file
from nader.portable.exporting import export_log
from nader.portable.form import Branch, Contents, PortableError
from nader.portable.importing import Imported, import_log

__all__ = ["Branch", "Contents", "Imported", "PortableError", "check_file", "export_log", "import_log"]
