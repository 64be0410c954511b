"""Faces as they are: rendered heads that training never saw, photographs, any folder of pictures.

`line` says what they speak, `performers` make them speak, `heads` and `pictures` measure it, `sheet` shows it.
"""
