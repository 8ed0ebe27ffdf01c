"""Moving pictures, as one who watches them sees them."""

from PIL import Image, ImageSequence


def shown_ms(moving: Image.Image) -> int:
    """Returns the milliseconds of one round of a GIF; Pillow writes equal neighbours as one longer frame."""
    return sum(frame.info["duration"] for frame in ImageSequence.Iterator(moving))
