"""`python -m t2igan`, where the command `t2igan` is not on the path."""

import sys

from t2igan.cli.main import main

sys.exit(main(sys.argv, "python -m t2igan"))
