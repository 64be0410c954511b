"""WebRTC by aiortc: offers, connections, the data channel. The only folder that touches aiortc's private names."""
