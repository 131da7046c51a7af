from __future__ import annotations

import pytest

from toolchain.data.snr_text import SnrChoice, range_in_words, snr_choice, snrs_in, snrs_in_words
from toolchain.errors import DatasetError


@pytest.mark.parametrize(
    ("text", "snrs"),
    [
        ("-20:18:2", tuple(range(-20, 19, 2))),
        ("0:10:5", (0, 5, 10)),
        ("0:9:5", (0, 5)),
        ("0:0.3:0.1", (0, 0.1, 0.2, 0.3)),
        ("7", (7,)),
        ("10, -2,0.5", (10, -2, 0.5)),
    ],
)
def test_lists_are_read(text, snrs):
    assert snrs_in(text) == snrs


@pytest.mark.parametrize(
    "text",
    ["", "a", "1,,2", "0:10", "0:10:0", "0:10:-1", "1:2:3:4", "0,0", "nan", "0:inf:1", "0:1e9:1"],
)  # fmt: skip
def test_other_lists_are_refused_with_an_example(text):
    with pytest.raises(DatasetError, match="expected low:high:step in dB") as caught:
        snrs_in(text)
    assert f'SNRs "{text}"' in str(caught.value)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("10:", SnrChoice(10, None, None)),
        (":-4", SnrChoice(None, -4, None)),
        ("-2:6", SnrChoice(-2, 6, None)),
        ("0:4:2", SnrChoice(None, None, (0, 2, 4))),
        ("0,18", SnrChoice(None, None, (0, 18))),
    ],
)
def test_choices_are_read(text, choice):
    assert snr_choice(text) == choice


@pytest.mark.parametrize("text", [":", "a:", "1:b", "nan:"])
def test_other_choices_are_refused(text):
    with pytest.raises(DatasetError, match="expected low:high in dB, as 10:18, 10: or :0"):
        snr_choice(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10:0", "10 is above 0; expected the lower end first, as 0:10"),
        ("6: -2:2", "6 is above -2; expected the lower end first, as -2:6:2"),
    ],
)
def test_ends_in_the_wrong_order_are_named(text, said):
    with pytest.raises(DatasetError) as caught:
        snr_choice(text)
    assert str(caught.value) == f'SNRs "{text}": {said}'


def test_snrs_are_said_in_words():
    assert range_in_words(99, None) == "from 99 dB up"
    assert range_in_words(None, -4) == "up to -4 dB"
    assert range_in_words(10, 18) == "from 10 to 18 dB"
    assert snrs_in_words([18, 18], [0, 18]) == "18 dB"
    assert snrs_in_words([6, 2, 4], [0, 2, 4, 6]) == "2 to 6 dB"
    assert snrs_in_words([0, 4, 6], [0, 2, 4, 6]) == "0, 4, 6 dB"
    assert snrs_in_words([], [0]) == "none"
