"""A small decoder learned from plain texts: it learns, it is causal, and it is found again."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from embedworks.encoders import attention_direction, decoder_config, load_backbone, train_tokenizer
from embedworks.foundation import InputError, NonFiniteError
from embedworks.training.causal_pretraining import (
    PretrainedDecoder,
    PretrainingSettings,
    _batches,
    _rate,
    _token_blocks,
    pretrain_causal_decoder,
)

TEXTS = [f"the {colour} {thing} is near the {place}" for colour in ("red", "green", "blue", "grey")
         for thing in ("cup", "lamp", "chair", "book") for place in ("door", "window", "wall", "stairs")]  # fmt: skip
SETTINGS = PretrainingSettings(steps=40, block_length=16, batch_blocks=8, learning_rate=5e-3)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(TEXTS, vocabulary=300, max_length=32)


@pytest.fixture(scope="module")
def config(tokenizer: Any) -> Any:
    return decoder_config(vocabulary=len(tokenizer), layers=2, dimension=32, heads=2, max_length=32)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("decoders")


@pytest.fixture(scope="module")
def decoder(config: Any, tokenizer: Any, cache: Path) -> PretrainedDecoder:
    return pretrain_causal_decoder(TEXTS, config=config, tokenizer=tokenizer, settings=SETTINGS, cache=cache)


def test_it_starts_at_chance_and_learns(decoder: PretrainedDecoder, tokenizer: Any) -> None:
    assert decoder.untrained_loss == pytest.approx(math.log(len(tokenizer)), abs=0.3)
    assert decoder.held_out_loss < 0.6 * decoder.untrained_loss


def test_what_is_saved_is_a_causal_backbone_with_its_tokenizer(decoder: PretrainedDecoder, tokenizer: Any) -> None:
    backbone = load_backbone(decoder.path)
    assert attention_direction(backbone.model) == "causal"
    text = "the red cup is near the door"
    assert backbone.tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert backbone.tokenizer(text)["input_ids"][-1] == tokenizer.eos_token_id


def test_the_same_inputs_are_learned_once(
    decoder: PretrainedDecoder, config: Any, tokenizer: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedworks.training.causal_pretraining._train", lambda *_a, **_k: pytest.fail("trained again"))
    again = pretrain_causal_decoder(
        [*reversed(TEXTS), TEXTS[0]], config=config, tokenizer=tokenizer, settings=SETTINGS, cache=cache
    )
    assert again == decoder


@pytest.mark.parametrize("change", ["texts", "settings", "config"])
def test_other_inputs_are_another_decoder(
    change: str, decoder: PretrainedDecoder, config: Any, tokenizer: Any, cache: Path
) -> None:
    other = pretrain_causal_decoder(
        TEXTS[1:] if change == "texts" else TEXTS,
        config=decoder_config(vocabulary=len(tokenizer), layers=1, dimension=32, heads=2, max_length=32)
        if change == "config"
        else config,
        tokenizer=tokenizer,
        settings=PretrainingSettings(steps=1, block_length=16, seed=1) if change == "settings" else SETTINGS,
        cache=cache,
    )
    assert other.path != decoder.path


def test_a_damaged_decoder_is_learned_again(config: Any, tokenizer: Any, tmp_path: Path) -> None:
    settings = PretrainingSettings(steps=2, block_length=16)
    first = pretrain_causal_decoder(TEXTS, config=config, tokenizer=tokenizer, settings=settings, cache=tmp_path)
    weights = first.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    again = pretrain_causal_decoder(TEXTS, config=config, tokenizer=tokenizer, settings=settings, cache=tmp_path)
    assert again.held_out_loss == first.held_out_loss
    assert load_backbone(again.path).model.config.num_hidden_layers == 2


def test_the_same_seed_gives_the_same_weights_and_the_callers_generator_is_left_alone(
    config: Any, tokenizer: Any, tmp_path: Path
) -> None:
    settings = PretrainingSettings(steps=3, block_length=16)
    before = torch.random.get_rng_state()
    paths = [
        pretrain_causal_decoder(
            TEXTS, config=config, tokenizer=tokenizer, settings=settings, cache=tmp_path / name
        ).path
        for name in ("a", "b")
    ]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (paths[0] / "model.safetensors").read_bytes() == (paths[1] / "model.safetensors").read_bytes()


def test_sequences_hold_each_token_once_and_none_is_in_both_parts(tokenizer: Any) -> None:
    training, held_out, tokens = _token_blocks(TEXTS, tokenizer, SETTINGS)
    expected = sum(len(tokenizer.backend_tokenizer.encode(text).ids) for text in TEXTS)
    assert tokens == expected
    assert len(training) + len(held_out) == expected // 16
    ends = int((training == tokenizer.eos_token_id).sum() + (held_out == tokenizer.eos_token_id).sum())
    assert len(TEXTS) - 16 <= ends <= len(TEXTS)


def test_a_pass_takes_each_sequence_at_most_once(tokenizer: Any) -> None:
    training, _, _ = _token_blocks(TEXTS, tokenizer, SETTINGS)
    batches = _batches(training, SETTINGS)
    first_pass = torch.cat([next(batches) for _ in range(len(training) // SETTINGS.batch_blocks)])
    positions = {tuple(row) for row in training.tolist()}
    assert all(tuple(row) in positions for row in first_pass.tolist())
    assert len(first_pass) == len(training) // 8 * 8


def test_the_learning_rate_rises_then_falls_to_a_tenth() -> None:
    rates = [_rate(step, 100) for step in range(101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0.1)


def test_too_little_text_is_refused(config: Any, tokenizer: Any, tmp_path: Path) -> None:
    for texts in ([], ["one"]):
        with pytest.raises(InputError, match="too few"):
            pretrain_causal_decoder(texts, config=config, tokenizer=tokenizer, settings=SETTINGS, cache=tmp_path)
    assert not (tmp_path / "decoders").exists()


def test_a_loss_that_is_no_number_stops_the_run(config: Any, tokenizer: Any, tmp_path: Path) -> None:
    settings = PretrainingSettings(steps=30, block_length=16, learning_rate=1e30)
    with pytest.raises(NonFiniteError, match="lower the learning rate"):
        pretrain_causal_decoder(TEXTS, config=config, tokenizer=tokenizer, settings=settings, cache=tmp_path)
    assert not list(tmp_path.glob("decoders/*"))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"block_length": 1}, {"batch_blocks": 0}, {"learning_rate": 0.0}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        PretrainingSettings(**wrong)
