"""Certificates, and connections encrypted with them.

Neither the Postgres nor the Valkey of the wheels is built with TLS, so a terminator in front of each encrypts: the
client's side, which decides whom it trusts, is the same as with a server that does so itself.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.relay import pump

SSL_REQUEST = bytes((0, 0, 0, 8, 4, 210, 22, 47))
"""A Postgres client's first message, if it wants TLS; the server replies `S` and the handshake follows."""


_ONLY_FOR_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
"""The use of an authority's key, which clients from Python 3.13 on want to read."""


class Authority:
    """A certificate authority of one test's own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / f"{name}.pem"
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name(name)
        builder = _certificate(self._name, self._name, self._key)
        for extension in (x509.BasicConstraints(ca=True, path_length=None), _ONLY_FOR_CERTIFICATES):
            builder = builder.add_extension(extension, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), False)
        self.file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def certify(self, host: str) -> ssl.SSLContext:
        """Return what a server needs to prove that it is `host`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate(host))
        return context

    def certificate(self, host: str) -> Path:
        """Write a key and its certificate for `host` to one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _certificate(_common_name(host), self._name, key)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        for extension in (x509.SubjectAlternativeName([x509.DNSName(host)]), issuer):
            builder = builder.add_extension(extension, critical=False)
        chain = self._folder / f"{host}-{key.public_key().public_numbers().x}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain.write_bytes(private + builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return chain


@asynccontextmanager
async def encrypted(url: str, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Yield a port on loopback that accepts Postgres or Redis over TLS, and nothing else, for the server at `url`."""
    server = urlsplit(url)
    postgres = server.scheme.startswith("postgres")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if postgres:
                if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                    return
                writer.write(b"S")
            await writer.start_tls(context)
            await pump(reader, writer, server.hostname or "127.0.0.1", server.port or 0)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client does not trust this certificate
        finally:
            writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1]


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
