# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile files, configurations and command lines, by the hundred thousand. See docs/verification.md."""
