"""The live server: one caller's voice in, a face that speaks with it out.

Folders in the order in which data flows. `tests/test_rooms.py` holds who may know whom.

    rtc        an offer becomes a connection; the data channel; all that touches aiortc's private names
    inbound    microphone -> one gapless timeline -> 16 kHz
    engine     windows, whose turn it is and at which cost (admission, degradation), frames (the only torch here)
    outbound   frames and voice on one clock, encoded, and sent when due; the same packets to everybody
    calls      what a caller owns: session, viewers, figures, the registry of all
    avatars    the faces on offer
    offline    the same engine on files
    app, serve, middleware     the HTTP side
    media, clock, errors       shared by all

Three things run against the stream, each a plain value: a picture track tells the pacer how long encoding takes,
a session asks the pacer for its windows' deadlines, and a viewer's wish for a key frame goes back to the encoder.
"""
