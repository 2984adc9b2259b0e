# SPDX-License-Identifier: Apache-2.0
"""How a network is built in hardware: schedules, Amaranth components, Verilog."""
