# SPDX-License-Identifier: Apache-2.0
"""Does the Verilog agree? Reads ``manifest.json``, the Verilog and a vectors file; knows nothing of who wrote them.

:func:`check_folder` does all of it; ``python -m testbenches FOLDER VECTORS`` is the same as a command.
"""

from .check import CheckReport, check_folder
from .errors import CheckError, Mismatch
from .lint import lint_folder

__all__ = ["CheckError", "CheckReport", "Mismatch", "check_folder", "lint_folder"]
