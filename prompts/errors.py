"""What can be wrong with a prompt template, its variables or an answer."""


class PromptError(ValueError):
    """A template that is malformed, unknown, or rendered with the wrong variables."""


class AnswerError(PromptError):
    """An answer that does not have the form the prompt asked for.

    The message is a sentence addressed to the model: it says what is missing and the form to answer in.
    """
