"""A model made linear and positive, run piece by piece from what was seen of its data flow.

Nothing of the model is changed: the recorded operations are run in their linear forms, on states of our own. Sizes in them
are those of one frame; many states at once go through :func:`torch.vmap`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from toolchain.dataflow import Call, Dataflow, Operation, Ref, leaves, mapped
from toolchain.models.scaling import UnitRms
from toolchain.pruning.linear_forms import AS_THEY_ARE, COMPLEX, FORMS, READS_ONLY, WEIGHTS_ONLY, Given, LinearFormError


class LinearNetwork:
    """The linear form of a model, of which ``flow`` was seen with one frame."""

    def __init__(self, model: nn.Module, flow: Dataflow) -> None:
        self.flow = flow
        # Their scale is the input's: what it does to a frame of ones is no part of the network's flow.
        self.scalings = [
            call for call in flow.calls if isinstance(call.module, UnitRms | nn.RMSNorm) and call.end > call.start
        ]

    def run(
        self,
        state: Tensor,
        before: int,
        after: int,
        positions: range,
        *,
        sums: Mapping[int, int] | None = None,
    ) -> Tensor:
        """What value ``after`` is when value ``before`` is ``state``, by the operations at ``positions``.

        ``sums`` says at which positions only one operand of a sum counts, and which.

        Raises LinearFormError that names the operation which has none.
        """
        only = sums or {}
        # What does not flow: (value, False) is a weight that an operation made.
        values: dict[int, tuple[Tensor, bool]] = {before: (state, True)}
        for at in self._needed(before, after, positions, only):
            operation = self.flow.operations[at]
            scaling = self._scaling(at)
            if scaling is not None:
                values[scaling.outputs[0]] = self._scaled(scaling, *values[scaling.inputs[0]])
            elif at in only:
                values[operation.writes[0]] = values[only[at]]
            else:
                self._apply(operation, values)
        return values[after][0]

    def _scaled(self, scaling: Call, value: Tensor, flowing: bool) -> tuple[Tensor, bool]:
        """What is left of a normalisation by the RMS: its weights, where it has some."""
        weight = getattr(scaling.module, "weight", None)
        return (value if weight is None else value * weight.detach().double().abs()), flowing

    def missing(self, before: int, after: int, positions: range) -> str:
        """Which operation between two values has no linear form, and why; "" where all have."""
        try:
            with torch.no_grad():
                self.run(torch.ones(self.flow.shapes[before], dtype=torch.float64), before, after, positions)
        except LinearFormError as error:
            return str(error)
        return ""

    def _needed(self, before: int, after: int, positions: range, only: Mapping[int, int]) -> list[int]:
        """The positions that ``after`` depends on, given ``before``, in order."""
        wanted, needed = {after} - {before}, []
        for at in reversed(positions):
            operation = self.flow.operations[at]
            scaling = self._scaling(at)
            if scaling is not None:
                if at == scaling.start and not wanted.isdisjoint(scaling.outputs):
                    needed.append(at)
                    wanted.update(scaling.inputs)
            elif not wanted.isdisjoint(operation.writes):
                needed.append(at)
                wanted.update(_reads(operation) if at not in only else (only[at],))
                wanted.discard(before)
        return needed[::-1]

    def _scaling(self, at: int) -> Call | None:
        return next((call for call in self.scalings if call.start <= at < call.end), None)

    def _apply(self, operation: Operation, values: dict[int, tuple[Tensor, bool]]) -> None:
        try:
            result = self._result(operation, values)
        except LinearFormError as error:
            raise LinearFormError(f"{operation.module or 'the model'} ({operation.name}): {error}") from error
        flowing = operation.name not in WEIGHTS_ONLY and any(
            values[read][1] for read in operation.reads if read in values
        )
        outputs = list(result) if isinstance(result, list | tuple) else [result]
        for value, output in zip(operation.outputs, outputs, strict=False):
            if value is not None:
                values[value] = (output, flowing)

    def _result(self, operation: Operation, values: dict[int, tuple[Tensor, bool]]) -> Any:
        if isinstance(operation.function, nn.Module):
            raise LinearFormError("a recurrent layer has no linear form")
        if operation.aliased:
            raise LinearFormError("it reads what was written in place through another view")
        if operation.name in COMPLEX:
            raise LinearFormError("complex numbers have no linear form")
        runs_as_it_is = operation.function.is_view or operation.name in AS_THEY_ARE
        form = FORMS.get(operation.name)
        if form is None and not runs_as_it_is:
            raise LinearFormError("it has no linear form")

        def resolved(argument: Any) -> Any:
            if isinstance(argument, Ref):
                return values[argument.value][0] if argument.value in values else None
            if isinstance(argument, Tensor) and operation.name in ("cat", "stack"):
                return torch.zeros(argument.shape, dtype=torch.float64)
            return argument

        arguments = mapped(resolved, operation.arguments, Ref | Tensor)
        if operation.name in ("view", "_unsafe_view"):
            # A state may lie in memory otherwise than what was recorded.
            return arguments[0].reshape(arguments[1])
        if runs_as_it_is:
            return operation.function(*arguments, **operation.keywords)
        flowing = tuple(self._flows(argument, values) for argument in operation.arguments)
        assert form is not None
        return form(Given(tuple(arguments), operation.keywords, flowing, self.flow.shapes[operation.writes[0]]))

    def _flows(self, argument: Any, values: Mapping[int, tuple[Tensor, bool]]) -> bool:
        return any(values.get(ref.value, (None, False))[1] for ref in leaves(argument, Ref))


def _reads(operation: Operation) -> Collection[int]:
    if operation.name in WEIGHTS_ONLY:
        return ()
    if operation.name in READS_ONLY:
        value = operation.arguments[READS_ONLY[operation.name]]
        return (value.value,) if isinstance(value, Ref) else ()
    return operation.reads
