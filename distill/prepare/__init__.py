"""`fada prepare`: a folder of talking-head videos becomes clips of a still head with their sound.

The files in the order in which a video flows: media (decode to 25 fps and 16 kHz) → faces (find) → track (follow,
cut) → framing (head-stabilised canvas) → sync, quality, tracks (measure, grade) → dataset (store, read) → report.
`source` runs them on one video, `command` on a folder. Only `faces` needs the extra package of the extra `prepare`.
"""
