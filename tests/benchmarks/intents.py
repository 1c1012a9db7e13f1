"""Measures what is understood without the model: right, left to the model, wrong.

    python -m tests.benchmarks.intents ../shared/data/intents
    python -m tests.benchmarks.intents ../shared/data/intents --language pl --show left

Each sentence of Home Assistant's own tests is said in the house of `_fixtures.yaml`, stated as Home Assistant's prompt
states it: names, domain, areas; no states, no floors but the speaker's, no device classes. The tools are those of the
recorded requests (beside the data, or `--requests`). The second table says the same sentences as people do: politely,
with fillers, with a letter misheard in a name, with a learned alias, with a name inflected. Every sentence counts for
`wrong`; for `right` those whose intent is offered as a tool, is not left to the model on purpose, and can be told from
the prompt: the rest is counted by reason.
"""

from __future__ import annotations

import argparse
import gc
import random
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import orjson
import yaml
from hassil.parse_expression import parse_sentence
from hassil.sample import sample_sentence

from gateway.home.speech.inflection import forms
from gateway.home.speech.intents import CLOCK, DOMAINS, GATED, QUESTIONS, SEARCHES, Commands, Left, Understood
from gateway.shapes import Entity, Scope, Turn

VERSIONS = ("2026.2.3", "2026.11.0")
LANGUAGES = ("en", "fr", "pl")
# The Polish fixtures write a name with the endings it takes in sentences. A prompt states names as people gave them:
# the dictionary form, and what else the fixture calls the thing as its aliases.
POLISH = {
    "Kuchni[a]": "Kuchnia",
    "Salon[ie|u]": "Salon",
    "Sypialni[a]": "Sypialnia",
    "Garaż[u]": "Garaż",
    "Łazien(ka|ce)": "Łazienka",
    "Balkon[ie|u]": "Balkon",
    "Biur(o|ze)": "Biuro",
    "Pracowni[a]": "Pracownia",
    "Gabine(t|cie)": "Gabinet",
    "Warszta(t|cie)": "Warsztat",
    "Wejści(e|u)": "Wejście",
    "Korytarz[u|a]|Hol[u]": "Korytarz, Hol",
    "Wiatrołap[ie]|Przedsion(ek|ku)": "Wiatrołap, Przedsionek",
    "Spiżarni[a]": "Spiżarnia",
    "Pok(ój|oju)": "Pokój",
    "Garderob(a|ie)": "Garderoba",
    "Ubikacj(a|i)": "Ubikacja",
    "Klat(ka|ce) schodow(a|ej)|Schod(y|ach)": "Klatka schodowa, Schody",
    "Jadalni[a]": "Jadalnia",
    "Ogr(ód|odzie)": "Ogród",
    "Podj(azd|eździe)": "Podjazd",
    "Lamp(ę nocną|ka nocna|kę nocną|ki nocnej|y nocnej)": "Lampka nocna, Lampa nocna",
    "(Wentylator|Wiatrak) sufitowy": "Wentylator sufitowy, Wiatrak sufitowy",
    "Wentylator stołow|Wentylatora stołowego": "Wentylator stołowy",
    "Wentylacj(a|ę)": "Wentylacja",
    "Rolet(a|ę) salonu": "Roleta salonu",
    "Rolet(a|ę) drzwi": "Roleta drzwi",
    "Żaluzj(a|ę)": "Żaluzja",
    "Osłon(a|ę)": "Osłona",
    "(Lewa zasłona|Lewą zasłonę|Lewej zasłony)": "Lewa zasłona",
    "(Prawa zasłona|Prawą zasłonę)": "Prawa zasłona",
    "Zasłon(a|ę)": "Zasłona",
    "(Brama wjazdowa|Bramę wjazdową)": "Brama wjazdowa",
    "(Klapa|Klapę) bagażnika": "Klapa bagażnika",
    "(Markiza balkonowa|Markizę balkonową)": "Markiza balkonowa",
    "Ekspres[u] [do kawy]": "Ekspres do kawy, Ekspres",
    "Lamp(a główna|ę główną)": "Lampa główna",
    "Termostat[u]": "Termostat",
    "Termostat[u] biurow(y|ego)": "Termostat biurowy",
    "Wrocław[iu]": "Wrocław",
    "Pozna(ń|nia|niu)": "Poznań",
    "Warszaw(a|ie|y)": "Warszawa",
    "Żyw(iec|cu)": "Żywiec",
    "Telewizor[a|ze]": "Telewizor",
}
REASONS = ("intent not offered as a tool", "left to the model on purpose", "not in the prompt", "no parameter for it")


@dataclass(frozen=True)
class Home:
    """A fixture's house: its entities as the prompt states them, and by what names each thing and room is known."""

    entities: tuple[Entity, ...]
    things: Mapping[str, frozenset[str]]  # a name, in small letters: the ids of what is called so
    rooms: Mapping[str, frozenset[str]]
    domains: Mapping[str, frozenset[str]]  # a name, in small letters: the domains of what is called so


@dataclass(frozen=True)
class Case:
    language: str
    text: str
    intent: str
    slots: Mapping[str, Any]
    home: Home
    area: str | None
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Tally:
    right: int = 0
    left: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    excluded: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    questions: int = 0

    @property
    def counted(self) -> int:
        return self.right + self.left.total()


def samples(template: str) -> list[str]:
    """Every way to say a fixture's name."""
    return list(dict.fromkeys(" ".join(text.split()) for text in sample_sentence(parse_sentence(f"({template})"))))


def home_of(fixture: Mapping[str, Any]) -> Home:
    areas = {area.get("id", area["name"]): area["name"] for area in fixture.get("areas", ())}
    things, rooms, domains = defaultdict(set), defaultdict(set), defaultdict(set)
    entities = []
    for ident, template in areas.items():
        for name in (*samples(template), *stated(template)):
            rooms[name.casefold()].add(ident)
    for number, entity in enumerate(fixture.get("entities", ())):
        domain = entity.get("domain") or entity["id"].split(".")[0]
        ident = f"{number} {domain}"  # two things of the French house have one id
        named = stated(entity["name"])
        area = entity.get("area")
        entities.append(Entity(named, domain, stated(areas[area]) if area in areas else ()))
        for name in (*samples(entity["name"]), *named):
            things[name.casefold()].add(ident)
            domains[name.casefold()].add(domain)
    return Home(
        tuple(entities),
        {name: frozenset(ids) for name, ids in things.items()},
        {name: frozenset(ids) for name, ids in rooms.items()},
        {name: frozenset(found) for name, found in domains.items()},
    )


def stated(template: str) -> tuple[str, ...]:
    """The names the prompt gives for a fixture's template."""
    return tuple(POLISH[template].split(", ")) if template in POLISH else (samples(template)[0],)


def cases(folder: Path, language: str) -> Iterator[Case]:
    common = yaml.safe_load((folder / language / "_fixtures.yaml").read_text(encoding="utf-8"))
    whole = home_of(common)
    for path in sorted((folder / language).rglob("*.yaml")):
        if path.name.startswith("_"):
            continue
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        # The newer kind of test is one folder an intent and brings its own house.
        own = "entities" in content or "areas" in content or path.parent.name.startswith("Hass")
        home = home_of(with_areas(content)) if own else whole
        here = "Kitchen" if "context_area: true" in text else None
        for test in content["tests"]:
            intent = test.get("intent") or {}
            slots = dict(intent.get("slots") or test.get("slots") or {})
            if slots.get("name") == "all":  # Home Assistant takes that for no name at all
                del slots["name"]
            context = (intent.get("context") or {}).get("area") or here
            area = next(iter(context)) if isinstance(context, list) else context
            if area is not None:
                area = next((stated(a["name"])[0] for a in common["areas"] if area in samples(a["name"])), area)
                if here is not None:
                    slots.setdefault("area", area)
            for sentence in test["sentences"]:
                yield Case(language, sentence, intent.get("name") or path.parent.name, slots, home, area)


def with_areas(content: Mapping[str, Any]) -> dict[str, Any]:
    """Those tests name rooms but put nothing into them; a room is only in a prompt as the place of something."""
    areas = content.get("areas", [])
    entities = [dict(entity) for entity in content.get("entities", ())]
    for entity in entities:
        if areas:
            entity.setdefault("area", areas[0].get("id", areas[0]["name"]))
    if areas and not entities:
        entities = [{"name": "Something", "domain": "sensor", "area": areas[0].get("id", areas[0]["name"])}]
    return {"areas": areas, "entities": entities or [{"name": "Something", "domain": "sensor"}]}


def tools_of(requests: Path, version: str) -> tuple[dict[str, Any], ...]:
    """What Home Assistant offered when it was recorded."""
    for line in (requests / f"{version}.jsonl").read_bytes().splitlines():
        body = orjson.loads(line).get("body")
        if isinstance(body, dict) and body.get("tools"):
            return tuple(body["tools"])
    raise SystemExit(f"no tools in {requests / version}.jsonl")


def listed(value: Any) -> list[str]:
    return [str(one).casefold() for one in (value if isinstance(value, list) else [value])]


def excluded(case: Case, tool: Mapping[str, Any] | None) -> str | None:
    """Why the sentence does not count for `right`, or None."""
    slots, home = case.slots, case.home
    if case.intent in CLOCK:
        return None
    if tool is None:
        return REASONS[0]
    domains = set(listed(slots["domain"])) if "domain" in slots else set(DOMAINS.get(case.intent, ()))
    if "name" in slots and case.intent in {"HassTurnOn", "HassTurnOff"}:
        domains |= {domain for name in listed(slots["name"]) for domain in home.domains.get(name, ())}
    if domains & GATED:
        return REASONS[1]
    if case.intent in SEARCHES:
        return REASONS[1]
    stated_areas = {area.casefold() for entity in home.entities for area in entity.areas}
    if case.area:
        stated_areas.add(case.area.casefold())
    known = {ident for name in stated_areas for ident in home.rooms.get(name, frozenset({name}))}
    if "floor" in slots:
        return REASONS[2]
    if "name" in slots and not any(name in home.things for name in listed(slots["name"])):
        return REASONS[2]
    if "area" in slots and not any(home.rooms.get(name, frozenset({name})) & known for name in listed(slots["area"])):
        return REASONS[2]
    parameters = tool["function"]["parameters"]["properties"]
    return REASONS[3] if any(slot not in parameters for slot in slots) else None


def matches(understood: Understood, case: Case) -> bool:
    """Whether the call does what the test says, no more and no less."""
    if understood.intent != case.intent:
        return False
    given, home = dict(understood.arguments), case.home
    for slot, value in case.slots.items():
        if slot == "domain" and slot not in given and set(listed(value)) <= DOMAINS.get(case.intent, frozenset()):
            continue
        if slot == "domain" and slot not in given and "name" in given:
            if set(listed(value)) & home.domains.get(str(given["name"]).casefold(), frozenset()):
                continue
            return False
        if slot not in given:
            return False
        got = listed(given.pop(slot))
        if slot in {"name", "area"}:
            known = home.things if slot == "name" else home.rooms
            wanted = {ident for one in listed(value) for ident in known.get(one, frozenset({one}))}
            if not wanted & known.get(got[0], frozenset({got[0]})):
                return False
        elif not any(one in listed(value) or _number(one) in map(_number, listed(value)) for one in got):
            return False
    # A domain or a room that only tells the named thing from its namesakes is no other command.
    if "name" in understood.arguments:
        given.pop("domain", None)
        given.pop("area", None)
    return not given


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def turn_of(case: Case, tools: tuple[dict[str, Any], ...]) -> Turn:
    return Turn(Scope(1), case.text, "ollama", entities=case.home.entities, area=case.area, tools=tools, voice=True)


def judge(commands: Commands, case: Case, tools: tuple[dict[str, Any], ...], tally: Tally, times: list[float]) -> str:
    offered = {tool["function"]["name"].rsplit("__", 1)[-1]: tool for tool in tools}
    start = time.perf_counter()
    found = commands.understand(turn_of(case, tools), case.language, case.aliases)
    times.append(time.perf_counter() - start)
    question = case.intent in QUESTIONS
    why = None if question else excluded(case, offered.get(case.intent))
    if question:
        tally.questions += 1
        if isinstance(found, Understood) and found.ask_model_after:
            tally.asked += 1
            return "asked"
    if isinstance(found, Left):
        if question:
            return "question left"
        if why is not None:
            tally.excluded[why] += 1
            return "excluded"
        tally.left[found.reason] += 1
        return "left"
    if case.intent in CLOCK and found.intent == case.intent:
        tally.right += 1
        return "right"
    if why in REASONS[2:] and matches(found, case):
        tally.excluded[why] += 1
        return "excluded"
    if not question and why is None and matches(found, case):
        tally.right += 1
        return "right"
    if found.ask_model_after:  # only a look at the states: the model still answers
        tally.left["asked the states instead"] += 1
        return "left"
    tally.wrong += 1
    return "wrong"


WRAPPERS = {
    "en": (
        "could you please {} for me, thanks",
        "can you {}",
        "please {}",
        "{} please",
        "would you {} please",
        "hey, could you {} for me",
        "I'd like you to {}",
        "could you maybe {} if you don't mind",
        "{}, thank you very much",
        "okay now {} would you",
        "do me a favor and {}",
        "go ahead and {}",
        "be a dear and {}",
        "I want you to {} right now",
        "alright, {} thanks",
    ),
    "fr": (
        "s'il te plaît {}",
        "{} s'il te plaît",
        "{} merci",
        "hé, {} s'il vous plaît",
        "est-ce que tu pourrais {}",
        "peux-tu {} s'il te plaît",
        "alors {} maintenant",
        "dis, {} pour moi, merci beaucoup",
    ),
    "pl": (
        "proszę {}",
        "{} proszę",
        "hej, {} dziękuję",
        "czy możesz {}",
        "słuchaj, {} teraz",
        "{}, dzięki",
        "no dobra, {}",
        "bardzo proszę {} dla mnie",
    ),
}
FILLERS = {
    "en": ("um {}", "uh, {}", "{} uh", "hmm {}", "so um {}", "er, {} you know"),
    "fr": ("euh {}", "ben {}", "{} euh", "bon euh {}", "hum, {}"),
    "pl": ("yyy {}", "eee, {}", "{} yyy", "no {}", "hmm {}"),
}
ALIASES = {
    "en": ("the purple dragon", "sunny", "grandpa's treasure"),
    "fr": ("le dragon violet", "soleil", "le trésor de papi"),
    "pl": ("fioletowy smok", "słoneczko", "skarb dziadka"),
}
LETTERS = "abcdefghijklmnoprstuwyz"


def spoken_ways(case: Case, chance: random.Random) -> Iterator[tuple[str, Case]]:
    """The sentence as people say it, one of each kind that applies."""
    language, text = case.language, case.text.rstrip(".?! ")
    text = text[0].lower() + text[1:]
    yield "polite", replace(case, text=chance.choice(WRAPPERS[language]).format(text))
    yield "filler", replace(case, text=chance.choice(FILLERS[language]).format(text))
    words = text.split()
    if len(words) > 2 and language == "en":
        place = chance.randrange(1, len(words))
        yield "filler inside", replace(case, text=" ".join((*words[:place], "um", *words[place:])))
    name = next(
        (one for one in listed(case.slots.get("name", [])) if one in case.home.things and _span(one, text)), None
    )
    span = _span(name, text) if name else None
    room = next((one for one in listed(case.slots.get("area", [])) if _span(one, text)), None)
    where = span or (_span(room, text) if room else None)
    if where is not None:
        for _ in range(2):
            yield "misheard", replace(case, text=_misheard(text, where, chance))
    if span is None or name is None:
        return
    entity = next(
        e for e in case.home.entities for n in e.names if case.home.things[name] & case.home.things[n.casefold()]
    )
    if len(case.home.things[name]) == 1:
        alias = chance.choice(ALIASES[language])
        said = alias if language == "pl" else re.sub(r"^(?:the|le) ", "", alias)
        before = re.sub(
            r"(?:l'|la |le |les )$", lambda m: m[0] if alias.startswith("soleil") else "le ", text[: span[0]]
        )
        yield "alias", replace(case, text=before + said + text[span[1] :], aliases={alias: entity.names[0]})
    others = [
        form
        for form in forms(entity.names[0], language)[1:]
        if not form.startswith(("l'", "d'", "de ", "le ", "la ", "les ", "du ", "des "))
    ]
    if others:
        yield "inflected", replace(case, text=text[: span[0]] + chance.choice(others) + text[span[1] :])


def _span(name: str, text: str) -> tuple[int, int] | None:
    found = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE)
    return found.span() if found else None


def _misheard(text: str, span: tuple[int, int], chance: random.Random) -> str:
    """One letter of the name changed, left out or put in; any but those of words under four letters."""
    places = [
        place
        for word in re.finditer(r"[^\W\d]{4,}", text[span[0] : span[1]])
        for place in range(span[0] + word.start(), span[0] + word.end())
    ]
    if not places:
        places = list(range(*span))
    place = chance.choice(places)
    letter = chance.choice([one for one in LETTERS if one != text[place].casefold()])
    return text[:place] + chance.choice((letter, letter, "", text[place] + letter)) + text[place + 1 :]


def show(title: str, rows: Mapping[str, Tally], details: bool) -> bool:
    print(f"\n{title}")
    print(f"{'':32}{'counted':>9}{'right':>8}{'%':>7}{'left':>7}{'wrong':>7}")
    for name, tally in rows.items():
        share = 100 * tally.right / tally.counted if tally.counted else 100.0
        print(f"{name:32}{tally.counted:9}{tally.right:8}{share:7.1f}{tally.left.total():7}{tally.wrong:7}")
        if details:
            if tally.left:
                print("      left: " + ", ".join(f"{reason} {count}" for reason, count in tally.left.most_common()))
            if tally.excluded:
                print("      not counted: " + ", ".join(f"{why} {n}" for why, n in tally.excluded.most_common()))
            if tally.questions:
                print(f"      questions about states: {tally.questions}, live context asked for {tally.asked}")
    wrong = sum(tally.wrong for tally in rows.values())
    print(f"Wrong: {wrong or 'none'}")
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--requests", type=Path, help="the recorded requests (default: beside the data)")
    parser.add_argument("--show", action="append", default=["wrong"], help="print the sentences that came out so")
    parser.add_argument("--language", choices=LANGUAGES, action="append")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    requests = options.requests or options.data.parent / "home-assistant-requests"
    commands = Commands(memory=1)
    spoken = options.language or LANGUAGES
    commands.warm(spoken)
    gc.collect()
    gc.freeze()  # as the gateway does once it is warm: what is loaded stays, and need not be looked through again
    first, second, times = {}, {}, defaultdict(list)
    for language in spoken:
        for version in VERSIONS:
            tools = tools_of(requests, version)
            tally = first[f"{language}  {version}"] = Tally()
            chance = random.Random(options.seed)
            for case in cases(options.data, language):
                verdict = judge(commands, case, tools, tally, times[language])
                report(options.show, verdict, case, commands, tools)
                if version != VERSIONS[-1]:
                    continue
                for kind, said in spoken_ways(case, chance):
                    row = second.setdefault(f"{language}  {kind}", Tally())
                    report(
                        options.show, judge(commands, said, tools, row, times[language]) + " 2", said, commands, tools
                    )
    good = show("Home Assistant's own sentences", first, details=True)
    for language in spoken:
        rows = [tally for name, tally in second.items() if name.startswith(language)]
        second[f"{language}  all"] = Tally(
            sum(row.right for row in rows), sum((row.left for row in rows), Counter()), sum(row.wrong for row in rows)
        )
    good &= show("The same as people say them (tools of " + VERSIONS[-1] + ")", second, details=False)
    print("\nTime to understand, every utterance heard for the first time (ms)")
    for language, taken in times.items():
        parts = quantiles(taken, n=100)
        print(
            f"{language:32} p50 {median(taken) * 1e3:6.2f}   p95 {parts[94] * 1e3:6.2f}   p99 {parts[98] * 1e3:6.2f}"
            f"   most {max(taken) * 1e3:6.2f}"
        )
    return 0 if good else 1


def report(shown: list[str], verdict: str, case: Case, commands: Commands, tools: tuple[dict[str, Any], ...]) -> None:
    if verdict in shown or verdict.removesuffix(" 2") == "wrong":
        found = commands.understand(turn_of(case, tools), case.language, case.aliases)
        print(f"{verdict}: {case.language} {case.text!r} wants {case.intent} {dict(case.slots)}, got {found}")


if __name__ == "__main__":
    sys.exit(main())
