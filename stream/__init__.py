"""The live server: one caller's voice in, a face that speaks with it out.

Folders in the order in which data flows. `tests/test_rooms.py` holds who may know whom.

    rtc        an offer becomes a connection; the data channel; all that touches aiortc's private names
    inbound    microphone -> one gapless timeline -> 16 kHz
    engine     windows, whose turn it is and at which cost (admission, degradation), frames (the only torch here)
    outbound   frames and voice on one clock, encoded, and sent when due; the same packets to everybody
    live       the seam: a face without any network, who may be heard by it, what they ask for
    calls      one face and its callers, one after the other; viewers, figures, the registry of all
    avatars    the faces on offer
    offline    the same engine on files
    app, serve, middleware, listening, running     the HTTP side
    media, clock, errors, logs                     shared by all

Three things run against the stream, each a plain value: a picture track tells the pacer how long encoding takes,
a face asks the pacer for its windows' deadlines, and a viewer's wish for a key frame goes back to the encoder.
"""
