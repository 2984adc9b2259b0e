# SPDX-License-Identifier: Apache-2.0
"""The operating system: processes that end with whoever started them, signals, forks.

New here: what a process owes to others. Not here: files.
May import: nothing.
"""
