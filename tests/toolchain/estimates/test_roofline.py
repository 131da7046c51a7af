import pytest

from deploy.bundle import Layer
from toolchain.errors import EstimateError
from toolchain.estimates.roofline import Constants, Work, time_us, work_of


def layer(op, macs=0, bytes_in=0, bytes_out=0, weights=0, padding=0):
    return Layer(
        name="it", op=op, macs=macs, macs_on_padding=padding, bytes_in=bytes_in, bytes_out=bytes_out, bytes_weights=weights
    )  # fmt: skip


CONSTANTS = Constants(
    call_us=5.0, product_us=2.0, pointwise_us=0.5, other_us=1.0, gmacs_per_s=10.0, gbytes_per_s=1.0, half_sum=6.0,
    half_channels=4.0, skips_padding=True,
)  # fmt: skip
# A convolution of 2 channels to 4 over 8 samples, 3 taps: 192 products, sums of 6, of which 16 fall on padding.
CONV = layer("Conv", macs=192, bytes_in=64, bytes_out=128, weights=112, padding=16)


def test_the_work_of_a_convolution_is_told_from_its_row():
    work = work_of(CONV)
    assert (work.kind, work.macs, work.macs_on_padding, work.size_bytes) == ("product", 192, 16, 304)
    assert work.sum_length == 192 / 32
    # 28 numbers of weights, 4 of them a bias, in sums of 6.
    assert work.channels == pytest.approx(28 / 6)


def test_more_frames_at_a_time_are_more_work_on_the_same_weights():
    work = work_of(CONV, batch=3)
    assert (work.macs, work.macs_on_padding, work.size_bytes) == (576, 48, 3 * 192 + 112)
    assert (work.sum_length, work.channels) == (work_of(CONV).sum_length, work_of(CONV).channels)


def test_a_file_in_halves_has_as_long_sums():
    half = layer("Conv", macs=192, bytes_in=32, bytes_out=64, weights=56)
    assert work_of(half, "fp16").sum_length == 6.0


def test_a_layer_takes_its_start_and_the_longer_of_products_and_bytes():
    # 304 bytes at 1e3 a microsecond; 176 products at 1e4 a microsecond, slowed 1 + 6/6 + 4/(28/6) times.
    us, bound = time_us(work_of(CONV), CONSTANTS)
    assert us == pytest.approx(2.0 + 0.304)
    assert bound == "launching"
    many = Work("product", macs=1e6, size_bytes=10.0, sum_length=6.0, channels=4.0)
    us, bound = time_us(many, CONSTANTS)
    assert us == pytest.approx(2.0 + 100.0 * 3.0)
    assert bound == "arithmetic"
    assert time_us(Work("other", size_bytes=1e4), CONSTANTS) == (pytest.approx(11.0), "memory")


def test_products_on_padding_count_where_they_are_computed():
    work = Work("product", macs=1e6, macs_on_padding=4e5, sum_length=1e9, channels=1e9)
    computed = CONSTANTS.model_copy(update={"skips_padding": False})
    assert time_us(work, CONSTANTS)[0] == pytest.approx(62.0)
    assert time_us(work, computed)[0] == pytest.approx(102.0)


def test_a_view_takes_no_time_and_what_is_pointwise_little():
    assert time_us(work_of(layer("Reshape", bytes_in=64, bytes_out=64)), CONSTANTS)[0] == 0.0
    assert time_us(work_of(layer("Relu")), CONSTANTS)[0] == 0.5
    assert time_us(work_of(layer("MaxPool")), CONSTANTS)[0] == 1.0
    folded = CONSTANTS.model_copy(update={"pointwise_us": None})
    assert time_us(work_of(layer("Relu", bytes_in=64, bytes_out=64)), folded)[0] == 0.0


@pytest.mark.parametrize("op", ["LSTM", "GRU", "Loop"])
def test_of_recurrent_layers_there_is_no_estimate(op):
    with pytest.raises(EstimateError, match=rf"of a recurrent layer \({op}\) there is no estimate.*thinwave profile"):
        work_of(layer(op, macs=100))


def test_of_what_nobody_knows_there_is_no_estimate():
    with pytest.raises(EstimateError, match="nobody knows what a layer Einsum computes"):
        work_of(layer("Einsum", macs=None))
