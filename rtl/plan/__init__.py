# SPDX-License-Identifier: Apache-2.0
"""When and where everything happens: foldings, delays, schedules, timing, and the search among them.

New here: a decision about time. Not here: Amaranth; a plan is made without it.
May import: cost, fxsim.
"""
