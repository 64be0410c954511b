"""The face's geometry and its control channels: names that corpus, models and engine share.

No arrays live here, only names and constants, so every room may import it cheaply.

The *canvas* is the square picture of a preset with the head held still ("head-stabilised"). Only the
*face box* inside it changes with speech; the networks see the box alone. Head pose moves the finished
picture afterwards, as a warp (`models.warp`), so that no network capacity is spent on head motion.
"""

from __future__ import annotations

from typing import Final

FPS: Final = 25
SAMPLE_RATE_HZ: Final = 16_000
SAMPLES_PER_FRAME: Final = SAMPLE_RATE_HZ // FPS  # 640
MEL_HZ: Final = 100  # audio features per second: four for each video frame

CANVAS_PX: Final = 256
"""Side of the small preset's square canvas."""

SERVED_PX: Final = 512
"""Side of the pictures that are served where the decoder moves a picture's own pixels."""
LEAST_PX: Final = 256
MOST_PX: Final = 2048
"""Side of the smallest and the largest picture that such a stream draws."""

FACE_BOX: Final = (48, 64, 160, 160)
"""(left, top, width, height) of the face box in canvas pixels: brows to chin, cheek to cheek."""

EYE_LINE_Y: Final = 122
"""Canvas row of the eyes' centres in a well-framed picture (±8)."""
EYE_SPREAD_X: Final = 31
"""Distance in canvas pixels of each eye's centre from the middle column (±5)."""
MOUTH_LINE_Y: Final = 178
"""Canvas row of the closed mouth (±6)."""
CHIN_LINE_Y: Final = 210
"""Canvas row of the chin with the mouth closed (±6); it stays inside the face box when the jaw drops."""

MOUTH_DIMS: Final = ("open", "width", "round", "teeth", "tongue", "tuck")
"""open 0 lips in contact .. 1 widest; width -1 narrow .. 0 rest .. +1 spread; round 0..1 rounded and
protruded; teeth 0..1 upper teeth seen; tongue 0..1 tongue tip raised and seen; tuck 0..1 lower lip under
the upper teeth (f, v)."""

EXPRESSION_DIMS: Final = ("blink", "gaze_x", "gaze_y", "brow")
"""blink 0 open .. 1 closed; gaze -1..1 (right and up positive, as the viewer sees it); brow -1 lowered ..
+1 raised. Given to the denoiser as explicit controls."""

POSE_DIMS: Final = ("yaw", "pitch", "roll", "shift_x", "shift_y", "breath")
"""yaw, pitch, roll in radians (viewer's right, up, clockwise positive); shift in canvas pixels; breath 0..1.
Applied after decoding by the warp; never seen by a network."""
REACH_PX: Final = 80.0
"""How far beyond the canvas's border a pose still moves something of a larger picture, canvas px."""
