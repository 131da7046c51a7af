"""What is done to an ONNX graph, whatever for: names of values that are free, others for those that are there."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from onnx import AttributeProto, GraphProto, NodeProto


def free_name(name: str, taken: Container[str]) -> str:
    """``name``, or ``name_2`` and so on, the first that is not ``taken``."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def value_names(graph: GraphProto) -> set[str]:
    """The names of all values: inputs, initialisers, and what nodes give."""
    given = {name for node in graph.node for name in node.output}
    return given | {tensor.name for tensor in (*graph.input, *graph.initializer)}


def rename(graph: GraphProto, names: Mapping[str, str], *, ends: bool = True) -> None:
    """Give values other ``names``, also in the graphs inside of nodes; without ``ends`` the outputs keep theirs."""
    for tensor in (*graph.input, *graph.initializer, *(graph.output if ends else ())):
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        for values in (node.input, node.output):
            for position, name in enumerate(values):
                values[position] = names.get(name, name)
        for inner in graphs_in(node):
            rename(inner, names)


def graphs_in(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node holds: of If, Loop, Scan."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def replace(values: Any, by: Sequence[Any]) -> None:
    """Put ``by`` in the place of the repeated ``values`` of a protobuf, some of which it may be."""
    copies = [type(each)() for each in by]
    for copy, each in zip(copies, by, strict=True):
        copy.CopyFrom(each)
    del values[:]
    values.extend(copies)
