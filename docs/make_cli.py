"""Writes the lists of verbs and flags into docs/cli.md, between its marks.

python docs/make_cli.py
"""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARKS = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Replaces what stands between `<!-- VERB -->` and `<!-- end -->` by the verb's help, and so for `program`."""
    os.chdir(ROOT)  # paths are shown from here
    from t2igan.cli import help as help_lib
    from t2igan.cli.verbs import VERBS

    page = ROOT / "docs" / "cli.md"

    def filled(found: re.Match) -> str:
        name = found[2]
        text = help_lib.of_program("t2igan") if name == "program" else help_lib.of_verb(VERBS[name], "t2igan")
        return f"{found[1]}```\n{text}\n```\n{found[3]}"

    page.write_text(MARKS.sub(filled, page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
