"""Command lines, run in this process: what a console would show, or a user's mistake as Python sees it."""

from types import SimpleNamespace

from t2igan.cli.main import main
from t2igan.cli.parse import named, parse


def run_verb(name, *words):
    """Runs a verb; a user's mistake is raised."""
    verb = named(name)
    verb.run(parse(verb, [str(word) for word in words]))


def command_line(capsys, *words, program="t2igan"):
    """Runs a command line as a console does: exit code, stdout, stderr of this one alone."""
    capsys.readouterr()
    code = main([program.split()[-1], *map(str, words)], program)
    out, err = capsys.readouterr()
    return SimpleNamespace(returncode=code, stdout=out, stderr=err)
