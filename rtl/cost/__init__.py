# SPDX-License-Identifier: Apache-2.0
"""The cells that a plan becomes, counted from its schedule.

New here: a part that gateware is made of. Not here: decisions; the schedule has made them.
May import: fxsim, plan.
"""
