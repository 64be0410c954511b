"""Peers with RSA certificates, as GStreamer makes them: the call runs, whichever side opens DTLS."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiortc import RTCCertificate, RTCSessionDescription
from aiortc.rtcdtlstransport import SRTPProtectionProfile, generate_certificate
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from tests.stream.rig import Caller, running_server


class RsaCertificate(RTCCertificate):
    """A self-signed RSA certificate, with the suites of OpenSSL's own default."""

    @classmethod
    def make(cls) -> RsaCertificate:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return cls(key=key, cert=generate_certificate(key))  # type: ignore[arg-type]

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(b"DEFAULT")
        return context


@pytest.mark.parametrize("setup", ["actpass", "active"])
async def test_a_peer_with_an_rsa_certificate_is_served(setup: str, tmp_path: Path) -> None:
    certificate = RsaCertificate.make()
    async with running_server(tmp_path) as running:
        caller = Caller()
        for transceiver in caller.connection.getTransceivers():
            transceiver.receiver.transport._RTCDtlsTransport__local_certificate = certificate
        caller.connection.sctp.transport._RTCDtlsTransport__local_certificate = certificate
        offer = await caller.offer()
        offer["sdp"] = offer["sdp"].replace("a=setup:actpass", f"a=setup:{setup}")
        response = await running.http.post("/offer", json=offer)
        assert response.status_code == 200, response.text
        answer = response.json()
        await caller.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        await caller.until(lambda: len(caller.received.pictures) > 5, 15)
        await caller.hang_up()
