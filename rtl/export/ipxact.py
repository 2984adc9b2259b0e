# SPDX-License-Identifier: Apache-2.0
"""``component.xml``: a design as an IP that Vivado's catalogue lists (IEEE 1685-2009, with Xilinx's extensions)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from fxsim import families

#: Vendor, library and version of every exported IP; its name is the top module's.
VENDOR, LIBRARY, VERSION = "fxsim", "ip", "1.0"
#: Vivado's names of the devices that a family's pipeline is made for.
FAMILIES: Mapping[str, Sequence[str]] = {one.name: one.vivado for one in families.FAMILIES.values() if one.vivado}
_SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
_XILINX = "http://www.xilinx.com"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"


def vlnv(top: str) -> str:
    """``vendor:library:name:version`` of a design."""
    return f"{VENDOR}:{LIBRARY}:{top}:{VERSION}"


def component(facts: Mapping[str, Any], simulation: Sequence[str], constraints: Sequence[str]) -> str:
    """The text of ``component.xml`` for a manifest; files are paths from the exported folder.

    ``simulation``: what a simulation of the testbench needs beside the design. ``constraints``: .xdc files for
    synthesis out of context.
    """
    for prefix, uri in (("spirit", _SPIRIT), ("xilinx", _XILINX), ("xsi", _XSI)):
        ET.register_namespace(prefix, uri)
    root = ET.Element(_tag("component"))
    top = facts["top"]
    for name, text in (("vendor", VENDOR), ("library", LIBRARY), ("name", top), ("version", VERSION)):
        _add(root, name, text)
    _buses(_add(root, "busInterfaces"), facts)
    model = _add(root, "model")
    views = _add(model, "views")
    _view(views, "xilinx_anylanguagesynthesis", "synthesis", top)
    _view(views, "xilinx_anylanguagebehavioralsimulation", "simulation", top)
    ports = _add(model, "ports")
    for name, direction, width in port_list(facts):
        _port(ports, name, direction, width)
    sets = _add(root, "fileSets")
    kind = "xilinx_anylanguage{}_view_fileset"
    _files(sets, kind.format("synthesis"), [(file, ["verilogSource"]) for file in facts["files"]])
    _files(sets, kind.format("behavioralsimulation"), [(file, ["verilogSource"]) for file in facts["files"]])
    extra = [(file, ["xdc", "USED_IN_implementation", "USED_IN_out_of_context"]) for file in constraints]
    _files(sets, "xilinx_out_of_context_view_fileset", extra)
    bench = [(file, ["verilogSource" if file.endswith(".v") else "unknown"]) for file in simulation]
    _files(sets, "testbench_view_fileset", bench)
    timing = facts["timing"]
    _add(
        root,
        "description",
        f"Recurrent network with {facts['input']['beats_per_sequence']} input beats a sequence, "
        f"{'counted' if facts['framing'] == 'count' else 'the last with TLAST'}, latency {timing['latency']} cycles, "
        f"interval {timing['interval']} cycles; made by fxsim {facts['fxsim']}",
    )
    parameters = _add(root, "parameters")
    name_of_core = _parameter(parameters, "Component_Name", f"{top}_v1_0", "PARAM_VALUE.Component_Name")
    name_of_core.set(_tag("resolve"), "user")
    extensions = _add(_add(root, "vendorExtensions"), "coreExtensions", uri=_XILINX)
    families = _add(extensions, "supportedFamilies", uri=_XILINX)
    for family in FAMILIES[facts["family"]]:
        _add(families, "family", family, _XILINX).set(_tag("lifeCycle", _XILINX), "Production")
    _add(_add(extensions, "taxonomies", uri=_XILINX), "taxonomy", "/UserIP", _XILINX)
    _add(extensions, "displayName", f"{top} (fxsim)", _XILINX)
    _add(extensions, "definitionSource", "package_project", _XILINX)
    _add(extensions, "coreRevision", "1", _XILINX)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def port_list(facts: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Name, direction and bits of every port, in the order of the module's header."""
    source, sink = (facts[name] for name in ("input", "output"))
    bits = [side["elements_per_beat"] * side["stride_bits"] for side in (source, sink)]
    s, m = source["prefix"], sink["prefix"]
    return [
        (facts["clock"], "in", 1),
        (facts["reset"], "in", 1),
        (f"{s}_tdata", "in", bits[0]),
        (f"{s}_tvalid", "in", 1),
        (f"{s}_tready", "out", 1),
        (f"{s}_tlast", "in", 1),
        (f"{m}_tdata", "out", bits[1]),
        (f"{m}_tvalid", "out", 1),
        (f"{m}_tready", "in", 1),
        (f"{m}_tlast", "out", 1),
        ("frame_error", "out", 1),
    ]


def _tag(name: str, uri: str = _SPIRIT) -> str:
    return f"{{{uri}}}{name}"


def _add(parent: ET.Element, name: str, text: str | None = None, uri: str = _SPIRIT) -> ET.Element:
    found = ET.SubElement(parent, _tag(name, uri))
    found.text = text
    return found


def _parameter(parent: ET.Element, name: str, value: object, id: str) -> ET.Element:
    parameter = _add(parent, "parameter")
    _add(parameter, "name", name)
    found = _add(parameter, "value", str(value))
    found.set(_tag("id"), id)
    return found


def _buses(parent: ET.Element, facts: Mapping[str, Any]) -> None:
    source, sink = facts["input"], facts["output"]
    for side, mode in ((source, "slave"), (sink, "master")):
        prefix = side["prefix"]
        ports = {name.upper(): f"{prefix}_{name}" for name in ("tdata", "tlast", "tvalid", "tready")}
        size = side["elements_per_beat"] * side["stride_bits"] // 8
        _bus(parent, prefix, "interface:axis:1.0", mode, ports, {"TDATA_NUM_BYTES": size, "HAS_TLAST": 1})
    clock, reset = facts["clock"], facts["reset"]
    both = f"{source['prefix']}:{sink['prefix']}"
    tied = {"ASSOCIATED_BUSIF": both, "ASSOCIATED_RESET": reset}
    _bus(parent, clock, "signal:clock:1.0", "slave", {"CLK": clock}, tied)
    _bus(parent, reset, "signal:reset:1.0", "slave", {"RST": reset}, {"POLARITY": "ACTIVE_LOW"})


def _bus(
    parent: ET.Element, name: str, type: str, mode: str, ports: Mapping[str, str], parameters: Mapping[str, object]
) -> None:
    bus = _add(parent, "busInterface")
    _add(bus, "name", name)
    library, kind, version = type.split(":")
    for element, suffix in (("busType", ""), ("abstractionType", "_rtl")):
        found = _add(bus, element)
        for field, value in (
            ("vendor", "xilinx.com"),
            ("library", library),
            ("name", kind + suffix),
            ("version", version),
        ):
            found.set(_tag(field), value)
    _add(bus, mode)
    maps = _add(bus, "portMaps")
    for logical, physical in ports.items():
        one = _add(maps, "portMap")
        _add(_add(one, "logicalPort"), "name", logical)
        _add(_add(one, "physicalPort"), "name", physical)
    found = _add(bus, "parameters")
    for key, setting in parameters.items():
        _parameter(found, key, setting, f"BUSIFPARAM_VALUE.{name.upper()}.{key}")


def _view(parent: ET.Element, name: str, purpose: str, top: str) -> None:
    view = _add(parent, "view")
    _add(view, "name", name)
    _add(view, "displayName", purpose.capitalize())
    _add(view, "envIdentifier", f":vivado.xilinx.com:{purpose}")
    _add(view, "language", "verilog")
    _add(view, "modelName", top)
    _add(_add(view, "fileSetRef"), "localName", f"{name}_view_fileset")


def _port(parent: ET.Element, name: str, direction: str, width: int) -> None:
    port = _add(parent, "port")
    _add(port, "name", name)
    wire = _add(port, "wire")
    _add(wire, "direction", direction)
    if width > 1:
        vector = _add(wire, "vector")
        _add(vector, "left", str(width - 1)).set(_tag("format"), "long")
        _add(vector, "right", "0").set(_tag("format"), "long")
    kinds = _add(_add(wire, "wireTypeDefs"), "wireTypeDef")
    _add(kinds, "typeName", "wire")
    for view in ("xilinx_anylanguagesynthesis", "xilinx_anylanguagebehavioralsimulation"):
        _add(kinds, "viewNameRef", view)


def _files(parent: ET.Element, name: str, files: Sequence[tuple[str, Sequence[str]]]) -> None:
    found = _add(parent, "fileSet")
    _add(found, "name", name)
    for file, kinds in files:
        one = _add(found, "file")
        _add(one, "name", file)
        for kind in kinds:
            standard = kind in ("verilogSource", "unknown")
            _add(one, "fileType" if standard else "userFileType", kind)
