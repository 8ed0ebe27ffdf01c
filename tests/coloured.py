"""Pictures of one colour each, in files."""

from pathlib import Path

from PIL import Image

from t2igan.data.dataset import Record
from t2igan.data.stored import InFile


class Pictures:
    """A source of so many pictures in files; number `i` has the colour (i, 2 i, 0)."""

    name = "pictures"

    def __init__(self, folder: Path, num: int):
        folder.mkdir(exist_ok=True)
        self.files = [folder / f"{i:03d}.png" for i in range(num)]
        for i, file in enumerate(self.files):
            Image.new("RGB", (10, 10), (i, 2 * i % 256, 0)).save(file)

    def describe(self) -> str:
        return "made for a test"

    def splits(self) -> tuple[str, ...]:
        return ()

    def records(self, split):  # noqa: ARG002
        return [Record(file.name, InFile.of(file), (f"number {i}",)) for i, file in enumerate(self.files)], []
