"""The names a user may type. A plug-in is `package.module:Name`, or comes by an entry point."""

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from simenv.agents.mixture import Member
from simenv.errors import ScenarioError, SimenvError, failure
from simenv.options import complaint, may_be, words_of
from simenv.plugins import GROUPS, load_plugin
from simenv.policy import Sourced
from simenv.store import options_of, parameters_of, takes_any


@dataclass(frozen=True, slots=True)
class Name:
    """Where a class is, what it is, and which gifts of the runner it takes by keyword."""

    path: str
    about: str
    takes: tuple[str, ...] = ()
    takes_if_there: tuple[str, ...] = ()
    members: str = ""  # the option that lists others of its kind by name, each to be built first


POLICIES = {
    "random": Name("simenv.recommenders.random:Random", "items in an order drawn for each user"),
    "pop": Name("simenv.recommenders.pop:Pop", "the most popular items first"),
    "item-knn": Name("simenv.recommenders.item_knn:ItemKNN", "items like those of the user's history"),
    "ease": Name("simenv.recommenders.ease:Ease", "a linear item-to-item model in closed form"),
    "bpr": Name("simenv.recommenders.bpr:BPR", "matrix factorisation by pairs of items"),
    "ials": Name("simenv.recommenders.ials:IALS", "matrix factorisation by alternating least squares"),
    "lightgcn": Name("simenv.recommenders.lightgcn:LightGCN", "vectors smoothed over the graph of who met what"),
    "multvae": Name("simenv.recommenders.multvae:MultVAE", "an autoencoder of histories; wants torch"),
    "sasrec": Name("simenv.recommenders.sasrec:SASRec", "a transformer over histories in their order; wants torch"),
    "unisrec": Name("simenv.recommenders.unisrec:UniSRec", "a transformer over texts of items; wants torch"),
    "vqrec": Name("simenv.recommenders.vqrec:VQRec", "a transformer over codes of texts of items; wants torch"),
    "generative": Name(
        "simenv.recommenders.generative.policy:Generative", "a language model that writes items; wants torch"
    ),
    "bm25": Name("simenv.recommenders.content:BM25", "items whose words answer those of the user's last items"),
    "tfidf": Name("simenv.recommenders.content:TfIdf", "items that read like the user's last items"),
    "implicit": Name("simenv.recommenders.from_implicit:FromImplicit", "a model of the library implicit, by its name"),
    "lenskit": Name("simenv.recommenders.from_lenskit:FromLensKit", "a scorer of the library LensKit, by its name"),
    "rectools": Name("simenv.recommenders.from_rectools:FromRecTools", "a model of the library RecTools, by its name"),
    "saved": Name("simenv.recommenders.saved:Saved", "a policy that was fitted before, from its folder"),
    "oracle": Name("simenv.recommenders.oracle:Oracle", "upper bound, where the truth is known", ("truth",)),
    "anti-oracle": Name("simenv.recommenders.oracle:AntiOracle", "lower bound, where the truth is known", ("truth",)),
}
POPULATIONS = {
    "choice": Name("simenv.agents.choice:ChoicePopulation", "statistical users fitted to training rows"),
    "voters": Name(
        "simenv.agents.voters:VotersPopulation", "three votes: keywords, likeness, statistics", (), ("answers",)
    ),
    "mixture": Name("simenv.agents.mixture:MixturePopulation", "users of several kinds, by their shares", members="of"),
    "half": Name(
        "simenv.agents.half:HalfPopulation", "others, known by one half of the training rows alone", members="of"
    ),
    "truth": Name("simenv.agents.truth:TruthPopulation", "the made world's own users", ("truth",)),
    "llm": Name(
        "simenv.agents.llm:LLMPopulation", "language-model agents with persona, memory and reflection", (), ("answers",)
    ),
    "replay": Name("simenv.agents.replay:ReplayPopulation", "answers from held-out logged interactions", ("held_out",)),
}
LENT = ("truth", "held_out", "answers")  # what the runner gives; no scenario can
TABLES = {"policy": POLICIES, "population": POPULATIONS}


def known_names(kind: str) -> dict[str, Name]:
    """Return every policy or population that can be named, installed plug-ins included."""
    plugged = {
        point.name: Name(point.value, f"from {point.dist.name if point.dist else 'a plug-in'}")
        for point in entry_points(group=GROUPS[kind])
    }
    return plugged | TABLES[kind]


def build(kind: str, name: str, options: Mapping[str, Any], gifts: Mapping[str, object]) -> Any:
    """Return the policy or population of this name, made with these options.

    `gifts` is what the runner can lend by keyword to those that take it: the truth of a made world, and
    the held-out rows.
    """
    entry = find(kind, name)
    maker = load_plugin(entry.path, kind)
    lent = {}
    for gift in entry.takes or _wanted_gifts(kind, maker, gifts):
        if gifts.get(gift) is None:
            raise ScenarioError(f"{kind} '{name}' needs a data set whose {gift.replace('_', '-')} is known")
        lent[gift] = gifts[gift]
    lent |= {gift: gifts[gift] for gift in entry.takes_if_there if gift in gifts}
    taken = [option for option in options_of(maker) if option not in lent]
    if entry.members in options:
        options = dict(options) | {entry.members: _members(kind, name, options[entry.members], gifts)}
    parameters = parameters_of(maker)
    _check_names(f"{kind} '{name}'", maker, parameters, [*lent, *options])
    misfit = next((option for option, value in options.items() if not _fits(value, parameters.get(option))), None)
    try:
        made = maker(**lent, **options)
        if isinstance(made, Sourced):
            made.check_sources()
    except SimenvError as error:
        raise ScenarioError(f"{kind} '{name}': {error}") from error
    except Exception as error:  # a plug-in's class may fail in any way
        if misfit is None:
            said = complaint(error) if complaint(error) != str(error) else failure(error)
            raise ScenarioError(f"{kind} '{name}': {said}; it takes {', '.join(taken) or 'no options'}") from error
    if misfit is not None:
        words = words_of(parameters[misfit].annotation)
        raise ScenarioError(f"{kind} '{name}': {misfit} is {options[misfit]!r}; it must be {words}")
    return made


def _check_names(who: str, maker: Any, parameters: Mapping[str, inspect.Parameter], given: Sequence[str]) -> None:
    """Refuse an option that a class does not take, and say which it needs."""
    taken = [name for name in parameters if name not in LENT]
    strange = next((name for name in given if name not in parameters), None)
    if strange is not None and not takes_any(maker):
        near = difflib.get_close_matches(strange, taken, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ScenarioError(f"{who}: no option '{strange}'; it takes {', '.join(taken) or 'no options'}{hint}")
    needed = [
        one.name
        for one in parameters.values()
        if one.default is one.empty and one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    missing = [name for name in needed if name not in given]
    if missing:
        raise ScenarioError(f"{who}: it needs {', '.join(missing)}, such as {{name: …, {missing[0]}: …}}")


def _fits(value: object, option: inspect.Parameter | None) -> bool:
    return (
        option is None
        or (option.default is not option.empty and value is option.default)
        or may_be(value, option.annotation)
    )


def _members(kind: str, name: str, parts: Any, gifts: Mapping[str, object]) -> list[Member]:
    """Return the populations that another is made of, built by their names."""
    form = f"{kind} '{name}': `of` takes a list of names with their shares, such as [{{name: choice, share: 0.7}}]"
    if not isinstance(parts, list):
        raise ScenarioError(form)
    found = []
    for part in parts:
        told = {"name": part} if isinstance(part, str) else part
        if not isinstance(told, Mapping) or not isinstance(told.get("name"), str):
            raise ScenarioError(f"{form}; {part!r} is no such thing")
        rest = {option: value for option, value in told.items() if option not in ("name", "share", "label")}
        made = build(kind, told["name"], rest, gifts)
        share: Any = told.get("share", 1.0)
        found.append(Member(str(told.get("label", told["name"])), made, share))
    return found


def _wanted_gifts(kind: str, maker: Any, gifts: Mapping[str, object]) -> list[str]:
    """Return the gifts that a stranger's population names among its parameters; a stranger's policy gets none."""
    if kind != "population" or not callable(maker):
        return []
    try:
        return [gift for gift in gifts if gift in inspect.signature(maker).parameters]
    except (TypeError, ValueError):
        return []


def find(kind: str, name: str) -> Name:
    """Return the entry of this name, or say which there are."""
    if ":" in name:
        return Name(name, "by its path")
    known = known_names(kind)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ScenarioError(
            f"no {kind} '{name}'; there are {', '.join(sorted(known))},"
            f" or a class of your own as package.module:Name{hint}"
        )
    return known[name]
