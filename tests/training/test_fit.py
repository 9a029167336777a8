"""fit_pairs: it learns, leaves nothing behind, resumes to the last bit, and stops when told to."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from embedworks.data import Pairs
from embedworks.foundation import EmbedworksError, InputError, NonFiniteError, StorageError
from embedworks.objectives import InfoNCE
from embedworks.training import ContrastiveLoss, TrainingInterruptedError, TrainingSettings, fit_pairs
from embedworks.training.batches import PairBatches
from embedworks.training.schedule import Budget

# 22 pairs in batches of 8 are 3 steps an epoch: 8 steps cross two epoch borders.
SETTINGS = TrainingSettings(
    epochs=100, max_steps=8, batch_size=8, learning_rate=1e-3, checkpoint_every_steps=2, keep_checkpoints=2
)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Acts once, at the beginning of a step counted from 1 within this process."""
    begin, count = Budget.begin_step, [0]

    def counted(self: Budget) -> None:
        count[0] += 1
        if count[0] == step:
            act()
        begin(self)

    monkeypatch.setattr(Budget, "begin_step", counted)


class PowerCutError(Exception):
    pass


def cut() -> None:
    raise PowerCutError


def test_it_learns_the_pairs(tiny_model, pairs):
    model = tiny_model()
    log = fit_pairs(model, pairs, replace(SETTINGS, max_steps=60))
    assert log.steps == len(log.losses) == len(log.gradient_norms) == len(log.learning_rates) == 60
    assert log.epochs == 20
    assert log.stopped_by == "steps"
    assert sum(log.losses[-5:]) < sum(log.losses[:5]) / 4
    similarity = torch.tensor(model.encode(pairs.queries) @ model.encode(pairs.positives).T)
    assert (similarity.argmax(dim=1) == torch.arange(22)).float().mean() > 0.9
    assert log.learning_rates[0] > 0
    assert max(log.learning_rates) <= SETTINGS.learning_rate
    assert log.learning_rates[-1] < SETTINGS.learning_rate / 50
    json.dumps(log.to_dict(), allow_nan=False)


@pytest.mark.parametrize("changes", [{}, {"mini_batch_size": 5}, {"precision": "bfloat16"}])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(tiny_model, pairs, changes):
    settings = replace(SETTINGS, **changes)
    runs = []
    for seed in (0, 0, 1):
        model = tiny_model()
        log = fit_pairs(model, pairs, replace(settings, seed=seed))
        runs.append((log.losses, weights(model)))
    assert runs[0][0] == runs[1][0]
    assert equal(runs[0][1], runs[1][1])
    assert runs[0][0] != runs[2][0]


def test_cached_follows_plain(tiny_model, pairs):
    def losses(**changes) -> tuple[float, ...]:
        model = tiny_model()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # masks are drawn in the order of encoding, which the two do not share
        return fit_pairs(model, pairs, replace(SETTINGS, learning_rate=1e-4, **changes)).losses

    assert losses(mini_batch_size=3) == pytest.approx(losses(), rel=1e-4)


@pytest.mark.parametrize(
    ("cut_at", "changes"),
    [
        (1, {}),  # before the first checkpoint
        (3, {}),  # right after one
        (4, {}),  # in the second epoch, from a checkpoint in the first
        (8, {"mini_batch_size": 5}),  # in the third epoch
        (6, {"mini_batch_size": 5, "precision": "bfloat16"}),
        (7, {"symmetric": True, "gradient_clip": None}),
    ],
)
def test_resume_is_exact(tiny_model, pairs, tmp_path, monkeypatch, changes, cut_at):
    settings = replace(SETTINGS, **changes)
    whole_model, seen = tiny_model(), []
    collate = PairBatches.collate
    monkeypatch.setattr(PairBatches, "collate", lambda self, rows: (seen.append(rows.tolist()), collate(self, rows))[1])
    whole = fit_pairs(whole_model, pairs, settings, out=tmp_path / "whole")
    batches_of_whole = list(seen)

    with monkeypatch.context() as context:
        at_step(context, cut_at, cut)
        with pytest.raises(PowerCutError):
            fit_pairs(tiny_model(), pairs, settings, out=tmp_path / "cut")
    torch.rand(17)  # the process goes on to other things
    seen.clear()
    model = tiny_model()
    log = fit_pairs(model, pairs, replace(settings, resume=True), out=tmp_path / "cut")

    saved = (cut_at - 1) // 2 * 2
    assert log.resumed_from == (saved or None)
    assert seen == batches_of_whole[saved:]
    assert log.losses == whole.losses
    assert log.gradient_norms == whole.gradient_norms
    assert log.learning_rates == whole.learning_rates
    assert equal(weights(model), weights(whole_model))
    for name in ("model.safetensors", "optimizer.safetensors", "random.safetensors"):
        first, second = (load_file(tmp_path / run / "checkpoints" / "step-00000008" / name) for run in ("whole", "cut"))
        assert equal(first, second), name


def test_resuming_twice_and_a_finished_run(tiny_model, pairs, tmp_path, monkeypatch):
    whole_model = tiny_model()
    whole = fit_pairs(whole_model, pairs, SETTINGS)
    for cut_at in (4, 4):
        with monkeypatch.context() as context:
            at_step(context, cut_at, cut)
            with pytest.raises(PowerCutError):
                fit_pairs(tiny_model(), pairs, replace(SETTINGS, resume=True), out=tmp_path)
    for _ in range(2):  # the second finds the training finished and only loads it
        model = tiny_model()
        log = fit_pairs(model, pairs, replace(SETTINGS, resume=True), out=tmp_path)
        assert log.losses == whole.losses
        assert log.stopped_by == "steps"
        assert equal(weights(model), weights(whole_model))
    assert log.resumed_from == 8


def test_a_damaged_newest_checkpoint_costs_only_its_steps(tiny_model, pairs, tmp_path, monkeypatch, caplog):
    whole_model = tiny_model()
    fit_pairs(whole_model, pairs, SETTINGS)
    with monkeypatch.context() as context:
        at_step(context, 6, cut)
        with pytest.raises(PowerCutError):
            fit_pairs(tiny_model(), pairs, SETTINGS, out=tmp_path)
    os.truncate(tmp_path / "checkpoints" / "step-00000004" / "model.safetensors", 1_000)
    model = tiny_model()
    with caplog.at_level(logging.WARNING):
        log = fit_pairs(model, pairs, replace(SETTINGS, resume=True), out=tmp_path)
    assert log.resumed_from == 2
    assert "step 4 is passed over" in caplog.text
    assert equal(weights(model), weights(whole_model))


def test_checkpoints_of_another_run_are_refused(tiny_model, pairs, tmp_path):
    fit_pairs(tiny_model(), pairs, SETTINGS, out=tmp_path)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(InputError, match="holds checkpoints of an earlier run"):
        fit_pairs(tiny_model(), pairs, SETTINGS, out=tmp_path)
    with pytest.raises(InputError, match=r"learning_rate was 0\.001 and is 0\.002"):
        fit_pairs(tiny_model(), pairs, replace(SETTINGS, learning_rate=2e-3, resume=True), out=tmp_path)
    fewer = Pairs.from_columns(pairs.queries[:20], pairs.positives[:20])
    with pytest.raises(InputError, match="the pairs are others"):
        fit_pairs(tiny_model(), fewer, replace(SETTINGS, resume=True), out=tmp_path)
    other = tiny_model()
    other.append(torch.nn.Linear(16, 8))
    with pytest.raises(InputError, match="the model is of another form"):
        fit_pairs(other, pairs, replace(SETTINGS, resume=True), out=tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    fit_pairs(tiny_model(), pairs, replace(SETTINGS, resume=True, keep_checkpoints=7), out=tmp_path)  # may change


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_saves_and_resumes_exactly(tiny_model, pairs, tmp_path, monkeypatch, number, code):
    whole_model = tiny_model()
    fit_pairs(whole_model, pairs, SETTINGS)
    before = signal.getsignal(number)
    with monkeypatch.context() as context:
        at_step(context, 3, lambda: os.kill(os.getpid(), number))
        with pytest.raises(TrainingInterruptedError) as caught:
            fit_pairs(tiny_model(), pairs, SETTINGS, out=tmp_path)
    assert caught.value.exit_code == code
    assert isinstance(caught.value, EmbedworksError)
    assert "after step 3" in str(caught.value)
    assert signal.getsignal(number) is before
    model = tiny_model()
    log = fit_pairs(model, pairs, replace(SETTINGS, resume=True), out=tmp_path)
    assert log.resumed_from == 3
    assert equal(weights(model), weights(whole_model))


def test_sigkill_at_many_moments_ends_in_the_same_bits(tiny_folder, tiny_model, pairs, tmp_path):
    settings = replace(SETTINGS, max_steps=40, checkpoint_every_steps=1)
    whole_model = tiny_model()
    whole = fit_pairs(whole_model, pairs, settings)
    pairs.write(tmp_path / "pairs.parquet")
    command = [sys.executable, str(Path(__file__).with_name("killed_run.py")), str(tiny_folder), str(tmp_path)]
    command.append(json.dumps(settings.to_dict() | {"resume": True}))
    kills = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        for seconds_after_next_checkpoint in (0.0, 0.011, 0.017, 0.005, 0.023, 0.031, None):
            server.stdin.write("run\n")
            server.stdin.flush()
            child = int(server.stdout.readline())
            if seconds_after_next_checkpoint is not None:
                before = _steps(tmp_path)
                while _steps(tmp_path) == before and Path(f"/proc/{child}").exists():
                    time.sleep(0.001)
                time.sleep(seconds_after_next_checkpoint)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            kills += int(server.stdout.readline()) == -signal.SIGKILL
        server.stdin.close()
        assert server.wait(30) == 0
    assert kills >= 3
    assert json.loads((tmp_path / "log.json").read_text())["losses"] == list(whole.losses)
    assert equal(load_file(tmp_path / "final.safetensors"), weights(whole_model))


def _steps(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "run" / "checkpoints").glob("step-*"))


def test_time_is_kept_and_the_learning_rate_has_decayed(tiny_model, pairs):
    # Exact bounds are tested with a clock of our own in test_schedule; a busy machine needs room here.
    log = fit_pairs(tiny_model(), pairs, replace(SETTINGS, epochs=1e6, max_steps=None, max_minutes=2 / 60))
    assert 1.0 < log.seconds < 2.5
    assert log.stopped_by == "time"
    assert log.learning_rates[-1] < 0.3 * SETTINGS.learning_rate
    assert max(log.learning_rates) > 0.6 * SETTINGS.learning_rate


def test_time_counts_over_resumed_runs(tiny_model, pairs, tmp_path, monkeypatch):
    settings = replace(SETTINGS, epochs=1e6, max_steps=None, max_minutes=2 / 60, checkpoint_every_steps=1, resume=True)
    with monkeypatch.context() as context:
        at_step(context, 8, cut)
        with pytest.raises(PowerCutError):
            fit_pairs(tiny_model(), pairs, settings, out=tmp_path)
    started = time.monotonic()
    log = fit_pairs(tiny_model(), pairs, settings, out=tmp_path)
    assert log.resumed_from == 7
    assert log.seconds > time.monotonic() - started
    assert log.seconds < 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_before_the_update(tiny_model, pairs, tmp_path, monkeypatch, value):
    forward, count = InfoNCE.forward, [0]

    def broken(self, *args, **kwargs):
        count[0] += 1
        loss = forward(self, *args, **kwargs)
        return loss * value if count[0] == 3 else loss

    monkeypatch.setattr(InfoNCE, "forward", broken)
    model = tiny_model()
    with pytest.raises(NonFiniteError, match=r"step 3, batch in .*non-finite-step-00000003\.json: the loss is"):
        fit_pairs(model, pairs, replace(SETTINGS, checkpoint_every_steps=1), out=tmp_path)
    report = json.loads((tmp_path / "non-finite-step-00000003.json").read_text())
    assert report["step"] == 3
    assert report["what"] == "loss"
    assert report["query_ids"] == [f"q{row}" for row in report["rows"]]
    assert len(report["rows"]) == 6  # the last batch of the first epoch
    assert equal(weights(model), load_file(tmp_path / "checkpoints" / "step-00000002" / "model.safetensors"))


@pytest.mark.parametrize("gradient_clip", [1.0, None])
def test_a_gradient_that_is_no_number_stops_before_the_update(tiny_model, pairs, tmp_path, gradient_clip):
    model = tiny_model()
    before = weights(model)
    parameter = next(model.parameters())
    parameter.register_hook(lambda gradient: torch.full_like(gradient, torch.inf))
    with pytest.raises(NonFiniteError, match=r"gradient norm is (inf|nan)"):
        fit_pairs(model, pairs, replace(SETTINGS, gradient_clip=gradient_clip), out=tmp_path)
    assert equal(weights(model), before)


def test_nothing_is_pickled_printed_or_left_behind(tiny_model, pairs, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    model = tiny_model().eval()
    longest = model.max_seq_length
    capfd.readouterr()
    fit_pairs(model, pairs, replace(SETTINGS, max_tokens=9, frozen_layers=1), out=Path("run"), progress=True)
    written = capfd.readouterr()
    assert written.out == ""
    assert "Training" in written.err
    assert "8/8" in written.err
    assert written.err.strip().count("\n") == 0
    assert not list(scratch.iterdir())
    assert [path.name for path in tmp_path.iterdir() if path != scratch] == ["run"]
    files = {path.name for path in Path("run").rglob("*") if path.is_file()}
    assert files == {
        ".lock", "manifest.json", "model.safetensors", "optimizer.safetensors", "random.safetensors",
        "trainer_state.json", "training.json",
    }  # fmt: skip
    assert model.max_seq_length == longest
    assert not model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())

    fit_pairs(model, pairs, SETTINGS)
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")


def test_frozen_layers_stay(tiny_model, pairs):
    model = tiny_model()
    before = weights(model)
    fit_pairs(model, pairs, replace(SETTINGS, frozen_layers=1))
    changed = {name for name, tensor in weights(model).items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(".layer.1." in name for name in changed if "pooler" not in name)
    with pytest.raises(InputError, match="frozen_layers is 3, and the model has 2 layers"):
        fit_pairs(model, pairs, replace(SETTINGS, frozen_layers=3))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_texts_are_cut_to_max_tokens(tiny_model, pairs, monkeypatch):
    widths = set()
    encode = ContrastiveLoss._encode
    monkeypatch.setattr(
        ContrastiveLoss, "_encode", lambda self, part: (widths.add(part["input_ids"].shape[1]), encode(self, part))[1]
    )
    fit_pairs(tiny_model(), pairs, replace(SETTINGS, max_tokens=6, max_steps=3))
    assert max(widths) == 6


def test_a_single_pair_has_nothing_to_learn(tiny_model):
    one = Pairs.from_columns(["w1"], ["w2"])
    log = fit_pairs(tiny_model(), one, replace(SETTINGS, max_steps=2, batch_size=1))
    assert log.losses == (0.0, 0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0.0}, {"max_steps": 0}, {"max_minutes": -1.0}, {"batch_size": 0}, {"learning_rate": float("nan")},
        {"warmup_share": 1.0}, {"temperature": 0.0}, {"hard_negatives_per_query": -1}, {"max_tokens": 0},
        {"mini_batch_size": 0}, {"precision": "int8"}, {"gradient_clip": 0.0}, {"keep_checkpoints": 0}, {"seed": -1},
        {"in_batch_negatives": "some"},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(changes):
    (name,) = changes
    with pytest.raises(InputError, match=f"training settings: {name} is"):
        TrainingSettings(**changes)


@pytest.mark.parametrize("changes", [{"hard_negatives_per_query": 0}, {"symmetric": True}])
def test_what_needs_in_batch_negatives_is_refused_without_them(changes):
    (name,) = changes
    with pytest.raises(InputError, match=f"{name} is .*in_batch_negatives='off'"):
        TrainingSettings(in_batch_negatives="off", **changes)


def test_without_in_batch_negatives_hard_ones_are_wanted(tiny_model, pairs, caplog):
    settings = replace(SETTINGS, in_batch_negatives="off", max_steps=1)
    for none in (Pairs.from_columns(["w1"], ["w2"]), Pairs.from_columns(["w1"], ["w2"], negatives=[[]])):
        with pytest.raises(InputError, match="no pair has hard negatives"):
            fit_pairs(tiny_model(), none, settings)
    with caplog.at_level(logging.WARNING):
        fit_pairs(tiny_model(), pairs, settings)
    assert "6 of 22 pairs have no hard negatives" in caplog.text


def test_several_processes_are_refused(tiny_model, pairs, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="several processes"):
        fit_pairs(tiny_model(), pairs, SETTINGS)


def test_a_full_disk_stops_the_run_in_one_line(tiny_model, pairs, tmp_path, monkeypatch):
    def full(*_args) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("embedworks.training.training_state.save_file", full)
    with pytest.raises(StorageError, match=r"step 2 was not written \(No space left on device\)"):
        fit_pairs(tiny_model(), pairs, SETTINGS, out=tmp_path)


def test_the_room_loads_nothing_heavy_until_a_name_is_used():
    code = (
        "import sys, embedworks.training as room; assert 'torch' not in sys.modules; "
        "assert room.TrainingSettings().batch_size == 32; assert 'torch' not in sys.modules; "
        "assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
