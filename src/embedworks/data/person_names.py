"""Names of people who do not exist, for generated texts: first names and built surnames, all different."""

from __future__ import annotations

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

_FIRST = (  # noqa: SIM905 - one word a line would fill the file
    "Ada Alba Amos Anna Asa Axel Bela Bess Boris Bram Cara Carl Cleo Cora Dana Dina Doris Edda Egon Elif Elsa Emil "
    "Enid Erik Esme Etta Ezra Faye Finn Flora Freya Gail Gus Hana Hans Hazel Hedda Hugo Ida Ines Ingrid Iris Ivan Jana "
    "Jesper Joan Jonas Juno Kai Karla Kirsten Kurt Lars Leif Lena Leo Lise Lotte Luca Magda Mara Marius Mila Moira "
    "Nadia Nell Nils Nora Olga Omar Oskar Otto Petra Pia Quinn Ravi Rita Rolf Runa Saskia Silas Sonja Sven Tara Thea "
    "Tilda Tobias Ulla Uma Vera Viktor Wanda Wim Yara Yves Zelda Zora"
).split()
_BEGINNINGS = (  # noqa: SIM905 - one word a line would fill the file
    "Alder Amber Arden Birk Blom Bran Calder Castel Corm Dal Drum Elm Ester Fal Fern Gal Glen Grim Hal Hart Holm Kel "
    "Kirk Lark Linden Mal Mar Mor Nor Oster Pen Quill Raven Rook Sel Stein Stern Thorn Val Wester Wil Winter"
).split()
_ENDINGS = (  # noqa: SIM905 - one word a line would fill the file
    "beck berg borough bridge by dale den field ford gard gate ham hurst ley lund mere mont more ness quist shaw son "
    "stead strand ton vik wald well wick wood worth"
).split()


def person_names(number: int, *, seed: int = 0) -> list[str]:
    """Draw different names of made-up people.

    Args:
        number: How many.
        seed: Seed of the draw.

    Returns:
        Names such as "Ada Fernwood", none twice.

    Raises:
        InputError: More are asked for than can be built.

    Example:
        >>> len(set(person_names(1000, seed=3)))
        1000
    """
    surnames = len(_BEGINNINGS) * len(_ENDINGS)
    if not 0 <= number <= len(_FIRST) * surnames:
        raise InputError(
            f"{number} names, and {len(_FIRST) * surnames} can be built", where="names", mend="make fewer documents"
        )
    drawn = random_generator(seed, "person names").permutation(len(_FIRST) * surnames)[:number]
    names = []
    for place in drawn.tolist():
        first, surname = divmod(place, surnames)
        beginning, ending = divmod(surname, len(_ENDINGS))
        names.append(f"{_FIRST[first]} {_BEGINNINGS[beginning]}{_ENDINGS[ending]}")
    return names
