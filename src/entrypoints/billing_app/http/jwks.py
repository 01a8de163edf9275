"""Read a JSON Web Key Set (RFC 7517): the keys in it that can verify a token's signature."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from billing_app.http.tokens import VerificationKey

_MAX_KEYS: Final = 100
_MIN_RSA_BITS: Final = 2048


class KeySetError(Exception):
    """The issuer's answer is not a usable key set. The text gives the reason and quotes nothing of the answer."""


@attrs.frozen
class PublishedKey:
    """A key and its `kid`, the name that its issuer gave it."""

    id: str | None
    key: VerificationKey


def read_key_set(body: bytes) -> Sequence[PublishedKey]:
    """Return the keys that can verify tokens; others are left out. Raises KeySetError if there are none."""
    try:
        listed = json.loads(body)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeySetError("the issuer's answer is not a key set") from None
    keys = list(_usable(listed[:_MAX_KEYS])) if isinstance(listed, list) else []
    if not keys:
        raise KeySetError("the issuer's key set contains no RS256 or ES256 key for signatures")
    return keys


def _usable(listed: Iterable[Any]) -> Iterable[PublishedKey]:
    for each in listed:
        key = _verification_key(each) if isinstance(each, dict) else None
        if key is not None:
            key_id = each.get("kid")
            yield PublishedKey(key_id if isinstance(key_id, str) else None, key)


def _verification_key(described: dict[str, Any]) -> VerificationKey | None:
    """Build a key with the algorithm that its type allows; None if it is secret, weak or for another use."""
    algorithm = {"RSA": "RS256", "EC": "ES256"}.get(str(described.get("kty")))
    operations = described.get("key_ops", ["verify"])
    for_signatures = (
        described.get("alg", algorithm) == algorithm
        and described.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )
    if algorithm is None or not for_signatures:
        return None
    try:
        material = jwt.PyJWK(described, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        return None
    # A private key is an instance of another type.
    rsa = isinstance(material, RSAPublicKey) and material.key_size >= _MIN_RSA_BITS
    ec = isinstance(material, EllipticCurvePublicKey) and isinstance(material.curve, SECP256R1)
    return VerificationKey(algorithm, material) if rsa or ec else None
