"""What content credentials (C2PA) add to a picture file: bytes, and time to sign.

    python -m benchmarks.credentials --repeats=200

Files are those of `t2igan sample`: drawings of the models that come along, enlarged to at least 128 px, with their
recipes, signed with a certificate as `t2igan keys --kind=certificate` makes it. Signing is timed in CPU time of all
threads, forms and sizes in turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import t2igan
from benchmarks.timing import in_turns
from t2igan.inference.credentials import Signer, make_certificate, read_signer
from t2igan.inference.pictures import enlarge
from t2igan.inference.provenance import GENERATED, picture_bytes

FORMS = ("PNG", "JPEG", "WEBP")
PROMPTS = {"models/pixel_avatars": "a pixel person with a red cap, light skin", "models/noto_emoji": "red circle"}


def files(image: np.ndarray, facts: dict[str, object]) -> dict[str, bytes]:
    """Returns a picture, uint8 [H, W, C] without transparency, as files that are not signed yet, by form."""
    return {form: picture_bytes(image, form, facts | {"c2pa": True}) for form in FORMS}


def more_bytes(signer: Signer, raw: bytes, form: str) -> int:
    """Returns by how many bytes a file grows when it is signed."""
    return len(signer.signed(raw, form, GENERATED, t2igan.__version__)) - len(raw)


def drawings(workdirs: Sequence[str]) -> dict[tuple[str, str], bytes]:
    """Returns the files of a drawing of each model, by size and form."""
    found = {}
    for workdir in workdirs:
        model = t2igan.load(workdir)
        facts = {"model": model.digest, "t2igan": t2igan.__version__, "prompt": PROMPTS[workdir], "seed": 0}
        (image,) = enlarge(model.sample(PROMPTS[workdir], seed=0))
        size = f"{model.config['data']['image_size_px']} px, as {image.shape[0]}"
        found |= {(size, form): raw for form, raw in files(image, facts).items()}
    return found


def main() -> None:
    """Prints a line a size and form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200, help="files that are signed of each size and form")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        signer = read_signer(make_certificate(Path(folder) / "mine")[0])
    raws = drawings(list(PROMPTS))
    sign = {
        f"{size:<18}{form:<6}": lambda raw=raw, form=form: signer.signed(raw, form, GENERATED, t2igan.__version__)
        for (size, form), raw in raws.items()
    }
    times = in_turns(sign, given.repeats, clock=time.process_time)
    print(f"{'picture':<18}{'form':<6}{'bytes':>8}{'more':>8}   ms of CPU: least, median, 99 %")
    for (name, seconds), ((_, form), raw) in zip(times.items(), raws.items(), strict=True):
        least, median, most = 1e3 * np.quantile(seconds, (0, 0.5, 0.99))
        print(f"{name}{len(raw):>8}{more_bytes(signer, raw, form):>8}   {least:.2f}  {median:.2f}  {most:.2f}")


if __name__ == "__main__":
    main()
