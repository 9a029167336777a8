"""The budget with a clock of our own, and the learning rate that follows it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.training.schedule import Budget, learning_rate_factor


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(budget: Budget, clock: Clock, seconds_of_step) -> list[float]:
    """Simulates training; returns the factor of each step."""
    factors, step = [], 0
    while step < budget.total_steps:
        factors.append(learning_rate_factor(budget.share(step), 0.1))
        budget.begin_step()
        clock.now += seconds_of_step(step)
        budget.end_step()
        step += 1
        if budget.out_of_time():
            break
    return factors


def test_by_steps_alone_the_factors_are_the_midpoints_of_a_triangle():
    clock = Clock()
    factors = run(Budget(10, clock=clock), clock, lambda step: 1.0)
    wanted = [0.5, *((1 - share) / 0.9 for share in (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95))]
    assert factors == pytest.approx(wanted)


@given(
    seconds=st.floats(20, 200),
    speeds=st.lists(st.floats(0.2, 2.0), min_size=1, max_size=20),
    save=st.floats(0, 3),
    before=st.floats(0, 5),
)
def test_a_run_bounded_by_time_ends_in_time_and_decayed(seconds, speeds, save, before):
    clock = Clock()
    budget = Budget(1_000_000, seconds, started=clock.now - before, clock=clock)
    budget.note_save(save)
    factors = run(budget, clock, lambda step: speeds[step % len(speeds)])
    largest = max(speeds)
    # A step may be slower than the slowest of the last eight by what the speeds differ, never by more.
    assert budget.elapsed() + save <= seconds + largest - min(speeds)
    assert budget.elapsed() + save >= seconds - 2 * largest
    assert factors[-1] <= (3 * largest / (seconds - save)) / 0.9
    falling = factors[factors.index(max(factors)) :]
    assert all(first >= second for first, second in itertools.pairwise(falling))


def test_seconds_of_earlier_runs_count():
    clock = Clock()
    budget = Budget(100, 60, clock=clock)
    budget.credit(59)
    budget.begin_step()
    clock.now += 2
    budget.end_step()
    assert budget.elapsed() == 61
    assert budget.out_of_time()


def test_steps_win_where_they_are_further():
    clock = Clock()
    budget = Budget(4, 1_000, clock=clock)
    assert len(run(budget, clock, lambda step: 1.0)) == 4
    assert budget.share(3) == 0.875
    assert budget.estimated_steps(2) == 4


def test_estimated_steps_follow_the_measured_step():
    clock = Clock()
    budget = Budget(1_000, 100, clock=clock)
    for _ in range(3):
        budget.begin_step()
        clock.now += 2
        budget.end_step()
    assert budget.estimated_steps(3) == 3 + 47


@given(share=st.floats(0, 1), warmup=st.floats(0, 0.99))
def test_factor_lies_between_zero_and_one(share, warmup):
    assert 0 <= learning_rate_factor(share, warmup) <= 1
