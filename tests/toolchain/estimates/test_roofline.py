from dataclasses import replace

import pytest

from deploy.bundle import Layer
from toolchain.errors import EstimateError
from toolchain.estimates.roofline import Constants, Work, times_us, total_ms, work_of


def layer(op, macs=0, bytes_in=0, bytes_out=0, weights=0, padding=0):
    return Layer(
        name="it", op=op, macs=macs, macs_on_padding=padding, bytes_in=bytes_in, bytes_out=bytes_out, bytes_weights=weights
    )  # fmt: skip


CONSTANTS = Constants(
    call_us=5.0, product_us=2.0, pointwise_us=0.5, other_us=1.0, gmacs_per_s=10.0, gbytes_per_s=1.0, half_sum=6.0,
    half_channels=4.0, channel_block=1, half_mbytes=1.0, memory_gbytes_per_s=None, skips_padding=True,
)  # fmt: skip
# A convolution of 2 channels to 4 over 8 samples, 3 taps: 192 products, sums of 6, of which 16 fall on padding.
CONV = layer("Conv", macs=192, bytes_in=64, bytes_out=128, weights=112, padding=16)


def time_us(work, constants=CONSTANTS):
    ((us, bound),) = times_us([work], constants)
    return us, bound


def test_the_work_of_a_convolution_is_told_from_its_row():
    work = work_of(CONV)
    assert (work.kind, work.macs, work.macs_on_padding) == ("product", 192, 16)
    assert (work.value_bytes, work.weight_bytes) == (192, 112)
    # 28 numbers of weights: 4 channels of 6 and a bias; without the biases they are 4 as well.
    assert (work.sum_length, work.channels) == (6, 4)
    assert work_of(layer("Conv", macs=192, bytes_in=64, bytes_out=128, weights=96)).channels == 4


def test_more_frames_at_a_time_are_more_work_on_the_same_weights():
    work = work_of(CONV, batch=3)
    assert (work.macs, work.macs_on_padding, work.value_bytes, work.weight_bytes) == (576, 48, 3 * 192, 112)
    assert (work.sum_length, work.channels) == (work_of(CONV).sum_length, work_of(CONV).channels)


def test_a_file_in_halves_has_as_long_sums():
    half = layer("Conv", macs=192, bytes_in=32, bytes_out=64, weights=56)
    assert work_of(half, "fp16").sum_length == 6.0
    assert work_of(half, "fp16").channels == 4


def test_channels_are_told_from_weights_with_biases_of_any_type_and_without():
    # 16 channels of 48 products over 10 samples: in bytes of int8 with biases of four bytes, and without.
    shape = {"macs": 16 * 48 * 10, "bytes_in": 160, "bytes_out": 160}
    assert work_of(layer("Conv", **shape, weights=16 * 48 + 16 * 4), "int8").channels == 16
    assert work_of(layer("Conv", **shape, weights=16 * 48), "int8").channels == 16
    # 64 channels of 3 products and no bias: as many weights as 48 of 3 products with a bias have, but 48 make no 640 outputs.
    depthwise = layer("Conv", macs=64 * 3 * 10, bytes_in=2560, bytes_out=2560, weights=64 * 3 * 4)
    assert work_of(depthwise).channels == 64


def test_a_layer_takes_its_start_and_the_longer_of_products_and_bytes():
    # 304 bytes at 1e3 a microsecond; 176 products at 1e4 a microsecond, slowed 1 + 6/6 + 4/4 times.
    us, bound = time_us(work_of(CONV))
    assert us == pytest.approx(2.0 + 0.304)
    assert bound == "launching"
    many = Work("product", macs=1e6, value_bytes=10.0, sum_length=6.0, channels=4.0)
    us, bound = time_us(many)
    assert us == pytest.approx(2.0 + 100.0 * 3.0)
    assert bound == "arithmetic"
    assert time_us(Work("other", value_bytes=1e4)) == (pytest.approx(11.0), "memory")
    # And the call, once.
    assert total_ms([work_of(CONV), many], CONSTANTS) == pytest.approx(0.005 + 0.002304 + 0.302)


def test_channels_are_computed_in_whole_blocks():
    # Of 4 channels two blocks of 3, which is 1.5 times as much; values alone, without weights, are not blocked.
    blocked = CONSTANTS.model_copy(update={"channel_block": 3})
    work = Work("product", macs=1e6, weight_bytes=100.0, sum_length=6.0, channels=4.0)
    assert time_us(work, blocked)[0] == pytest.approx(2.0 + 100.0 * 3.0 * 1.5)
    assert time_us(replace(work, weight_bytes=0.0), blocked)[0] == pytest.approx(2.0 + 100.0 * 3.0)
    assert time_us(replace(work, channels=6.0), blocked)[0] == pytest.approx(2.0 + 100.0 * (2.0 + 4.0 / 6.0))


def test_weights_that_no_cache_holds_come_from_memory():
    # 1 MB of weights at 1 GB/s, of a model of 1 or 3 MB: half, or nine tenths, come at 0.5 GB/s too.
    from_memory = CONSTANTS.model_copy(update={"half_mbytes": 1.0, "memory_gbytes_per_s": 0.5})
    work = Work("other", weight_bytes=1e6)
    assert time_us(work)[0] == pytest.approx(1001.0)
    assert time_us(work, from_memory)[0] == pytest.approx(1.0 + 1000.0 + 0.5 * 2000.0)
    all_three = times_us([work] * 3, from_memory)
    assert [us for us, _ in all_three] == pytest.approx([1.0 + 1000.0 + 0.9 * 2000.0] * 3)
    # What a layer reads and writes was written by the layer before.
    assert time_us(Work("other", value_bytes=1e6), from_memory)[0] == pytest.approx(1001.0)


def test_products_on_padding_count_where_they_are_computed():
    work = Work("product", macs=1e6, macs_on_padding=4e5, sum_length=1e9, channels=1e9)
    computed = CONSTANTS.model_copy(update={"skips_padding": False})
    assert time_us(work)[0] == pytest.approx(62.0)
    assert time_us(work, computed)[0] == pytest.approx(102.0)


def test_a_view_takes_no_time_and_what_is_pointwise_little():
    assert time_us(work_of(layer("Reshape", bytes_in=64, bytes_out=64)))[0] == 0.0
    assert time_us(work_of(layer("Relu")))[0] == 0.5
    assert time_us(work_of(layer("MaxPool")))[0] == 1.0
    folded = CONSTANTS.model_copy(update={"pointwise_us": None})
    assert time_us(work_of(layer("Relu", bytes_in=64, bytes_out=64)), folded)[0] == 0.0


@pytest.mark.parametrize("op", ["LSTM", "GRU", "Loop"])
def test_of_recurrent_layers_there_is_no_estimate(op):
    with pytest.raises(EstimateError, match=rf"of a recurrent layer \({op}\) there is no estimate.*thinwave profile"):
        work_of(layer(op, macs=100))


def test_of_what_nobody_knows_there_is_no_estimate():
    with pytest.raises(EstimateError, match="nobody knows what a layer Einsum computes"):
        work_of(layer("Einsum", macs=None))
