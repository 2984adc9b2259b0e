# SPDX-License-Identifier: Apache-2.0
"""Inputs as data, outputs whole or not at all.

New here: another kind of file, read with suspicion. Not here: what its content means.
May import: nothing.
"""
