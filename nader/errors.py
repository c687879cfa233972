"""The one base of all that can go wrong in front of a user: a sentence, and an exit status other than 0."""


class NaderError(Exception):
    """Something a person can act on; its text is one clear sentence."""

    exit_status = 2


class SettingsError(NaderError):
    """A setting that does not exist or has a wrong value."""


class WorkspaceError(NaderError):
    """A workspace, run or file that is not there or cannot be used."""
