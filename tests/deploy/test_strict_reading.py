import math
from typing import Literal

import pytest
from pydantic import Field

from deploy.errors import TargetError
from deploy.strict_reading import Strict, read_strictly
from deploy.suggestion import did_you_mean


class Engine(Strict):
    power_w: float
    fuel: Literal["diesel", "petrol"] = "diesel"


class Car(Strict):
    seats: int
    sizes: tuple[int, int] = (1, 2)
    engines: dict[str, Engine] = Field(default_factory=dict)
    spare: Engine | None = None


def read(data):
    return read_strictly(Car, data, where="car.toml", error=TargetError)


def test_reads_arrays_as_tuples_and_whole_numbers_as_real():
    car = read({"seats": 4, "sizes": [3, 4], "engines": {"front": {"power_w": 5}}})
    assert car.sizes == (3, 4)
    assert car.engines["front"].power_w == 5.0


def test_unknown_key_is_refused_with_the_one_that_was_meant():
    with pytest.raises(TargetError, match=r'^car.toml: seat: unknown key, did you mean "seats"\?') as caught:
        read({"seats": 4, "seat": 4})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "inner", [{"engines": {"front": {"power_w": 1, "fule": "diesel"}}}, {"spare": {"fule": "diesel"}}]
)
def test_suggestion_comes_from_the_table_that_the_key_is_in(inner):
    with pytest.raises(TargetError, match=r'fule: unknown key, did you mean "fuel"\?'):
        read({"seats": 4, **inner})


def test_all_problems_are_told_at_once():
    with pytest.raises(TargetError) as caught:
        read({"sizes": [1], "engines": {"front": {"power_w": "5", "fuel": "coal"}}})
    text = str(caught.value)
    assert text.startswith("car.toml: 4 problems\n")
    assert "seats: missing" in text
    assert 'engines.front.power_w: got "5", expected a valid number' in text
    assert "engines.front.fuel: got \"coal\", expected 'diesel' or 'petrol'" in text


@pytest.mark.parametrize("wrong", ["4", 4.5, True, None, math.nan])
def test_number_of_another_kind_is_refused(wrong):
    with pytest.raises(TargetError, match="seats"):
        read({"seats": wrong})


@pytest.mark.parametrize("wrong", [[], "text", None, 3])
def test_what_is_no_table_is_refused(wrong):
    with pytest.raises(TargetError, match=r"^car.toml: the whole"):
        read(wrong)


def test_nothing_near_is_not_suggested():
    assert did_you_mean("zebra", ["seats", "sizes"]) == ""


def test_a_place_that_takes_several_kinds_says_them_all_once():
    class Choice(Strict):
        keep: int | float
        blocks: Literal["auto"] | int

    with pytest.raises(TargetError) as caught:
        read_strictly(Choice, {"keep": "half", "blocks": "atuo"}, where="plan.toml", error=TargetError)
    assert str(caught.value).splitlines() == [
        "plan.toml: 2 problems",
        '  keep: got "half", expected a valid integer or a valid number',
        "  blocks: got \"atuo\", expected 'auto' or a valid integer",
    ]
