from deploy.peaks import measured_peaks


def test_peaks_are_positive_and_not_out_of_this_world():
    peaks = measured_peaks()
    # A core does at most some thousand products a nanosecond, and 1e-3 would be a microcontroller.
    assert 1e-3 < peaks.gmacs_per_s < 1e5
    assert 1e-3 < peaks.gbytes_per_s < 1e5
    # Products run on registers, bytes through the cache: neither is a ten-thousandth of the other.
    assert 1e-4 < peaks.gmacs_per_s / peaks.gbytes_per_s < 1e4
