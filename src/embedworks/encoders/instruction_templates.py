"""Instruction templates as data: what is put before a text, which texts get it, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from embedworks.foundation import InputError

TEMPLATES: Final = {
    "nv-embed": "Instruct: {instruction}\nQuery: {text}",
    "kalm-embedding": "Instruct: {instruction} \n Query: {text}",
    "codiemb": "Instruction: {instruction} Query: {text}",
}
"""The patterns the papers print, by name: NV-Embed (as E5 and LLM2Vec), KaLM-Embedding, CoDiEmb."""

_INSTRUCTION, _TEXT = "{instruction}", "{text}"


@dataclass(frozen=True)
class InstructionTemplate:
    r"""A pattern with ``{instruction}`` once and ``{text}`` once, at the end.

    Args:
        pattern: The name of one of :data:`TEMPLATES`, or a pattern such as ``"Task: {instruction}; text: {text}"``.
            Something must stand before the instruction and between the two, so that its end can be found again.

    Raises:
        InputError: The pattern is none of these.

    Example:
        >>> template = InstructionTemplate("nv-embed")
        >>> template.prompt("Find the answer")
        'Instruct: Find the answer\nQuery: '
        >>> template.border("Instruct: Find the answer\nQuery: who?"), template.border("who?")
        (33, 0)
    """

    pattern: str

    def __post_init__(self) -> None:
        pattern = TEMPLATES.get(self.pattern, self.pattern)
        head, found, rest = pattern.partition(_INSTRUCTION)
        between, text, tail = rest.partition(_TEXT)
        if not found or not text or tail or not head or not between or _INSTRUCTION in rest or _TEXT in head:
            raise InputError(
                f"{self.pattern!r} is neither the name of a template nor a pattern of this form",
                where="instruction template",
                mend=f"use one of {', '.join(TEMPLATES)}, or for example 'Task: {{instruction}}; text: {{text}}'",
            )
        object.__setattr__(self, "pattern", pattern)

    @property
    def head(self) -> str:
        """What stands before the instruction."""
        return self.pattern.partition(_INSTRUCTION)[0]

    @property
    def between(self) -> str:
        """What stands between instruction and text."""
        return self.pattern.partition(_INSTRUCTION)[2].partition(_TEXT)[0]

    def prompt(self, instruction: str) -> str:
        """Return what is put before a text.

        Args:
            instruction: The task in words.

        Raises:
            InputError: The instruction is empty, or holds what would end it early.
        """
        if not instruction.strip():
            raise InputError("the instruction is empty", where="instruction template", mend="say the task in words")
        if self.between in instruction + self.between[:-1]:
            raise InputError(
                f"the instruction holds {self.between!r}, where the template has it end",
                where="instruction template",
                mend="word it otherwise, or use another template",
            )
        return f"{self.head}{instruction}{self.between}"

    def border(self, text: str) -> int:
        """Return where in a text the instruction ends, in characters; 0 where the text begins with none."""
        if not text.startswith(self.head):
            return 0
        found = text.find(self.between, len(self.head))
        return 0 if found < 0 else found + len(self.between)


@dataclass(frozen=True)
class Instructions:
    """Which texts of an encoder get which instruction, and whether its tokens are pooled.

    Args:
        template: The name of one of :data:`TEMPLATES`, or a pattern.
        query: Instruction of queries; None for none.
        document: Instruction of documents; None for none. Where both have the same (symmetric tasks such as STS),
            ``encode`` puts it before every text.
        pooled: Whether the instruction's tokens take part in the pooling. Either way the text's tokens attend to them.
    """

    template: str = "nv-embed"
    query: str | None = None
    document: str | None = None
    pooled: bool = False

    def __post_init__(self) -> None:
        self.prompts()

    @property
    def pattern(self) -> str:
        """The template's pattern."""
        return InstructionTemplate(self.template).pattern

    @property
    def default_prompt_name(self) -> str | None:
        """The name of the prompt that every text gets, if there is one for all."""
        return "query" if self.query is not None and self.query == self.document else None

    def prompts(self) -> dict[str, str]:
        """Return what is put before queries and before documents, as sentence-transformers stores it.

        Raises:
            InputError: The template or an instruction does not do.
        """
        template = InstructionTemplate(self.template)
        given = {"query": self.query, "document": self.document}
        return {name: "" if text is None else template.prompt(text) for name, text in given.items()}
