"""The one family of errors of nader.training: each message says what is wrong and what to do."""


class TrainingError(RuntimeError):
    """Base class: something about a recipe, a data set or a training that a person can act on."""


class RecipeError(TrainingError, ValueError):
    """A recipe that does not exist, or a recipe file with a wrong key or value."""


class DatasetError(TrainingError, ValueError):
    """A data set that is unknown, malformed or not what its checksum says."""


class DataMissingError(DatasetError):
    """The files of a data set are not where they were looked for."""


class DataChangedError(DatasetError):
    """The files of a data set are not those that the result would be recorded for."""


class DiskFullError(TrainingError):
    """A checkpoint or result could not be written because the disk, quota or file limit is full."""


class NotFiniteError(TrainingError):
    """The loss or the weights became NaN or infinite."""


class StoppedError(TrainingError):
    """The training was asked to stop; its state is in the checkpoint."""
