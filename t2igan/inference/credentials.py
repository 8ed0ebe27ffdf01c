"""Content credentials (C2PA) in picture files: signed claims that are bound to the file byte by byte.

The library `c2pa-python` writes and reads them. It is native code that parses files of strangers, so it reads in a
process of its own, which may fail, and which neither asks the network nor trusts any certificate but those given.
"""

from __future__ import annotations

import dataclasses
import datetime
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.errors import UserError
from t2igan.inference.files import read_small, write_secret, write_text
from t2igan.inference.provenance import SOURCE_TYPES, picture_bytes

SIGNER_SUFFIX, ROOT_SUFFIX = ".c2pa.pem", ".root.pem"
TEST_NAME = "t2igan test certificate"
VALID_DAYS = 3650  # nothing here stamps times: when a certificate ends, so do all signatures with it
READ_S = 20  # after which a file counts as unreadable
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_CHANGED = ("assertion.dataHash.mismatch", "assertion.hashedURI.mismatch", "claimSignature.mismatch")


@dataclasses.dataclass(frozen=True)
class Signer:
    """Signs picture files as the holder of a certificate."""

    algorithm: str  # of C2PA: "es256", "es384", "es512", "ps256", "ed25519"
    chain: bytes = dataclasses.field(repr=False)  # PEM, the signer's certificate first
    key: bytes = dataclasses.field(repr=False)  # PEM, PKCS 8
    name: str = ""  # of the certificate's subject

    def signed(self, raw: bytes, form: str, source_type: str, version: str) -> bytes:
        """Returns a picture file with content credentials; its pixels, texts and XMP stay as they are.

        Args:
          raw: the file.
          form: "PNG", "JPEG" or "WEBP".
          source_type: the digital source type, as in `t2igan.inference.provenance`; "" for none.
          version: of t2igan.

        Raises:
          UserError: the library refuses the certificate or the file.
        """
        c2pa = _library()
        tool = {"name": "t2igan", "version": version or "0"}
        action = {"action": "c2pa.created", "softwareAgent": tool}
        action |= {"digitalSourceType": SOURCE_TYPES + source_type} if source_type else {}
        claims = {
            "claim_generator_info": [tool],
            "format": MEDIA_TYPES[form],
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
        }
        # Thumbnails are on by default, and a hundred times as large as the picture.
        settings = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_after_sign": False}}
        target = io.BytesIO()
        try:
            signer_info = c2pa.C2paSignerInfo(self.algorithm.encode(), self.chain, self.key, None)
            with (
                c2pa.Context(c2pa.Settings.from_dict(settings)) as context,
                c2pa.Signer.from_info(signer_info) as signer,
                c2pa.Builder(claims, context) as builder,
            ):
                builder.sign(signer, MEDIA_TYPES[form], io.BytesIO(raw), target)
        except c2pa.C2paError as error:
            raise UserError(f"content credentials cannot be written as {self.name!r}: {_first(error)}") from error
        return target.getvalue()


@dataclasses.dataclass(frozen=True)
class Credentials:
    """What the content credentials of a file say, and whether they hold."""

    state: str  # "none", "unread", "unreadable", "invalid", "valid" (of anybody), "trusted"
    signer: str = ""  # the name in the certificate
    tool: str = ""
    why: str = ""  # of what is invalid or cannot be read: codes of C2PA, or the reader's words


def make_certificate(out: Path, name: str = TEST_NAME, password: str = "") -> tuple[Path, Path]:
    """Writes a certificate to sign pictures with, of a root of one's own that nobody trusts who was not told to.

    Args:
      out: OUT.c2pa.pem gets the private key, its certificate and the root's, with mode 0600; OUT.root.pem the root's,
        to be given away. The root's private key is kept nowhere.
      name: in the certificate.
      password: encrypts the private key; "" = it lies there as it is.

    Raises:
      UserError: a file is there already, or cannot be written; the package `cryptography` is missing.
    """
    x509, _, serialization, ec = _cryptography()
    private, root = out.with_name(out.name + SIGNER_SUFFIX), out.with_name(out.name + ROOT_SUFFIX)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = _named(x509, f"{name} (root)")
    root_certificate = _certificate(root_name, root_key.public_key(), root_name, root_key, True)
    certificate = _certificate(_named(x509, name), key.public_key(), root_name, root_key, False)
    encryption = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    parts = [
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption),
        certificate.public_bytes(pem),
        root_certificate.public_bytes(pem),
    ]
    if root.exists():
        raise UserError(f"{root} is there already; keys are not overwritten, so give another --out")
    write_secret(private, b"".join(parts))
    write_text(root, parts[2].decode())
    return private, root


def _named(x509: Any, name: str) -> Any:
    oid = x509.oid.NameOID
    return x509.Name([x509.NameAttribute(oid.ORGANIZATION_NAME, name), x509.NameAttribute(oid.COMMON_NAME, name)])


def _certificate(subject: Any, key: Any, issuer: Any, issuer_key: Any, is_root: bool) -> Any:
    """A certificate as C2PA asks for; a signer's has the extended use "e-mail protection", which its readers accept."""
    x509, hashes, _, _ = _cryptography()
    now = datetime.datetime.now(datetime.UTC)
    no = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    no |= {"encipher_only": False, "decipher_only": False}
    usage = x509.KeyUsage(digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **no)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not is_root:
        use = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION])
        built = built.add_extension(use, critical=False)
    return built.sign(issuer_key, hashes.SHA256())


def read_signer(path: Path, password: str = "") -> Signer:
    """Returns the signer of a PEM file with a private key and its certificates, the signer's first.

    Raises:
      UserError: the file has no such parts, they do not belong together, C2PA refuses the certificate, the
        password is wrong, or a package is missing.
    """
    _library()  # missing now, not after everything is drawn
    x509, _, serialization, ec = _cryptography()
    raw = read_small(path)
    try:
        key = serialization.load_pem_private_key(_part(raw, b"PRIVATE KEY"), password.encode() if password else None)
        certificates = x509.load_pem_x509_certificates(raw)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path} must hold a private key and its certificates as PEM ({_first(error)}); was its password given? "
            "`t2igan keys --kind=certificate --out=NAME` makes one for tests"
        ) from error
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    der = serialization.Encoding.DER
    if key.public_key().public_bytes(der, public) != certificates[0].public_key().public_bytes(der, public):
        raise UserError(
            f"{path}: its first certificate is of another private key; the signer's certificate comes first"
        )
    kind = type(key).__name__
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    algorithm = "ed25519" if "Ed25519" in kind else "ps256" if "RSA" in kind else ""
    algorithm = curves.get(key.curve.name, "") if isinstance(key, ec.EllipticCurvePrivateKey) else algorithm
    if not algorithm:
        raise UserError(
            f"{path} has a private key of the kind {kind}, and C2PA takes P-256, P-384, P-521, Ed25519, RSA"
        )
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    names = certificates[0].subject.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)
    signer = Signer(
        algorithm=algorithm,
        chain=b"".join(certificate.public_bytes(pem) for certificate in certificates),
        key=plain,
        name=str(names[0].value) if names else certificates[0].subject.rfc4514_string(),
    )
    # The library judges a certificate when it signs: now, not after everything is drawn.
    signer.signed(picture_bytes(np.zeros((1, 1, 3), np.uint8), "PNG"), "PNG", "", "")
    return signer


def read_credentials(path: Path, form: str, trusted: Path | None = None) -> Credentials:
    """Returns the content credentials of a picture file; it is read in a process of its own.

    Args:
      path: the file.
      form: as in `t2igan.inference.provenance.Claims`.
      trusted: a file with root certificates (PEM) that count; None = nobody's do.

    Raises:
      UserError: the file of certificates cannot be read.
    """
    anchors = read_small(trusted).decode("ascii", "replace") if trusted is not None else ""
    if trusted is not None and "BEGIN CERTIFICATE" not in anchors:
        raise UserError(f"{trusted} holds no certificate; give the .root.pem of a signer")
    if form not in MEDIA_TYPES or not _has_manifest(path):
        return Credentials("none")
    try:
        _library()
    except UserError as error:
        return Credentials("unread", why=str(error))
    given = json.dumps({"path": str(path.absolute()), "form": MEDIA_TYPES[form], "anchors": anchors})
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _READER],
            input=given.encode(),
            capture_output=True,
            timeout=READ_S,
            check=False,
        )
        found = json.loads(done.stdout) if done.returncode == 0 else {"error": "the reader ended without an answer"}
    except (subprocess.TimeoutExpired, ValueError) as error:
        found = {"error": f"the reader gave no answer ({type(error).__name__})"}
    return _credentials(found)


def _credentials(found: dict[str, Any]) -> Credentials:
    if str(found.get("error", "")).startswith("ManifestNotFound"):  # only words that look like one
        return Credentials("none")
    if "error" in found:
        return Credentials("unreadable", why=str(found["error"])[:200])
    state = {"Trusted": "trusted", "Valid": "valid"}.get(found["state"], "invalid")
    failures = [code for code in found["failures"] if code != "signingCredential.untrusted"]
    why = ", ".join(failures)[:200]
    if state == "invalid" and set(failures) & set(_CHANGED):
        why = f"the file was changed after it was signed ({why})"
    return Credentials(state, str(found["signer"])[:100], str(found["tool"])[:100], why)


# Prints one line of JSON. Memory is bounded where the system can, the network is not asked.
_READER = """
import json, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
except (ImportError, ValueError, OSError):
    pass
import c2pa

given = json.load(sys.stdin)
settings = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}}
if given["anchors"]:
    settings["trust"] = {"user_anchors": given["anchors"]}
try:
    with open(given["path"], "rb") as file, c2pa.Context(c2pa.Settings.from_dict(settings)) as context:
        with c2pa.Reader(given["form"], file, context=context) as reader:
            store, state = json.loads(reader.json()), reader.get_validation_state()
except Exception as error:
    print(json.dumps({"error": (str(error).splitlines() or [type(error).__name__])[0]}))
else:
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    results = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    signature = manifest.get("signature_info", {})
    tools = manifest.get("claim_generator_info") or [{}]
    print(json.dumps({
        "state": state,
        "failures": sorted({str(one.get("code")) for one in results}),
        "signer": signature.get("common_name") or signature.get("issuer") or "",
        "tool": " ".join(str(tools[0].get(name, "")) for name in ("name", "version")).strip(),
    }))
"""


def _has_manifest(path: Path) -> bool:
    """Whether a file has what begins each manifest store: superboxes of JUMBF (ISO 19566-5) labelled "c2pa"."""
    raw = path.read_bytes()
    return b"jumb" in raw and b"c2pa" in raw


def _library() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise UserError("content credentials need a package: pip install 't2igan[c2pa]'") from error
    return c2pa


def _cryptography() -> tuple[Any, Any, Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise UserError("certificates need a package: pip install 't2igan[c2pa]'") from error
    return x509, hashes, serialization, ec


def _part(raw: bytes, kind: bytes) -> bytes:
    """The first block of PEM whose name ends so."""
    start = raw.find(b"-----BEGIN")
    while start >= 0:
        stop = raw.find(b"-----END", start)
        if kind in raw[start : raw.find(b"\n", start)]:
            return raw[start : raw.find(b"-----", stop + 8) + 5] + b"\n"
        start = raw.find(b"-----BEGIN", stop) if stop >= 0 else -1
    raise ValueError("there is no private key")


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
