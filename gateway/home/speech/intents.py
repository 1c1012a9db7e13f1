"""Commands understood without the model: an utterance becomes one of the tools the client offers, or is left.

What is recognised is the sentences of `home-assistant-intents`, against the names in the client's prompt, or those of
the registry, which knows on which floor a thing is. Nothing is known of states or of device classes; where the words
would need them, or could mean two things, the turn is the model's. No I/O, nothing kept but what can be made again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hassil.recognize import RecognizeResult, recognize_all

from gateway.home.guarding import GUARDED, Guard
from gateway.home.speech import languages
from gateway.home.speech.house import SHORTEST_MISHEARD, House, Said, house
from gateway.home.speech.inflection import place
from gateway.home.speech.politeness import plain, tidy
from gateway.shapes import Entity, Turn

# What can hurt, let somebody in, or do whatever somebody wrote into it.
GATED = GUARDED | {"scene"}  # of Home Assistant's own scenes nobody here knows what they move
CORRECTED = frozenset({"en", "fr", "pl"})  # languages whose one-letter neighbours were looked at
LONGEST = 200  # characters: a command is short, and recognition takes its time with what is long

LIVE_CONTEXT, DATE_TIME = "GetLiveContext", "GetDateTime"
QUESTIONS = frozenset({"HassGetState", "HassClimateGetTemperature", "HassGetWeather"})
CLOCK = frozenset({"HassGetCurrentTime", "HassGetCurrentDate"})
# "Play" takes any words, and where they end is a guess: Home Assistant hands these to the model as well.
SEARCHES = frozenset({"HassMediaSearchAndPlay"})
ASKING = QUESTIONS | CLOCK
# The domains that an intent acts on by itself, so that it needs no `domain` to be told.
DOMAINS: Mapping[str, frozenset[str]] = {
    "HassClimateSetFanMode": frozenset({"climate"}),
    "HassClimateSetTemperature": frozenset({"climate"}),
    "HassFanSetSpeed": frozenset({"fan"}),
    "HassHumidifierMode": frozenset({"humidifier"}),
    "HassHumidifierSetpoint": frozenset({"humidifier"}),
    "HassLawnMowerDock": frozenset({"lawn_mower"}),
    "HassLawnMowerStartMowing": frozenset({"lawn_mower"}),
    "HassLightSet": frozenset({"light"}),
    "HassMediaNext": frozenset({"media_player"}),
    "HassMediaPause": frozenset({"media_player"}),
    "HassMediaPlayerMute": frozenset({"media_player"}),
    "HassMediaPlayerUnmute": frozenset({"media_player"}),
    "HassMediaPrevious": frozenset({"media_player"}),
    "HassMediaSearchAndPlay": frozenset({"media_player"}),
    "HassMediaUnpause": frozenset({"media_player"}),
    "HassSetPosition": frozenset({"cover", "valve"}),
    "HassSetVolume": frozenset({"media_player"}),
    "HassSetVolumeRelative": frozenset({"media_player"}),
    "HassStopMoving": frozenset({"cover", "valve"}),
    "HassVacuumCleanArea": frozenset({"vacuum"}),
    "HassVacuumReturnToBase": frozenset({"vacuum"}),
    "HassVacuumStart": frozenset({"vacuum"}),
}
# In words that stand for anything (an item, a message) these tell of a second command, a condition or a delay.
_MORE = re.compile(
    r"\b(?:and|then|but|if|when|unless|until|after|before|not|don't|never|later|"
    r"et|puis|mais|si|quand|sauf|après|avant|pas|"
    r"i|oraz|potem|ale|jeśli|jeżeli|gdy|kiedy|chyba|po|nie|za)\b",
    re.IGNORECASE,
)
# Said in a room, "all the lights" is that room's or the whole house's, unless one of these is said.
_EVERYWHERE: Mapping[str, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(?:everywhere|all over|house|home|apartment|flat|rooms|areas|(?:every|each) (?:room|area))\b", re.IGNORECASE
    ),
    "fr": re.compile(r"\b(?:partout|maison|logement|domicile|appart|appartement|pièces)\b", re.IGNORECASE),
    "pl": re.compile(r"\b(?:wszędzie|pokojach|każdym|domu|mieszkaniu|apartamencie)\b", re.IGNORECASE),
}
_NOWHERE = re.compile(r"(?!)")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Understood:
    """A tool call that says what was said. `tool` is the offered name; `response` the key of the answer's template and
    `slots` what it may name, in the speaker's words. `ask_model_after`: a question, and the model words its answer;
    `about` then holds the slots' values (name, area, domain, device_class, state ...), whatever the tool takes of them.
    """

    intent: str
    language: str
    tool: str
    arguments: Mapping[str, Any]
    response: str
    slots: Mapping[str, Any]
    ask_model_after: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Left:
    """The turn is the model's, because of `reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Tool:
    name: str
    parameters: tuple[tuple[str, str, tuple[str, ...]], ...]  # name, type, allowed values (of the items of an array)


@dataclass(frozen=True, slots=True)
class _Asked:
    """All that an understanding depends on: what it is remembered by."""

    text: str
    question: bool
    answering: bool  # the assistant has just asked something
    language: str
    area: str | None
    floor: str | None
    entities: tuple[Entity, ...]
    aliases: tuple[tuple[str, str], ...]
    tools: tuple[_Tool, ...]


@dataclass(frozen=True, slots=True)
class _Meaning:
    intent: str
    response: str
    slots: tuple[tuple[str, Any], ...]  # values, those of names as `Said`
    words: tuple[tuple[str, Any], ...]
    said: frozenset[str]  # the slots that stand in the sentence; others come from its kind, or from the room
    free: frozenset[str]  # those of them that may be any words
    bare: bool  # nothing was said but a name


class Commands:
    """Understands commands. `allowed` lists domains and names of entities that the model need not be asked for, `kept`
    domains and names that are left to it beside the usual ones. What was understood is remembered, `memory` utterances.
    """

    def __init__(self, *, allowed: Iterable[str] = (), kept: Iterable[str] = (), memory: int = 512) -> None:
        self._guard = Guard(allowed, kept, GATED)
        self._house = lru_cache(maxsize=16)(house)
        self._understood = lru_cache(maxsize=memory)(self._understand)

    def understand(self, turn: Turn, language: str, aliases: Mapping[str, str] | None = None) -> Understood | Left:
        """What the turn's utterance commands in `language`. `aliases` maps what the household says to an entity's name.

        The same for the same turn at any time: a continuation is understood as its first request was.
        """
        if not turn.tools:
            return Left("no tools")
        if not turn.entities:
            return Left("no entities")
        code = languages.known(language)
        if code is None:
            return Left("unknown language")
        text = tidy(turn.utterance)
        statement = text.rstrip("?¿？ ")
        # "Can you turn on the light?" asks for something to be done, "The light on?" asks.
        question = text != statement and plain(statement, code) == statement
        text = statement
        if not text or len(text) > LONGEST or turn.images:
            return Left("not a command")
        asked = _Asked(
            text,
            question,
            any(
                message.role == "assistant" and message.content.rstrip().endswith("?") for message in turn.history[-1:]
            ),
            code,
            turn.area,
            turn.floor,
            turn.entities,
            tuple(sorted((aliases or {}).items())),
            _tools(turn.tools),
        )
        return self._understood(asked)

    def warm(self, spoken: Iterable[str]) -> list[str]:
        """Loads languages and makes what they parse when first used: up to a second each, so it belongs to the start.
        Returns the codes that are known."""
        codes = [code for code in map(languages.known, dict.fromkeys(spoken)) if code is not None]
        for code in codes:
            languages.warm(code)
        return codes

    def _understand(self, asked: _Asked) -> Understood | Left:
        spoken = languages.load(asked.language)
        # The speaker's room makes a house of its own only where nothing stands in it.
        unknown = asked.area if not any(asked.area in entity.areas for entity in asked.entities) else None
        at_home = self._house(asked.entities, asked.aliases, unknown, asked.floor, asked.language)
        text = plain(asked.text, asked.language)
        found = self._read(asked, asked.text, spoken, at_home, as_said=True, courteous=text != asked.text)
        if not text or not isinstance(found, Left) or found.reason != "not understood":
            return found
        if text != asked.text:
            found = self._read(asked, text, spoken, at_home, as_said=False)
            if not isinstance(found, Left) or found.reason != "not understood":
                return found
        if asked.language not in CORRECTED:
            return found
        corrected = _correct(text, asked.language, spoken, at_home)
        if corrected is None:
            return found
        return self._read(asked, corrected[0], spoken, at_home, as_said=False, must_name=corrected[1])

    def _read(
        self,
        asked: _Asked,
        text: str,
        spoken: languages.Language,
        at_home: House,
        *,
        as_said: bool,
        courteous: bool = False,
        must_name: str | None = None,
    ) -> Understood | Left:
        """What `text` means. Where it was changed (not `as_said`), a name alone is no command. In `courteous` text free
        words are not taken: they would hold the courtesy. `must_name` is a word that a name or an area has to hold:
        only there may a letter have been misheard."""
        # Without text: what the sentence itself says can then be told from what only the room adds.
        context = {"area": {"value": asked.area, "text": ""}} if asked.area else {"nowhere": True}
        best: tuple[Any, ...] | None = None
        meanings: dict[_Meaning, None] = {}
        for result in recognize_all(
            text, spoken.intents, slot_lists=dict(at_home.lists), intent_context=context, language=asked.language
        ):
            if not _stands(result, at_home, text) or _doubtful(result, text, asked.language):
                continue
            if must_name is not None and not _names(result, must_name):
                continue
            rank = _rank(result)
            if best is None or rank < best:
                best, meanings = rank, {}
            if rank == best:
                meanings[_meaning(result, text, asked.language)] = None
        if courteous and any(meaning.free for meaning in meanings):
            return Left("not understood")
        if not meanings:
            return Left("not understood")
        understood = [self._call(meaning, asked, at_home) for meaning in _here(meanings, asked, at_home)]
        first = understood[0]
        if asked.question and any(isinstance(one, Understood) and one.intent not in ASKING for one in understood):
            return Left("a question")  # "the kitchen lights on?" wants to be told, not done
        if any(isinstance(one, Left) for one in understood):
            return next(one for one in understood if isinstance(one, Left))
        if any(_same(one) != _same(first) for one in understood[1:]):
            return Left("ambiguous")
        if (not as_said or asked.answering) and any(meaning.bare for meaning in meanings):
            return Left("a name alone")
        return first

    def _call(self, meaning: _Meaning, asked: _Asked, at_home: House) -> Understood | Left:
        """The tool call for a meaning, or why there is none."""
        slots, words = dict(meaning.slots), dict(meaning.words)
        named = slots.get("name") if isinstance(slots.get("name"), Said) else None
        if meaning.intent in SEARCHES:
            return Left("a search")
        if meaning.intent in QUESTIONS:
            return self._question(meaning, asked, named)
        if meaning.intent in CLOCK:
            tool = _offered(asked.tools, DATE_TIME)
            if tool is None:
                return Left("not offered")
            return Understood(meaning.intent, asked.language, tool.name, {}, meaning.response, words)
        tool = _offered(asked.tools, meaning.intent)
        if tool is None:
            return Left("not offered")
        if (why := self._why_not(meaning, slots, named, at_home)) is not None:
            return Left(why)
        # What is locked, opened or activated is no room; what is switched on or paused may be all that is in it.
        may_be_a_room = named is not None and at_home.entities[named.place].domain not in GATED
        if may_be_a_room and _key(str(words.get("name", ""))) in at_home.areas:
            return Left("a name and a room")
        if (
            meaning.intent in {"HassTurnOn", "HassTurnOff"}
            and asked.area is not None
            and not {"name", "area", "floor"} & slots.keys()
            and not _EVERYWHERE.get(asked.language, _NOWHERE).search(asked.text)
        ):
            return Left("here or everywhere")
        if named is not None:
            slots["name"] = named.name
            if (why := _single_out(slots, named, meaning.intent, asked, at_home)) is not None:
                return Left(why)
        if slots.get("domain") in DOMAINS.get(meaning.intent, ()):
            del slots["domain"]
        arguments: dict[str, Any] = {}
        parameters = {name: (kind, values) for name, kind, values in tool.parameters}
        for name, value in slots.items():
            if name not in parameters:
                return Left("cannot be expressed")
            fitted = _fit(value, *parameters[name])
            if fitted is None:
                return Left("cannot be expressed")
            arguments[name] = fitted
        return Understood(meaning.intent, asked.language, tool.name, arguments, meaning.response, words)

    def _why_not(self, meaning: _Meaning, slots: Mapping[str, Any], named: Said | None, at_home: House) -> str | None:
        """Why the model should decide about this, or None."""
        intent = meaning.intent
        if any(_MORE.search(str(slots[slot])) for slot in meaning.free):
            return "more than one thing"
        if intent == "HassVacuumCleanArea" and named is not None and at_home.at(str(slots["area"]), named.place):
            return "ambiguous"  # "start the vacuum in the hall": is it there, or should it go there?
        if "conversation_command" in slots or "command" in slots:
            return "delayed"
        if named is not None:
            entity = at_home.entities[named.place]
            return "gated" if self._guard.holds(entity.domain, entity.names) else None
        domains = {slots["domain"]} if "domain" in slots else set(DOMAINS.get(intent, ()))
        if not domains and intent in {"HassTurnOn", "HassTurnOff"}:
            return "everything"
        return "gated" if any(self._guard.holds(domain, ()) for domain in domains) else None

    def _question(self, meaning: _Meaning, asked: _Asked, named: Said | None) -> Understood | Left:
        """The live context for a question, no narrower than is certain."""
        tool = _offered(asked.tools, LIVE_CONTEXT)
        if tool is None:
            return Left("not offered")
        slots = dict(meaning.slots)
        narrow: dict[str, Any] = {}
        if named is not None:
            narrow["name"] = named.name
        elif isinstance(slots.get("area"), str):
            narrow["area"] = slots["area"]
        elif meaning.intent == "HassGetWeather":
            narrow["domain"] = "weather"
        known = {name for name, _, _ in tool.parameters}
        return Understood(
            meaning.intent,
            asked.language,
            tool.name,
            {name: value for name, value in narrow.items() if name in known},
            meaning.response,
            dict(meaning.words),
            ask_model_after=True,
            about={name: value.name if isinstance(value, Said) else value for name, value in slots.items()},
        )


def _single_out(slots: dict[str, Any], named: Said, intent: str, asked: _Asked, at_home: House) -> str | None:
    """Adds the domain or the area that make Home Assistant take `named` and no other thing of that name."""
    entity = at_home.entities[named.place]
    rivals = [place for place in at_home.called(named.name) if place != named.place]
    own = DOMAINS.get(intent)
    if own is not None:
        rivals = [place for place in rivals if at_home.entities[place].domain in own]
    elif any(at_home.entities[place].domain != entity.domain for place in rivals):
        slots["domain"] = entity.domain
        rivals = [place for place in rivals if at_home.entities[place].domain == entity.domain]
    if rivals and "area" not in slots and entity.areas:
        slots["area"] = asked.area if asked.area and at_home.at(asked.area, named.place) else entity.areas[0]
    if rivals and any("area" not in slots or at_home.at(slots["area"], place) for place in rivals):
        return "ambiguous"
    return None


def _stands(result: RecognizeResult, at_home: House, text: str) -> bool:
    """Whether the sentence fits the words and the house: names are whole words ("lamp 20 %" is not "Lamp 2" at 0 %),
    and a thing said to be in a room or on a floor is there, as far as its floor is known."""
    for entity in result.entities_list:
        if entity.name in {"name", "area", "floor"} and entity.text and not entity.is_wildcard:
            said = re.sub(r"[\W_]+", r"[\\W_]+", entity.text.strip())
            if not re.search(rf"(?<!\w){said}(?!\w)", text, re.IGNORECASE):
                return False
    names = [entity for entity in result.entities_list if entity.name in {"name", "area"}]
    if len({(entity.name, _freeze(entity.value)) for entity in names}) != len({entity.name for entity in names}):
        return False  # two names in one sentence
    name, area, floor = (result.entities.get(one) for one in ("name", "area", "floor"))
    if name is None or not isinstance(name.value, Said):
        return True
    if floor is not None and floor.text and at_home.entities[name.value.place].floor not in (None, floor.value):
        return False
    return area is None or not area.text or at_home.at(area.value, name.value.place)


# French lends "open" and "close" to lamps, so that to close the garage would put its light out; and it takes words that
# sound like "éteins" for it, so that to ask for the state ("état") of something would switch it off.
_FRENCH_OPEN = re.compile(r"^(?:ouvr|ferm|mont|baiss|descend|faire)", re.IGNORECASE)
_FRENCH_LAMP = re.compile(r"lumi[èe]re|lampe|ampoule|[ée]clairage|luminosit[ée]", re.IGNORECASE)
_FRENCH_STATE = re.compile(r"^(?:[ée]tat|[ée]t[ée]|[ée]tai[st]|faire|mais|ma[îi]tre)\b", re.IGNORECASE)


def _doubtful(result: RecognizeResult, text: str, language: str) -> bool:
    """Whether the sentence of the package is one that people also say with another meaning."""
    if language != "fr" or result.intent.name not in {"HassTurnOn", "HassTurnOff", "HassLightSet"}:
        return False
    if _FRENCH_STATE.match(text):
        return True
    return bool(_FRENCH_OPEN.match(text)) and "name" not in result.entities and not _FRENCH_LAMP.search(text)


def _names(result: RecognizeResult, word: str) -> bool:
    return any(
        word in _WORD.findall((entity.text or "").casefold())
        for entity in result.entities_list
        if entity.name in {"name", "area"} and not entity.is_wildcard
    )


def _rank(result: RecognizeResult) -> tuple[int, int, int, int, int]:
    """Home Assistant's own order: a name before none, the longest name, fewer free words, more of the sentence."""
    name = result.entities.get("name")
    known = name is not None and isinstance(name.value, Said)
    free = [entity for entity in result.entities_list if entity.is_wildcard]
    return (
        0 if known else 1,
        -len(name.text) if known and name is not None else 0,
        len(free),
        -result.text_chunks_matched,
        sum(len(entity.text or "") for entity in free),
    )


def _meaning(result: RecognizeResult, text: str, language: str) -> _Meaning:
    entities = sorted(result.entities.items())
    name = result.entities.get("name")
    return _Meaning(
        result.intent.name,
        result.response or "default",
        tuple((slot, _freeze(entity.value)) for slot, entity in entities),
        tuple(
            (slot, (entity.text or "").strip() or _spoken(slot, entity.value, language)) for slot, entity in entities
        ),
        frozenset(slot for slot, entity in entities if entity.text),
        frozenset(slot for slot, entity in entities if entity.is_wildcard),
        name is not None and isinstance(name.value, Said) and _key(_no_article(text)) == _key(_no_article(name.text)),
    )


def _spoken(slot: str, value: Any, language: str) -> Any:
    """What only the room or the kind of sentence adds, as an answer says it."""
    return place(value, language) if slot == "area" and isinstance(value, str) else _freeze(value)


def _here(meanings: Iterable[_Meaning], asked: _Asked, at_home: House) -> list[_Meaning]:
    """Of several things of one name, the one in the room where it was said, as Home Assistant itself prefers it."""
    meanings = list(meanings)
    if len(meanings) < 2 or asked.area is None:
        return meanings
    near = []
    for meaning in meanings:
        named = dict(meaning.slots).get("name")
        if not isinstance(named, Said):
            return meanings
        if at_home.at(asked.area, named.place):
            near.append(meaning)
    return near or meanings


def _same(one: Understood | Left) -> tuple[Any, ...]:
    if isinstance(one, Left):
        return (one.reason,)
    return (one.tool, sorted((name, str(value)) for name, value in one.arguments.items()))


def _correct(text: str, language: str, spoken: languages.Language, at_home: House) -> tuple[str, str] | None:
    """`text` with its one misheard word put right, and that word; None where there is none, or it could be two."""
    wrong: list[tuple[str, str]] = []
    for word in dict.fromkeys(_WORD.findall(text.casefold())):
        if len(word) < SHORTEST_MISHEARD - 1 or not word.isalpha() or word in at_home.words or word in spoken.words:
            continue
        heard = at_home.heard_for(word)
        if len(heard) > 1:
            return None
        # Words with another beginning are too often other words ("wall light", "hall light"); where words are
        # inflected, another ending is grammar, and a letter more another word ("szafa", "szafka").
        wrong += [
            (word, known)
            for known in heard
            if known[0] == word[0]
            and (language not in {"fr", "pl"} or known[-1] == word[-1])
            and (language != "pl" or len(known) == len(word))
            and (not word.startswith(known) or word == known + "s")  # a tablet is no table
        ]
    if len(wrong) != 1:
        return None
    ((word, known),) = wrong
    return re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", known, text, flags=re.IGNORECASE), known


def _fit(value: Any, kind: str, allowed: tuple[str, ...]) -> Any:
    """`value` as the parameter wants it, or None where it cannot be."""
    if kind == "array":
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        return values if not allowed or all(one in allowed for one in values) else None
    if allowed and value not in allowed:
        return None
    if kind in {"integer", "number"}:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        if float(value).is_integer():
            return int(value)
        return value if kind == "number" else None
    if kind == "string":
        return value if isinstance(value, str) else str(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _tools(tools: Iterable[Mapping[str, Any]]) -> tuple[_Tool, ...]:
    # Read at every turn, and a house brings dozens: what comes from JSON is a dict, which is quicker to tell than any
    # other mapping.
    made = []
    for tool in tools:
        function = tool.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            continue
        schema = function.get("parameters")
        properties = schema.get("properties") if isinstance(schema, dict) else None
        parameters = []
        for name, described in properties.items() if isinstance(properties, dict) else ():
            about = described if isinstance(described, dict) else {}
            kind = about.get("type")
            items = about.get("items") if kind == "array" else about
            allowed = items.get("enum") if isinstance(items, dict) else None
            parameters.append((str(name), kind if isinstance(kind, str) else "", tuple(allowed or ())))
        made.append(_Tool(function["name"], tuple(parameters)))
    return tuple(made)


def _offered(tools: Iterable[_Tool], intent: str) -> _Tool | None:
    """The tool of that name. Newer clients put the integration's name and `__` before it."""
    found = [tool for tool in tools if tool.name.rsplit("__", 1)[-1] == intent]
    return found[0] if len(found) == 1 else None


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _key(text: str) -> str:
    return " ".join(text.split()).casefold()


def _no_article(text: str) -> str:
    return re.sub(r"^(?:the|my|our|le|la|les|l')\s*", "", text.strip(), flags=re.IGNORECASE)
