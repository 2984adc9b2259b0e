# SPDX-License-Identifier: Apache-2.0
"""What fxsim raises when it refuses something: one clear line that says what is wrong, where, and what is legal."""


class FxsimError(ValueError):
    """Base of every refusal of fxsim; the command line prints it as its one line and exits with status 2."""


class ModelError(FxsimError):
    """A model that cannot be imported: a damaged file, or a network fxsim does not express exactly."""
