"""What a drawing style changes: line weight, softness and depth of shadow, rim, colour and grain.

In: an `Identity`; out: a `Look`, one value a picture, shaped (B, 1, 1, 1) or (B, 3, 1, 1) for painting.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distill.corpus.drawn.canvas import per_picture
from distill.corpus.drawn.identity import Identity
from distill.corpus.drawn.palette import saturate

# rows: soft, ink, gouache, glow, pastel; columns: line width px, line alpha, shadow edge softness,
# shadow depth, rim strength, saturation, grain, gloss, lightening
_STYLE_TABLE = (
    (1.2, 0.22, 0.60, 0.62, 0.35, 1.00, 0.000, 1.00, 0.00),
    (2.2, 0.80, 0.10, 0.52, 0.15, 1.04, 0.000, 0.80, 0.00),
    (1.4, 0.30, 0.28, 0.66, 0.08, 0.88, 0.011, 0.30, 0.02),
    (1.0, 0.18, 0.45, 0.78, 0.95, 1.16, 0.000, 1.35, 0.00),
    (1.7, 0.42, 0.40, 0.42, 0.30, 0.84, 0.006, 0.70, 0.12),
)


@dataclass(frozen=True, slots=True)
class Look:
    """Style values and finished colours of B pictures, ready to paint."""

    line: Tensor
    line_alpha: Tensor
    softness: Tensor
    depth: Tensor
    rim: Tensor
    grain: Tensor
    gloss: Tensor
    skin: Tensor
    skin_shadow: Tensor
    skin_light: Tensor
    skin_line: Tensor
    hair: Tensor
    hair_shadow: Tensor
    hair_light: Tensor
    lip: Tensor
    iris: Tensor
    cloth: Tensor
    accent: Tensor
    frame: Tensor
    back_a: Tensor
    back_b: Tensor
    light: Tensor
    light_x: Tensor


def look_of(who: Identity) -> Look:
    """Return the style values and colours of each character."""
    table = torch.tensor(_STYLE_TABLE, device=who.device)[who.style]
    line, line_alpha, softness, depth, rim, saturation, grain, gloss, lift = (
        per_picture(c) for c in table.unbind(-1)
    )

    def finish(colour: Tensor) -> Tensor:
        colour = saturate(colour, saturation.view(-1, 1))
        return per_picture(colour + (1.0 - colour) * lift.view(-1, 1))

    skin, hair, light = finish(who.skin), finish(who.hair), per_picture(who.light_tint)
    warm = skin.new_tensor([0.80, 0.60, 0.58]).view(1, 3, 1, 1)
    violet = skin.new_tensor([0.66, 0.50, 0.72]).view(1, 3, 1, 1)
    skin_shadow = skin * torch.lerp(warm, violet, (rim - 0.2).clamp(0.0, 0.7))
    hair_light = torch.lerp(hair, (hair * 1.35 + 0.16) * light, 0.75).clamp(0.0, 1.0)
    return Look(
        line=line,
        line_alpha=line_alpha,
        softness=softness,
        depth=depth,
        rim=rim,
        grain=grain,
        gloss=gloss,
        skin=skin,
        skin_shadow=skin_shadow,
        skin_light=(skin + (light - skin) * 0.30).clamp(0.0, 1.0),
        skin_line=skin * skin.new_tensor([0.42, 0.26, 0.28]).view(1, 3, 1, 1),
        hair=hair,
        hair_shadow=hair * hair.new_tensor([0.55, 0.50, 0.60]).view(1, 3, 1, 1),
        hair_light=hair_light,
        lip=finish(who.lip),
        iris=finish(who.iris),
        cloth=finish(who.cloth),
        accent=finish(who.accent),
        frame=per_picture(who.frame),
        back_a=finish(who.back_a),
        back_b=finish(who.back_b),
        light=light,
        light_x=per_picture(who.light_x),
    )
