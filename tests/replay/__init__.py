# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of named designs, so that a refactoring is seen to change nothing.

``hashes.json`` holds them; ``tests/project/test_replay.py`` compares; ``python tests/replay`` writes them again
after a change that is meant to change bits, cycles or text.
"""
