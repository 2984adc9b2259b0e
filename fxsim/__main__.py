# SPDX-License-Identifier: Apache-2.0
"""``fxsim`` and ``python -m fxsim``: exit status 0, or 2 with one line on standard error that says what is wrong."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from types import FrameType

from .errors import FxsimError
from .extras import complaint


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    if not sys.warnoptions:
        # A library's warning is no word to the user; with -W they are seen again.
        warnings.simplefilter("ignore")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be text.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from .cli import parser

        given = parser().parse_args(arguments)
        given.run(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough; without this, Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _refuse("standard output was closed")
    except KeyboardInterrupt as error:
        return _refuse(f"interrupted{f' by {error}' if str(error) else ''}")
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
            return _refuse(str(error))
        if os.environ.get("FXSIM_TRACEBACK"):
            traceback.print_exc()
        name = type(error).__name__
        return _refuse(f"internal error, {name}: {error} (FXSIM_TRACEBACK=1 shows where; please report it)")
    return 0


def _refuse(message: str) -> int:
    print(f"fxsim: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _interrupted(number: int, frame: FrameType | None) -> None:
    # What is half-written is removed on the way out, which a second signal must not interrupt.
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(number).name)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run() -> None:
    """Entry point of the command ``fxsim``."""
    for number in _SIGNALS:
        signal.signal(number, _interrupted)
    sys.exit(main())


if __name__ == "__main__":
    run()
