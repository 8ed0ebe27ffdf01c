"""Ed25519 signatures (RFC 8032) of files, kept beside them: `snapshot.safetensors.sig`.

A signature says that the file is, byte by byte, what the holder of a key signed. Who that is, nobody but the receiver
can say: a public key has to come by another way than the file.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from t2igan.config.strict_json import read_group
from t2igan.errors import UserError
from t2igan.inference.files import read_small, write_json, write_secret, write_text

FORMAT = "t2igan signature 1"
SUFFIX = ".sig"


@dataclasses.dataclass(frozen=True)
class Signed:
    """What was found beside a file."""

    state: str  # "none", "valid", "invalid"
    fingerprint: str = ""  # of the key, 16 hexadecimal digits
    why: str = ""  # of an invalid one

    @property
    def text(self) -> str:
        """What there is to say, in a line."""
        if self.state == "none":
            return "no signature beside the file"
        if self.state == "invalid":
            return f"the signature beside the file does not hold: {self.why}"
        return f"signed, and unchanged since, by the key {self.fingerprint}"


def make_keys(out: Path, password: str = "") -> tuple[Path, Path, str]:
    """Writes a private key (PKCS 8, mode 0600) to OUT.key and the public one to OUT.pub.

    Args:
      out: the files' common name.
      password: encrypts the private key; "" = it lies there as it is.

    Returns:
      The two files, and the fingerprint of the public key.

    Raises:
      UserError: a file is there already, or cannot be written; the package `cryptography` is missing.
    """
    serialization, ed25519 = _library()
    private, public = out.with_name(out.name + ".key"), out.with_name(out.name + ".pub")
    key = ed25519.Ed25519PrivateKey.generate()
    encryption = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    if public.exists():
        raise UserError(f"{public} is there already; keys are not overwritten, so give another --out")
    write_secret(private, pem)
    write_text(public, _pem(key.public_key()))
    return private, public, fingerprint_of(key.public_key())


def sign(path: Path, private: Path, password: str = "") -> tuple[Path, str]:
    """Signs a file: writes FILE.sig beside it; returns that and the key's fingerprint.

    Raises:
      UserError: the file or the key cannot be read, or the password is wrong.
    """
    serialization, ed25519 = _library()
    try:
        key = serialization.load_pem_private_key(read_small(private), password.encode() if password else None)
    except (ValueError, TypeError) as error:
        raise UserError(f"{private} is no private key that can be read ({error}); was its password given?") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UserError(f"{private} is a key of another kind; `t2igan keys --out=NAME` makes one of Ed25519")
    digest = _sha256(path)
    signature = {
        "format": FORMAT,
        "file": path.name,
        "sha256": digest.hex(),
        "public_key": base64.b64encode(_raw(key.public_key())).decode(),
        "signature": base64.b64encode(key.sign(_message(digest))).decode(),
    }
    beside = path.with_name(path.name + SUFFIX)
    write_json(beside, signature)
    return beside, fingerprint_of(key.public_key())


def signed(path: Path, trusted: Path | None = None) -> Signed:
    """Checks the signature beside a file.

    Args:
      path: the file that it is of.
      trusted: a file with the public key that it has to be of; None = of any key.

    Raises:
      UserError: the key or the file cannot be read, or the package `cryptography` is missing.
    """
    beside = path.with_name(path.name + SUFFIX)
    if not beside.is_file():
        return Signed("none")
    serialization, ed25519 = _library()
    try:
        found = read_group(read_small(beside), str(beside))
        public = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(found["public_key"], validate=True))
        signature = base64.b64decode(found["signature"], validate=True)
    except (UserError, KeyError, TypeError, ValueError):
        return Signed("invalid", why="its file is damaged")
    fingerprint = fingerprint_of(public)
    if trusted is not None:
        try:
            wanted = serialization.load_pem_public_key(read_small(trusted))
        except ValueError as error:
            raise UserError(f"{trusted} is no public key that can be read; give the .pub file of a signer") from error
        if _pem(wanted) != _pem(public):
            return Signed("invalid", fingerprint, f"it is of the key {fingerprint}, not of {trusted}")
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, _message(_sha256(path)))
    except InvalidSignature:
        return Signed("invalid", fingerprint, "the file is another one than was signed, or was changed")
    return Signed("valid", fingerprint)


def fingerprint_of(public: Any) -> str:
    """Returns 16 hexadecimal digits by which two people can tell that they mean the same public key."""
    return hashlib.sha256(_raw(public)).hexdigest()[:16]


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise UserError("signatures need a package: pip install 't2igan[sign]'") from error
    return serialization, ed25519


def _message(digest: bytes) -> bytes:
    """What is signed: with the format's name before it, so that it can be taken for nothing else."""
    return FORMAT.encode() + b"\n" + digest


def _sha256(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _raw(public: Any) -> bytes:
    serialization, _ = _library()
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _pem(public: Any) -> str:
    serialization, _ = _library()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
