"""The DTLS suites of a connection: aiortc's, and one for peers whose certificate is RSA.

aiortc offers suites for ECDSA certificates alone, so that a peer with an RSA one (GStreamer, ZLMediaKit) shares no
cipher with it (aiortc #1392, #1434). Which suite is used is the peer's certificate's matter: browsers, whose
certificates are ECDSA, take what they took.
"""

from __future__ import annotations

from typing import Final

from aiortc import RTCCertificate, RTCPeerConnection
from aiortc.rtcdtlstransport import SRTPProtectionProfile
from OpenSSL import SSL

from stream.rtc.private_names import CERTIFICATES, read_private

CIPHERS: Final = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256",
    b"ECDHE-ECDSA-CHACHA20-POLY1305",
    b"ECDHE-ECDSA-AES128-SHA",
    b"ECDHE-ECDSA-AES256-SHA",
    b"ECDHE-RSA-AES128-GCM-SHA256",
)


def welcome_rsa(peer: RTCPeerConnection) -> None:
    """Let a peer connection speak with peers of RSA certificates too. Call it before it has a transceiver."""
    certificates: list[RTCCertificate] = read_private(peer, CERTIFICATES)
    for certificate in certificates:
        _add_suite(certificate)


def _add_suite(certificate: RTCCertificate) -> None:
    create = certificate._create_ssl_context

    def create_ssl_context(srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        context = create(srtp_profiles)
        context.set_cipher_list(b":".join(CIPHERS))
        return context

    certificate._create_ssl_context = create_ssl_context  # type: ignore[method-assign]
