"""What can go wrong between a design and a network, under one base class."""


class NetworkError(ValueError):
    """Base of every error of `nader.network`; its text is a sentence a person can act on."""


class SkeletonError(NetworkError):
    """A skeleton that does not exist, or an image or a number of classes it cannot take."""


class DesignError(NetworkError):
    """A design cannot be built at the width asked for; `.problems` says why, one entry a problem."""

    def __init__(self, message: str, problems: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class NoWidthError(NetworkError):
    """No width the skeleton offers both works for the design and stays within the limits."""


class ExportError(NetworkError):
    """The network could not be written in the format asked for."""
