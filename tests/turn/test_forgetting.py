"""Forgetting by voice: what would go is said, and goes on a yes of the same speaker in the same conversation."""

from __future__ import annotations

import pytest

from gateway.turn import act
from tests.house import House, speech
from tests.scripted_model import Answer


async def say(house: House, text: str, *, conversation: str = "kitchen", language: str = "en") -> str:
    return speech(await house.say(text, conversation_id=conversation, language=language))


async def known(house: House) -> list[str]:
    return [row["content"] for row in await house.admin.fetch("SELECT content FROM knowledge ORDER BY id")]


@pytest.mark.parametrize(
    ("language", "told", "wish", "asked", "yes", "done"),
    [
        (
            "en",
            "Remember that the bins go out on Tuesday",
            "Forget what I said about the bins",
            "I would forget: the bins go out on Tuesday. Shall I?",
            "Yes, please.",
            "Done, that is forgotten.",
        ),
        (
            "fr",
            "Retiens que les poubelles sortent le mardi",
            "Oublie ce que j'ai dit sur les poubelles",
            "J'oublierais : les poubelles sortent le mardi. Dois-je le faire ?",
            "Oui, vas-y",
            "C'est fait, c'est oublié.",
        ),
        (
            "pl",
            "Zapamiętaj, że śmieci wywożą we wtorek",
            "Zapomnij, co mówiłem o śmieciach",
            "Zapomnę: śmieci wywożą we wtorek. Czy mam to zrobić?",
            "Tak",
            "Gotowe, zapomniałem o tym.",
        ),
    ],
)
async def test_asked_confirmed_forgotten(
    house: House, language: str, told: str, wish: str, asked: str, yes: str, done: str
) -> None:
    await say(house, told, language=language)
    assert await say(house, wish, language=language) == asked
    assert len(await known(house)) == 1
    assert await say(house, yes, language=language) == done
    assert await known(house) == []
    # Nor does it stand in what was said: when it was told, and when it was asked whether it should go.
    assert [row["content"] for row in await house.logged()] == [yes, done]
    nothing = await say(house, wish, language=language)
    assert (
        nothing
        == {
            "en": "I know nothing about that.",
            "fr": "Je ne sais rien à ce sujet.",
            "pl": "Nic o tym nie wiem.",
        }[language]
    )


async def test_anything_but_a_yes_keeps_it(house: House) -> None:
    await say(house, "Remember that the bins go out on Tuesday")
    await say(house, "Forget what I said about the bins")
    assert await say(house, "No, thanks") == "OK, I keep it."
    house.model.script(Answer("Sure?"), Answer("Shakespeare."), Answer("Sure."))
    assert await say(house, "yes") == "Sure?"  # the question is over
    await say(house, "Forget what I said about the bins")
    assert await say(house, "Who wrote Hamlet?") == "Shakespeare."
    assert await say(house, "yes") == "Sure."
    assert await known(house) == ["the bins go out on Tuesday"]


async def test_a_yes_elsewhere_or_too_late_is_no_yes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await say(house, "Remember that the bins go out on Tuesday")
    await say(house, "Forget that the bins go out")
    house.model.script(Answer("Sure?"), Answer("Sure."))
    assert await say(house, "yes", conversation="bedroom") == "Sure?"
    assert await say(house, "yes") == "Done, that is forgotten."
    await say(house, "Remember that the bins go out on Friday")
    monkeypatch.setattr(act, "ANSWER_SECONDS", 0.0)
    await say(house, "Forget that the bins go out")
    assert await say(house, "yes") == "Sure."
    assert await known(house) == ["the bins go out on Friday"]


async def test_three_are_told_and_the_others_counted(house: House) -> None:
    for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"):
        await say(house, f"Remember that the bins of {day} are grey and heavy")
    asked = await say(house, "Forget everything I told you about the bins")
    assert asked.startswith("I would forget: the bins of Monday")
    assert asked.endswith("; and 2 more. Shall I?")


async def test_a_new_fact_is_said_to_hold_from_now_on(house: House) -> None:
    await say(house, "Remember that my office is the small room")
    assert (
        await say(house, "Remember that my office is the attic room") == "OK, from now on: my office is the attic room."
    )
    assert (
        await say(house, "Remember that my office is the attic room")
        == "I already know that: my office is the attic room."
    )
    assert await known(house) == ["my office is the attic room"]


async def test_no_it_is_otherwise(house: House) -> None:
    """A correction is kept where something known is put right by it; any other "no" is for the model."""
    await say(house, "Remember that Anna's birthday is in June")
    assert await say(house, "No, Anna's birthday is in May.") == "OK, from now on: Anna's birthday is in May."
    assert await known(house) == ["Anna's birthday is in May"]
    house.model.script(Answer("Oh."), Answer("I see."))
    assert await say(house, "No, Ben's birthday is in July") == "Oh."
    assert await say(house, "No, my lamp is green") == "I see."
    assert await known(house) == ["Anna's birthday is in May"]
