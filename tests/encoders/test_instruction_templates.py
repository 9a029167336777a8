"""Templates: what they put before a text, and that they find its end again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.encoders import TEMPLATES, Instructions, InstructionTemplate
from embedworks.foundation import InputError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nv-embed", "Instruct: Find it\nQuery: red boats"),
        ("kalm-embedding", "Instruct: Find it \n Query: red boats"),
        ("codiemb", "Instruction: Find it Query: red boats"),
        ("Task: {instruction}; text: {text}", "Task: Find it; text: red boats"),
    ],
)
def test_the_prompt_before_a_text_gives_the_pattern_filled_in(name: str, expected: str) -> None:
    assert InstructionTemplate(name).prompt("Find it") + "red boats" == expected


@given(instruction=st.text(min_size=1), text=st.text(), name=st.sampled_from(sorted(TEMPLATES)))
def test_the_border_is_where_the_prompt_ends(instruction: str, text: str, name: str) -> None:
    template = InstructionTemplate(name)
    try:
        prompt = template.prompt(instruction)
    except InputError:
        assert not instruction.strip() or template.between[:-1] in instruction
        return
    assert template.border(prompt + text) == len(prompt)


@pytest.mark.parametrize("text", ["", "red", "Instruct: without an end", "a text: Instruct: x\nQuery: y"])
def test_a_text_without_instruction_has_no_border(text: str) -> None:
    assert InstructionTemplate("nv-embed").border(text) == 0


@pytest.mark.parametrize(
    "pattern",
    [
        "unknown",
        "Instruct: {instruction}",
        "{instruction}: {text}",
        "Instruct: {instruction}{text}",
        "Instruct: {instruction} Query: {text} Answer:",
        "{text} Instruct: {instruction} Query: ",
        "A {instruction} B {instruction} C {text}",
        "A {text} B {instruction} C {text}",
    ],
)
def test_patterns_that_cannot_be_told_from_the_text_are_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="neither the name of a template") as caught:
        InstructionTemplate(pattern)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("instruction", ["", "  ", "one\nQuery: two"])
def test_instructions_that_end_early_or_say_nothing_are_refused(instruction: str) -> None:
    with pytest.raises(InputError) as caught:
        Instructions(query=instruction)
    assert "\n" not in str(caught.value)


def test_queries_and_documents_have_their_own() -> None:
    instructions = Instructions(query="Find it")
    assert instructions.prompts() == {"query": "Instruct: Find it\nQuery: ", "document": ""}
    assert instructions.default_prompt_name is None
    both = Instructions(template="codiemb", query="Compare", document="Compare")
    assert both.prompts()["document"] == "Instruction: Compare Query: "
    assert both.default_prompt_name == "query"
