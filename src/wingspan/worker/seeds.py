"""A seed for each component: what numpy's ``SeedSequence(entropy, spawn_key=(number,))`` gives, also where
numpy is not installed.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Sequence

#: Of the hash that mixes entropy, and of the one that draws from the pool (M. O'Neill's seed_seq_fe, with the
#: constants of numpy's `SeedSequence`, whose values are promised not to change).
_POOL = 4
_MIX_BEGIN, _MIX_STEP = 0x43B0D7E5, 0x931E8875
_DRAW_BEGIN, _DRAW_STEP = 0x8B51F9DD, 0x58F38DED
_LEFT, _RIGHT = 0xCA01F9DD, 0x4973F715
_WORD = 0xFFFFFFFF


class _Hash(object):
    """A hash of words of 32 bits, another one for each word."""

    def __init__(self, begin: "int", step: "int") -> "None":
        self._constant, self._step = begin, step

    def of(self, word: "int") -> "int":
        word ^= self._constant
        self._constant = self._constant * self._step & _WORD
        word = word * self._constant & _WORD
        return word ^ word >> 16


def _words(number: "int") -> "List[int]":
    """A number of any size as words of 32 bits, the lowest first."""
    words = [number & _WORD]
    while number > _WORD:
        number >>= 32
        words.append(number & _WORD)
    return words


def state(entropy: "int", spawn_key: "Sequence[int]", count: "int") -> "List[int]":
    """``SeedSequence(entropy, spawn_key=spawn_key).generate_state(count)``."""
    words = _words(entropy)
    if spawn_key:
        words += [0] * (_POOL - len(words))
        for number in spawn_key:
            words += _words(number)
    mix = _Hash(_MIX_BEGIN, _MIX_STEP)
    pool = [mix.of(word) for word in (words + [0] * _POOL)[:_POOL]]

    def stir(place: "int", word: "int") -> "None":
        mixed = pool[place] * _LEFT - mix.of(word) * _RIGHT & _WORD
        pool[place] = mixed ^ mixed >> 16

    for source in range(_POOL):
        for place in range(_POOL):
            if place != source:
                stir(place, pool[source])
    for word in words[_POOL:]:
        for place in range(_POOL):
            stir(place, word)
    draw = _Hash(_DRAW_BEGIN, _DRAW_STEP)
    return [draw.of(pool[place % _POOL]) for place in range(count)]


def seed_of(entropy: "int", number: "int") -> "int":
    """The seed of component `number`: 128 bits, those of ``generate_state(4)``, the lowest first."""
    seed = 0
    for word in reversed(state(entropy, (number,), 4)):
        seed = seed << 32 | word
    return seed
