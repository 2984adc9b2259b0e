# SPDX-License-Identifier: Apache-2.0
"""``fxsim`` and ``python -m fxsim``.

Exit status 0; 1 where a check finds a difference; 2 for anything else, with one line on standard error that says what
is wrong. After a signal it is 128 and the signal's number: 130 for an interrupt.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress

from .errors import FxsimError
from .extras import complaint
from .system import interrupts

#: Exit status where a check finds a difference, and for anything else that is wrong.
DIFFERENT, REFUSED = 1, 2
#: What shells add to the number of the signal that ended a program.
_SIGNALLED = 128


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    if not sys.warnoptions:
        # A library's warning is no word to the user; with -W they are seen again.
        warnings.simplefilter("ignore")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be text.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from .command.cli import parser
        from .command.terminal import Output

        words = sys.argv[1:] if arguments is None else arguments
        if "--no-color" in words:
            # For rich, for argparse from Python 3.14 on, and for the programs that a verb starts.
            os.environ["NO_COLOR"] = "1"
        whole = parser()
        given = whole.parse_args(words)
        if given.run is None:
            whole.print_help()
        else:
            out = Output(given.form, given.quiet)
            given.run(given, out)
            out.finish()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough; without this, Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _refuse("standard output was closed")
    except KeyboardInterrupt:
        return _refuse("interrupted", _SIGNALLED + signal.SIGINT)
    except MemoryError as error:
        return _refuse(f"out of memory {error}")
    except ImportError as error:
        return _refuse(complaint(error, "fxsim"))
    except FxsimError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:
        if type(error).__module__.startswith("testbenches"):
            # A Mismatch has a kind: the check was done, and the design is wrong.
            return _refuse(str(error), DIFFERENT if hasattr(error, "kind") else REFUSED)
        if os.environ.get("FXSIM_TRACEBACK"):
            traceback.print_exc()
        name = type(error).__name__
        return _refuse(f"internal error, {name}: {error} (FXSIM_TRACEBACK=1 shows where; please report it)")
    return 0


def _refuse(message: str, status: int = REFUSED) -> int:
    if number := interrupts.received():
        # Whatever else went wrong did because of it.
        message, status = f"interrupted by {number.name}", _SIGNALLED + number
    print(f"fxsim: {' '.join(message.split())}", file=sys.stderr)
    return status


def run() -> None:
    """Entry point of the command ``fxsim``."""
    interrupts.catch()
    status = 0
    try:
        status = main()
        interrupts.ignore()
    except KeyboardInterrupt:  # in the last moment
        status = 0
    if interrupts.received():
        from .system.processes import end_descendants

        status = status or _refuse("interrupted")
        end_descendants()
        with suppress(OSError):
            sys.stdout.flush()
        # Threads may be in the middle of long work, which a regular exit waits for.
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    run()
