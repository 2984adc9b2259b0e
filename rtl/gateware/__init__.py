# SPDX-License-Identifier: Apache-2.0
"""Programs as hardware in Amaranth, as a plan says.

New here: a component. Not here: decisions about time; the schedule has made them.
May import: cost, fxsim, plan.
"""
