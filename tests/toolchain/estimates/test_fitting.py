import numpy as np
import onnx
import pytest

from toolchain.cost import cost
from toolchain.estimates.family import family
from toolchain.estimates.fitting import Measured, fit
from toolchain.estimates.roofline import Constants, total_ms, work_of
from toolchain.export.layers import layers_of
from toolchain.models import ARCHITECTURES, create_model

TRUE = Constants(
    call_us=7.0, product_us=2.0, pointwise_us=0.4, other_us=1.5, gmacs_per_s=30.0, gbytes_per_s=12.0, half_sum=9.0,
    half_channels=5.0, channel_block=8, half_mbytes=12.0, memory_gbytes_per_s=7.0, skips_padding=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def members():
    return [(each.name, tuple(work_of(layer) for layer in layers_of(each.model))) for each in family()]


def test_constants_are_found_again_from_the_times_that_they_give(members):
    measured = [Measured(name, works, total_ms(works, TRUE)) for name, works in members]
    found = fit(measured, skips_padding=True)
    for name, value in TRUE.model_dump().items():
        assert getattr(found, name) == pytest.approx(value, rel=0.02), name


def test_a_network_that_is_far_off_moves_the_others_little(members):
    rng = np.random.default_rng(0)
    times = [total_ms(works, TRUE) * float(np.exp(rng.normal(0, 0.03))) for _, works in members]
    times[5] *= 10
    found = fit(
        [Measured(name, works, ms) for (name, works), ms in zip(members, times, strict=True)], skips_padding=True
    )
    errors = [abs(total_ms(works, found) / total_ms(works, TRUE) - 1) for _, works in members]
    assert np.median(errors) < 0.05


@pytest.mark.slow
def test_no_member_of_the_family_is_a_model_of_the_zoo(members):
    # The zoo's models at the lengths that are estimated: their products and parameters are unlike those of any member.
    sums = {sum(work.macs for work in works) for _, works in members}
    for name in ARCHITECTURES:
        for length in (128, 512, 1024):
            assert cost(create_model(name, classes=11, length=length), (2, length)).macs not in sums
    assert len({name for name, _ in members}) == len(members)


def test_members_answer_frames_with_logits(tmp_path):
    from deploy.runtimes import open_runtime

    kinds = {}
    for member in family():
        kinds.setdefault(member.name.split("-")[0], member)
    for member in kinds.values():
        frames = np.random.default_rng(0).normal(size=(3, 2, member.length)).astype(np.float32)
        with open_runtime("onnxruntime", member.write(tmp_path)) as runtime:
            logits = runtime.run(frames)
        assert logits.shape == (3, 11)
        assert np.isfinite(logits).all()
        onnx.checker.check_model(member.model, full_check=True)
