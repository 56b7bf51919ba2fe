"""What a run says in one plain sentence, and how far to trust it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from simenv.rundir import RunDir

from .discretion import without_paths
from .numbers import GAP, interval, number, p_value
from .standings import MAIN, Pair, Standings, standings

Tone = Literal["good", "amber", "red"]
LIKES = "likes per session"
DISTRUSTED = "But this is the word of users who failed the checks against real ones: do not act on it."

TRUST: dict[str, tuple[str, Tone]] = {
    "not measured": (
        "These users have not been checked against real ones, so treat the ranking as a rehearsal.",
        "amber",
    ),
    "pass": ("These users met the checks against real ones.", "good"),
    "warn": (
        "Some checks of these users against real ones went badly, so lean on the ranking with care.",
        "amber",
    ),
    "fail": ("These users do not behave like real ones. Do not act on this ranking.", "red"),
}
STAND_INS = {
    "none": "",
    "some": "Some of these users are played by a scripted stand-in, no language model. ",
    "all": "Played by a scripted stand-in, no language model. ",
}
MADE_PASS = "These users met the checks against the users of a made world; no real user stands behind its rows."
MADE = "The users and rows of this data set are made, so no check here was against real users."
STATUS: dict[str, str] = {
    "running": "This run is not complete: it is still running, or was cut off.",
    "failed": "This run failed.",
    "stopped": "This run was stopped before its end.",
}


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence that must be seen, and how loudly it speaks."""

    word: str
    text: str
    tone: Tone
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The sentence, and what stands beside it."""

    sentence: str
    leader: str | None  # only where one leads for certain
    trust: Note
    status: Note | None  # None when the run is complete


def verdict(run: RunDir, stands: Standings | None = None) -> Verdict:
    """Return what this run says, and how far to trust it."""
    stands = standings(run) if stands is None else stands
    sentence, leader = sentence_of(stands)
    believed = trust(run.manifest)
    if believed.tone == "red":
        sentence, leader = f"{sentence} {DISTRUSTED}", None
    return Verdict(sentence, leader, believed, status(run.manifest))


def trust(manifest: Mapping[str, Any]) -> Note:
    """Return the fidelity verdict; one that is absent or unknown counts as not measured."""
    fidelity = manifest.get("fidelity") or {}
    word = str(fidelity.get("verdict", "not measured"))
    word = word if word in TRUST else "not measured"
    text, tone = TRUST[word]
    dataset = manifest.get("dataset")
    if isinstance(dataset, Mapping) and dataset.get("is_synthetic"):
        text = MADE_PASS if word == "pass" else f"{text} {MADE}"
    note = str(fidelity.get("note") or "")
    text = f"{STAND_INS[scripted(manifest)]}{text}"
    return Note(f"fidelity: {word}", text, tone, without_paths(note))


def scripted(manifest: Mapping[str, Any]) -> str:
    """Return how many of a run's users a scripted stand-in played, as the run declares: none, some or all."""
    declared = manifest.get("answered_by")
    told = declared.get("scripted") if isinstance(declared, Mapping) else None
    return str(told) if told in STAND_INS else "none"


def status(manifest: Mapping[str, Any]) -> Note | None:
    """Return a loud note unless the run is complete."""
    word = str(manifest.get("status", "unknown"))
    if word == "complete":
        return None
    text = STATUS.get(word, "Whether this run came to its end is not known.")
    return Note(f"run: {word}", f"{text} The numbers below are from a part of it.", "red")


def sentence_of(stands: Standings) -> tuple[str, str | None]:
    """Return who leads, in a sentence, and the leader where one leads for certain."""
    alike = stands.best(stands.main)
    if not stands.contestants:
        return f"Only bounds were run ({names(stands.bounds)}); there is nobody to judge.", None
    if not alike:
        return f"No policy can be named: {stands.main} was not measured.", None
    first = alike[0]
    if len(stands.contestants) == 1:
        return f"{first} ran alone, with {_amount(stands, first)}; there is nobody to compare it with.", None
    if len(alike) > 1:
        return _undecided(stands, alike), None
    rival = next((policy for policy in stands.contestants if policy != first), "")
    pair = stands.pairs[stands.main, first, rival]  # whoever leads alone was compared with all others
    lead = f"{first} leads with {_amount(stands, first)}"
    return f"{lead}, {_difference(stands, pair)}; the difference holds after correction.", first


def _undecided(stands: Standings, alike: list[str]) -> str:
    first, rival = alike[:2]
    pair = stands.pairs.get((stands.main, first, rival))
    start = f"No difference could be told between {names(alike)}: {first} has {_amount(stands, first)}"
    if pair is None or pair.difference is None:
        return f"{start}; no comparison on the same users was made."
    clear = pair.low is not None and pair.low > 0
    tail = "this does not hold after correction" if clear else "this may be chance"
    return f"{start}, {_difference(stands, pair)}; {tail}."


def _amount(stands: Standings, policy: str) -> str:
    estimate = stands.estimate(policy, stands.main)
    value = number(estimate.mean, estimate.low, estimate.high)
    if stands.main == MAIN:
        return f"{value} {LIKES}"
    return f"{stands.main} of {value}{GAP}%" if stands.in_percent else f"{stands.main} of {value}"


def _difference(stands: Standings, pair: Pair) -> str:
    size = number(abs(pair.difference or 0.0), pair.low, pair.high)
    fewer = "fewer" if stands.main == MAIN else "less"
    word = fewer if (pair.difference or 0.0) < 0 else "more"
    points = "points " if stands.in_percent else ""
    spread = interval(pair.low, pair.high)
    details = [f"95{GAP}% interval {spread}"] if spread else []
    if pair.p_holm is not None:
        details.append(f"corrected {p_value(pair.p_holm, at_floor=pair.at_floor)}")
    return f"{size} {points}{word} than {pair.against}" + (f" ({', '.join(details)})" if details else "")


def names(policies: list[str]) -> str:
    """Return names as prose lists them."""
    if len(policies) < 2:
        return "".join(policies)
    return f"{', '.join(policies[:-1])} and {policies[-1]}"
