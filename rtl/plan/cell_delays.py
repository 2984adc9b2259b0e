# SPDX-License-Identifier: Apache-2.0
"""How long the cells of a device family take, and the wires between them: what static timing adds up.

All delays are in ns, of the slow corner. A wire takes ``net`` and, for each doubling of the pins that it drives,
``fan_out``; from or to a block RAM or DSP block, ``block`` more. Sources:

- Kintex-7, grade -2: registers, LUTs, carries, block RAM, DSP blocks and wires of designs that open tools placed and
  routed. What was not measured there is that of the slowest Artix-7 in Yosys' cell library, times the ratio of the
  cells that are known of both: 0.73, in DSP blocks 0.95.
- UltraScale+, grade -2: reports of Vivado for public designs in XCVU3P-2 and XCU250-2; what they lack is 0.84 of what
  such reports say for XCZU3EG-1.
- UltraScale, grade -2: no report was found; the mean of both.
- ECP5, grade 6, the slowest, which :mod:`rtl.export.route` means, too: cells are those of nextpnr, out of
  ``ECP5/timing/speed_6/cells.json`` of YosysHQ/prjtrellis-db (the slowest way of each cell: blocks SLOGICB, SCCU2C,
  SDPRAME, SRAMWB, DP16KD and MULT18X18D without registers). Wires are fitted to designs that nextpnr routed:
  ``benchmarks/bench_timing.py --fit``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class CellDelays:
    """Delays of a family's cells, in ns; two numbers are those of a DSP block's factors A and B.

    ``register``: clock to output; ``setup``, ``enable``, ``reset``: what the pins of a register take before the edge.
    ``lut``, ``mux``: through a LUT, and through the multiplexers behind LUTs. ``carry_select``, ``carry_data``: from
    the two inputs of a carry cell's place to its sum or carry; ``carry_place``: from place to place; ``carry_on``:
    from the cell before through all places; ``carry_sum``: from there to the first sum.
    ``shift``, ``memory``: clock to output of LUTs as shift registers and as memories; ``write``: what their inputs take
    before the edge. ``ram``, ``ram_register``: clock to output of a block RAM, without and with the register behind it;
    ``ram_address``, ``ram_data``, ``ram_enable``: before the edge.

    Of DSP blocks, ``factor``, ``product``, ``result``: from the pin into the register of the factor, of the product, of
    the result; ``through``: from the pin to the output. ``result_out``, ``product_out``, ``factor_out``: from the clock
    to the output, out of these registers; ``term``, ``term_result``: from the third operand to the output and into the
    result's register; ``cascade``, ``cascade_result``: the same from the block below; ``onward``: what the output to
    the block above takes longer; ``dsp_enable``: what enables and resets take before the edge.
    """

    net: float
    fan_out: float
    block: float
    register: float
    setup: float
    enable: float
    reset: float
    lut: float
    mux: float
    carry_select: float
    carry_data: float
    carry_place: float
    carry_on: float
    carry_sum: float
    shift: float
    memory: float
    write: float
    ram: float
    ram_register: float
    ram_address: float
    ram_data: float
    ram_enable: float
    factor: tuple[float, float]
    product: tuple[float, float]
    result: tuple[float, float]
    through: tuple[float, float]
    result_out: float
    product_out: float
    factor_out: tuple[float, float]
    term: float
    term_result: float
    cascade: float
    cascade_result: float
    onward: float
    dsp_enable: float


def _mean(one: CellDelays, two: CellDelays) -> CellDelays:
    """Half way between two families."""

    def between(name: str) -> Any:
        a, b = getattr(one, name), getattr(two, name)
        return tuple((p + q) / 2 for p, q in zip(a, b, strict=True)) if isinstance(a, tuple) else (a + b) / 2

    return CellDelays(**{field.name: between(field.name) for field in fields(CellDelays)})


_SERIES_7 = CellDelays(
    net=0.22, fan_out=0.10, block=0.0,
    register=0.29, setup=0.05, enable=0.10, reset=0.29,
    lut=0.20, mux=0.20, carry_select=0.30, carry_data=0.25, carry_place=0.03, carry_on=0.06, carry_sum=0.18,
    shift=1.07, memory=0.86, write=0.33,
    ram=1.80, ram_register=0.63, ram_address=0.42, ram_data=0.54, ram_enable=0.45,
    factor=(0.27, 0.27), product=(1.35, 1.22), result=(2.60, 2.48), through=(2.68, 2.56),
    result_out=0.30, product_out=1.61, factor_out=(2.80, 2.67),
    term=1.19, term_result=1.18, cascade=0.98, cascade_result=0.97, onward=0.12, dsp_enable=0.25,
)  # fmt: skip
_ULTRASCALE_PLUS = CellDelays(
    net=0.22, fan_out=0.035, block=0.0,
    register=0.08, setup=-0.02, enable=0.06, reset=0.07,
    lut=0.11, mux=0.06, carry_select=0.17, carry_data=0.14, carry_place=0.008, carry_on=0.025, carry_sum=0.07,
    shift=0.40, memory=0.45, write=0.10,
    ram=0.83, ram_register=0.25, ram_address=0.28, ram_data=0.25, ram_enable=0.28,
    factor=(0.19, 0.19), product=(0.93, 0.93), result=(1.52, 1.52), through=(1.63, 1.63),
    result_out=0.23, product_out=0.88, factor_out=(1.62, 1.62),
    term=0.85, term_result=0.75, cascade=0.70, cascade_result=0.59, onward=0.02, dsp_enable=0.16,
)  # fmt: skip
_ECP5 = CellDelays(
    net=0.63, fan_out=0.21, block=0.75,
    register=0.525, setup=0.0, enable=0.0, reset=0.424,
    lut=0.236, mux=0.242, carry_select=0.236, carry_data=0.447, carry_place=0.031, carry_on=0.071, carry_sum=0.443,
    memory=0.929, write=0.392,
    ram=5.83, ram_address=0.251, ram_data=0.218, ram_enable=0.585,
    through=(3.93, 3.93), dsp_enable=0.252,
    # What Yosys leaves unused there: shift registers in LUTs, registers and sums inside of blocks.
    shift=0.0, ram_register=0.0,
    factor=(0.0, 0.0), product=(0.0, 0.0), result=(0.0, 0.0), result_out=0.0, product_out=0.0, factor_out=(0.0, 0.0),
    term=0.0, term_result=0.0, cascade=0.0, cascade_result=0.0, onward=0.0,
)  # fmt: skip
CELL_DELAYS = {
    "xc7": _SERIES_7,
    "xcu": _mean(_SERIES_7, _ULTRASCALE_PLUS),
    "xcup": _ULTRASCALE_PLUS,
    "ecp5": _ECP5,
}
