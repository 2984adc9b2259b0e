# SPDX-License-Identifier: Apache-2.0
"""What leaves as files: Verilog, manifest, IP packages, reports, and what synthesis says of them.

New here: another tool that is fed or read. Not here: hardware.
May import: cost, fxsim, gateware, plan.
"""
