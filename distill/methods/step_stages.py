"""The stages that lower a student's number of steps, by the name of their method.

In: a name. Out: the class, a `StepStage`.
"""

from __future__ import annotations

from distill.methods.adversarial import AdversarialStage
from distill.methods.consistency import ConsistencyStage, StepStage
from distill.methods.dmd import DMDStage

STEP_STAGES: dict[str, type[StepStage]] = {
    "consistency": ConsistencyStage,
    "dmd": DMDStage,
    "adversarial": AdversarialStage,
}
