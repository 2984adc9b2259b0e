# SPDX-License-Identifier: Apache-2.0
"""Verification in bulk: mutants, gate level, coverage and soak runs of designs that are made here.

``python tests/campaigns --help``; docs/verification.md has the figures.
"""
