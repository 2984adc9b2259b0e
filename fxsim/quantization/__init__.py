# SPDX-License-Identifier: Apache-2.0
"""From floats to integers: the presets exact and hls4ml choose formats and tables.

New here: another way to choose formats. Not here: arithmetic, which is the program's.
May import: files, importers, program.
"""
