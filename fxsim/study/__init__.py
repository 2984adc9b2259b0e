# SPDX-License-Identifier: Apache-2.0
"""Float beside fixed point: profiles, scans, metrics and their plots, on one machine or a cluster.

New here: a question about accuracy or ranges. Not here: what the answer is computed with.
May import: files, importers, pages, program, quantization, simulator, system.
"""
