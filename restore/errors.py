"""What a user is told when something is wrong: one line, with the place and the remedy, and an exit code."""

import difflib
import sys
from collections.abc import Callable, Iterable

EXIT_FAULT = 1
EXIT_USER = 2
EXIT_RESUMABLE = 75
EXIT_INTERRUPTED = 130


class RestoreError(Exception):
    """Base of the errors that end a command with a message and no traceback."""

    exit_code = EXIT_FAULT


class Fault(RestoreError):
    """The run cannot go on through no mistake in its options: a full disk, a diverged loss, unreadable data."""


class UserError(RestoreError):
    """The input is wrong: an option, a path, a file. Says where, what was found and what to do."""

    exit_code = EXIT_USER


class Preempted(RestoreError):
    """The run was asked to stop; it has saved and can be resumed."""

    exit_code = EXIT_RESUMABLE


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the known word closest to `word`, or an empty string when none is close."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean `{by_lower[close[0]]}`?" if close else ""


def run_main(main: Callable[[], object]) -> None:
    """Calls `main` and exits: 0, or the code of a `RestoreError` with its message as the last line on stderr."""
    try:
        main()
    except RestoreError as error:
        told = "stopped" if isinstance(error, Preempted) else "error"
        print(f"{told}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `restore list archs | head`
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
