"""Your own pictures with captions: size, networks and lengths are chosen by what they are like, and by the machine.

    t2igan train --config=auto --config.data.source=PATH --minutes=30 --workdir=runs/mine

looks at the pictures and captions, times some steps on this machine, prints what it chose and why, and keeps it as
`auto_config.py` in the run's folder, to be read, edited, and trained by again. docs/auto.md has the rules.

As a configuration by itself, which `t2igan data --config=auto` shows, this is folder64.py.
"""

import t2igan


def get_config():
    """Returns the configuration of folder64.py; `train` chooses the rest when it sees the pictures."""
    return t2igan.get_config("folder64")
