# SPDX-License-Identifier: Apache-2.0
"""A small trained network with its test data, and the tour that ``fxsim demo`` makes with them.

New here: nothing that is not part of the tour. Not here: options.
May import: everything.
"""
