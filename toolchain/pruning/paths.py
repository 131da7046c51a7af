"""What the searches for units look up in a model's data flow: products, calls, cuts, and what a value is computed by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import nn

from toolchain.cost import products
from toolchain.dataflow import Call, Dataflow


class Paths:
    """A data flow with its products: ``macs`` of each operation, ``calls`` of modules, ``cuts``, the positions that cut it."""

    def __init__(self, model: nn.Module, flow: Dataflow) -> None:
        self.model, self.flow, self.operations = model, flow, flow.operations
        self.macs = [products(operation, flow.shapes) or 0 for operation in flow.operations]
        self.calls = [call for call in flow.calls if call.path]
        self.cuts = [at for at, value in enumerate(flow.cuts) if value is not None]
        self._runs = Counter(call.path for call in self.calls if call.end > call.start)

    def ends(self, start: int, end: int) -> tuple[int, int]:
        """The values before and after the positions ``start`` to ``end``."""
        before, after = self.flow.cuts[start], self.flow.cuts[end]
        if before is None:
            before = self.operations[start].reads[0]
        if after is None:
            after = self.operations[end - 1].writes[0]
        return before, after

    def is_whole(self, call: Call) -> bool:
        """Whether the call takes the one value that is there, and gives the one that is there after it."""
        return (
            call.plain and self.flow.cuts[call.start] == call.inputs[0] and self.flow.cuts[call.end] == call.outputs[0]
        )

    def keeps_shape(self, call: Call) -> bool:
        """Whether what comes out has the shape of what goes in."""
        return self.flow.shapes[call.inputs[0]] == self.flow.shapes[call.outputs[0]]

    def products_in(self, call: Call) -> set[int]:
        """The positions of the call's products."""
        return {at for at in range(call.start, call.end) if self.macs[at]}

    def repeated(self, parts: Sequence[Call]) -> str:
        """Which of ``parts`` the model runs more than once, in words; "" where none."""
        for part in parts:
            if self._runs[part.path] > 1:
                return f"the model runs {part.path} {self._runs[part.path]} times; a unit runs once"
        return ""

    def is_function(self, call: Call) -> bool:
        """Whether a module is as good as a function: it has no weights, and is used in several places."""
        return self._runs[call.path] > 1 and next(call.module.parameters(), None) is None and not self.products_in(call)

    def outermost(self, start: int, end: int) -> list[Call]:
        """The largest calls inside a piece, in order, without those that hold what joins its values: its last operation."""
        inside = [call for call in self.calls if start <= call.start < call.end < end and not self.is_function(call)]
        inside.sort(key=lambda call: (call.start, -call.end, call.path.count(".")))
        parts: list[Call] = []
        for call in inside:
            if not parts or call.start >= parts[-1].end:
                parts.append(call)
        return parts

    def behind(self, value: int, start: int, end: int) -> set[int]:
        """The positions in the range that ``value`` is computed by."""
        wanted, positions = {value}, set()
        for at in range(end - 1, start - 1, -1):
            if wanted.intersection(self.operations[at].writes):
                positions.add(at)
                wanted.update(self.operations[at].reads)
        return positions
