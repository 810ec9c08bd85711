"""The k best of a key, by a CombineFn: pairs of name and score in, an iterable of pairs out, the best first."""
from thalweg_udf import CombineFn
from thalweg_udf import Failure

from .config import positive


class TopK(CombineFn):
    """Keeps the k best."""

    def __init__(self, k=3):
        self._k = positive('k', k)

    def create_accumulator(self) -> list[tuple[str, int]]:
        return []

    def add_input(self, best, element: tuple[str, int]):
        _, score = element
        if score < 0:
            raise Failure('SCORE', f'{score} is negative')
        best.append(element)
        return self.compact(best) if len(best) > 2 * self._k else best

    def merge_accumulators(self, accumulators):
        return [element for best in accumulators for element in best]

    def compact(self, best):
        # the largest score first; of equal ones the name that is first by its bytes
        return sorted(best, key=lambda element: (-element[1], element[0].encode()))[:self._k]

    def extract_output(self, best) -> list[tuple[str, int]]:
        return self.compact(best)
