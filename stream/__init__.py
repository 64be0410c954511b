"""The live server: one caller's voice in, a face that speaks with it out.

Files in the order in which data flows; nothing flows back.

    signalling  lobby  seats  session  peer  ice  playout_delay  an offer becomes a session
    inbound  timeline  concealment  windower               microphone -> gapless 16 kHz -> windows
    engine_stream  scheduler  effort  stepping             whose windows run now, at how many evaluations
    engine_protocol  engine                                windows -> frames (the only torch in this room)
    voice_buffer  pacer  reserve                           frames and voice on one clock, no later than needed
    outbound  encoder  voice_encoder  bit_rate             encoded, and sent when due
    fan_out  broadcast  audience  viewer                   the same packets to everybody who watches
    channel  controls                                      what a caller may turn meanwhile
    telemetry  metrics  pacing_stats                       what is told about it
    app  serve  limits  avatars_catalogue  images          the HTTP side
    render  sound_files  movie                             the same engine offline
    clock  errors  session_state  session_parts            shared by all
"""
