"""When a text belongs to a question, learned from what the household has told.

A cosine says little by itself. A model like e5 puts any two texts between .7 and 1, most of which they owe to what all
texts have in common; texts of one language are nearer to each other than to what says the same in another; and all
questions have in common that they ask. `Background` is those common parts, and `likeness` the cosine of what is left
when they are taken away: around 0 for a text and a question that have nothing to do with each other.

From which likeness on a text belongs is learned as well, for every model and memory anew: `TYPICAL_QUESTIONS` are such
as everybody asks and no memory answers as they stand, so what they reach in a memory is what chance reaches there.

    background = Background.learn(entries, languages, typical)     # once an epoch, of a sample of what a scope sees
    likeness = background.likeness(question, vectors_of_hits)
    kept = newest_first(belongs(hits, dict(zip(ids, likeness)), background), vectors, background)

Two entries as like each other as that are on one subject, and where a question finds both, the newer one is what holds.

Measured by `python -m tests.benchmarks.retrieval --sets household`, on the half of the questions that nothing here was
tuned on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.llm.embedding import Vector
from gateway.memory.fusion import Hit

# The same questions in each language, so that their mean stands for asking and not for a language.
TYPICAL_QUESTIONS: Mapping[str, Sequence[str]] = {
    "en": (
        "Where did I put my glasses?",
        "When does the shop close?",
        "Who was on the phone just now?",
        "What is that thing called?",
        "How much did it cost?",
        "Why doesn't it work any more?",
        "Which of the two is better?",
        "Am I allowed to do that?",
        "How many people are coming?",
        "What did she say about it?",
        "What day is it again?",
        "How do I turn it off?",
        "What was the number?",
        "Whose turn is it?",
        "What colour should we take?",
        "Remind me what we agreed",
        "What is the name of that man?",
        "How long does it take?",
    ),
    "fr": (
        "Où est-ce que j'ai mis mes lunettes ?",
        "Le magasin ferme à quelle heure ?",
        "Qui vient d'appeler ?",
        "Comment ça s'appelle, ce truc ?",
        "Ça a coûté combien ?",
        "Pourquoi ça ne marche plus ?",
        "Lequel des deux est le mieux ?",
        "Est-ce que j'ai le droit de faire ça ?",
        "Combien de personnes viennent ?",
        "Qu'est-ce qu'elle en a dit ?",
        "C'est quel jour déjà ?",
        "Comment est-ce qu'on l'éteint ?",
        "C'était quoi le numéro ?",
        "C'est le tour de qui ?",
        "On prend quelle couleur ?",
        "Rappelle-moi ce qu'on avait convenu",
        "Comment il s'appelle, ce monsieur ?",
        "Ça prend combien de temps ?",
    ),
    "pl": (
        "Gdzie położyłem okulary?",
        "O której zamykają sklep?",
        "Kto przed chwilą dzwonił?",
        "Jak się nazywa ta rzecz?",
        "Ile to kosztowało?",
        "Dlaczego to już nie działa?",
        "Który z tych dwóch jest lepszy?",
        "Czy wolno mi to zrobić?",
        "Ile osób przyjdzie?",
        "Co ona o tym mówiła?",
        "Jaki to był dzień?",
        "Jak to się wyłącza?",
        "Jaki to był numer?",
        "Czyja teraz kolej?",
        "Jaki kolor mamy wziąć?",
        "Przypomnij mi, na co się umówiliśmy",
        "Jak się nazywa ten pan?",
        "Ile to trwa?",
    ),
}

# What households tell, the same in each language. A memory of a few entries is seen among these: what so few have in
# common is what they are about.
TYPICAL_ENTRIES: Mapping[str, Sequence[str]] = {
    "en": (
        "The doctor's surgery is on Mill Street",
        "We keep the batteries in the top drawer",
        "My sister works nights on Wednesdays",
        "The heating comes on at six in the morning",
        "Peter does not like mushrooms",
        "The car has to be inspected in spring",
        "The neighbours have a key to our house",
        "The washing machine is still under guarantee",
        "Grandma was born in 1948",
        "The code of the shed is 2580",
        "The children go swimming on Saturdays",
        "We buy our bread at the corner shop",
    ),
    "fr": (
        "Le cabinet du médecin est rue du Moulin",
        "On garde les piles dans le tiroir du haut",
        "Ma sœur travaille de nuit le mercredi",
        "Le chauffage se met en marche à six heures du matin",
        "Pierre n'aime pas les champignons",
        "La voiture doit passer au contrôle au printemps",
        "Les voisins ont une clé de chez nous",
        "Le lave-linge est encore sous garantie",
        "Mamie est née en 1948",
        "Le code de la remise est 2580",
        "Les enfants vont à la piscine le samedi",
        "On achète notre pain à l'épicerie du coin",
    ),
    "pl": (
        "Gabinet lekarza jest przy ulicy Młyńskiej",
        "Baterie trzymamy w górnej szufladzie",
        "Moja siostra ma w środy nocną zmianę",
        "Ogrzewanie włącza się o szóstej rano",
        "Piotr nie lubi grzybów",
        "Samochód musi wiosną przejść przegląd",
        "Sąsiedzi mają klucz do naszego domu",
        "Pralka jest jeszcze na gwarancji",
        "Babcia urodziła się w 1948 roku",
        "Kod do szopy to 2580",
        "Dzieci w soboty chodzą na basen",
        "Chleb kupujemy w sklepie na rogu",
    ),
}

# Of fewer, what is learned is learned among the typical ones. With 3, 8 and 25 facts of a family the answer is then
# among the first five for .83, .85 and .81 of the questions, and .95, .89 and .78 of those that nothing answers find
# nothing (by a fixed cosine of .83: .69, .70, .69 and .98, .94, .84).
LEAST_ENTRIES = 30
LEAST_OF_A_LANGUAGE = 10  # the same, of the entries in one language
SAMPLE = 2000  # entries are enough to learn from
# What part of what questions have in common is taken away. With all of it short questions to a family's facts are
# told apart as well as with half, but questions to paragraphs worse (XQuAD in English, nDCG@10: .978 with half, .965).
ASKING = 0.5
# What share of the typical questions finds nothing at the threshold. Higher: more is rightly recalled as nothing, and
# more that belongs is left out: at .75, .8, .85 and .9 the answer to .80, .78, .75 and .71 of a family's questions is
# among the first five, and .50, .56, .60 and .66 of those that nothing answers find nothing. (A fixed cosine that finds
# nothing for .56 recalls .67.) What is recalled in vain costs tokens, what is not recalled costs the answer.
NOTHING_FOUND = 0.8
MIN_WORDS = 0.5  # the share of a question's words (by their weight) that makes a text belong to it, without vectors
# From which likeness on two entries are on one subject. Of 20 pairs of a family's facts of which one took the place of
# the other 14 are as like, and of the some 16,000 other pairs 6 (at .45: 12 and 2, at .35: 18 and 20).
SAME_SUBJECT = 0.4
_NO_DIRECTION = 1e-6  # of a singular value: languages whose texts are the same on average have no difference


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """What a scope's entries, their languages and questions have in common, and from which likeness a text belongs.

    `entries` and `asking` are of shape (dimensions,): the entries' mean, and the part of the questions' mean that is
    taken away. `languages`, of shape (n, dimensions), are the directions in which the means of n + 1 languages differ,
    each of length 1 and at right angles; none where the entries are in one.
    """

    entries: Vector
    asking: Vector
    languages: Vector
    threshold: float

    @classmethod
    def learn(
        cls,
        entries: Vector,
        languages: Sequence[str | None],
        typical: Vector,
        *,
        nothing_found: float = NOTHING_FOUND,
    ) -> Background | None:
        """Learns from the vectors of entries (a sample of SAMPLE will do), each with its language (None: not known),
        and of the typical questions, both of shape (n, dimensions). None where there are too few entries to learn
        from; few of a household's own are to be put among the typical ones."""
        if len(entries) < LEAST_ENTRIES:
            return None
        common = cls(entries.mean(axis=0), typical.mean(axis=0) * ASKING, _differences(entries, languages), 0.0)
        reached = [common.likeness(question, entries).max() for question in typical]
        return cls(common.entries, common.asking, common.languages, float(np.quantile(reached, nothing_found)))

    @property
    def several_languages(self) -> bool:
        """Whether likeness ranks better than the cosine: what tells languages apart is in the cosine's way only where
        there are several. With one, the two rank alike."""
        return len(self.languages) > 0

    def sought(self, question: Vector) -> Vector:
        """What to look for in the index in the question's place; the question, where the cosine ranks as well."""
        return self.sharpened(question) if self.several_languages else question

    def sharpened(self, question: Vector) -> Vector:
        """What is particular to a question, float32 of shape (dimensions,) and length 1.

        The entries that are nearest to it by cosine are, but for their own lengths, the ones of the greatest likeness:
        so it is what to look for in the index, in the question's place.
        """
        return _of_length_one(self._without_languages(question - self.asking))

    def likeness(self, question: Vector, entries: Vector) -> NDArray[np.float32]:
        """How like the question each entry is, from -1 to 1, by their vectors (`entries` of shape (n, dimensions))."""
        return np.asarray(self._particular(entries) @ self.sharpened(question), dtype=np.float32)

    def mutual(self, entries: Vector) -> NDArray[np.float32]:
        """How like each other entries are, from -1 to 1, by their vectors; of shape (n, n)."""
        particular = self._particular(entries)
        return np.asarray(particular @ particular.T, dtype=np.float32)

    def _particular(self, entries: Vector) -> Vector:
        return _of_length_one(self._without_languages(entries - self.entries))

    def _without_languages(self, vectors: Vector) -> Vector:
        return np.asarray(vectors - (vectors @ self.languages.T) @ self.languages, dtype=np.float32)


def belongs(hits: Sequence[Hit], likeness: Mapping[int, float], background: Background) -> list[Hit]:
    """The hits that have to do with their question, in the order given; `likeness` by the entries' ids.

    A hit without likeness has no vector yet, and belongs by its words: it has half of the question's.
    """
    return [hit for hit in hits if _belongs(hit, likeness.get(hit.entry.id), background.threshold)]


def newest_first(hits: Sequence[Hit], vectors: Mapping[int, Vector], background: Background) -> list[Hit]:
    """The hits, of which each stands before older ones of the same owner on the same subject; `vectors` by the entries'
    ids. A document's passages, and what has no vector yet, stay where they are."""
    told = [hit.entry.id for hit in hits if hit.entry.document_id is None and hit.entry.id in vectors]
    if len(told) < 2:
        return list(hits)
    mutual = background.mutual(np.stack([vectors[row] for row in told]))
    number = {row: place for place, row in enumerate(told)}

    def replaced(newer: Hit, older: Hit) -> bool:
        one, other = newer.entry, older.entry
        return (
            one.id in number
            and other.id in number
            and one.member_id == other.member_id
            and (one.created_at, one.id) > (other.created_at, other.id)
            and bool(mutual[number[one.id], number[other.id]] >= SAME_SUBJECT)
        )

    ordered: list[Hit] = []
    for hit in hits:
        at = next((place for place, before in enumerate(ordered) if replaced(hit, before)), len(ordered))
        ordered.insert(at, hit)
    return ordered


def _belongs(hit: Hit, likeness: float | None, threshold: float) -> bool:
    if likeness is not None:
        return likeness >= threshold
    return hit.words is not None and hit.words.share >= MIN_WORDS


def _differences(entries: Vector, languages: Sequence[str | None]) -> Vector:
    """The directions in which the languages' means differ; those of which there are a few entries only are left out."""
    told = np.array([language or "" for language in languages])
    enough = [name for name, count in Counter(told.tolist()).items() if name and count >= LEAST_OF_A_LANGUAGE]
    if len(enough) < 2:
        return np.zeros((0, entries.shape[1]), dtype=np.float32)
    means = np.stack([entries[told == name].mean(axis=0) for name in enough])
    _, sizes, directions = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    return np.asarray(directions[sizes > _NO_DIRECTION], dtype=np.float32)


def _of_length_one(vectors: Vector) -> Vector:
    """Each at length 1; what is nothing but background stays nothing."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)
