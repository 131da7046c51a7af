import numpy as np
import pytest

from toolchain.baselines.psr import psr, walked_back
from toolchain.errors import PlanError
from toolchain.pruning import Budget, apply_plan, log_flow, plan_layers, segment, similarity_matrix
from toolchain.pruning.segmentation import fisher_table, scatter_of


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_the_table_holds_the_least_scatter_of_every_beginning():
    # {0 2}: 2; {0 2 4}: 8; in two blocks {0 2}{4} or {0}{2 4}: 2.
    expected = [[0, np.inf, np.inf, np.inf], [np.inf, 0, 2, 8], [np.inf, np.inf, 0, 2], [np.inf, np.inf, np.inf, 0]]
    assert fisher_table(column(0, 2, 4), 3)[0] == pytest.approx(np.array(expected))


def test_the_table_ends_in_the_least_loss():
    signatures = np.random.default_rng(1).normal(size=(9, 3))
    table, _ = fisher_table(signatures, 9)
    for blocks in range(1, 10):
        assert table[blocks, 9] == pytest.approx(segment(signatures, blocks).loss, abs=1e-12)


def test_the_walk_leaves_out_the_last_blocks_scatter():
    # The best two blocks are {0 0}{4 9 4 9}, with 25. One block of the first 3 has 10.67, of the first 4 54.75: the walk
    # stops at 3, and {0 0 4}{9 4 9} has 10.67 + 16.67.
    signatures = column(0, 0, 4, 9, 4, 9)
    assert segment(signatures, 2).boundaries == (0, 2)
    assert segment(signatures, 2).loss == pytest.approx(25)
    assert walked_back(signatures, 2) == (0, 3)
    assert scatter_of(signatures, (0, 3)) == pytest.approx(82 / 3)


def test_the_walk_goes_on_from_the_loss_where_it_stopped():
    # The best three blocks are {0 0}{4 9 4}{9}, with 16.67. Two blocks of the first 5 have that too, and it is not below; of
    # the first 4 {0 0 4}{9} has 10.67: n = 4, and 10.67 is the current loss. One block of the first 3 has it too; of 2: 0.
    signatures = column(0, 0, 4, 9, 4, 9)
    assert segment(signatures, 3).loss == pytest.approx(50 / 3)
    assert walked_back(signatures, 3) == (0, 2, 4)
    assert scatter_of(signatures, (0, 2, 4)) == pytest.approx(25)


def test_all_alike_still_gives_as_many_blocks_as_asked_for():
    assert walked_back(column(7, 7, 7, 7, 7), 3) == (0, 3, 4)
    assert walked_back(column(1, 2, 3), 3) == (0, 1, 2)
    assert walked_back(column(1), 1) == (0,)


@pytest.mark.parametrize("blocks", [0, 4, True, 2.0, "auto"])
def test_more_blocks_than_units_are_refused(blocks):
    with pytest.raises(PlanError, match=f"cannot cut 3 units into {blocks!r} blocks: expected a number from 1 to 3"):
        walked_back(column(1, 2, 3), blocks)


def test_the_walk_is_mostly_not_optimal_and_segment_always_is():
    rng = np.random.default_rng(0)
    worse, matrices = 0, 2000
    for _ in range(matrices):
        n, blocks = int(rng.integers(10, 14)), int(rng.integers(3, 5))
        matrix = rng.random((n, n))
        signatures = (matrix + matrix.T).sum(axis=1, keepdims=True)
        boundaries, best = walked_back(signatures, blocks), segment(signatures, blocks)
        assert len(boundaries) == blocks
        loss = scatter_of(signatures, boundaries)
        assert best.loss == pytest.approx(fisher_table(signatures, blocks)[0][-1, -1], rel=1e-9)
        assert loss >= best.loss * (1 - 1e-9)
        worse += loss > best.loss * (1 + 1e-9)
    assert 0.74 < worse / matrices < 0.9


def test_a_plan_has_the_walks_blocks_and_the_smallest_flows(model, frames):
    plan = psr(model, frames, Budget(keep=4))
    matrix = similarity_matrix(model, frames, plan.units, "cosine")
    assert plan.boundaries == walked_back(matrix.sum(axis=1, keepdims=True), 3)
    assert plan.settings["baseline"] == "psr"
    assert len(plan.kept) == 4
    for score, flows, block in zip(plan.scores, plan.candidate_log_flows, plan.blocks, strict=True):
        assert score == min(flows)
        others = [index for index in range(9) if index not in block]
        assert score == pytest.approx(log_flow(model, {*others, *plan.kept}, (2, 64)), rel=1e-12)


def test_a_cut_is_met_as_by_the_method(model, frames):
    plan = psr(model, frames, Budget(macs_cut=0.5))
    assert plan.macs_left <= 0.5 * plan.macs
    assert apply_plan(plan, model) is not model
    most = plan_layers(model, frames, macs_cut=0.5)
    assert most.macs == plan.macs


def test_fewer_units_than_blocks_are_refused(model, frames):
    with pytest.raises(PlanError, match="keeps 2 of 9 units, but each of 3 blocks keeps one at least; expected 3 to 9"):
        psr(model, frames, Budget(keep=2))


@pytest.mark.parametrize("blocks", ["auto", True, 0, 10])
def test_the_number_of_blocks_is_a_number(model, frames, blocks):
    with pytest.raises(PlanError, match=r"cannot cut 9 units into .* blocks: expected a number from 1 to 9"):
        psr(model, frames, Budget(keep=4), blocks=blocks)


def test_numbers_of_numpy_are_taken_as_pythons(model, frames):
    assert psr(model, frames, Budget(keep=np.int64(4)), blocks=np.int64(2)) == psr(
        model, frames, Budget(keep=4), blocks=2
    )
