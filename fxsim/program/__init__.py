# SPDX-License-Identifier: Apache-2.0
"""What a network means: numbers, ops, programs, cells, graphs, proven ranges, and the reference.

New here: whatever decides a bit. Not here: frameworks, floats, machine words, devices.
May import: files, system.
"""
