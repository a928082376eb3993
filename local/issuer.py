"""The local issuer of tokens: its private key is made here and never leaves this machine."""

import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from jwt.algorithms import RSAAlgorithm

from local.processes import write_atomically

ALL_SCOPES = ("prices:write", "fills:write", "instruments:write", "admin")
LIFETIME_S = 12 * 3600
JWKS_FILE = "jwks.json"


@dataclass(frozen=True)
class Issuer:
    """Signs tokens (RS256) for one issuer name and audience."""

    key: RSAPrivateKey
    issuer: str
    audience: str

    def token(self, subject: str, scopes: Iterable[str] = (), *, lifetime_s: int = LIFETIME_S) -> str:
        """A signed token for `subject`, valid from now for `lifetime_s` seconds."""
        now_s = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "scope": " ".join(scopes),
            "iat": now_s,
            "exp": now_s + lifetime_s,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": key_id(self.key)})


def load_key(home: Path) -> RSAPrivateKey:
    """The key that lies in `home`; the first use makes it, readable by its owner only."""
    path = home / "issuer" / "private.pem"
    if not path.exists():
        key = generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        write_atomically(path, pem, mode=0o600)
    key_on_disk = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key_on_disk, RSAPrivateKey):
        raise ValueError(f"{path} holds no RSA key; delete it and a new one is made")
    return key_on_disk


def key_id(key: RSAPrivateKey) -> str:
    """Names the key in tokens and in the JWKS; derived from the key, so a new key has a new name."""
    return sha256(str(key.public_key().public_numbers().n).encode()).hexdigest()[:16]


def publish(key: RSAPrivateKey, folder: Path) -> None:
    """Write the public key as a JSON Web Key Set into a folder that holds nothing else: it is served as it is."""
    public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    jwks = {"keys": [{**public, "kid": key_id(key), "use": "sig", "alg": "RS256"}]}
    write_atomically(folder / JWKS_FILE, json.dumps(jwks, indent=2))
