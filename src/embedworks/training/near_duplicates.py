"""Exact search for near duplicates: all pairs of texts whose sets of character 4-grams are alike enough.

Likeness is the Jaccard index: shingles in both by shingles in either. No pair is missed and none is guessed: only texts
that share one of their rarest shingles are compared (the prefix filter), and of those only pairs that can still reach
the threshold (the positional filter); Xiao et al. 2008, "Efficient similarity joins for near duplicate detection"
(https://doi.org/10.1145/1367497.1367516).

MinHash would estimate the same index. It pays for long documents; texts of a sentence have some forty shingles, fewer
than a signature that tells 0.8 from 0.7, and a search without misses needs no explanation in a report.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]

SHINGLE = 4
"""Characters a shingle."""

_PAIRS_AT_A_TIME = 4_000_000
_ROUNDING = 1e-9  # 0.8 * 5 is a little more than 4 in floating point


def normalised(text: str) -> str:
    r"""Return a text without case, punctuation, and differences of spacing and encoding.

    Punctuation that names things (``C#``, ``R&D``) stays. A text of nothing but punctuation stays as it is.

    Example:
        >>> normalised("  What’s the\tRATE – today?")
        'whats the rate today'
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.translate(_PUNCTUATION).split()) or " ".join(folded.split())


_MARKS = '.,;:!?\u2026\u00a1\u00bf\u3001\u3002"'


class _Punctuation(dict[int, str]):
    """What each character becomes; filled in as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kept = character
        if character in "'\u2019\u2018`":
            kept = ""
        elif character in _MARKS or unicodedata.category(character) in ("Pd", "Ps", "Pe", "Pi", "Pf"):
            kept = " "
        self[code] = kept
        return kept


_PUNCTUATION = _Punctuation()


def near_pairs(
    first: Sequence[str], second: Sequence[str], *, threshold: float
) -> tuple[Whole, Whole, NDArray[np.float64]]:
    """Find all pairs, one text of either side, whose Jaccard index reaches the threshold.

    Args:
        first: Texts, normalised or not.
        second: Texts.
        threshold: Smallest index, above 0 to 1.

    Returns:
        Places in ``first``, places in ``second``, both int64, and the index, float64, all of shape (pairs,), in order
        of the second and then the first place.

    Example:
        >>> texts = ["a card", "where is my card now"]
        >>> first, second, likeness = near_pairs(["where is my card"], texts, threshold=0.7)
        >>> first.tolist(), second.tolist(), likeness.round(2).tolist()
        ([0], [1], [0.79])
    """
    import scipy.sparse

    none = np.zeros(0, dtype=np.int64)
    if not len(first) or not len(second):
        return none, none, np.zeros(0)
    sets = _shingle_sets([*first, *second])
    boundary = len(first)
    matrix = scipy.sparse.csr_array(
        (np.ones(len(sets.shingles), dtype=np.int32), sets.shingles, sets.starts),
        shape=(len(sets.starts) - 1, sets.distinct),
    )
    found: list[tuple[Whole, Whole, NDArray[np.float64]]] = []
    for one, other in _candidates(sets, boundary, threshold):
        common = np.asarray(matrix[one].multiply(matrix[other]).sum(axis=1)).reshape(-1).astype(np.int64)
        either = sets.sizes[one] + sets.sizes[other] - common
        near = common >= threshold * either - _ROUNDING
        found.append((one[near], other[near] - boundary, common[near] / either[near]))
    if not found:
        return none, none, np.zeros(0)
    ones, others, likeness = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((ones, others))
    return ones[order], others[order], likeness[order]


@dataclass(frozen=True)
class _ShingleSets:
    """The distinct shingles of each text, the rarest first."""

    shingles: Whole
    """Numbers in ascending order of frequency, text by text, shape (total,)."""
    texts: Whole
    """The text of each, shape (total,)."""
    starts: Whole
    """Where each text's shingles begin, and the end, shape (texts + 1,)."""
    distinct: int
    """Number of different shingles."""

    @property
    def sizes(self) -> Whole:
        """Number of shingles of each text."""
        return np.diff(self.starts)


def _shingle_sets(texts: Sequence[str]) -> _ShingleSets:
    padded = [f" {text} ".ljust(SHINGLE) for text in texts]  # words at the ends count as words within
    characters = np.frombuffer("".join(padded).encode("utf-32-le", errors="surrogatepass"), dtype="<u4")
    lengths = np.array([len(text) for text in padded], dtype=np.int64)
    owners = np.repeat(np.arange(len(padded)), lengths)
    inside = owners[: -SHINGLE + 1] == owners[SHINGLE - 1 :]
    _, numbers, counts = np.unique(_windows(characters)[inside], return_inverse=True, return_counts=True)
    distinct = len(counts)
    rank = np.empty(distinct, dtype=np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(distinct)
    keys = np.unique(owners[: -SHINGLE + 1][inside] * distinct + rank[numbers])
    owner = keys // distinct
    starts = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(padded)))]).astype(np.int64)
    return _ShingleSets(shingles=keys % distinct, texts=owner, starts=starts, distinct=distinct)


def _windows(characters: NDArray[np.uint32]) -> Whole:
    """Return a number for each run of four characters, equal for equal runs and for no others."""
    present = np.zeros(0x110000, dtype=bool)
    present[characters] = True
    letters = (np.cumsum(present) - 1)[characters].astype(np.int64)
    pairs = letters[:-1] * present.sum() + letters[1:]
    # Two pairs side by side fit 63 bits only if pairs are numbered without gaps.
    _, pairs = np.unique(pairs, return_inverse=True)
    return np.asarray(pairs[:-2].astype(np.int64) * (len(characters) + 1) + pairs[2:], dtype=np.int64)


def _candidates(sets: _ShingleSets, boundary: int, threshold: float) -> Iterator[tuple[Whole, Whole]]:
    """Yield pairs, as text numbers, that can reach the threshold; each pair once."""
    sizes = sets.sizes
    prefixes = sizes - np.ceil(threshold * sizes - _ROUNDING).astype(np.int64) + 1
    places = np.arange(len(sets.shingles)) - sets.starts[sets.texts]
    in_prefix = places < prefixes[sets.texts]
    shingles, texts, places = sets.shingles[in_prefix], sets.texts[in_prefix], places[in_prefix]
    end = int(np.searchsorted(texts, boundary))
    order = np.argsort(shingles[:end], kind="stable")
    sorted_shingles = shingles[:end][order]
    begin = np.searchsorted(sorted_shingles, shingles[end:], side="left")
    counts = np.searchsorted(sorted_shingles, shingles[end:], side="right") - begin
    for piece in _pieces(texts[end:], counts):
        repeats = counts[piece]
        entries = np.repeat(np.arange(piece.start, piece.stop), repeats)  # entry of the second side of each match
        within = np.arange(len(entries)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        partners = order[begin[entries] + within]  # entry of the first side
        one, other = texts[partners], texts[end + entries]
        alike = np.minimum(sizes[one], sizes[other]) >= threshold * np.maximum(sizes[one], sizes[other]) - _ROUNDING
        one, other = one[alike], other[alike]
        if not len(one):
            continue
        keys = other * boundary + one
        by_pair = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.concatenate([[True], np.diff(keys[by_pair]) > 0]))
        shared = np.diff(np.concatenate([starts, [len(keys)]]))
        last_of_one = np.maximum.reduceat(places[partners[alike]][by_pair], starts)
        last_of_other = np.maximum.reduceat(places[end + entries[alike]][by_pair], starts)
        one, other = one[by_pair][starts], other[by_pair][starts]
        # What two texts share beyond the last shingle they share in their prefixes lies behind it in both.
        rest = np.minimum(sizes[one] - 1 - last_of_one, sizes[other] - 1 - last_of_other)
        needed = threshold / (1 + threshold) * (sizes[one] + sizes[other])
        possible = shared + rest >= needed - _ROUNDING
        if possible.any():
            yield one[possible], other[possible]


def _pieces(texts: Whole, counts: Whole) -> Iterator[slice]:
    """Cut the entries of the second side into pieces of bounded work that hold all entries of each of their texts."""
    ends = np.concatenate([np.flatnonzero(np.diff(texts)) + 1, [len(texts)]])
    work = np.concatenate([[0], np.cumsum(counts)])
    start = 0
    while start < len(texts):
        reach = int(np.searchsorted(work[ends], work[start] + _PAIRS_AT_A_TIME, side="right"))
        first_after = int(np.searchsorted(ends, start, side="right"))
        stop = int(ends[max(reach - 1, first_after)])
        yield slice(start, stop)
        start = stop
