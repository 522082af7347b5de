"""The one exception tree; each class carries the exit code of the process that ends with it."""

from collections.abc import Iterator
from contextlib import contextmanager


class PipelineError(Exception):
    """Base of everything the pipeline raises on purpose; its text is one sentence for the user."""

    exit_code = 1


class InputError(PipelineError):
    """Bad config or input, found before any compute. ``problems`` holds every sentence, in order."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        # names of files and keys may hold line ends and terminal commands; a problem stays one harmless line
        self.problems = tuple("".join(c if c.isprintable() else ascii(c)[1:-1] for c in each) for each in problems)
        super().__init__("\n".join(self.problems))


def root(error: BaseException) -> str:
    """What went wrong first, on one line: libraries wrap it in sentences that say only that something did."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def collecting(problems: list[str]) -> Iterator[None]:
    """Add what bad input is found in the context to ``problems``, and go on: they are told all at once."""
    try:
        yield
    except InputError as error:
        problems += error.problems


class OutputError(PipelineError):
    """The output folder cannot be used: in use by another run, differently configured, not writable."""

    exit_code = 2


class BlocksFailed(PipelineError):  # noqa: N818 - a state of the result, not an error of the caller
    """The run finished, but some blocks could not be computed; they are listed in run.json."""

    exit_code = 3


class Interrupted(PipelineError):  # noqa: N818 - a request that was honoured
    """Stopped by SIGTERM, SIGINT or the walltime; what is done is kept and a rerun resumes."""

    exit_code = 75

    def __init__(
        self, sentence: str = "interrupted; what is done is kept: run the same command again, and it resumes"
    ) -> None:
        super().__init__(sentence)
