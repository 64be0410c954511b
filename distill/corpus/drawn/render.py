"""One call that draws pictures: identity and channels in, RGB out.

For many frames of the same characters keep a `Character`, which draws what does not move only once.
"""

from __future__ import annotations

from torch import Tensor

from distill.corpus.drawn.canvas import Box
from distill.corpus.drawn.character import Character
from distill.corpus.drawn.identity import Identity


def render(identity: Identity, mouth: Tensor, expression: Tensor, box: Box | None = None) -> Tensor:
    """Draw one picture of each character.

    Args:
        identity: B characters.
        mouth: (B, 6) per `models.face.MOUTH_DIMS`.
        expression: (B, 4) per `models.face.EXPRESSION_DIMS`.
        box: (left, top, width, height) to draw; None means the whole canvas.

    Returns:
        (B, 3, H, W) float32 in [0, 1] on the identity's device.
    """
    return Character(identity, box).frames(mouth.unsqueeze(1), expression.unsqueeze(1))[:, 0]
