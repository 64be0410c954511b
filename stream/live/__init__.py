"""The seam: a face that lives without any network (`Face`), who may be heard by it (`Caller`), what they ask for
(`Wish`), and the slots of picture and voice that come out. No aiortc here; who comes over WebRTC, a socket or a
room server implements `Caller` elsewhere.
"""
