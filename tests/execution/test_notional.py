from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from signal_assets.execution.notional import divide_half_even, fee_of, notional
from signal_assets.fixed_point import SCALE

UNIT = Decimal(1).scaleb(-8)


def decimal(value: int) -> Decimal:
    return Decimal(value).scaleb(-8)


@given(st.integers(1, 10**15), st.integers(-(10**13), 10**13), st.integers(1, 10**14), st.integers(0, 10**7))
def test_notional_and_fee_are_those_of_decimal_arithmetic(price, quantity, rate, fee_rate):
    with localcontext() as context:
        context.prec = 80
        expected = (decimal(price) * decimal(quantity) * decimal(rate)).quantize(UNIT, ROUND_HALF_EVEN)
        amount = notional(price, quantity, rate)
        assert decimal(amount) == expected
        assert decimal(fee_of(amount, fee_rate)) == (expected * decimal(fee_rate)).quantize(UNIT, ROUND_CEILING)


def test_halves_go_to_the_even_neighbour_on_either_side_of_zero():
    assert [divide_half_even(n, 4) for n in (2, 6, 10, -2, -6, -10)] == [0, 2, 2, 0, -2, -2]
    # 0.00000001 x 0.5 is half a unit: to 0; three of them are one and a half: to 2.
    assert [notional(n, SCALE // 2, SCALE) for n in (1, 3)] == [0, 2]
