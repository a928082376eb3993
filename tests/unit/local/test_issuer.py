import json
import stat
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from local.issuer import JWKS_FILE, Issuer, load_key, publish


def test_a_token_is_verified_by_the_published_key(tmp_path: Path) -> None:
    key = load_key(tmp_path)
    token = Issuer(key, "an-issuer", "an-audience").token("alice", ["prices:write", "admin"], lifetime_s=60)
    publish(key, tmp_path / "jwks")
    keys = jwt.PyJWKSet.from_dict(json.loads((tmp_path / "jwks" / JWKS_FILE).read_text()))
    public = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, public, algorithms=["RS256"], audience="an-audience", issuer="an-issuer")
    assert claims["sub"] == "alice"
    assert claims["scope"] == "prices:write admin"
    assert claims["exp"] - claims["iat"] == 60
    assert claims["jti"]


def test_what_is_published_holds_no_private_part(tmp_path: Path) -> None:
    publish(load_key(tmp_path), tmp_path / "jwks")
    assert [path.name for path in (tmp_path / "jwks").iterdir()] == [JWKS_FILE]
    (key,) = json.loads((tmp_path / "jwks" / JWKS_FILE).read_text())["keys"]
    assert set(key) <= {"kty", "n", "e", "kid", "use", "alg", "key_ops"}


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first, second = load_key(tmp_path), load_key(tmp_path)
    assert first.private_numbers() == second.private_numbers()
    (path,) = (tmp_path / "issuer").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_holds_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    key = generate_private_key(SECP256R1())
    (tmp_path / "issuer").mkdir()
    path = tmp_path / "issuer" / "private.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ValueError, match="holds no RSA key"):
        load_key(tmp_path)
