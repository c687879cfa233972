"""The errors of reading: one base class, each with a sentence a person can act on."""


class LiteratureError(Exception):
    """Base of everything `nader.literature` raises."""


class SourceError(LiteratureError, RuntimeError):
    """A source of papers could not be read: a network fault, a senseless answer, a missing folder."""


class RefusedError(SourceError):
    """An address that is not among the hosts papers may come from."""


class SourceSpecError(LiteratureError, ValueError):
    """The text that names a source (`arxiv:…`, `cvf:…`, a path) names none."""


class InspirationListError(LiteratureError, ValueError):
    """A list of inspirations (JSON) does not have the form that an import needs."""
