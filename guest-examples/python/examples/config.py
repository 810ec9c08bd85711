"""What the examples check of their configuration."""
from thalweg_udf import Failure


def positive(name, number):
    """A whole number larger than 0."""
    if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
        raise Failure('CONFIG', f'{name} must be a whole number larger than 0')
    return number
