# SPDX-License-Identifier: Apache-2.0
"""Formal proofs of the gateware's blocks, by SymbiYosys and z3: ``python -m testbenches.formal``.

The one part of the testbenches that imports the gateware: it proves the components themselves, for all inputs and all
states, where the rest of the testbenches looks at what an export makes of them. What the components are compared with
(:mod:`~testbenches.formal.models`, :mod:`~testbenches.formal.casts`) is written without them.
"""
