"""`t2igan keys`: keys for signatures, and signatures beside files."""

from __future__ import annotations

import os

from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.verb import Given
from t2igan.errors import UserError

PASSWORD = "T2IGAN_KEY_PASSWORD"  # of the environment: on a command line everybody could read it


def define(given: FlagValues) -> None:
    """Adds the flags of `keys`."""
    verb.define_path(given, "out", "makes a pair of keys: OUT.key, to be kept secret, and OUT.pub, to be given away")
    verb.define_paths(given, "sign", "file to sign, such as a snapshot: FILE.sig is written beside it; may repeat")
    verb.define_path(given, "key", "private key (.key) to sign with")
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Makes a pair of keys, or signs files."""
    from t2igan.inference.console import say
    from t2igan.inference.signatures import make_keys, sign

    password = os.environ.get(PASSWORD, "")
    if given.sign and given.key is None:
        raise UserError("--key is missing: the private key to sign with; `keys --out=NAME` makes one")
    if not given.sign and given.out is None:
        raise UserError("give --out=NAME to make a pair of keys, or --sign=FILE --key=NAME.key to sign")
    if given.out is not None:
        private, public, fingerprint = make_keys(given.out, password)
        kept = "encrypted" if password else f"not encrypted; {PASSWORD} in the environment would encrypt it"
        say(f"private key: {private} ({kept})\npublic key:  {public}\nfingerprint: {fingerprint}")
    for path in given.sign or ():
        beside, fingerprint = sign(path, given.key, password)
        say(f"{beside}: {path.name} signed by the key {fingerprint}")


VERB = verb.Verb(
    name="keys",
    summary="make keys and sign snapshots with them (pip install 't2igan[sign]')",
    examples=("keys --out=mine", "keys --sign=runs/base/snapshot.safetensors --key=mine.key"),
    define=define,
    run=run,
)
