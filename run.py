"""The command line, from a clone: `python run.py VERB --flag=value` is `t2igan VERB --flag=value`."""

import sys

from t2igan.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv, "python run.py"))
