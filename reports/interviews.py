"""What users said of the whole session when they were asked after leaving, in figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import FloatArray
from simenv.intervals import means
from simenv.metrics import INTERVIEW, compare, plain

from .numbers import count, interval, number, percent, signed
from .standings import Standings, standings_of
from .svg import WIDTH, Figure, Scale, bar, drawing, inks, label, line, row_labels, text

VERDICT = "verdict"
SESSION = ["policy", "seed", "user_id"]
LOWEST, HIGHEST = 1, 10
LEAST = 10  # users with a verdict, of every policy and of every two: fewer are a handful
STAYED, UNREAD = "who stayed to the last page were not asked", "who left gave no verdict that could be read"
ROW = 54.0
TALL = 26.0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Sessions of which there is no verdict."""

    reason: str
    sessions: int
    satisfaction: float  # mean of their pages

    @property
    def words(self) -> str:
        """How many, why, and what they said of their pages meanwhile."""
        return f"{count(self.sessions)} {self.reason} (pages {number(self.satisfaction, 0.0, 1.0)})"


@dataclass(frozen=True, slots=True, eq=False)
class Interviews:
    """The verdicts of a run, and where the policies stand by them."""

    verdicts: Mapping[str, FloatArray]  # by policy, of each session whose user was asked
    sessions: Mapping[str, int]  # by policy, of all users
    stands: Standings
    others: Mapping[str, Sequence[LeftOut]]  # by policy, sessions without a verdict, by the reason

    @property
    def asked(self) -> str:
        """How many sessions of how many the verdicts are of."""
        counts = [
            f"{policy} {count(len(mine))} of {count(self.sessions[policy])}" for policy, mine in self.verdicts.items()
        ]
        return ", ".join(counts)

    @property
    def words(self) -> str:
        """The mean verdicts in a line."""
        told = []
        for policy, mine in self.verdicts.items():
            one = self.stands.estimate(policy, VERDICT)
            spread = interval(one.low, one.high)
            told.append(
                f"{policy} {number(one.mean, one.low, one.high)}"
                f" ({f'{spread}, ' if spread else ''}{count(len(mine))} of {count(self.sessions[policy])} sessions)"
            )
        doubt = f". {self.doubt}" if self.doubt else ""
        return f"asked after leaving, verdict from 1 to 10: {'; '.join(told)}. Left out: {self.left_out}{doubt}"

    @property
    def left_out(self) -> str:
        """Whom the verdicts leave out, and how those liked their pages, policy by policy."""
        told = [f"{policy} {', '.join(one.words for one in some)}" for policy, some in self.others.items() if some]
        return "; ".join(told) or "nobody"

    @property
    def doubt(self) -> str:
        """Why no policy is called best by its verdicts; '' where that can be told."""
        if len(self.stands.contestants) < 2 or self.stands.best(VERDICT):
            return ""
        return f"Which policy is best by this can't be told: it takes {LEAST} users with a verdict of every policy"


def interviews(pages: pa.Table, stands: Standings) -> Interviews | None:
    """Return the verdicts with their intervals over users and their paired differences; None where nobody gave one."""
    if VERDICT not in pages.column_names:
        return None
    pages = pages.unify_dictionaries()
    sessions = pages.group_by(SESSION).aggregate([("satisfaction", "mean"), (VERDICT, "max")])
    table = sessions.filter(pc.is_finite(pc.fill_null(sessions["verdict_max"], float("nan"))))
    policies = [policy for policy in stands.policies if policy in set(table["policy"].to_pylist())]
    if not policies:
        return None
    rows = sorted(table.to_pylist(), key=itemgetter(*SESSION))
    values = _by_user(rows, policies)
    ends = [metric.bounds for metric in INTERVIEW.values()] * len(policies)
    told = iter(means(values.reshape(len(values), -1), bounds=ends))
    estimates = {policy: {name: plain(next(told)) for name in INTERVIEW} for policy in policies}
    pairs = compare(policies, [VERDICT], values[:, :, :1])
    found = standings_of(estimates, pairs, [], main=VERDICT)
    verdicts = {
        policy: np.array([row["verdict_max"] for row in rows if row["policy"] == policy]) for policy in policies
    }
    counts = {row["values"]: row["counts"] for row in pc.value_counts(sessions["policy"]).to_pylist()}
    both = stands.contestants, stands.bounds  # a policy of which nobody gave a verdict stands there without one
    known = Standings(found.estimates, found.pairs, *both, stands.colours, VERDICT, least_users=LEAST)
    return Interviews(verdicts, counts, known, {policy: _others(pages, policy) for policy in stands.policies})


def _others(pages: pa.Table, policy: str) -> list[LeftOut]:
    """Return a policy's sessions without a verdict: of those who stayed, and of those who left and gave none."""
    mine = pages.filter(pc.equal(pages["policy"].cast(pa.string()), policy))
    told = mine.group_by(["seed", "user_id"]).aggregate([("satisfaction", "mean"), (VERDICT, "max"), ("exit", "max")])
    verdicts, left = told["verdict_max"].to_numpy().astype(float), told["exit_max"].to_numpy().astype(bool)
    pleased, silent = told["satisfaction_mean"].to_numpy().astype(float), ~np.isfinite(verdicts)
    rows = ((STAYED, silent & ~left), (UNREAD, silent & left))
    return [LeftOut(reason, int(some.sum()), float(pleased[some].mean())) for reason, some in rows if some.any()]


def interviews_plot(found: Interviews, stands: Standings) -> Figure:
    """Draw how the verdicts are spread, one histogram a policy; the mark is the mean."""
    begin, names = row_labels(list(found.verdicts))
    x = Scale(LOWEST - 0.5, HIGHEST + 0.5, begin, WIDTH - 8)
    bottom = 8 + ROW * len(found.verdicts)
    colours = inks(stands)
    parts: list[str] = []
    for row, (policy, values) in enumerate(found.verdicts.items()):
        top = 8 + ROW * row
        floor = top + TALL + 4
        marks = np.clip(np.rint(values), LOWEST, HIGHEST).astype(int)
        shares = np.bincount(marks, minlength=HIGHEST + 1)[LOWEST:] / len(marks)
        parts.append(label(x.start - 8, top + 22, policy, names[policy], "end"))
        for mark, share in enumerate(shares.tolist(), LOWEST):
            if share:
                height = max(share / float(shares.max()) * TALL, 0.8)
                note = f"{policy}, {mark}: {percent(share)} of the users asked"
                wide = x(mark + 0.5) - x(mark - 0.5) - 2
                parts.append(bar(x(mark - 0.5) + 1, floor - height, wide, height, f"full {colours[policy]}", note))
        parts.append(line(x.start, floor, x.end, floor, "grid"))
        mean, apart = (found.stands.estimate(policy, name) for name in (VERDICT, "verdict − pages"))
        if mean.mean is not None:
            parts.append(line(x(mean.mean), top, x(mean.mean), floor + 4, "median"))
        told = f"mean {number(mean.mean, mean.low, mean.high)}, from their pages {_apart(apart.mean)}"
        parts.append(text(x.start, floor + 15, told, "tick"))
    parts.append(line(x.start, bottom + 2, x.end, bottom + 2, "axis"))
    parts.extend(text(x(mark), bottom + 18, str(mark), "tick", "middle") for mark in range(LOWEST, HIGHEST + 1))
    parts.append(text(x.end, bottom + 34, "verdict after leaving, 1 to 10", "title", "end"))
    title = "What they said of it afterwards"
    caption = (
        "The mark is the mean. Only those who left were asked, so a policy that loses the unhappy alone looks worse"
        f" here than one that loses everybody. Left out: {found.left_out}."
    )
    means_told = "; ".join(
        f"{policy}: mean {number(found.stands.estimate(policy, VERDICT).mean)} over {count(len(mine))} sessions"
        for policy, mine in found.verdicts.items()
    )
    shape = drawing("interviews", title, f"Verdicts after leaving. {means_told}.", WIDTH, bottom + 42, *parts)
    return Figure(title, caption, shape)


def _apart(gap: float | None) -> str:
    return "none" if gap is None else signed(gap, 0.0, 1.0)


def _by_user(rows: list[dict[str, object]], policies: list[str]) -> FloatArray:
    """Return verdict, mean of the pages, and the one minus the other: [users, policies, 3], averaged over seeds."""
    users = {user: place for place, user in enumerate(dict.fromkeys(row["user_id"] for row in rows))}
    sums = np.zeros((len(users), len(policies), 3))
    counts = np.zeros((len(users), len(policies), 1))
    for row in rows:
        if row["policy"] in policies:
            place = users[row["user_id"]], policies.index(str(row["policy"]))
            verdict, mean = float(str(row["verdict_max"])), float(str(row["satisfaction_mean"]))
            sums[place] += verdict, mean, verdict - mean
            counts[place] += 1
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
