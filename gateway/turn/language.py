"""The language of a turn: given, else preferred, else the conversation's, else detected among the household's."""

from __future__ import annotations

import logging
import mmap
import tempfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from gateway.shapes import Message, Turn
from gateway.store.preferences import Preference

log = logging.getLogger(__name__)

TEXTS_REMEMBERED = 256  # what is said again is not classified again
PREFERRED_KEY = "user.preferred_language"
# The classifier's score of a text that tells it nothing ("ok"): every language gets the same.
_NOTHING = -1e30
# How far the first language must stand before the second, for a text that is kept: "Netflix" 0.3, "pizza Hawaii" 0.7,
# "bins Tuesday" 4.3, "Anna is allergic to nuts" 17.7.
_SURE = 8.0


class Languages:
    """Knows the household's languages, the first being the one assumed in doubt."""

    def __init__(self, languages: Sequence[str], folder: Path | None = None) -> None:
        """`folder` is where the classifier's table may be kept beside the data; without it it stays in memory."""
        self._languages = tuple(languages)
        self._identifier: LanguageIdentifier | None = None
        self.detect = lru_cache(TEXTS_REMEMBERED)(self._detect)
        if len(self._languages) > 1:
            identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
            known = [language for language in self._languages if language in identifier.labels]
            if len(known) > 1:
                identifier.set_languages(known)
                # The model of the other hundred languages: 28 MB that nothing will ask for.
                identifier._full_model = None  # noqa: SLF001 (there is no public way to let go of it)
                if folder is not None:
                    _map_table(identifier, folder)
                self._identifier = identifier

    def _detect(self, text: str) -> str | None:
        """The household's language that `text` is in, or None where nothing in it tells."""
        if self._identifier is None:
            return None
        language, score = self._identifier.classify(text)
        return str(language) if score > _NOTHING else None

    def of_text(self, text: str) -> str | None:
        """The household's language that a text to be kept is in, or None where that is not sure. Safe in any thread."""
        if self._identifier is None:
            return self._languages[0] if len(self._languages) == 1 else None
        (language, score), (_, second), *_ = self._identifier.rank(text)
        return str(language) if score - second > _SURE else None

    def of(self, turn: Turn, history: Sequence[Message], preferences: Iterable[Preference]) -> str:
        """The turn's language, as a two- or three-letter code. The same turn always gets the same one."""
        if turn.language:
            return base_language(turn.language)
        if preferred := _preferred(preferences):
            return preferred
        for message in history:
            if message.role == "user" and (said := self.detect(message.content)):
                return said
        return self.detect(turn.utterance) or self._languages[0]


def _map_table(identifier: LanguageIdentifier, folder: Path) -> None:
    """Puts the classifier's table of transitions into a file that is mapped.

    It is 39 MB for a hundred languages, of which a household's few touch a small part: that alone is then resident.
    """
    table = identifier.tk_nextmove
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(memoryview(table).cast("B"))
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        log.info("the language classifier stays in memory whole: %s", error)
        return
    identifier.tk_nextmove = memoryview(mapped).cast(table.typecode)


def base_language(tag: str) -> str:
    """`pl` of `pl-PL`."""
    return tag.replace("_", "-").split("-")[0].lower()


def _preferred(preferences: Iterable[Preference]) -> str | None:
    """The newest of the speaker's own wish, else the household's."""
    wishes = [preference for preference in preferences if preference.key == PREFERRED_KEY]
    wishes.sort(key=lambda preference: (preference.member_id is not None, preference.updated_at), reverse=True)
    for wish in wishes:
        value = wish.value.get("language") if isinstance(wish.value, dict) else wish.value
        if isinstance(value, str) and value:
            return base_language(value)
    return None
