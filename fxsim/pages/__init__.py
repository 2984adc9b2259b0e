# SPDX-License-Identifier: Apache-2.0
"""Pages of HTML, charts, and tables as files.

New here: another way to show rows and curves. Not here: where they come from.
May import: files.
"""
