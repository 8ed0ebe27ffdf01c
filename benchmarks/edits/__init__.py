"""What editing reaches, against an exact truth where there is one (docs/editing.md).

    npm install @dicebear/core@9.4.3 @dicebear/pixel-art@9.4.3
    node docs/make_pixel_avatar_pairs.mjs /tmp/pairs
    python -m benchmarks.edits --workdir=runs/base --pairs=/tmp/pairs --out=edits.json
    python -m benchmarks.edits --workdir=runs/base --parts inversion completion
    python -m benchmarks.edits --workdir=runs/base --parts completion --qualities fast --without completer
    python -m benchmarks.edits --workdir=runs/emoji64 --avatars=24 --qualities good --sheets=/tmp/sheets

Pixel avatars and toon avatars (docs/make_toon_avatar_pairs.mjs), whose captions are templates over attributes: what a
picture has to show is known to the letter. Of emoji the truth is the data's own: the same person in a skin tone, of a
sex or with hair that was held out; their captions are names, so there are no figures of prompts. "..._found" is how
often the nearest real picture of all splits, at 16 x 16 pixels, has the caption that is wanted.
Attributes are judged by the run's own classifier, which is learned from real pictures and shares nothing with the GAN;
what it makes of the real pictures is the ceiling, and is given with each figure. "..._error" is a standard error.
"""
