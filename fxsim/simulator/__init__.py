# SPDX-License-Identifier: Apache-2.0
"""The compiled simulator: a graph becomes one function over blocks of sequences.

New here: how vectors of machine words compute what a program says. Not here: any decision about bits.
May import: program, system.
"""
