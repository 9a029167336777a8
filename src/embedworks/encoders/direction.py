"""Which way a backbone attends, found by trying it: an option in a configuration file may have no effect."""

from __future__ import annotations

from typing import Any, Literal

import torch

from embedworks.foundation import InputError

AttentionDirection = Literal["causal", "bidirectional"]

_LENGTH = 8
_PADDING = 3


def attention_direction(model: Any) -> AttentionDirection | Literal["inconsistent"]:
    """Find out whether the first token of a text reacts to the tokens after it.

    Tried without padding, with padding on the left and on the right, because they take different paths through the
    attention code: BERT under ``is_causal=True`` is causal on a batch without padding and bidirectional on all others.

    Args:
        model: A transformers model of text (``PreTrainedModel``).

    Returns:
        ``"causal"`` if the first token never reacts, ``"bidirectional"`` if it always does, else ``"inconsistent"``.

    Raises:
        InputError: The vocabulary is too small to try (fewer than 17 entries).
    """
    reactions = {_first_token_reacts(model, left=left, right=right) for left, right in ((0, 0), (_PADDING, 0), (0, 3))}
    if len(reactions) > 1:
        return "inconsistent"
    return "bidirectional" if reactions.pop() else "causal"


def _first_token_reacts(model: Any, *, left: int, right: int) -> bool:
    config = model.config.get_text_config()
    padding_id = getattr(config, "pad_token_id", None)
    # Some models count positions by comparing ids with the padding id, so it must not stand among the real tokens.
    usable = [token for token in range(config.vocab_size) if token != padding_id]
    if len(usable) < 2 * _LENGTH:
        raise InputError(
            f"the backbone's vocabulary has {config.vocab_size} entries, too few to try its attention",
            mend=f"use one of at least {2 * _LENGTH + 1}",
        )
    step = len(usable) // (2 * _LENGTH)
    tokens = usable[::step][: 2 * _LENGTH]
    first, rest, other_rest = tokens[0], tokens[1:_LENGTH], tokens[_LENGTH + 1 : 2 * _LENGTH]
    filler = [padding_id if padding_id is not None else tokens[_LENGTH]]
    device = next(model.parameters()).device
    batch = torch.tensor(
        [[*filler * left, first, *following, *filler * right] for following in (rest, other_rest)], device=device
    )
    mask = torch.tensor([[0] * left + [1] * _LENGTH + [0] * right] * 2, device=device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        states = model(input_ids=batch, attention_mask=mask).last_hidden_state[:, left].double()  # (2, d)
    model.train(was_training)
    return bool((states[0] - states[1]).abs().max() > 1e-6 * states.abs().max())
