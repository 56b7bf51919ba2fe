"""Do the users browse as people do: look down the page, come to an end, like what is known, tire of the same?"""

import numpy as np

from simenv.arrays import BoolArray, FloatArray, IntArray
from simenv.chance import stream
from simenv.intervals import Interval, paired
from simenv.pages import EMPTY, Grade, watched

from .bench import LONG, METRICS, Bench, Played
from .results import Figure, Result, Table, held, result
from .spread import mean, share, spread

PULL = 0.1  # of fame on real users, below which there is none to speak of
ONE_KIND = 3  # pages


def behaviour(bench: Bench) -> Result:
    """Show shuffled pages, random items, one page again and again, and pages all of a kind."""
    rng = stream(bench.seed, "fidelity", "behaviour")
    lists = bench.lists[bench.base or next(iter(bench.lists))]
    shuffled = rng.permuted(lists.reshape(-1, bench.page_size), axis=1).reshape(lists.shape)
    played = bench.play_all({"shuffled": shuffled, "random": bench.random_lists("behaviour")})
    figures = [*_places(bench, played["shuffled"]), *_lengths(bench, played["shuffled"])]
    figures += _fame(bench, played["random"])
    figures += _repeats(bench, lists) if lists.shape[1] >= 3 * bench.page_size else []
    figures += [] if bench.is_brief else _boredom(bench, lists)
    table = _table(bench, played["shuffled"])
    return result("behaviour", figures, "looks down the page, leaves in good time, and tires of the same", [table])


def _places(bench: Bench, played: Played) -> list[Figure]:
    """Return on how many of a page's places the views fall: 0 where on one alone, 1 where on all alike."""
    if bench.page_size < 2:
        return []
    views, shown = _by_place(bench, played)

    def places(weights: FloatArray) -> FloatArray:
        part = weights @ views
        part = part / np.maximum(part.sum(axis=1, keepdims=True), 1e-12)
        bits = -(part * np.log(np.maximum(part, 1e-12))).sum(axis=1)
        return (np.exp(bits) - 1) / (bench.page_size - 1)

    first, final = (share(views[:, place], shown[:, place]) for place in (0, -1))
    last = spread(lambda weights: final(weights) / np.maximum(first(weights), 1e-9), len(views))
    even = spread(places, len(views))
    return [
        held(bench.limits, "behaviour.places", "how evenly views fall on a shuffled page's places", even),
        Figure("views of the last place, over those of the first", last),
    ]


def _by_place(bench: Bench, played: Played) -> tuple[FloatArray, FloatArray]:
    """Return how often each user viewed, and was shown, an item at each place: [U, K]."""
    views, shown = (np.zeros((len(bench.users), bench.page_size)) for _ in range(2))
    for turn in played.turns:
        rows = turn.page.seats % len(bench.users)
        np.add.at(views, rows, watched(turn.reaction.grades, turn.reaction.ratings))
        np.add.at(shown, rows, turn.page.items != EMPTY)
    return views, shown


def _lengths(bench: Bench, played: Played) -> list[Figure]:
    """Return how long sessions are, and how many end on the first page or not at all."""
    pages = played.metrics[:, METRICS.index("N_exit")]
    left = np.zeros(played.count, dtype=bool)
    for turn in played.turns:
        left[turn.page.seats] = turn.reaction.exits

    def by_user(values: FloatArray | BoolArray) -> Interval:
        return spread(mean(values.reshape(-1, len(bench.users)).mean(axis=0)), len(bench.users))

    apart = by_user(np.abs(pages - pages.mean()))
    length = [Figure("pages of a session", by_user(pages)), Figure("how far they lie from the mean", apart)]
    first, last = by_user((pages == 1) & left), by_user(~left)
    if bench.max_pages < LONG:
        return [*length, Figure("leave on the first page", first), Figure("stay to the page limit", last)]
    return [
        *length,
        held(bench.limits, "behaviour.first_page", "leave on the first page", first),
        held(bench.limits, "behaviour.last_page", "stay to the page limit", last),
    ]


def _fame(bench: Bench, played: Played) -> list[Figure]:
    """Return how far fame draws these users, over how far it draws the real ones."""
    fame = np.log2(1.0 + bench.train.popularity)
    count = len(bench.users)
    taken, taken_number, seen, seen_number = np.zeros((4, count))
    for turn in played.turns:
        rows, items, grades = turn.page.seats % count, turn.page.items, turn.reaction.grades
        looked = (items != EMPTY) & (grades != Grade.UNSEEN)
        chosen = looked & watched(grades, turn.reaction.ratings)
        worth = fame[np.maximum(items, 0)]
        for total, number, which in ((taken, taken_number, chosen), (seen, seen_number, looked)):
            np.add.at(total, rows, (worth * which).sum(axis=1))
            np.add.at(number, rows, which.sum(axis=1))
    log = bench.held_out
    own: FloatArray = np.bincount(bench.places[log.users], fame[log.items], count).astype(float)
    own_number: FloatArray = np.bincount(bench.places[log.users], minlength=count).astype(float)
    everywhere = float(fame.mean())

    def theirs(weights: FloatArray) -> FloatArray:
        return share(taken, taken_number)(weights) - share(seen, seen_number)(weights)

    def real(weights: FloatArray) -> FloatArray:
        return share(own, own_number)(weights) - everywhere

    pulls = [
        Figure("fame taken less fame seen, bits", spread(theirs, count)),
        Figure("the same of real users' own items", spread(real, count)),
    ]
    if not pulls[1].value.mean > PULL:
        return pulls
    over = spread(lambda weights: theirs(weights) / np.maximum(real(weights), PULL), count)
    return [held(bench.limits, "behaviour.fame", "pull of fame, over that on real users", over), *pulls]


def _repeats(bench: Bench, lists: IntArray) -> list[Figure]:
    """Return how much less the third showing of a page pleases than its first, both on a session's third page."""
    size = bench.page_size
    first, second, third = (lists[:, place * size : (place + 1) * size] for place in range(3))
    again, fresh = np.hstack([first, first, first]), np.hstack([third, second, first])
    users = np.tile(bench.users, bench.repeats)
    seeds = np.repeat(bench.seed + np.arange(bench.repeats), len(bench.users))
    pleased = [_last(bench.play(np.tile(one, (bench.repeats, 1)), users, seeds, again=True)) for one in (again, fresh)]
    gap = (pleased[0] - pleased[1]).reshape(bench.repeats, -1)
    known = np.isfinite(gap)
    per_user = np.divide(
        np.where(known, gap, 0).sum(axis=0),
        known.sum(axis=0),
        out=np.full(gap.shape[1], np.nan),
        where=known.any(axis=0),
    )
    name = "satisfaction with a page shown for the third time, less that with it shown once"
    return [held(bench.limits, "behaviour.repeats", name, spread(mean(per_user), len(per_user)))]


def _last(played: Played) -> FloatArray:
    """Return each session's satisfaction with its third page; NaN for who left before."""
    found = np.full(played.count, np.nan)
    for turn in played.turns:
        third = turn.page.number == 2
        found[turn.page.seats[third]] = turn.reaction.satisfaction[third]
    return found


def _boredom(bench: Bench, lists: IntArray) -> list[Figure]:
    """Return what it does to a session that its pages are each of one kind; the items are the same."""
    matrix = bench.train.catalog.category_matrix
    if not matrix.shape[1]:
        return []
    some = lists[:, : ONE_KIND * bench.page_size]
    kind = np.where(some == EMPTY, matrix.shape[1], matrix[np.maximum(some, 0)].argmax(axis=2))
    order = np.argsort(kind, axis=1, kind="stable")
    alike = np.take_along_axis(some, order, axis=1)
    dealt = alike.reshape(len(some), ONE_KIND, -1).transpose(0, 2, 1).reshape(some.shape)
    played = bench.play_all({"alike": alike, "mixed": dealt})
    gaps = [bench.per_user(played[name])[:, METRICS.index("S_sat")] for name in ("alike", "mixed")]
    return [Figure("satisfaction with pages of one kind, less that with the same items dealt out", paired(*gaps))]


def _table(bench: Bench, played: Played) -> Table:
    views, shown = (one.sum(axis=0) for one in _by_place(bench, played))
    rates = views / np.maximum(shown, 1)
    rows = tuple((place + 1, rate) for place, rate in enumerate(rates.tolist()))
    return Table("Share viewed by place, pages shuffled", ("place", "viewed"), rows)
