from collections import namedtuple

import pytest
import torch
from torch import nn

from toolchain.dataflow import Ref, dataflow, follow
from toolchain.errors import ModelError


def run(forward, *modules):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for index, module in enumerate(modules):
                self.add_module(f"m{index}", module)

        def forward(self, x):
            return forward(self, x)

    return dataflow(Net(), torch.ones(2, 2, 8))


def test_operations_are_seen_in_modules_and_in_functions():
    flow = run(lambda net, x: torch.relu(net.m0(x)).flatten(1), nn.Conv1d(2, 3, 3))
    assert [(operation.name, operation.module) for operation in flow.operations] == [
        ("convolution", "m0"),
        ("relu", ""),
        ("view", ""),
    ]
    assert flow.operations[0].arguments[0] == Ref(flow.source)
    assert isinstance(flow.operations[0].arguments[1], nn.Parameter)
    assert flow.shapes[flow.result] == (2, 18)
    assert flow.cuts == tuple(range(4))


def test_a_value_that_is_read_again_is_no_cut():
    flow = run(lambda net, x: x + torch.relu(-x))
    # Before, while x waits, and after.
    assert [cut is not None for cut in flow.cuts] == [True, False, False, True]


def test_what_is_computed_of_constants_is_no_part_of_the_flow():
    flow = run(lambda net, x: x * torch.ones(8).cumsum(0))
    assert [operation.name for operation in flow.operations] == ["mul"]


def test_an_operation_in_place_makes_another_value_of_the_same_tensor():
    def forward(net, x):
        y = x * 2
        y += x
        return torch.relu_(y)

    flow = run(forward)
    assert [(operation.name, operation.reads, operation.writes) for operation in flow.operations] == [
        ("mul", (0,), (1,)),
        ("add", (1, 0), (2,)),
        ("relu", (2,), (3,)),
    ]


def test_writing_through_a_view_changes_what_the_view_is_of():
    def forward(net, x):
        out = torch.zeros(2, 4, 8)
        out[:, :2] = x
        return out * 2

    flow = run(forward)
    assert [operation.name for operation in flow.operations] == ["copy", "mul"]
    assert flow.operations[1].aliased
    assert all(cut is not None for cut in flow.cuts)


def test_a_recurrent_module_is_one_operation_and_its_states_are_values():
    flow = run(lambda net, x: net.m0(x.movedim(1, 2))[0].sum(1), nn.LSTM(2, 3, 2, batch_first=True))
    assert [operation.name for operation in flow.operations] == ["permute", "LSTM", "sum"]
    assert len(flow.operations[1].writes) == 3


def test_calls_say_where_a_module_begins_and_ends_and_what_goes_in_and_out():
    flow = run(lambda net, x: net.m0(x), nn.Sequential(nn.Conv1d(2, 3, 1), nn.ReLU(inplace=True), nn.Identity()))
    calls = {call.path: call for call in flow.calls}
    assert [(path, call.start, call.end) for path, call in calls.items()] == [
        ("m0.0", 0, 1),
        ("m0.1", 1, 2),
        ("m0.2", 2, 2),
        ("m0", 0, 2),
        ("", 0, 2),
    ]
    assert calls["m0"].inputs == (flow.source,)
    assert calls["m0"].outputs == (flow.result,)
    assert calls["m0"].plain


def test_what_python_looks_at_is_read_where_it_looks():
    def forward(net, x):
        assert not torch.isnan(x).any()
        y = x * 2
        return (torch.relu(y) if y.sum() > 0 else y) + 1

    flow = run(forward)
    names = [operation.name for operation in flow.operations]
    whole = [name for name, cut in zip(names, flow.cuts, strict=False) if cut is not None]
    # Beside a sum that will be looked at there are two values; the look itself leaves one.
    assert names[-2:] == ["relu", "add"]
    assert {"mul", "relu", "add"} <= set(whole)
    assert "gt" not in whole


def test_a_model_that_fails_says_on_what():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(
        ModelError, match=r"Sequential fails on float32 frames of shape \(2, 2, 8\): RuntimeError: mat1 and"
    ):
        dataflow(net, torch.ones(2, 2, 8))


def test_a_model_that_leaves_pytorch_is_refused():
    with pytest.raises(ModelError, match="does not come from its input by PyTorch's operations"):
        run(lambda net, x: torch.from_numpy(x.numpy() * 2))
    with pytest.raises(ModelError, match="returns tuple; expected one tensor"):
        run(lambda net, x: (x, x))


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")
def test_a_part_that_torchscript_compiled_is_refused():
    net = nn.Sequential(nn.Conv1d(2, 3, 1), torch.jit.trace(nn.ReLU(), torch.ones(2, 3, 8)))
    with pytest.raises(ModelError, match=r"1 was compiled by TorchScript; expected the nn\.Module"):
        dataflow(net, torch.ones(2, 2, 8))


def test_states_may_come_as_named_tuples():
    State = namedtuple("State", "h c")

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(2, 3, batch_first=True)

        def forward(self, x):
            zeros = x.new_zeros(1, len(x), 3)
            return self.lstm(x.transpose(1, 2), State(zeros, zeros))[0]

    flow = dataflow(Recurrent(), torch.ones(2, 2, 8))
    assert [operation.name for operation in flow.operations][-1] == "LSTM"


def test_what_a_taker_raises_is_not_told_as_the_models_failure():
    net = nn.Conv1d(2, 3, 1)
    flow = dataflow(net, torch.ones(2, 2, 8))

    def take(value):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        follow(net, torch.ones(4, 2, 8), flow, {flow.result: take})


def test_following_hands_out_values_on_other_frames():
    net = nn.Sequential(nn.Conv1d(2, 3, 1), nn.ReLU())
    flow = dataflow(net, torch.ones(2, 2, 8))
    seen = []
    frames = torch.randn(5, 2, 8)
    follow(net, frames, flow, {flow.operations[0].writes[0]: seen.append})
    with torch.no_grad():
        assert torch.equal(seen[0], net[0](frames))
    assert not any(module._forward_hooks for module in net.modules())


def test_a_model_that_runs_otherwise_on_more_frames_is_not_followed():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.relu(x) if len(x) == 2 else torch.tanh(x)

    flow = dataflow(Odd(), torch.ones(2, 2, 8))
    with pytest.raises(ModelError, match="otherwise on these frames than on a few"):
        follow(Odd(), torch.ones(5, 2, 8), flow, {flow.result: lambda output: None})
