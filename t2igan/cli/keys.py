"""`t2igan keys`: keys for signatures, watermarks and content credentials, and signatures beside files."""

from __future__ import annotations

import os

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.verb import Given
from t2igan.errors import UserError

PASSWORD = "T2IGAN_KEY_PASSWORD"  # of the environment: on a command line everybody could read it


def define(given: FlagValues) -> None:
    """Adds the flags of `keys`."""
    verb.define_path(given, "out", "makes keys; the name that their files begin with")
    flags.DEFINE_enum(
        "kind",
        "signature",
        ["signature", "watermark", "certificate"],
        "of --out: signature = OUT.key, to be kept secret, and OUT.pub, to be given away; watermark = OUT.mark, "
        "secret; certificate = OUT.c2pa.pem, secret, and OUT.root.pem, to be given away",
        flag_values=given,
    )
    flags.DEFINE_string("name", None, "of a certificate: who signs", flag_values=given)
    verb.define_paths(given, "sign", "file to sign, such as a snapshot: FILE.sig is written beside it; may repeat")
    verb.define_path(given, "key", "private key (.key) to sign with")
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Makes keys, or signs files."""
    from t2igan.inference.console import say
    from t2igan.inference.signatures import sign

    password = os.environ.get(PASSWORD, "")
    if given.sign and given.key is None:
        raise UserError("--key is missing: the private key to sign with; `keys --out=NAME` makes one")
    if not given.sign and given.out is None:
        raise UserError("give --out=NAME to make keys, or --sign=FILE --key=NAME.key to sign")
    if given.name is not None and given.kind != "certificate":
        raise UserError(f"--name={given.name!r} is for a certificate; add --kind=certificate")
    if given.out is not None:
        say(_made(given, password))
    for path in given.sign or ():
        beside, fingerprint = sign(path, given.key, password)
        say(f"{beside}: {path.name} signed by the key {fingerprint}")


def _made(given: Given, password: str) -> str:
    """Makes keys of a kind; returns what to say of them."""
    from t2igan.inference import credentials, watermark
    from t2igan.inference.signatures import make_keys

    kept = "encrypted" if password else f"not encrypted; {PASSWORD} in the environment would encrypt it"
    if given.kind == "watermark":
        path, secret = watermark.make_secret(given.out)
        return f"secret: {path} (not encrypted)\nwatermark: {secret.fingerprint}"
    if given.kind == "certificate":
        private, root = credentials.make_certificate(given.out, given.name or credentials.TEST_NAME, password)
        return (
            f"private key and certificate: {private} ({kept})\nroot: {root}\n"
            "nobody trusts this root who was not given it; programs of others will call the signer unknown"
        )
    private, public, fingerprint = make_keys(given.out, password)
    return f"private key: {private} ({kept})\npublic key:  {public}\nfingerprint: {fingerprint}"


VERB = verb.Verb(
    name="keys",
    summary="make keys to sign or mark with, and sign snapshots (pip install 't2igan[sign]')",
    examples=(
        "keys --out=mine",
        "keys --sign=runs/base/snapshot.safetensors --key=mine.key",
        "keys --kind=watermark --out=mine",
    ),
    define=define,
    run=run,
)
