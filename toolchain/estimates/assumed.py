"""The constants of a device that nobody measured: a share of its peaks, as its profile assumes."""

from __future__ import annotations

from pydantic import ValidationError

from deploy.names import Precision
from deploy.target_profile import Accelerator, Figure, Peaks, PowerMode, Processor, Target
from toolchain.errors import EstimateError
from toolchain.estimates.roofline import Constants

# What runs on the cores; all else runs on the accelerator.
ON_THE_PROCESSOR = frozenset({"onnxruntime", "openvino", "openvino-bf16"})
# A multiply-accumulate is two operations.
OPS_A_MAC = 2.0


def assumed_constants(
    target: Target, runtime: str, precision: Precision, *, threads: int = 1, power_mode: PowerMode | None = None
) -> tuple[Constants, float]:
    """The constants, and the factor by which the truth may lie off on either side.

    Raises EstimateError where the profile does not say enough.
    """
    mode = power_mode or PowerMode(name="as in the profile", source="assumed")
    on_processor = runtime in ON_THE_PROCESSOR
    part: Processor | Accelerator | None = target.processor if on_processor else target.accelerator
    if part is None or part.peaks is None or part.efficiency is None or target.memory.gbytes_per_s is None:
        what = "processor" if on_processor else "accelerator"
        raise EstimateError(
            f"target {target.name}: its profile does not say {what}.peaks, {what}.efficiency and memory.gbytes_per_s, from "
            f"which times in {runtime} are estimated; name another runtime, or measure there with `thinwave profile --device`"
        )
    processor_faster = _ratio(mode.cpu_mhz, target.processor.clock_mhz)
    if target.accelerator is None or on_processor:
        # The more cores work, the more are waited for; that is not foreseen.
        faster, wider = processor_faster, float(threads)
    else:
        faster = _ratio(mode.gpu_mhz, target.accelerator.clock_mhz)
        wider = _ratio(mode.gpu_cores, target.accelerator.cores)
    efficiency = part.efficiency
    kernel_us = _value(efficiency.kernel_us) / faster
    gbytes_per_s = mode.gbytes_per_s or _value(target.memory.gbytes_per_s)
    try:
        constants = Constants(
            call_us=_value(efficiency.call_us) / processor_faster,
            product_us=kernel_us,
            pointwise_us=None,
            other_us=kernel_us,
            gmacs_per_s=_peak(part.peaks, precision) * faster * wider * _value(efficiency.share_of_peak) / OPS_A_MAC,
            gbytes_per_s=gbytes_per_s * _value(efficiency.share_of_bandwidth),
            # Of what else the constants say nothing is assumed.
            half_sum=0.0,
            half_channels=0.0,
            channel_block=1,
            half_mbytes=1.0,
            memory_gbytes_per_s=None,
            skips_padding=on_processor,
        )
    except ValidationError as refused:
        wrong = refused.errors()[0]
        raise EstimateError(
            f"target {target.name}: its figures make {wrong['loc'][0]} = {wrong['input']:.4g}, which no device has; check "
            "them with `thinwave targets show`"
        ) from refused
    return constants, _value(efficiency.factor)


def _peak(peaks: Peaks, precision: Precision) -> float:
    """In 1e9 operations a second; of a type that is not had faster that of the next wider one."""
    narrowest_first = {
        "int8": (peaks.int8_gops, peaks.fp16_gflops, peaks.fp32_gflops),
        "fp16": (peaks.fp16_gflops, peaks.fp32_gflops),
        "fp32": (peaks.fp32_gflops,),
    }[precision]
    return _value(next(figure for figure in narrowest_first if figure is not None))


def _ratio(now: float | None, in_profile: Figure | None) -> float:
    """How much faster or wider in a power mode than the profile's figure; 1 where one of them is not told."""
    return 1.0 if now is None or in_profile is None or in_profile.value is None else now / in_profile.value


def _value(figure: Figure) -> float:
    if figure.value is None:
        raise EstimateError(
            "a figure that is read from the machine stands in its profile where an estimate needs a number"
        )
    return figure.value
