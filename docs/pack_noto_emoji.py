"""Puts rendered emoji together with the captions, attributes and splits of the embedded set `noto_emoji`.

    python docs/pack_noto_emoji.py FOLDER noto_emoji_128.parquet

FOLDER is what docs/make_noto_emoji.mjs made. The Parquet file is in the image convention of Hugging Face, of lossless
WebP; --config.data.source=noto_emoji_128.parquet reads it.
"""

import argparse
import io
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
from PIL import Image

from t2igan.data.sources.packed import Packed


def spellings(name: str) -> list[str]:
    """The names that a picture may have in the folder: with or without the sign for a coloured presentation."""
    plain = name.removesuffix(".png")
    stems = [plain, plain.lstrip("0"), plain.replace("-fe0f", ""), f"{plain}-fe0f"]
    return [f"{stem.replace('-20e3', sign)}.png" for stem in stems for sign in ("-20e3", "-fe0f-20e3")]


def main() -> None:
    """Reads the folder, writes the Parquet file, and says what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    source, rows, missing = Packed("noto_emoji"), [], []
    for split in source.splits():
        for record in source.records(split)[0]:
            paths = [options.folder / name for name in spellings(Path(record.file).name)]
            path = next((path for path in paths if path.is_file() and path.stat().st_size), None)
            if path is None:
                missing.append(record.captions[0])
                continue
            webp = io.BytesIO()
            Image.open(path).convert("RGB").save(webp, "WEBP", lossless=True)
            image = {"bytes": webp.getvalue(), "path": path.name}
            attributes = json.dumps(dict(record.attributes or {}))
            rows.append({"image": image, "text": record.captions[0], "attributes": attributes, "split": split})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), options.target, compression="none")
    print(
        f"{len(rows):,} pictures: {options.target.stat().st_size / 1e6:.1f} MB; missing: {', '.join(missing) or 'none'}"
    )


if __name__ == "__main__":
    main()
