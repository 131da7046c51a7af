import pytest

from deploy.bundle import Layer
from deploy.errors import TargetError
from deploy.strict_reading import read_strictly
from deploy.target_profile import Target
from deploy.targets import list_targets, load_target
from toolchain.errors import EstimateError
from toolchain.estimates import Settings, estimate, modes_of
from toolchain.estimates.assumed import assumed_constants

CONV = Layer(
    name="conv",
    op="Conv",
    macs=1_000_000,
    macs_on_padding=500_000,
    bytes_in=8_000,
    bytes_out=8_000,
    bytes_weights=4_000,
)
RELU = Layer(name="relu", op="Relu", macs=0, bytes_in=8_000, bytes_out=8_000, bytes_weights=0)
POOL = Layer(name="pool", op="MaxPool", macs=0, bytes_in=8_000, bytes_out=4_000, bytes_weights=0)
LAYERS = (CONV, RELU, POOL)


def test_a_device_that_nobody_measured_is_a_share_of_its_peaks():
    target = load_target("jetson-orin-nano-8gb")
    efficiency = target.accelerator.efficiency
    found = estimate(LAYERS, target, "fp16")
    # MAXN_SUPER: 16,712 GFLOP/s are 8,356 GMAC/s; a GPU computes products with padding too. The pooling is a kernel more,
    # the ReLU is folded into the convolution.
    rate = 16_712 / 2 * efficiency.share_of_peak.value
    bandwidth = 102.4 * efficiency.share_of_bandwidth.value
    conv_us = efficiency.kernel_us.value + max(1e6 / rate / 1e3, 20_000 / bandwidth / 1e3)
    pool_us = efficiency.kernel_us.value + 12_000 / bandwidth / 1e3
    relu_us = 0.0
    assert [layer.estimated_us for layer in found.layers] == pytest.approx([conv_us, relu_us, pool_us])
    assert 1e3 * found.estimated_ms == pytest.approx(efficiency.call_us.value + conv_us + pool_us)
    factor = efficiency.factor.value
    assert (found.low_ms, found.high_ms) == pytest.approx((found.estimated_ms / factor, found.estimated_ms * factor))
    assert found.interval == "assumed"
    assert "nobody measured" in found.basis
    assert (found.runtime, found.power_mode) == ("tensorrt", "MAXN_SUPER")


def test_a_power_mode_slows_kernels_by_the_clock_and_products_by_the_cores_too():
    target = load_target("jetson-orin-nano-8gb")
    fast, _ = assumed_constants(target, "tensorrt", "fp16", power_mode=target.power_modes[0])
    slow, _ = assumed_constants(target, "tensorrt", "fp16", power_mode=target.power_modes[-1])
    # 7W: 512 of 1,024 cores at 408 of 1,020 MHz, the processor at 960 of 1,728, 68.3 of 102.4 GB/s.
    assert slow.product_us == pytest.approx(fast.product_us * 1020 / 408)
    assert slow.gmacs_per_s == pytest.approx(fast.gmacs_per_s * 408 / 1020 / 2)
    assert slow.call_us == pytest.approx(fast.call_us * 1728 / 960)
    assert slow.gbytes_per_s == pytest.approx(fast.gbytes_per_s * 68.3 / 102.4)


def test_a_type_that_is_not_had_faster_runs_as_the_wider_one():
    nano = load_target("jetson-nano")
    int8, _ = assumed_constants(nano, "trtexec", "int8")
    fp16, _ = assumed_constants(nano, "trtexec", "fp16")
    fp32, _ = assumed_constants(nano, "trtexec", "fp32")
    assert int8.gmacs_per_s == fp16.gmacs_per_s == pytest.approx(2 * fp32.gmacs_per_s)


def test_a_processor_leaves_padding_out_and_an_accelerator_does_not():
    pi = load_target("raspberry-pi-5")
    constants, _ = assumed_constants(pi, "onnxruntime", "fp32")
    assert constants.skips_padding
    two, _ = assumed_constants(pi, "onnxruntime", "fp32", threads=2)
    assert two.gmacs_per_s == pytest.approx(2 * constants.gmacs_per_s)
    assert not assumed_constants(load_target("jetson-tx2"), "trtexec", "fp16")[0].skips_padding


def test_every_profile_that_comes_with_thinwave_has_an_estimate_in_every_power_mode(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for target in list_targets():
        precision = target.measuring.precision
        for mode in modes_of(target):
            found = estimate(LAYERS, target, precision, Settings(power_mode=mode))
            assert 0 < found.low_ms < found.estimated_ms < found.high_ms
            assert found.interval == "assumed"


def test_what_cannot_be_estimated_is_told():
    nano = load_target("jetson-orin-nano-8gb")
    with pytest.raises(EstimateError, match='no power mode "MAXN"; there are: MAXN_SUPER, 25W, 15W, 7W'):
        estimate(LAYERS, nano, "fp16", Settings(power_mode="MAXN"))
    with pytest.raises(EstimateError, match=r"does not say processor.peaks, processor.efficiency"):
        estimate(LAYERS, nano, "fp32", Settings(runtime="onnxruntime"))
    with pytest.raises(EstimateError, match='"tensorrt" is none of its runtimes; they are: onnxruntime, openvino'):
        estimate(LAYERS, load_target("raspberry-pi-5"), "fp32", Settings(runtime="tensorrt"))
    with pytest.raises(EstimateError, match="what its power mode 120W caps is not known; there is an estimate in MAXN"):
        estimate(LAYERS, load_target("jetson-thor-t5000"), "fp16", Settings(power_mode="120W"))


def figures_of(**changed):
    """A Raspberry Pi 5 of which other figures are said."""
    data = load_target("raspberry-pi-5").model_dump(mode="json", exclude_none=True)
    for place, value in changed.items():
        *way, last = place.split("__")
        inside = data
        for name in way:
            inside = inside[name]
        inside[last]["value"] = value
    return data


@pytest.mark.parametrize("name", ["share_of_peak", "share_of_bandwidth"])
def test_a_share_is_no_percentage(name):
    data = figures_of(**{f"processor__efficiency__{name}": 50.0})
    with pytest.raises(TargetError, match=f"{name} = 50: expected a part of what is reached at best, at most 1"):
        read_strictly(Target, data, where="my.toml", error=TargetError)


def test_figures_that_together_are_no_device_are_told():
    data = figures_of(processor__peaks__fp32_gflops=1e-6, processor__efficiency__share_of_peak=1e-6)
    target = read_strictly(Target, data, where="my.toml", error=TargetError)
    with pytest.raises(
        EstimateError, match="target raspberry-pi-5: its figures make gmacs_per_s = 5e-13, which no device"
    ):
        estimate(LAYERS, target, "fp32")
