"""Pseudo-random numbers that come again when a call is retried."""
import random

_MASK = (1 << 64) - 1


class SeededRandom(random.Random):
    """Python's ``random.Random`` over the generator that all SDKs share (SplitMix64)."""

    def __init__(self, seed: int = 0):
        self._state = seed
        super().__init__(seed)

    def seed(self, a=None, version=2):
        """Starts anew."""
        self._state = int(a or 0) & _MASK
        self.gauss_next = None

    def next_u64(self) -> int:
        """64 bits."""
        self._state = self._state + 0x9E37_79B9_7F4A_7C15 & _MASK
        z = self._state
        z = (z ^ z >> 30) * 0xBF58_476D_1CE4_E5B9 & _MASK
        z = (z ^ z >> 27) * 0x94D0_49BB_1331_11EB & _MASK
        return z ^ z >> 31

    def random(self):
        """At least 0 and below 1."""
        return (self.next_u64() >> 11) / (1 << 53)

    def getrandbits(self, k):
        """As many bits."""
        value = bits = 0
        while bits < k:
            value |= self.next_u64() << bits
            bits += 64
        return value & (1 << k) - 1

    def getstate(self):
        """Where it stands."""
        return self._state

    def setstate(self, state):
        """Makes it stand there."""
        self._state = state
