import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from toolchain.cost import cost
from toolchain.errors import PlanError
from toolchain.models import create_model, edited
from toolchain.models.residual import ResidualUnit
from toolchain.pruning import find_units, plan_layers


@pytest.fixture
def names(frames):
    """The names of a model's units and what may become of them."""
    return lambda model, **asked: [(unit.name, unit.kind) for unit in find_units(model.eval(), frames, **asked)]


def test_units_come_in_execution_order_with_what_may_become_of_them(model, frames):
    units = find_units(model, frames)
    assert [unit.name for unit in units] == [f"stages.{stage}.{unit}" for stage in range(3) for unit in range(3)]
    assert [unit.kind for unit in units] == ["removable"] * 3 + (["reducible"] + ["removable"] * 2) * 2
    assert units[0].reason == "one shape in and out"
    assert units[3].reason == "its shortcut stays"
    assert units[0].params == 2 * 16 * 16 * 3 + 4 * 16
    assert units[0].macs == 2 * 16 * 16 * 3 * 64
    assert (units[3].input_shape, units[3].shape) == ((16, 64), (32, 32))
    # Two convolutions of 16 channels and 64 samples, four bytes a value.
    assert units[0].activation_bytes == 2 * 16 * 64 * 4
    assert (units[3].shortcut_params, units[3].shortcut_macs) == (16 * 32 + 2 * 32, 16 * 32 * 32)


def conv(width_in, width_out, **more):
    return nn.Conv1d(width_in, width_out, 3, padding=1, **more)


def triple(width_in, width_out):
    return [conv(width_in, width_out), nn.BatchNorm1d(width_out), nn.ReLU(inplace=True)]


def head(width):
    return [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, 5)]


def test_a_flat_chain_has_triples_for_units_between_its_pools(names):
    net = nn.Sequential(*triple(2, 8), *triple(8, 8), nn.MaxPool1d(2), *triple(8, 16), *triple(16, 16), *head(16))
    assert names(net) == [("3", "removable"), ("7", "fixed"), ("10", "removable")]


def test_a_chain_of_blocks_has_the_blocks_for_units(names):
    net = nn.Sequential(*(nn.Sequential(*triple(a, b)) for a, b in ((2, 8), (8, 8), (8, 8))), *head(8))
    assert names(net) == [("1", "removable"), ("2", "removable")]


def test_pre_activation_blocks_are_units_too(names):
    def block():
        return nn.Sequential(nn.BatchNorm1d(8), nn.ReLU(), conv(8, 8))

    net = nn.Sequential(conv(2, 8), block(), block(), nn.BatchNorm1d(8), nn.ReLU(), *head(8))
    assert names(net) == [("1", "removable"), ("2", "removable")]


class Lists(nn.Module):
    """Layers in ModuleLists, run in order, with the activation as a function."""

    def __init__(self, activation=F.relu):
        super().__init__()
        self.convs = nn.ModuleList([conv(2, 8), conv(8, 8), conv(8, 8)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(8) for _ in range(3)])
        self.head, self.activation = nn.Linear(8, 5), activation

    def forward(self, x):
        for layer, norm in zip(self.convs, self.norms, strict=True):
            x = self.activation(norm(layer(x)))
        return self.head(x.mean(-1))


def test_layers_in_lists_are_followed_as_they_run(names, frames):
    net = Lists()
    assert names(net) == [("convs.1", "removable"), ("convs.2", "removable")]
    units = find_units(net, frames)
    assert [edit.module for edit in units[0].edits] == ["convs.1", "norms.1"]
    # The ReLU that stays in the forward comes after a ReLU.
    iq = torch.from_numpy(frames)
    with torch.no_grad():
        x = F.relu(net.norms[0](net.convs[0](iq)))
        expected = net.head(F.relu(net.norms[2](net.convs[2](x))).mean(-1))
        assert torch.equal(edited(net, units[0].edits).eval()(iq), expected)


def test_an_activation_that_would_run_twice_keeps_its_layer(frames):
    with pytest.raises(PlanError, match=r"convs\.1, .*\(gelu after it is written as a function, and would"):
        find_units(Lists(F.gelu).eval(), frames)


class Double(nn.Module):
    """Two layers with activations that are functions; they widen in between where ``inner`` is more than 8."""

    def __init__(self, inner):
        super().__init__()
        self.first, self.second = conv(8, inner), conv(inner, 8)

    def forward(self, x):
        return F.elu(self.second(F.elu(self.first(x))))


@pytest.mark.parametrize("inner", [8, 16])
def test_a_block_in_which_no_layer_can_go_alone_goes_as_a_whole(names, frames, inner):
    net = nn.Sequential(conv(2, 8), nn.Sequential(Double(inner), Double(inner)), conv(8, 8), *head(8)).eval()
    assert names(net) == [("1.0", "removable"), ("1.1", "removable"), ("2", "removable")]
    iq = torch.from_numpy(frames)
    without = edited(net, find_units(net, frames)[0].edits).eval()
    assert torch.equal(without(iq), nn.Sequential(net[0], net[1][1], *net[2:])(iq))


class Outside(nn.Module):
    """Skips that are written outside of the modules that they go around."""

    def __init__(self, join):
        super().__init__()
        self.stem, self.head, self.join = conv(2, 8), nn.Linear(8, 5), join
        self.rows = nn.ModuleList([nn.Sequential(conv(8, 8), nn.ReLU()) for _ in range(3)])

    def forward(self, x):
        x = self.stem(x)
        for row in self.rows:
            x = self.join(x, row)
        return self.head(x.mean(-1))


def add_in_place(x, row):
    y = row(x)
    y += x
    return y


@pytest.mark.parametrize("join", [lambda x, row: x + row(x), lambda x, row: row(x) + x, add_in_place])
def test_a_skip_outside_belongs_to_the_unit_that_it_goes_around(join, names, frames):
    net = Outside(join)
    assert names(net) == [(f"rows.{row}", "removable") for row in range(3)]
    units = find_units(net, frames)
    assert units[0].reason == "with the sum after it"
    iq = torch.from_numpy(frames)
    with torch.no_grad():
        x = net.stem(iq)
        x = net.rows[2](x) + x
        gone = [edit for unit in units[:2] for edit in unit.edits]
        assert torch.allclose(edited(net, gone).eval()(iq), net.head(x.mean(-1)), atol=1e-6)


def test_units_never_overlap_where_blocks_hold_blocks(names, frames):
    class Stage(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = Double(16), Double(16)
            self.up, self.down = conv(8, 12), conv(12, 8)

        def forward(self, x):
            return F.elu(self.down(F.elu(self.up(self.two(self.one(x))))))

    net = nn.Sequential(conv(2, 8), Stage(), Stage(), *head(8)).eval()
    assert [name for name, kind in names(net) if kind == "removable"] == ["1.one", "1.two", "2.one", "2.two"]
    units = find_units(net, frames)
    assert sum(unit.macs for unit in units) <= cost(net, (2, 64)).macs
    assert len(plan_layers(net, frames, keep=0.5).kept) == round(0.5 * len(units))


def test_a_forward_that_fails_without_a_word_keeps_its_unit(frames):
    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = conv(2, 8), conv(8, 8)

        def forward(self, x):
            x = self.first(x)
            y = self.second(x)
            if y is x:
                raise RuntimeError
            return y.flatten(1)

    with pytest.raises(PlanError, match=r"second \(dropping it was tried: the model fails then \(RuntimeError: \)"):
        find_units(Picky().eval(), frames)


def test_a_check_of_the_frames_hides_no_unit(names):
    class Checking(Outside):
        def forward(self, x):
            assert not torch.isnan(x).any()
            return super().forward(x)

    assert names(Checking(lambda x, row: x + row(x))) == [(f"rows.{row}", "removable") for row in range(3)]


class Means(Outside):
    """Gives the mean of every row's output to the head."""

    def forward(self, x):
        x, means = self.stem(x), []
        for row in self.rows:
            x = row(x)
            means.append(x.mean(-1))
        return self.head(sum(means))


def test_modules_that_are_named_are_all_shown_with_the_reason(names, frames):
    net = Means(None)
    net.rows = nn.ModuleList([ResidualUnit(conv(8, 8), nn.Identity()) for _ in range(3)])
    found = find_units(net.eval(), frames, names=["rows.*"])
    assert [(unit.name, unit.kind) for unit in found] == [
        ("rows.0", "removable"),
        ("rows.1", "fixed"),
        ("rows.2", "fixed"),
    ]
    assert "one that all that follows comes from" in found[1].reason


def test_a_unit_of_several_parts_is_called_by_the_one_that_goes(frames):
    class Sums(Outside):
        def forward(self, x):
            x, all_of_them = self.stem(x), []
            for row in self.rows:
                x = row(x)
                all_of_them.append(x)
            return self.head(sum(all_of_them).mean(-1))

    net = Sums(None)
    net.rows = nn.ModuleList([ResidualUnit(conv(8, 8), nn.Identity()) for _ in range(3)])
    for unit in find_units(net.eval(), frames):
        assert [edit.module for edit in unit.edits] == [unit.name]


@pytest.mark.parametrize(
    ("join", "reader"),
    [(lambda x, row: x * row(x), "mul"), (lambda x, row: torch.cat([x[:, :4], row(x)[:, 4:]], 1), "cat")],
)
def test_a_skip_that_is_no_sum_keeps_its_module_and_says_why(join, reader, frames):
    with pytest.raises(PlanError, match=rf"rows\.2 \(its input is read again outside it, by {reader}, and not"):
        find_units(Outside(join).eval(), frames)


def test_a_skip_around_two_units_is_one_piece_with_both(names):
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.first, self.second, self.last = conv(2, 8), conv(8, 8), conv(8, 8), conv(8, 8)

        def forward(self, x):
            x = self.stem(x)
            x = x + self.second(self.first(x))
            return (x + self.last(x)).flatten(1)

    net = Around()
    assert names(net) == [("first", "removable"), ("last", "removable")]
    units = find_units(net, np.zeros((1, 2, 64), np.float32))
    assert [(edit.module, edit.becomes) for edit in units[0].edits] == [("first", "identity"), ("second", "zero")]


class Basic(nn.Module):
    """A residual block as it is often written: the sum in place, the shortcut a child or nothing, one ReLU for all."""

    def __init__(self, width_in, width_out, stride=1):
        super().__init__()
        self.conv1, self.bn1 = conv(width_in, width_out, stride=stride), nn.BatchNorm1d(width_out)
        self.conv2, self.bn2 = conv(width_out, width_out), nn.BatchNorm1d(width_out)
        self.relu = nn.ReLU(inplace=True)
        widens = stride > 1 or width_in != width_out
        self.downsample = nn.Conv1d(width_in, width_out, 1, stride) if widens else None

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


def test_residual_blocks_of_any_hand_are_units_and_leave_their_shortcuts(names, frames):
    net = nn.Sequential(conv(2, 8), nn.ReLU(), Basic(8, 8), Basic(8, 16, 2), Basic(16, 16), *head(16))
    assert names(net) == [("2", "removable"), ("3", "reducible"), ("4", "removable")]
    unit = find_units(net, frames)[1]
    assert unit.edits[0].becomes == ("downsample", "relu")
    iq = torch.from_numpy(frames)
    with torch.no_grad():
        expected = net[4:](F.relu(net[3].downsample(net[:3](iq))))
        assert torch.equal(edited(net, unit.edits).eval()(iq), expected)


def test_a_shortcut_written_as_a_function_stays(names, frames):
    class Padded(nn.Module):
        def __init__(self, width_in, width_out, stride):
            super().__init__()
            self.first, self.second = conv(width_in, width_out, stride=stride), conv(width_out, width_out)
            self.stride, self.more = stride, width_out - width_in

        def forward(self, x):
            short = F.pad(x[:, :, :: self.stride], (0, 0, 0, self.more))
            return F.relu(self.second(F.relu(self.first(x))) + short)

    net = nn.Sequential(conv(2, 8), Padded(8, 8, 1), Padded(8, 16, 2), *head(16))
    assert names(net) == [("1", "removable"), ("2", "reducible")]
    iq = torch.from_numpy(frames)
    with torch.no_grad():
        x = F.relu(F.pad(net[:2](iq)[:, :, ::2], (0, 0, 0, 8)))
        assert torch.equal(edited(net, find_units(net, frames)[1].edits).eval()(iq), net[3:](x))


class PreActivation(nn.Module):
    """He et al. (2016): the shortcut of a transition shares the first activation with the branch."""

    def __init__(self, width_in, width_out, stride=1):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm1d(width_in), conv(width_in, width_out, stride=stride)
        self.bn2, self.conv2 = nn.BatchNorm1d(width_out), conv(width_out, width_out)
        self.shortcut = nn.Conv1d(width_in, width_out, 1, stride) if stride > 1 else None

    def forward(self, x):
        out = F.relu(self.bn1(x))
        short = x if self.shortcut is None else self.shortcut(out)
        return self.conv2(F.relu(self.bn2(self.conv1(out)))) + short


def test_pre_activation_units_leave_what_their_shortcut_needs(names, frames):
    net = nn.Sequential(conv(2, 8), PreActivation(8, 8), PreActivation(8, 16, 2), PreActivation(16, 16), *head(16))
    assert names(net) == [("1", "removable"), ("2", "reducible"), ("3", "removable")]
    iq = torch.from_numpy(frames)
    with torch.no_grad():
        x = net[:2](iq)
        expected = net[3:](net[2].shortcut(F.relu(net[2].bn1(x))))
        assert torch.equal(edited(net, find_units(net, frames)[1].edits).eval()(iq), expected)


def test_a_branch_that_is_scaled_in_the_forward_is_silenced_before_that(names, frames):
    class Scaled(Outside):
        def __init__(self):
            super().__init__(lambda x, row: x + self.scale * F.relu(row(x)))
            self.scale = nn.Parameter(torch.tensor([2.0]))

    net = Scaled()
    assert names(net) == [(f"rows.{row}", "removable") for row in range(3)]
    thin = edited(net, find_units(net, frames)[1].edits).eval()
    iq = torch.from_numpy(frames)
    with torch.no_grad():
        x = net.stem(iq)
        for row in (net.rows[0], net.rows[2]):
            x = x + 2 * F.relu(row(x))
        assert torch.allclose(thin(iq), net.head(x.mean(-1)), atol=1e-6)


class Sides(nn.Module):
    """Two ways that are summed, here the light and deep one first."""

    def __init__(self, one, other):
        super().__init__()
        self.one, self.other = one, other

    def forward(self, x):
        return F.relu(self.one(x) + self.other(x))


def test_the_branch_is_the_side_with_more_layers_in_series_whatever_they_weigh(names, frames):
    light = nn.Sequential(nn.Conv1d(16, 4, 1, 2), nn.ReLU(), conv(4, 4, groups=4), nn.ReLU(), nn.Conv1d(4, 32, 1))
    heavy = nn.Conv1d(16, 32, 1, 2)
    net = nn.Sequential(conv(2, 16), Sides(light, heavy), *head(32))
    (unit,) = find_units(net.eval(), frames)
    assert unit.edits[0].becomes == ("other", "relu()")
    assert unit.shortcut_macs == 16 * 32 * 32 > unit.macs - unit.shortcut_macs


def test_two_layers_side_by_side_are_no_branch_and_shortcut(frames):
    net = nn.Sequential(conv(2, 8), Sides(conv(8, 16), conv(8, 16)), *head(16))
    with pytest.raises(PlanError, match=r"0, 1, 4 \(it changes the shape, and has no shortcut"):
        find_units(net.eval(), frames)


class InPlace(nn.Module):
    """A function in place inside of a branch, whose modules stand in the forward of the net."""

    def __init__(self):
        super().__init__()
        self.stem, self.first, self.second, self.head = conv(2, 8), conv(8, 8), conv(8, 8), nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.second(F.relu(self.first(x), inplace=True))
        return self.head(x.mean(-1))


def test_a_function_in_place_does_not_write_to_the_skip_when_its_branch_is_dropped(frames):
    net = InPlace().eval()
    (unit,) = find_units(net, frames)
    iq = torch.from_numpy(frames)
    with torch.no_grad():
        assert torch.equal(edited(net, unit.edits).eval()(iq), net.head(net.stem(iq).mean(-1)))


def test_a_difference_and_a_scaled_branch_are_skips_and_a_scaled_shortcut_is_none(names, frames):
    for join in (lambda x, row: x - row(x), lambda x, row: torch.add(x, row(x), alpha=0.3)):
        net = Outside(join)
        assert [kind for _, kind in names(net)] == ["removable"] * 3
        iq = torch.from_numpy(frames)
        with torch.no_grad():
            gone = [edit for unit in find_units(net, frames) for edit in unit.edits]
            assert torch.allclose(edited(net, gone).eval()(iq), net.head(net.stem(iq).mean(-1)), atol=1e-6)
    for join in (lambda x, row: row(x) - x, lambda x, row: torch.add(row(x), x, alpha=0.3)):
        with pytest.raises(PlanError, match="not for a sum of a branch and a shortcut"):
            find_units(Outside(join).eval(), frames)


def test_one_activation_module_may_serve_a_whole_chain(names, frames):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([conv(2, 8), conv(8, 8), conv(8, 8)])
            self.norms = nn.ModuleList([nn.BatchNorm1d(8) for _ in range(3)])
            self.relu, self.head = nn.ReLU(), nn.Linear(8, 5)

        def forward(self, x):
            for layer, norm in zip(self.layers, self.norms, strict=True):
                x = self.relu(norm(layer(x)))
            return self.head(x.mean(-1))

    net = Shared()
    assert names(net) == [("layers.1", "removable"), ("layers.2", "removable")]
    assert [edit.module for edit in find_units(net, frames)[0].edits] == ["layers.1", "norms.1"]


class Encoder(nn.Module):
    def __init__(self, container, norm_first):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=norm_first)
        self.patches, self.head, self.container = nn.Conv1d(2, 16, 8, 8), nn.Linear(16, 5), container
        encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.layers = encoder if container else encoder.layers

    def forward(self, x):
        x = self.patches(x).transpose(1, 2)
        if self.container:
            x = self.layers(x)
        else:
            for layer in self.layers:
                x = layer(x)
        return self.head(x.mean(1))


@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_layer_is_one_unit(names, norm_first):
    assert names(Encoder(False, norm_first)) == [(f"layers.{layer}", "removable") for layer in range(3)]


def test_torchs_own_encoder_asks_its_first_layer_and_so_dropped_layers_leave_it(names, frames):
    net = Encoder(True, True)
    assert names(net) == [(f"layers.layers.{layer}", "removable") for layer in range(3)]
    units = find_units(net, frames)
    thin = edited(net, [edit for unit in units[:2] for edit in unit.edits]).eval()
    iq = torch.from_numpy(frames)
    with torch.no_grad():
        tokens = net.layers.layers[2](net.patches(iq).transpose(1, 2))
        assert torch.allclose(thin(iq), net.head(tokens.mean(1)), atol=1e-6)


class Mixers(nn.Module):
    """A Transformer as many write it: both skips in one forward, attention (or a recurrent layer) called there."""

    def __init__(self, mixer):
        super().__init__()
        self.stem, self.head = conv(2, 8), nn.Linear(8, 5)
        self.norms = nn.ModuleList([nn.LayerNorm(8) for _ in range(2)])
        self.mixers = nn.ModuleList([mixer() for _ in range(2)])
        self.denses = nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])

    def mixed(self, mixer, h):
        if isinstance(mixer, nn.MultiheadAttention):
            return mixer(query=h, key=h, value=h, need_weights=False)[0]
        return mixer(h)[0]

    def forward(self, x, without=()):
        x = self.stem(x).transpose(1, 2)
        for at, (norm, mixer, dense) in enumerate(zip(self.norms, self.mixers, self.denses, strict=True)):
            h = norm(x)
            if at not in without:
                x = x + self.mixed(mixer, h)
            x = x + torch.relu(dense(x))
        return self.head(x.mean(1))


@pytest.mark.parametrize(
    "mixer",
    [
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        lambda: nn.GRU(8, 8, batch_first=True),
        lambda: nn.LSTM(8, 4, batch_first=True, bidirectional=True),
    ],
)
def test_what_gives_a_second_value_is_a_unit_with_the_sum_after_it(names, mixer, frames):
    net = Mixers(mixer).eval()
    assert names(net) == [(f"{part}.{at}", "removable") for at in range(2) for part in ("mixers", "denses")]
    thinner = edited(net, find_units(net, frames)[0].edits).eval()
    iq = torch.from_numpy(frames)
    assert torch.allclose(thinner(iq), net(iq, without=[0]), atol=1e-6)
    assert cost(thinner, (2, 64)).macs == cost(net, (2, 64)).macs - find_units(net, frames)[0].macs


def test_a_branch_that_is_told_more_than_its_input_can_go(names, frames):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(8, 8)

        def forward(self, x, mask):
            return self.conv(x * mask)

    class Net(Outside):
        def forward(self, x):
            x = self.stem(x)
            for row in self.rows:
                x = x + row(x, x > 0)
            return self.head(x.mean(-1))

    net = Net(None)
    net.rows = nn.ModuleList([Masked() for _ in range(3)])
    assert names(net) == [(f"rows.{row}", "removable") for row in range(3)]


def test_a_stage_that_adds_its_rows_is_no_unit_but_its_rows_are(names):
    class Stage(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = nn.ModuleList([conv(8, 8), conv(8, 8)])

        def forward(self, x):
            for row in self.rows:
                x = x + row(x)
            return x

    net = nn.Sequential(conv(2, 8), Stage(), Stage(), *head(8))
    assert [name for name, _ in names(net)] == ["1.rows.0", "1.rows.1", "2.rows.0", "2.rows.1"]


class Sequence(nn.Module):
    """A recurrent layer that gives its outputs alone, and whatever went in at their side."""

    def __init__(self, width_in, width):
        super().__init__()
        self.lstm = nn.LSTM(width_in, width, batch_first=True)

    def forward(self, x):
        return self.lstm(x.transpose(1, 2))[0].transpose(1, 2)


def test_a_recurrent_layer_can_go_where_a_module_around_it_gives_one_tensor(names, frames):
    net = nn.Sequential(Sequence(2, 6), Sequence(6, 6), Sequence(6, 6), *head(6))
    assert names(net) == [("1", "removable"), ("2", "removable")]
    with pytest.raises(PlanError, match=r"lstm \(it gives more than one tensor\)"):
        find_units(Recurrent().eval(), frames)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(2, 2, batch_first=True), nn.Linear(2, 5)

    def forward(self, x):
        return self.head(self.lstm(x.transpose(1, 2))[0].mean(1))


def test_layers_before_and_after_residual_units_are_stem_and_head(names):
    unit = ResidualUnit(conv(8, 8), nn.Identity())
    net = nn.Sequential(conv(2, 8), conv(8, 8), nn.ReLU(), unit, conv(8, 8), *head(8))
    assert names(net) == [("3", "removable")]


def test_a_layer_that_runs_twice_stays(names, frames):
    shared = conv(8, 8)
    net = nn.Sequential(conv(2, 8), conv(8, 8), shared, shared, conv(8, 8), *head(8))
    assert names(net) == [("1", "removable"), ("2", "fixed"), ("2", "fixed"), ("4", "removable")]
    assert find_units(net.eval(), frames)[1].reason == "the model runs 2 2 times; a unit runs once"


def test_a_user_and_an_author_can_name_the_units(names, model, frames):
    assert names(model, names=["stages.0.*", "stages.2.1"]) == [
        *((f"stages.0.{unit}", "removable") for unit in range(3)),
        ("stages.2.1", "removable"),
    ]
    model.unit_names = ["stages.2"]
    with pytest.raises(PlanError, match=r"stages\.2 \(it changes the shape, and has no"):
        find_units(model, frames)
    with pytest.raises(PlanError, match="no module that runs has a name like layers"):
        find_units(model, frames, names=["layers.*"])
    # One glob is one, not a list of letters.
    assert [name for name, _ in names(model, names="stages.0.*")] == [f"stages.0.{unit}" for unit in range(3)]


def test_what_fails_without_a_unit_keeps_it_and_says_so(frames):
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleDict({"a": conv(2, 8), "b": conv(8, 8), "c": conv(8, 8)})

        def forward(self, x):
            assert self.layers["b"].out_channels == 8
            for layer in self.layers.values():
                x = layer(x)
            return x.flatten(1)

    units = find_units(Looks(), frames)
    assert [(unit.name, unit.kind) for unit in units] == [("layers.b", "fixed"), ("layers.c", "removable")]
    assert "dropping it was tried: the model fails then (AttributeError" in units[0].reason


def test_looking_leaves_the_model_as_it_was(frames):
    model = create_model("resnet1d20", 5, 64).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    find_units(model, frames)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_units_products_add_up_with_stem_and_head(model, frames):
    whole = cost(model, (2, 64))
    assert sum(unit.macs for unit in find_units(model, frames)) == whole.macs - 2 * 16 * 3 * 64 - 64 * 5


def test_a_model_without_units_is_refused_and_shown_the_way(frames):
    with pytest.raises(
        PlanError, match=r"has no unit that can be dropped: all of its 1 layers are fixed: 1 .* channels"
    ):
        find_units(nn.Sequential(nn.Flatten(), nn.Linear(128, 3)), frames)
    with pytest.raises(PlanError, match="nothing in it has weights"):
        find_units(nn.Flatten(), frames)
