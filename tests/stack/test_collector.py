"""The shipped configs of the collector, run by the real binary."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import subprocess
from contextlib import suppress
from pathlib import Path

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from receivers import OtlpReceiver
from stack.otlp_requests import gateway_into, logs, record, send, span, traces
from stack.servers import REPOSITORY, TOKEN, Server, binary

COLLECTOR = REPOSITORY / "collector"


def validate(*configs: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [binary("otelcol"), "validate", *(f"--config={COLLECTOR / config}" for config in configs)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("configs", [("gateway.yaml",), ("gateway.yaml", "tls.yaml"), ("agent.yaml",)], ids="+".join)
def test_each_config_is_valid_with_a_token_and_refused_without_one(configs: tuple[str, ...]) -> None:
    """Neither a missing nor an empty token starts a collector that anybody may send to."""
    done = validate(*configs, OTEL_ML_TOKEN=TOKEN)
    assert done.returncode == 0 and not done.stderr, done.stderr
    for environment in ({}, {"OTEL_ML_TOKEN": ""}):
        done = validate(*configs, **environment)
        assert done.returncode != 0 and "no bearer token provided" in done.stderr
        command = [binary("otelcol"), *(f"--config={COLLECTOR / config}" for config in configs)]
        started = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
        assert started.returncode != 0


@pytest.mark.parametrize("percentage", ["100", "100.0", "1", "0.5", ".5", "0"])
def test_a_sampling_percentage_may_be_any_decimal_number(percentage: str) -> None:
    """It is a number for the sampler and a constant of a condition, which read it in their own ways."""
    assert validate("gateway.yaml", OTEL_ML_TOKEN=TOKEN, OTEL_ML_SAMPLING_PERCENTAGE=percentage).returncode == 0


def over_grpc(server: Server, token: str | None) -> grpc.StatusCode:
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(server.otlp_grpc) as channel:
        try:
            TraceServiceStub(channel).Export(traces([span()]), metadata=metadata, timeout=30)
        except grpc.RpcError as error:
            return error.code()  # type: ignore[attr-defined]
    return grpc.StatusCode.OK


def test_without_the_token_nothing_gets_in(tmp_path: Path) -> None:
    """A missing and a wrong one are refused over both protocols, and only what came with the right one is stored."""
    with OtlpReceiver() as stores, gateway_into(stores, tmp_path) as server:
        for token in (None, "wrong", TOKEN[:-1]):
            for request in (traces([span()]), logs([record("x")])):
                assert send(server, request, token).status_code == 401
            assert over_grpc(server, token) == grpc.StatusCode.UNAUTHENTICATED
        assert send(server, traces([span()])).status_code == 200
        assert over_grpc(server, TOKEN) == grpc.StatusCode.OK
        assert send(server, logs([record("the one")])).status_code == 200
        assert len(stores.wait("traces", 2)) == 2
        assert [one.body.string_value for one in stores.wait("logs", 1)] == ["the one"]


def test_the_tls_overlay_encrypts_both_protocols(tmp_path: Path) -> None:
    """A client that trusts the certificate gets through with the token; one without TLS does not."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    files = {"OTEL_ML_TLS_CERTIFICATE": tmp_path / "tls.crt", "OTEL_ML_TLS_KEY": tmp_path / "tls.key"}
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    files["OTEL_ML_TLS_CERTIFICATE"].write_bytes(pem)
    files["OTEL_ML_TLS_KEY"].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    environment = {variable: str(file) for variable, file in files.items()}
    with OtlpReceiver() as stores, gateway_into(stores, tmp_path, COLLECTOR / "tls.yaml", **environment) as server:
        url = server.otlp.replace("http://", "https://") + "/v1/traces"
        headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {TOKEN}"}
        context = ssl.create_default_context(cafile=files["OTEL_ML_TLS_CERTIFICATE"])
        content = traces([span()]).SerializeToString()
        assert httpx.post(url, content=content, headers=headers, verify=context).status_code == 200
        with grpc.secure_channel(server.otlp_grpc, grpc.ssl_channel_credentials(pem)) as channel:
            metadata = [("authorization", f"Bearer {TOKEN}")]
            TraceServiceStub(channel).Export(traces([span()]), metadata=metadata, timeout=30)
        with suppress(httpx.HTTPError):  # it closes the connection, with or without an answer
            assert not send(server, traces([span()])).is_success
        assert over_grpc(server, TOKEN) == grpc.StatusCode.UNAVAILABLE
        assert len(stores.wait("traces", 2)) == 2
