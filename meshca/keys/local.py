"""A private key in this process."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from meshca.errors import Misconfigured
from meshca.keys.algorithms import PrivateKey, PublicKey, algorithm_of

_SMALLEST_RSA = 2048


class LocalSigner:
    """Signs with a key that is held in memory; never waits."""

    remote = False

    def __init__(self, private_key: PrivateKey) -> None:
        self._private_key = private_key
        self._public_key = private_key.public_key()
        self._arguments = algorithm_of(self._public_key).arguments

    def __repr__(self) -> str:
        return f"<LocalSigner {type(self._public_key).__name__}>"

    @property
    def public_key(self) -> PublicKey:
        return self._public_key

    def sign(self, tbs: bytes) -> bytes:
        return self._private_key.sign(tbs, *self._arguments)

    def pkcs8(self) -> bytes:
        """The private key as unencrypted PKCS#8 DER, for sealing and for the hand-over to a worker."""
        return self._private_key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @classmethod
    def from_pkcs8(cls, der: bytes) -> LocalSigner:
        """Raises Misconfigured when the bytes are not a private key of a type that we use."""
        try:
            key = serialization.load_der_private_key(der, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise Misconfigured("the stored issuer key is not a PKCS#8 private key") from None
        return cls(usable(key))

    @classmethod
    def from_pem(cls, text: bytes, *, password: bytes | None, source: str) -> LocalSigner:
        """Read a PEM private key (PKCS#8, SEC 1 or PKCS#1), encrypted or not.

        Raises Misconfigured, naming ``source``, when it cannot be read or is of another type.
        """
        try:
            key = serialization.load_pem_private_key(text, password=password)
        except TypeError as error:
            need = (
                "is not encrypted: give no passphrase"
                if "is not encrypted" in str(error)
                else "is encrypted: give its passphrase"
            )
            raise Misconfigured(f"the private key in {source} {need}") from None
        except (ValueError, UnsupportedAlgorithm):
            wrong = "" if password is None else ", or its passphrase is wrong"
            raise Misconfigured(f"{source} holds no readable PEM private key{wrong}") from None
        return cls(usable(key))


def usable(key: object) -> PrivateKey:
    """The key itself when it is of a type with which we sign. Raises Misconfigured."""
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Misconfigured(f"a private key of type {type(key).__name__} cannot be used: use P-256, P-384 or RSA")
    algorithm_of(key.public_key())
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < _SMALLEST_RSA:
        raise Misconfigured(f"an RSA key of {key.key_size} bits cannot be used: use {_SMALLEST_RSA} or more")
    return key
