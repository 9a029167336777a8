"""Counters of the service in the Prometheus text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from embedworks.serving.batching import EncodingQueue
from embedworks.serving.guard import Guard


def metrics_text(queue: EncodingQueue, guards: Sequence[Guard]) -> str:
    """Return the counters, one line each.

    Args:
        queue: The queue whose load and work are counted.
        guards: The guards whose answers are counted, by status.
    """
    answers: Counter[int] = Counter()
    for guard in guards:
        answers.update(guard.answers)
    lines = ["# TYPE embedworks_queue_tokens gauge", f"embedworks_queue_tokens {queue.held_tokens}"]
    for name, value in asdict(queue.counts).items():
        lines += [f"# TYPE embedworks_encode_{name}_total counter", f"embedworks_encode_{name}_total {value}"]
    lines.append("# TYPE embedworks_answers_total counter")
    lines += [f'embedworks_answers_total{{status="{status}"}} {number}' for status, number in sorted(answers.items())]
    return "\n".join(lines) + "\n"
