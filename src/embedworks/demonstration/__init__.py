"""The main job from one end to the other, on the documentation of the Python packages installed on this machine.

Comes in: nothing but the machine. Goes out: a tuned model, a judged comparison, an index, answered queries.
Start reading at ``run``.
"""

from embedworks.demonstration.run import Demonstration, Plan, demonstrate

__all__ = ["Demonstration", "Plan", "demonstrate"]
