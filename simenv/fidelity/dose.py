"""Do the users notice lists made worse by a known amount?"""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

from simenv.arrays import FloatArray, IntArray
from simenv.chance import stream
from simenv.intervals import Interval, holm, means, paired

from .bench import IN_WORDS, LONG, METRICS, Bench
from .results import Figure, Result, Table, held, result, unmeasured
from .spread import mean, share, spread

DOSES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
FEW = (0.0, 0.5, 1.0)  # where every answer costs
CERTAIN = 0.01
UNKNOWN = "no policy is known to foresee these users better than chance, so no list is known to be a good one"


def dose(bench: Bench) -> Result:
    """Show lists of one policy with more and more junk: every session metric must fall, and rise nowhere."""
    if bench.base is None:
        return unmeasured("dose", UNKNOWN)
    lists = bench.lists[bench.base]
    doses = np.array(FEW if bench.is_brief else DOSES)
    many = dosed(bench, lists, doses.tolist())
    shuffled = {} if bench.is_brief else {"in reverse": _turned(bench, lists), "shuffled": _shuffled(bench, lists)}
    played = bench.play_all(many | shuffled)
    values = {name: bench.per_user(one) for name, one in played.items()}
    stack = np.stack([values[name] for name in many])  # [doses, U, metrics]
    figures = []
    for column, metric in enumerate(METRICS):
        found = _response(bench, doses, stack[:, :, column].T, IN_WORDS[metric])
        is_cut_short = metric == "N_exit" and bench.max_pages < LONG
        figures += [Figure(one.name, one.value) for one in found] if is_cut_short else found
    for name in shuffled:
        gap = paired(values[name][:, 1], values["0"][:, 1])
        figures.append(Figure(f"likes with pages {name}, less those as they were", gap))
    middle = np.nanmean(stack, axis=1).tolist()
    rows = tuple((f"{part:.0%}", *one) for part, one in zip(doses.tolist(), middle, strict=True))
    table = Table(f"Lists of {bench.base}, with junk", ("junk", *(IN_WORDS[metric] for metric in METRICS)), rows)
    return result("dose", figures, "every session metric falls with the share of junk", [table])


def dosed(bench: Bench, lists: IntArray, doses: Sequence[float]) -> dict[str, IntArray]:
    """Return lists with these shares of junk."""
    return {f"{part:g}": bench.spoilt(lists, bench.junk, part, "dose") for part in doses}


def _response(bench: Bench, doses: FloatArray, values: FloatArray, word: str) -> list[Figure]:
    """Return how far a metric [U, doses] falls by the worst list, its slope, and whether it rises anywhere."""
    first, last = values[:, 0], values[:, -1]
    drop = spread(share(first - last, np.abs(first)), len(values))
    limit = bench.limits["dose.drop"]
    word_of = limit.judge(drop)
    if not drop.low > 0 and len(values) >= 50:  # which many users would show, were it there
        word_of = "fail"
    elif not drop.low > 0:
        word_of = "warn"
    elif word_of == "warn":  # however little it falls, it falls for certain
        word_of = "pass" if drop.mean > limit.bad else "warn"
    centred = doses - doses.mean()
    slope = spread(mean(values @ centred / (centred @ centred)), len(values))
    return [
        Figure(f"{word}: fall from no junk to junk alone", drop, word_of, f"certain, and {limit.words()}"),
        Figure(f"{word}: slope by the share of junk", slope),
        held(bench.limits, "dose.rises", f"{word}: largest certain rise", _rise(values)),
    ]


def _rise(values: FloatArray) -> Interval:
    """Return the largest rise from any dose to a higher one that is certain, as a share of what there was at first."""
    count = values.shape[1]
    pairs = [(low, high) for low in range(count) for high in range(low + 1, count)]
    gaps = np.stack([values[:, high] - values[:, low] for low, high in pairs], axis=1)
    middle = gaps.mean(axis=0)
    error = gaps.std(axis=0, ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else np.full(len(pairs), np.inf)
    chances = holm(ndtr(-middle / np.maximum(error, 1e-12)).tolist())
    scale = max(abs(float(values[:, 0].mean())), 1e-9)
    certain = [place for place, chance in enumerate(chances) if chance < CERTAIN and middle[place] > 0]
    if not certain:
        return Interval(0.0, 0.0, 0.0, len(values))
    most = max(certain, key=lambda place: float(middle[place]))
    return means(gaps[:, [most]] / scale)[0]


def _turned(bench: Bench, lists: IntArray) -> IntArray:
    """Return the lists with each page turned round."""
    return lists.reshape(len(lists), -1, bench.page_size)[:, :, ::-1].reshape(len(lists), -1)


def _shuffled(bench: Bench, lists: IntArray) -> IntArray:
    rng = stream(bench.seed, "fidelity", "shuffled")
    return rng.permuted(lists.reshape(-1, bench.page_size), axis=1).reshape(lists.shape)
