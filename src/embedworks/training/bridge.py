"""The bridge to SentenceTransformerTrainer: its loop, with our batches, loss, schedule, guards and checkpoints."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback

from embedworks.foundation import StorageError
from embedworks.training import training_state
from embedworks.training.batches import PairBatches
from embedworks.training.checkpoints import CheckpointStore
from embedworks.training.contrastive_loss import ContrastiveLoss
from embedworks.training.guards import FiniteGuard, StopSignal
from embedworks.training.schedule import Budget, learning_rate_factor
from embedworks.training.settings import TrainingSettings


class EmbeddingTrainer(SentenceTransformerTrainer):
    """A SentenceTransformerTrainer that survives kills, stops on NaN, keeps to a time, and pickles nothing.

    What differs from its parent: the batches come from :class:`PairBatches`, one pass over which is the whole run;
    the learning rate follows a :class:`Budget`; the loss and the gradient norm are checked before each update; a
    checkpoint is a sealed directory of safetensors and JSON in a :class:`CheckpointStore`; nothing is printed.

    Args:
        model: The encoder, trained in place on the device it is on.
        loss: The loss over its vectors.
        batches: The batches of the whole run.
        settings: What the run is told.
        budget: How far the run is.
        guard: Stops the run on a value that is not finite.
        stop: Remembers a signal.
        store: Where checkpoints go; none are written where None.
        identity: Facts that a checkpoint must share with a run that resumes from it.
        on_step: Called after each step with the number of steps taken.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        loss: ContrastiveLoss,
        batches: PairBatches,
        settings: TrainingSettings,
        budget: Budget,
        guard: FiniteGuard,
        stop: StopSignal,
        store: CheckpointStore | None,
        identity: dict[str, Any],
        on_step: Callable[[int], None],
    ) -> None:
        self.batches = batches
        self.settings = settings
        self.budget = budget
        self.guard = guard
        self.store = store
        self.identity = identity
        self.losses: list[float] = []
        self.gradient_norms: list[float] = []
        self.learning_rates: list[float] = []
        # The parent makes its output folder at once and never writes there; a killed run would leave it behind.
        with tempfile.TemporaryDirectory(prefix="embedworks-training-") as unused:
            super().__init__(
                model=model,
                args=_arguments(Path(unused), model, settings, batches.total_steps),
                loss=loss,
                callbacks=[_StepWatcher(self, stop, on_step)],
            )
        self.remove_callback(PrinterCallback)  # it prints to standard output

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add nothing: whoever saves the model writes its card, and the parent's callback reads all the data."""

    def get_train_dataloader(self) -> PairBatches:  # type: ignore[override]  # it is iterated and measured, no more
        """Return our batches: they are seeded, resumable and tokenised already."""
        return self.batches

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LRScheduler:
        """Make the learning rate follow the budget."""
        scheduler = LambdaLR(
            optimizer or self.optimizer,  # type: ignore[arg-type]  # the parent makes it before the scheduler
            lambda step: learning_rate_factor(self.budget.share(step), self.settings.warmup_share),
        )
        self.lr_scheduler = scheduler
        self._created_lr_scheduler = True
        return scheduler

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Take the gradient of one batch, and stop where the loss is not finite."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        value = loss.item()
        self._check("loss", value)
        self.losses.append(value)
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm: Any = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        value = float(norm)
        self._check("gradient norm", value)
        self.gradient_norms.append(value)
        self.learning_rates.append(float(self._learning()[1].get_last_lr()[0]))
        return norm

    def _check(self, name: str, value: float) -> None:
        self.guard.check(name, value, step=self.state.global_step + 1, rows=self.batches.rows.tolist())

    def _learning(self) -> tuple[Optimizer, LRScheduler]:
        if self.optimizer is None or self.lr_scheduler is None:
            raise RuntimeError("the parent's loop makes optimiser and scheduler before the first step")
        return self.optimizer, self.lr_scheduler

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if self.store is None:
            return
        optimizer, scheduler = self._learning()
        step = self.state.global_step
        facts = {
            "step": step,
            "position": self.batches.position(step),
            "seconds": self.budget.elapsed(),
            "scheduler": scheduler.state_dict(),
            "losses": self.losses,
            "gradient_norms": self.gradient_norms,
            "learning_rates": self.learning_rates,
        }

        def write(folder: Path) -> None:
            training_state.write_state(folder, self.model, optimizer, facts)
            self.state.save_to_json(str(folder / TRAINER_STATE_NAME))

        metadata = {**self.identity, "finished": self.finished()}
        self.budget.note_save(self.store.save(step, write, metadata=metadata))

    def finished(self) -> bool:
        """Return whether a bound of the training has been reached."""
        return self.state.global_step >= self.batches.total_steps or self.budget.out_of_time()

    def _load_from_checkpoint(self, checkpoint_path: str, model: nn.Module | None = None) -> None:
        training_state.load_weights(Path(checkpoint_path), self.model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        facts = training_state.read_facts(folder)
        if facts["position"] != self.batches.position(facts["step"]):
            raise StorageError("the order of the data is not that of this run", where=checkpoint)
        optimizer, scheduler = self._learning()
        training_state.load_optimizer(folder, optimizer)
        scheduler.load_state_dict(facts["scheduler"])
        self.batches.start = facts["step"]
        self.budget.credit(facts["seconds"])
        self.losses = list(facts["losses"])
        self.gradient_norms = list(facts["gradient_norms"])
        self.learning_rates = list(facts["learning_rates"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            training_state.load_random_state(Path(checkpoint))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # The parent would add training_args.bin, a pickle.
        self.model.save_pretrained(output_dir or str(self.args.output_dir))


class _StepWatcher(TrainerCallback):
    """Ends the run at its bounds or on a signal, and asks for checkpoints."""

    def __init__(self, trainer: EmbeddingTrainer, stop: StopSignal, on_step: Callable[[int], None]) -> None:
        self._trainer = trainer
        self._stop = stop
        self._on_step = on_step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.budget.begin_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer = self._trainer
        trainer.budget.end_step()
        self._on_step(state.global_step)
        ends = trainer.finished() or self._stop.received is not None
        control.should_training_stop = control.should_training_stop or ends
        if trainer.store is not None:
            control.should_save = ends or state.global_step % trainer.settings.checkpoint_every_steps == 0


def _arguments(
    folder: Path, model: SentenceTransformer, settings: TrainingSettings, total_steps: int
) -> SentenceTransformerTrainingArguments:
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        max_steps=total_steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.gradient_clip or 0.0,
        optim="adamw_torch_fused",
        seed=settings.seed,
        save_strategy="no",  # the callback asks for checkpoints
        eval_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,  # it would put the running mean in the place of a NaN
        report_to="none",
        disable_tqdm=True,
        ignore_data_skip=True,  # our batches start where they are told to
        use_cpu=model.device.type == "cpu",
    )
    if torch.cuda.is_available():
        arguments._n_gpu = min(arguments.n_gpu, 1)  # several devices in one process would split the batch's negatives
    return arguments
