# SPDX-License-Identifier: Apache-2.0
"""The command line: options, verbs, tables in a terminal.

New here: a verb or an option. Not here: what it does, which the Python interface does as well.
May import: everything.
"""
