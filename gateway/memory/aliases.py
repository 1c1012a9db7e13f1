"""What the household calls the things of its home, as its preferences tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.memory.commands import ALIAS_PREFIX
from gateway.shapes import Entity
from gateway.store.preferences import Preference


def things(
    entities: tuple[Entity, ...], preferences: Iterable[Preference]
) -> tuple[tuple[Entity, ...], dict[str, list[str]]]:
    """What is at home, what the household calls it among its names; and what those are called whose id is known."""
    called: dict[str, list[str]] = {}
    more: dict[str, list[str]] = {}
    for alias, name, entity_id in aliases_of(preferences):
        names = [alias] if name is None else [alias, name]
        if entity_id is not None:
            called.setdefault(entity_id, []).extend(names)
        if name is not None:
            more.setdefault(name.casefold(), []).extend(names)
    if not more:
        return entities, called
    known = []
    for entity in entities:
        others = [other for name in entity.names for other in more.pop(name.casefold(), ())]
        known.append(replace(entity, names=tuple(dict.fromkeys((*entity.names, *others)))) if others else entity)
    known += [Entity(tuple(dict.fromkeys(names)), "") for names in more.values()]
    return tuple(known), called


def aliases_of(preferences: Iterable[Preference]) -> list[tuple[str, str | None, str | None]]:
    """(alias, name, entity id) of what the household calls things; at least one of the last two is there."""
    found = []
    for wish in preferences:
        if not wish.key.startswith(ALIAS_PREFIX) or not isinstance(wish.value, dict):
            continue
        alias = wish.value.get("alias") or wish.key.removeprefix(ALIAS_PREFIX).replace("_", " ")
        name, entity_id = wish.value.get("name"), wish.value.get("entity_id")
        name = name if isinstance(name, str) and name else None
        entity_id = entity_id if isinstance(entity_id, str) and "." in entity_id else None
        if name is not None or entity_id is not None:
            found.append((str(alias), name, entity_id))
    return found
