"""The gateway's own sentences, as it says them. A language that is not here hears English."""

from __future__ import annotations

_PHRASES: dict[str, dict[str, str]] = {
    "en": {
        "remembered": "OK, I'll remember: {content}.",
        "remembered_instead": "OK, from now on: {content}.",
        "remembered_already": "I already know that: {content}.",
        "remembered_soon": "I've taken note, and will file it as soon as my memory answers again: {content}.",
        "alias": "OK, “{alias}” now means {name}.",
        "alias_soon": "I've taken note that “{alias}” means {name}; it holds as soon as my memory answers again.",
        "know_nothing": "I don't know anything about you yet. Say “remember that…” and I will.",
        "know": "This is what I know: {facts}.",
        "know_more": "This is what I know: {facts}; and {more} more.",
        "forget_ask": "I would forget: {facts}. Shall I?",
        "forget_ask_more": "I would forget: {facts}; and {more} more. Shall I?",
        "forget_nothing": "I know nothing about that.",
        "forgotten": "Done, that is forgotten.",
        "forget_kept": "OK, I keep it.",
        "memory_away": "My memory does not answer at the moment. Please try again later.",
        "memory_full": "I can't take note of that at the moment: my memory is away and my notebook is full.",
        "model_unavailable": "I can't reach my language model at the moment.",
        "model_timeout": "My language model is taking too long to answer. Please try again.",
        "model_not_found": "The language model I was set up with is not installed.",
        "queue_full": "I'm busy with other questions right now. Please ask again in a moment.",
        "queue_timeout": "I'm busy with other questions right now. Please ask again in a moment.",
        "model_error": "My language model could not answer that.",
        "internal": "Something went wrong on my side. My log knows more.",
        "empty": "I have no answer to that.",
        "done": "Done.",
        "out_of_reach": "I can't operate anything at home from here.",
        "failed": "That did not work.",
        "answer_in": "Answer in English.",
    },
    "fr": {
        "remembered": "D'accord, je retiens : {content}.",
        "remembered_instead": "D'accord, désormais : {content}.",
        "remembered_already": "Je le sais déjà : {content}.",
        "remembered_soon": "C'est noté, je le rangerai dès que ma mémoire répondra de nouveau : {content}.",
        "alias": "D'accord, « {alias} » désigne maintenant {name}.",
        "alias_soon": "C'est noté, « {alias} » désignera {name} dès que ma mémoire répondra de nouveau.",
        "know_nothing": "Je ne sais encore rien de vous. Dites « retiens que… » et je le retiendrai.",
        "know": "Voici ce que je sais : {facts}.",
        "know_more": "Voici ce que je sais : {facts} ; et {more} autres choses.",
        "forget_ask": "J'oublierais : {facts}. Dois-je le faire ?",
        "forget_ask_more": "J'oublierais : {facts} ; et {more} autres choses. Dois-je le faire ?",
        "forget_nothing": "Je ne sais rien à ce sujet.",
        "forgotten": "C'est fait, c'est oublié.",
        "forget_kept": "D'accord, je le garde.",
        "memory_away": "Ma mémoire ne répond pas pour le moment. Réessayez plus tard.",
        "memory_full": "Je ne peux pas le noter pour le moment : ma mémoire est absente et mon carnet est plein.",
        "model_unavailable": "Je n'arrive pas à joindre mon modèle de langage pour le moment.",
        "model_timeout": "Mon modèle de langage met trop de temps à répondre. Veuillez réessayer.",
        "model_not_found": "Le modèle de langage prévu n'est pas installé.",
        "queue_full": "Je suis occupé par d'autres questions. Redemandez-moi dans un instant.",
        "queue_timeout": "Je suis occupé par d'autres questions. Redemandez-moi dans un instant.",
        "model_error": "Mon modèle de langage n'a pas pu répondre.",
        "internal": "Quelque chose s'est mal passé de mon côté. Mon journal en sait plus.",
        "empty": "Je n'ai pas de réponse à cela.",
        "done": "C'est fait.",
        "out_of_reach": "D'ici, je ne peux rien commander dans la maison.",
        "failed": "Cela n'a pas fonctionné.",
        "answer_in": "Réponds en français.",
    },
    "pl": {
        "remembered": "Dobrze, zapamiętam: {content}.",
        "remembered_instead": "Dobrze, od teraz: {content}.",
        "remembered_already": "Już to wiem: {content}.",
        "remembered_soon": "Zanotowałem, zapiszę to, gdy tylko moja pamięć znów odpowie: {content}.",
        "alias": "Dobrze, „{alias}” oznacza teraz: {name}.",
        "alias_soon": "Zanotowałem, że „{alias}” oznacza: {name}; zadziała, gdy moja pamięć znów odpowie.",
        "know_nothing": "Nic jeszcze o tobie nie wiem. Powiedz „zapamiętaj, że…”, a zapamiętam.",
        "know": "Oto co wiem: {facts}.",
        "know_more": "Oto co wiem: {facts}; i jeszcze {more}.",
        "forget_ask": "Zapomnę: {facts}. Czy mam to zrobić?",
        "forget_ask_more": "Zapomnę: {facts}; i jeszcze {more}. Czy mam to zrobić?",
        "forget_nothing": "Nic o tym nie wiem.",
        "forgotten": "Gotowe, zapomniałem o tym.",
        "forget_kept": "Dobrze, zachowam to.",
        "memory_away": "Moja pamięć w tej chwili nie odpowiada. Spróbuj ponownie później.",
        "memory_full": "Nie mogę tego teraz zanotować: moja pamięć nie odpowiada, a notes jest pełny.",
        "model_unavailable": "Nie mogę się teraz połączyć z modelem językowym.",
        "model_timeout": "Model językowy odpowiada zbyt długo. Spróbuj ponownie.",
        "model_not_found": "Ustawiony model językowy nie jest zainstalowany.",
        "queue_full": "Jestem teraz zajęty innymi pytaniami. Zapytaj ponownie za chwilę.",
        "queue_timeout": "Jestem teraz zajęty innymi pytaniami. Zapytaj ponownie za chwilę.",
        "model_error": "Model językowy nie potrafił na to odpowiedzieć.",
        "internal": "Coś poszło nie tak po mojej stronie. Więcej jest w dzienniku.",
        "empty": "Nie mam na to odpowiedzi.",
        "done": "Gotowe.",
        "out_of_reach": "Stąd nie mogę niczym w domu sterować.",
        "failed": "To się nie udało.",
        "answer_in": "Odpowiedz po polsku.",
    },
}


def phrase(language: str, sentence: str, /, **values: object) -> str:
    """The sentence of that name in `language`, with `values` put in.

    Raises KeyError for one that does not exist: that is a mistake of ours, found by the tests.
    """
    return _PHRASES.get(language, _PHRASES["en"])[sentence].format(**values)


def has_phrase(name: str) -> bool:
    """Whether there is a sentence `name` (error codes have one where a user should hear of them)."""
    return name in _PHRASES["en"]
