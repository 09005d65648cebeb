"""What the tests of metrics share."""


def contains(number, value):
    return number.low <= value <= number.high
