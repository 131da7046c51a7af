"""Recurrent layers, and how they are exported."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

# Where ONNX has PyTorch's gates. LSTM: i f g o becomes i o f c; GRU: r z n becomes z r h.
ONNX_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}


class LastState(nn.Module):
    """LSTM or GRU layers run over a sequence, of which the state after the last step is taken.

    ``kind`` "LSTM" (Hochreiter and Schmidhuber, 1997) or "GRU" (Cho et al., 2014).
    """

    def __init__(self, kind: Literal["LSTM", "GRU"], width_in: int, width: int, layers: int = 1) -> None:
        super().__init__()
        self.kind = kind
        self.layers = {"LSTM": nn.LSTM, "GRU": nn.GRU}[kind](width_in, width, layers, batch_first=True)

    def forward(self, sequence: Tensor) -> Tensor:
        """(batch, steps, width_in) to (batch, width)."""
        if torch.onnx.is_in_onnx_export():
            return self._onnx(sequence)
        states, _ = self.layers(sequence)
        return cast(Tensor, states[:, -1])

    def _onnx(self, sequence: Tensor) -> Tensor:
        """The same in ONNX's operators, written here because PyTorch's exporter goes wrong.

        PyTorch 2.13 with onnxscript 0.7 exports a GRU whose reset gate works before the product (pytorch issue 189225), and
        takes half a minute for an LSTM.
        """
        steps = sequence.transpose(0, 1)
        width = self.layers.hidden_size
        state = steps
        for layer in range(self.layers.num_layers):
            w, r, wb, rb = (
                self._in_onnx_order(getattr(self.layers, f"{name}_l{layer}"))
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            # Of one direction. PyTorch's GRU resets after the product.
            steps, state = torch.onnx.ops.symbolic_multi_out(
                self.kind,
                (steps, w[None], r[None], torch.cat((wb, rb))[None]),
                {"hidden_size": width} | ({"linear_before_reset": 1} if self.kind == "GRU" else {}),
                dtypes=(steps.dtype, steps.dtype),
                shapes=((steps.shape[0], 1, steps.shape[1], width), (1, steps.shape[1], width)),
            )
            steps = steps.squeeze(1)
        return state.squeeze(0)

    def _in_onnx_order(self, gates: Tensor) -> Tensor:
        # Slices of constants, which runtimes fold; about a split the exporter would complain on the terminal.
        width = self.layers.hidden_size
        return torch.cat([gates[index * width : (index + 1) * width] for index in ONNX_GATES[self.kind]])
