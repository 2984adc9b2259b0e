# SPDX-License-Identifier: Apache-2.0
"""Matrix products in the narrowest arithmetic that gives the same bits.

:func:`choose` decides from the proven ranges of a dot product which integers to multiply and add; :func:`emit` writes
the loops. In every arithmetic a few outputs of a few vectors of sequences stay in registers while the inputs run by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..program.fixed import IntArray, Overflow, Round, cast
from ..program.ops import Dot
from ..program.ranges import Bounds
from .llvm import ROUNDS, TRN, Code, Var, Vec, fits, magnitude
from .memory import WORDS

#: Two 16-bit products into 32 bits at a time; the upper half of a 16-bit product; both halves, shifted; plain integers.
PAIRS, HIGH, FUNNEL, PLAIN = "pairs", "high", "funnel", "plain"


@dataclass(frozen=True)
class Product:
    """How to compute a dot product.

    ``weights`` ([steps,] outputs, inputs) and ``bias`` (outputs) are what to multiply and start from, ``bits`` the
    width of a sum. The input, less ``offset``, shifted left by ``left``, is multiplied; each product, of ``magnitude``
    bits, is shifted right by ``shift`` in the mode ``round``. With ``split`` the first half of the outputs are the sums
    of the weights' upper parts, the second those of their lower ``split`` bits, to be joined. ``order`` is that of the
    inputs, or None; ``saturate`` are the limits of a sum that saturates on its way, and whether it then becomes zero.
    """

    kind: str
    bits: int
    weights: IntArray
    bias: IntArray
    shift: int = 0
    round: int = TRN
    magnitude: int = 63
    offset: int = 0
    left: int = 0
    split: int = 0
    order: tuple[int, ...] | None = None
    saturate: tuple[int, int, bool] | None = None

    @property
    def outputs(self) -> int:
        """Rows of sums."""
        return int(self.weights.shape[-2])

    @property
    def operand_bits(self) -> int:
        """Width of the integers that are multiplied."""
        return self.bits if self.kind == PLAIN else 16


def choose(op: Dot, frac: int, x: Bounds, known: Bounds, exact: bool) -> Product:
    """The arithmetic of ``op`` on an argument with ``frac`` and bounds ``x``.

    A sum that wraps is computed modulo its width, unless ``exact``.
    """
    to = op.type
    shift = frac + op.weights.type.frac - to.frac
    weights = np.ascontiguousarray(np.swapaxes(op.weights.data, -1, -2)) << max(0, -shift)
    bias = np.array([cast(int(v), op.bias.type.frac, to) for v in op.bias.data] if op.bias else [0] * weights.shape[-2])
    product = (known.product[0] << max(0, -shift), known.product[1] << max(0, -shift))
    plain = Product(PLAIN, 64, weights, bias, max(shift, 0), ROUNDS[to.round], magnitude(*product))
    if known.overflows and to.overflow is not Overflow.WRAP:
        return _saturating(op, plain, x, product)
    final = known.exact if known.overflows else (known.low, known.high)
    modulo = known.overflows and not exact

    def holds(bits: int) -> bool:
        return fits(*final, bits) or (modulo and to.width <= bits)

    low, high = int(weights.min()), int(weights.max())
    if shift <= 0:
        return _exact(plain, x, holds) or (
            replace(plain, bits=32) if holds(32) and fits(low, high, 32) and fits(x.low, x.high, 32) else plain
        )
    small = fits(low, high, 16) and fits(x.low, x.high, 16)
    if to.round is Round.TRN and shift <= 16 and small and holds(16):
        return _halves(plain, x)
    half = 1 << (shift - 1) if shift < 32 else 0
    products = (product[0] - half, product[1] + half)
    if shift < 32 and holds(32) and all(fits(*span, 32) for span in (products, (low, high), (x.low, x.high))):
        return replace(plain, bits=32)
    return plain


@dataclass(frozen=True)
class Witness:
    """What tells the overflows of a truncated sum that is computed modulo its width.

    ``product`` is the sum of the whole products of ``rows``, those outputs that can overflow. Shifted right, it exceeds
    the sum of the products that are shifted one by one by 0 to ``inputs - 1``: a sum that is not that near to it has
    wrapped.
    """

    product: Product
    rows: IntArray
    shift: int
    inputs: int


def witness(product: Product, op: Dot, x: Bounds) -> Witness | None:
    """The witness of a product in 16-bit integers; None if it has none."""
    to = op.type
    if product.kind not in (HIGH, FUNNEL) or to.width != 16 or not to.signed or op.weights.data.ndim != 2:
        return None
    weights = np.ascontiguousarray(op.weights.data.T)
    low, high = (np.array([interval[end] for interval in x.result]) for end in (0, 1))
    ends = np.stack([weights * low, weights * high])
    lower, upper = ends.min(axis=0), ends.max(axis=0)
    below = (lower >> product.shift).sum(axis=1) + product.bias
    above = (upper >> product.shift).sum(axis=1) + product.bias
    rows = np.flatnonzero((below < to.min) | (above > to.max))
    if not rows.size:  # only sums on the way can leave the format, and come back
        return Witness(product, rows, product.shift, weights.shape[1])
    sums = (int(lower[rows].sum(axis=1).min()), int(upper[rows].sum(axis=1).max()))
    bias = product.bias[rows] << product.shift
    whole = Product(PLAIN, 64, weights[rows], bias)
    reach = (sums[0] + min(0, int(bias.min())), sums[1] + max(0, int(bias.max())))
    exact = _exact(whole, x, lambda bits: fits(*reach, bits))
    if exact is None or exact.split:
        return None
    return Witness(exact, rows, product.shift, weights.shape[1])


def _exact(plain: Product, x: Bounds, holds: Callable[[int], bool]) -> Product | None:
    """Products that are not rounded, by pairs of 16-bit integers; None if they are too wide."""
    weights = plain.weights
    # Moving the input's range to its middle makes, say, 16 bits without a sign fit 16 bits with one.
    offset = 0 if fits(x.low, x.high, 16) else (x.low + x.high + 1) // 2
    if not (fits(x.low - offset, x.high - offset, 16) and fits(offset, offset, 24)):
        return None
    if not fits(int(weights.min()), int(weights.max()), 24):
        return None
    bias = plain.bias + weights.sum(axis=-1) * offset if offset else plain.bias
    if bias.ndim > 1 or not fits(int(bias.min()), int(bias.max()), 62):
        return None
    one = replace(plain, kind=PAIRS, bits=32, bias=bias, offset=offset)
    if fits(int(weights.min()), int(weights.max()), 16) and holds(32):
        return one
    most = np.array([max(abs(low - offset), abs(high - offset)) for low, high in x.result])
    for split in range(8, 16):
        lower = ((weights + (1 << (split - 1))) & ((1 << split) - 1)) - (1 << (split - 1))
        upper = (weights - lower) >> split
        if not fits(int(upper.min()), int(upper.max()), 16):
            continue
        parts = np.concatenate([upper, lower], axis=-2)
        biases = np.concatenate([bias >> split, bias & ((1 << split) - 1)])
        # Room for a few bits more: see arithmetic.index_of_sum.
        if ((np.abs(parts) * most).sum(axis=-1) + np.abs(biases) < (1 << 31) - (1 << split)).all():
            return replace(one, weights=parts, bias=biases, split=split)
    return None


def _halves(plain: Product, x: Bounds) -> Product:
    """Products truncated to 16 bits: by the upper half of what is shifted up beforehand, where there is room for it."""
    need = 16 - plain.shift
    left = min(need, 15 - magnitude(x.low, x.high))
    if need - left <= 15 - magnitude(int(plain.weights.min()), int(plain.weights.max())):
        return replace(plain, kind=HIGH, bits=16, weights=plain.weights << (need - left), left=left)
    return replace(plain, kind=FUNNEL, bits=16)


def _saturating(op: Dot, plain: Product, x: Bounds, span: tuple[int, int]) -> Product:
    """Products and sums that saturate one after another, in the op's order."""
    to = op.type
    order = op.order()
    half = 1 << plain.shift >> 1 if plain.shift < 32 else 0
    spans = [
        (span[0] - half, span[1] + half),
        (x.low, x.high),
        (int(plain.weights.min()), int(plain.weights.max())),
        (2 * to.min, 2 * to.max),
    ]
    bits = 32 if plain.shift < 32 and all(fits(*span, 32) for span in spans) else 64
    limits = (to.min, to.max, to.overflow is Overflow.SAT_ZERO)
    return replace(plain, bits=bits, weights=plain.weights[..., order], order=tuple(order), saturate=limits)


# --- Loops


@dataclass(frozen=True)
class Tile:
    """How a product is cut: ``rows`` outputs by ``vectors`` vectors of ``lanes`` sequences in registers.

    Of a single sequence, ``vectors`` vectors of ``lanes`` outputs, ``rows`` in all.
    """

    rows: int
    count: int
    vectors: int
    lanes: int

    @property
    def outputs(self) -> int:
        """Rows of sums, with those that only fill the last tile."""
        return self.rows * self.count


def tile(product: Product, width: int, lanes: int, registers: int) -> Tile:
    """The tile for blocks of ``width`` sequences; in one of a single sequence the lanes are outputs."""
    own = lanes * 2 if product.bits == 16 else lanes
    if 1 < width < own:
        own = width
    each = max(1, own * product.bits // (lanes * 32))  # registers of a vector
    simple = product.kind != PLAIN or (product.shift == 0 and product.saturate is None)
    budget = (24 if registers >= 32 else 8) // (1 if simple else 2)
    if width == 1:
        needed = -(-product.outputs // own)
        count = -(-needed // max(1, budget // each))
        return Tile(own * -(-needed // count), count, -(-needed // count), own)
    vectors = min(width // own, 4 if registers >= 32 else 2)
    most = max(1, budget // (vectors * each))
    count = -(-product.outputs // most)
    return Tile(-(-product.outputs // count), count, vectors, own)


def packed(product: Product, cut: Tile) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Weights ([steps,] tiles, inputs, rows) and biases as they stand in memory, padded to whole tiles."""
    matrix = product.weights if product.weights.ndim == 3 else product.weights[None]
    steps, outputs, inputs = matrix.shape
    pairs = product.kind == PAIRS
    padded = np.zeros((steps, cut.outputs, inputs + (inputs % 2 if pairs else 0)), np.int64)
    padded[:, :outputs, :inputs] = matrix
    shaped = padded.reshape(steps, cut.count, cut.rows, -1)
    bias = np.zeros(cut.outputs, np.int64)
    bias[:outputs] = product.bias
    bias_words = bias.astype(WORDS[product.bits])  # modulo its width, as the sum is
    if pairs:
        two = shaped.reshape(steps, cut.count, cut.rows, -1, 2).transpose(0, 1, 3, 2, 4)
        return np.ascontiguousarray(two).astype(np.int16), bias_words
    return np.ascontiguousarray(shaped.transpose(0, 1, 3, 2)).astype(WORDS[product.operand_bits]), bias_words


def operand_rows(product: Product) -> tuple[int, int]:
    """Rows of the multiplied input in memory, and the bits of one of their lanes."""
    inputs = product.weights.shape[-1]
    return ((inputs + 1) // 2, 32) if product.kind == PAIRS else (inputs, product.operand_bits)


def emit(
    code: Code,
    product: Product,
    cut: Tile,
    width: int,
    places: tuple[str, str, str, str],
    hit: str | None = None,
) -> None:
    """Write the product. ``places``: addresses of operand rows, weights, biases and sums, the latter ``cut.outputs``
    rows of ``product.bits``. ``hit``: rows of 32 bits that say where a saturating sum left its limits, if wanted."""
    operands, weights, biases, sums = places
    inputs, operand_bits = operand_rows(product)
    lanes, bits = cut.lanes, product.bits
    row, operand_row = width * bits // 8, width * operand_bits // 8
    weight = 4 if product.kind == PAIRS else product.operand_bits // 8
    cuts = width // (lanes * cut.vectors)
    with code.loop(cut.count) as t, code.loop(cuts) as c:
        start = code.address(weights, 0, (t, inputs * cut.rows * weight))
        at = [(r, v) for r in range(cut.rows) for v in range(cut.vectors)]
        totals: dict[tuple[int, int], Var] = {}
        for r in range(cut.rows):
            bias = code.splat(code.address(biases, r * bits // 8, (t, cut.rows * bits // 8)), bits, lanes)
            totals |= {(r, v): code.variable(bias) for v in range(cut.vectors)}
        hits = {p: code.variable(code.constant(0, 32, lanes)) for p in at} if hit else {}
        with code.loop(inputs) as k:
            x = []
            for v in range(cut.vectors):
                place = code.address(
                    operands,
                    v * lanes * operand_bits // 8,
                    (k, operand_row),
                    (c, lanes * cut.vectors * operand_bits // 8),
                )
                one = code.load(place, operand_bits, lanes)
                x.append(code.as_pairs(one) if product.kind == PAIRS else one)
            for r in range(cut.rows):
                place = code.address(start, r * weight, (k, cut.rows * weight))
                w = code.splat(place, 8 * weight, lanes)
                if product.kind == PAIRS:
                    w = code.as_pairs(w)
                for v in range(cut.vectors):
                    total = totals[r, v]
                    if product.saturate is not None:
                        _add_saturating(code, product, total, x[v], w, hits.get((r, v)))
                    else:
                        code.set(total, code.add(code.get(total), _term(code, product, x[v], w)))
        for r, v in at:
            place = code.address(
                sums, r * row + v * lanes * bits // 8, (t, cut.rows * row), (c, lanes * cut.vectors * bits // 8)
            )
            code.store(code.get(totals[r, v]), place)
            if hit:
                place = code.address(
                    hit, r * width * 4 + v * lanes * 4, (t, cut.rows * width * 4), (c, lanes * cut.vectors * 4)
                )
                code.store(code.get(hits[r, v]), place)


def emit_single(code: Code, product: Product, cut: Tile, places: tuple[str, str, str, str]) -> None:
    """:func:`emit` for one sequence, whose outputs are the lanes."""
    operands, weights, biases, sums = places
    inputs, operand_bits = operand_rows(product)
    lanes, bits, pairs = cut.lanes, product.bits, product.kind == PAIRS
    with code.loop(cut.count) as t:
        start = code.address(weights, 0, (t, inputs * cut.rows * operand_bits // 8))
        totals = []
        for v in range(cut.vectors):
            place = code.address(biases, v * lanes * bits // 8, (t, cut.rows * bits // 8))
            totals.append(code.variable(code.load(place, bits, lanes)))
        with code.loop(inputs) as k:
            place = code.address(operands, 0, (k, operand_bits // 8))
            x = code.spread(code.load(place, product.operand_bits, 2 if pairs else 1), lanes)
            for v, total in enumerate(totals):
                place = code.address(start, v * lanes * operand_bits // 8, (k, cut.rows * operand_bits // 8))
                w = code.load(place, product.operand_bits, 2 * lanes if pairs else lanes)
                if product.saturate is not None:
                    _add_saturating(code, product, total, x, w, None)
                else:
                    code.set(total, code.add(code.get(total), _term(code, product, x, w)))
        for v, total in enumerate(totals):
            place = code.address(sums, v * lanes * bits // 8, (t, cut.rows * bits // 8))
            code.store(code.get(total), place)


def _term(code: Code, product: Product, x: Vec, w: Vec) -> Vec:
    """What one input (or pair) adds to a sum."""
    if product.kind == PAIRS:
        return code.pair_products(x, w)
    if product.kind == HIGH:
        return code.high_product(x, w)
    low = code.binary("mul", x, w)
    if product.kind == FUNNEL:
        # Shifted left by what is missing to 16, the upper half is the product shifted right.
        return code.call("fshl", code.high_product(x, w), low, code.constant(16 - product.shift, 16, x.lanes))
    return code.round(low, product.shift, product.round, product.magnitude)


def _add_saturating(code: Code, product: Product, total: Var, x: Vec, w: Vec, hit: Var | None) -> None:
    assert product.saturate is not None
    low, high, to_zero = product.saturate

    def saturate(value: Vec) -> Vec:
        over = code.outside(value, low, high) if hit is not None or to_zero else None
        if hit is not None and over is not None:
            code.set(hit, code.binary("or", code.get(hit), code.truth(over, 32)))
        if to_zero and over is not None:
            return code.select(over, code.constant(0, value.bits, value.lanes), value)
        return code.clamp(value, low, high)

    term = saturate(_term(code, product, x, w))
    code.set(total, saturate(code.add(code.get(total), term)))
