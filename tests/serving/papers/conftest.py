"""Papers that nobody wrote, and an index that is looked at before every answer."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from embedworks.serving.papers import service as papers_service

# Category, title, what it says. The newest stand first, four a day.
INVENTED = [
    (
        "shops",
        "Baskets as Graphs: What Bread Says About Butter",
        "Shops know which goods are bought together. We join goods and buyers in one graph, pass messages "
        "along its edges, and recommend what the basket still lacks.",
    ),
    (
        "shops",
        "Recommending to People Who Have Bought Nothing",
        "A new customer leaves no trace. We place newcomers among old ones by the first page they read, and "
        "the graph around them does the rest.",
    ),
    (
        "speech",
        "Hearing Speech Through a Kettle",
        "Kitchens are loud. A small network learns which part of a recording is water and leaves the words to "
        "the recogniser.",
    ),
    (
        "vision",
        "How Many Sheep Are in This Field?",
        "Counting animals from the air fails where they stand close. We count heads and shadows apart and let "
        "the two counts agree.",
    ),
    (
        "language",
        "Proverbs Do Not Translate, but Their Use Does",
        "A proverb is chosen for an occasion. We translate the occasion, look for a proverb of the other "
        "language that fits it, and ask readers.",
    ),
    (
        "shops",
        "Friends of Friends of Songs",
        "Two songs that nobody heard together may still share a listener's friend. Walks of length four in "
        "the graph of listening find them.",
    ),
    (
        "robots",
        "Pouring Tea Without Spilling",
        "A robot arm learns from the sound of filling cups when to stop. It has spilled nothing since March.",
    ),
    (
        "vision",
        "Reading Handwriting by Candlelight",
        "Old letters were photographed in poor light. We learn what candles do to ink and undo it before we read.",
    ),
    (
        "language",
        "A Dictionary for Words That Are Not There Yet",
        "New words follow old patterns. Given the patterns, a model proposes meanings for words before "
        "anybody says them.",
    ),
    (
        "shops",
        "Forgetting What Was Bought as a Gift",
        "One present should not shape a year of recommendations. We find purchases that fit no other and "
        "weigh them down.",
    ),
    (
        "speech",
        "Whispering to Machines",
        "Whispers have no pitch. We train on pairs of spoken and whispered sentences, and the error falls by half.",
    ),
    (
        "robots",
        "Doors Open Both Ways",
        "Robots pull doors that want to be pushed. A look at the hinges settles it in nine cases of ten.",
    ),
    (
        "language",
        "Long Sentences and the Patience of Readers",
        "We measure where readers give up. The place is predicted by open brackets better than by length.",
    ),
    (
        "vision",
        "Maps Drawn from Memory",
        "People drew the way home. We align the drawings with the town and learn which corners everybody remembers.",
    ),
    (
        "shops",
        "Graph Networks That Explain a Recommendation in One Path",
        "Of all paths between a reader and a book we show the one whose removal changes the score most.",
    ),
    (
        "biology",
        "Whale Songs Change in Spring",
        "Forty years of recordings show that a new phrase spreads from west to east within one season.",
    ),
    (
        "language",
        "Questions Without Answers",
        "A model that must answer will invent. We teach it the sentence that nothing is known, and when to say it.",
    ),
    (
        "vision",
        "Glass, Water and Other Things That Are Hard to See",
        "Transparent things show what is behind them, bent. The bending gives them away.",
    ),
    (
        "robots",
        "Sorting Socks",
        "Pairs are found by texture rather than colour. The drawer stays in order for a week.",
    ),
    (
        "speech",
        "Who Spoke When at a Family Dinner",
        "Six people talk at once. Seats, turns and laughter tell the voices apart.",
    ),
    (
        "shops",
        "Menus for One Hundred Guests",
        "A menu pleases a group if it displeases nobody. We search for dishes with the best worst guest.",
    ),
    (
        "language",
        "Letters to the Editor, Sorted by Anger",
        "Anger shows in verbs. A scale learned from one newspaper holds for three others.",
    ),
    (
        "biology",
        "Counting Bees by Their Hum",
        "The number of wings in a hive is heard in the spread of its tone, day and night.",
    ),
    (
        "vision",
        "Colours of Old Photographs",
        "Grey values leave many colours open. The clothes of a decade leave fewer.",
    ),
]
AUTHORS = ("Ada Moor", "Bruno Field", "Clara Stone", "Dmitri Vale", "Elif Brook", "Farid Glen", "Grete Heath")
NEWEST = date(2026, 7, 2)


@pytest.fixture(autouse=True)
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the index before every answer: what is added in a test shows at once."""
    monkeypatch.setattr(papers_service, "_LOOK_AGAIN_S", 0.0)


@pytest.fixture(scope="session")
def invented() -> dict[str, list[Any]]:
    """Columns of papers that nobody wrote, six days of four."""
    places = range(len(INVENTED))
    return {
        "id": [f"2607.{200 + place:05}" for place in places],
        "text": [f"{title}. {text}" for _, title, text in INVENTED],
        "date": [NEWEST - timedelta(days=place // 4) for place in places],
        "title": [title for _, title, _ in INVENTED],
        "authors": [[AUTHORS[(place + step) % 7] for step in range(1 + place % 3)] for place in places],
        "categories": [[name] + ["graphs"] * ("raph" in title + text) for name, title, text in INVENTED],
        "url": [f"https://example.org/papers/{place}" for place in places],
    }
