"""What a user may type: a mistake gets one or two lines, exit code 2, no traceback, and nothing is lost."""

import functools
import gc
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from t2igan import config, errors
from t2igan.cli import help as help_lib
from t2igan.cli import main, parse, verb
from t2igan.cli.verbs import VERBS

PROGRAM = "python run.py"


@pytest.fixture
def run(request, monkeypatch, console):
    """Runs a command line from the clone."""
    monkeypatch.chdir(request.config.rootpath)
    return functools.partial(console, program=PROGRAM)


def says(done, *words: str) -> None:
    """The error is short, names what is wrong, and comes with exit code 2."""
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) <= 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian", "--config=configs/base.py"], ["no verb 'trian'", "did you mean 'train'"]),
        ([], ["--config is missing", "base, auto, avatars64"]),
        (["--config=configs/bas.py"], ["configs/bas.py", "did you mean 'base'"]),
        (["--config=configs/base.py", "--config.train.stepz=3"], ["stepz", "steps"]),
        (["--config=configs/base.py", "--config.train.steps=many"], ["config.train.steps", "many"]),
        (["--config=configs/base.py", "--wrokdir=x"], ["wrokdir", "workdir"]),
        (["--config=configs/base.py", "--config.data.image_size_px=17"], ["image_size_px=17", "base_px"]),
        (["--config=configs/base.py", "--config.loss.adversarial=hing"], ["'hing'", "did you mean 'hinge'"]),
        (["--config=configs/base.py", "--config.devices=3"], ["batch_images", "3 devices"]),
        (["--config=configs/base.py", "--config.data.source=/no/such/folder"], ["/no/such/folder", "does not exist"]),
        (["sample", "--prompt=x"], ["--workdir is missing"]),
        (["sample", "--workdir=/no/such/run", "--prompt=x"], ["there is no /no/such/run"]),
        (["sample", "--workdir=/tmp"], ["there is no prompt"]),
        (["sample", "--workdir=/tmp", "--prompts=/no/such/file"], ["/no/such/file"]),
        (["sample", "--workdir=/tmp", "--prompt=x", "--num=0"], ["--num=0"]),
        (["evaluate"], ["--workdir is missing"]),
        (["evaluate", "--workdir=/no/such/run"], ["/no/such/run"]),
        (["data"], ["--config is missing"]),
        (["data", "--config=configs/base.py", "--out=sheet.jpg"], ["--out=sheet.jpg", ".png"]),
        (
            ["evaluate", "--workdir=/tmp", "--metrics=frechett"],
            ["--metrics has 'frechett'", "did you mean 'frechet_distance'"],
        ),
        (["sample", "--workdir=a", "--workdir=b", "--prompt=x"], ["--workdir is given 2 times", "`sample` takes one"]),
        (["sample", "evaluate"], ["one word too many"]),
        (["--config", "bas"], ["--config=bas ", "did you mean 'base'"]),
        (["-config=elsewhere/base.py"], ["did you mean 'base'", "coco64"]),
        (["--config=README.md"], ["README.md cannot be read"]),
        (["evaluate", "--workdir=README.md"], ["--workdir=README.md is a file"]),
        (["evaluate", "--workdir=/tmp", "--seed=-1"], ["--seed=-1"]),
        (["data", "--config=configs/base.py", "--num=-5", "--out=sheet.png"], ["--num=-5"]),
        (
            ["--config.data.source=x"],
            ["--config is missing", "--config.data.source=x changes a key", "base, auto, avatars64"],
        ),
        (["data", "--config.data.source=x"], ["--config is missing", "--config.data.source=x changes a key"]),
        (["sample", "--workdir=/tmp", "--config=base"], ["`sample` takes no --config"]),
        (["evaluate", "--workdir=/tmp", "--config.train.steps=3"], ["`evaluate` takes no --config.train.steps=3"]),
        (["--config"], ["--config names no configuration"]),
        (["sample", "--metrics=frechet_distance"], ["`sample` has no flag --metrics, it is one of `evaluate`"]),
        (["report", "--workdri=x"], ["`report` has no flag --workdri; did you mean '--workdir'", "report --help"]),
        (["data", "--confg=base"], ["--config is missing"]),
        (["sample", "--num=many"], ["--num=many"]),
        (["sample", "--workdir=/tmp", "--prompt=x", "--plugin=/no/such.py"], ["--plugin=/no/such.py is not a file"]),
        (["--config=base:x"], ["configs/base.py", "get_config"]),
        (["--config=configs"], ["--config=configs is neither a file nor a preset"]),
    ],
)
def test_a_mistake_gets_a_helpful_line(run, tmp_path, arguments, words):
    trains = not any(a in VERBS for a in arguments)
    if (
        trains
        and any(a.startswith("--config=") for a in arguments)
        and not any(a.startswith("--workdir") for a in arguments)
    ):
        arguments = [*arguments, f"--workdir={tmp_path / 'run'}"]
    says(run(*arguments), *words)


def test_a_folder_without_pictures_or_captions_is_told_apart(run, tmp_path):
    empty, mute = tmp_path / "empty", tmp_path / "mute"
    empty.mkdir()
    mute.mkdir()
    Image.new("RGB", (16, 16)).save(mute / "a.png")
    common = ["--config=configs/base.py", f"--workdir={tmp_path / 'run'}"]
    says(run(*common, f"--config.data.source={empty}"), "no picture")
    says(run(*common, f"--config.data.source={mute}"), "not one has a caption")


def test_too_few_usable_pictures_stop_before_anything_is_trained(run, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(6):
        Image.new("RGB", (16, 16), (40 * i, 0, 0)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"number {i}")
        (folder / f"broken{i}.png").write_bytes(b"no picture")
        (folder / f"broken{i}.txt").write_text("broken")
    (folder / "mute.png").write_bytes(b"")
    arguments = ["--config=configs/base.py", f"--config.data.source={folder}", f"--workdir={tmp_path / 'run'}"]
    done = run(*arguments)
    assert done.returncode == 2 and "config.data.min_usable=0.5" in done.stderr and "Traceback" not in done.stderr
    report = json.loads((tmp_path / "run" / "data_report.json").read_text())["splits"]["train"]
    assert (
        report["left_out"] == 7
        and {"file": "broken3.png", "reason": "not a picture that Pillow can read"} in (report["files_left_out"])
    )
    assert not (tmp_path / "run" / "config.json").exists()  # not begun
    # What is in the data is shown all the same.
    sheet = tmp_path / "sheet.png"
    done = run("data", *arguments[:2], f"--out={sheet}")
    assert done.returncode == 2 and "config.data.min_usable=0.5" in done.stderr, done.stderr  # as a training would
    assert "left out 7 pictures: not a picture that Pillow can read (6)" in done.stdout
    assert Image.open(sheet).width > 128 and json.loads(sheet.with_suffix(".json").read_text())["splits"]


def test_a_workdir_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "file").write_text("")
    says(run("--config=configs/base.py", f"--workdir={tmp_path / 'file' / 'run'}"), "could not write")


def test_help_lists_verbs_and_a_verbs_help_its_own_flags(run):
    done = run("--help", program="t2igan")
    assert done.returncode == 0 and all(f"  {name} " in done.stdout for name in VERBS)
    for name in VERBS:
        shown = run(name, "--help", program="t2igan").stdout
        own = set(parse.flags_of(VERBS[name]))
        lines = [line.split()[0] for line in shown.splitlines() if line.startswith("  --")]
        listed = {line.partition("=")[0].removeprefix("--") for line in lines}
        assert listed - {"config", "config.KEY"} == own, name
        assert f"\n  t2igan {name} " in shown and "run.py" not in shown
        assert ("--config=NAME" in shown) == VERBS[name].configured
        assert max(map(len, shown.splitlines())) <= 125
    assert run("--version").stdout.startswith("t2igan 0.")


@pytest.mark.parametrize("name", VERBS)
def test_the_examples_of_a_verb_can_be_parsed(name):
    for example in VERBS[name].examples:
        word, rest = parse.split(shlex.split(example))
        given = parse.parse(VERBS[name], rest)
        assert word == name
        if VERBS[name].configured:
            assert given.config.data.image_size_px and given.config_name in config.presets()


def test_the_verb_may_stand_behind_flags_and_a_flags_value_is_no_verb(request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    assert parse.split(["--workdir=x", "sample", "--num=3"]) == ("sample", ["--workdir=x", "--num=3"])
    assert parse.split(["--workdir", "x", "sample"]) == ("sample", ["--workdir", "x"])
    assert parse.split(["--dry_run", "train"]) == ("train", ["--dry_run"])
    assert parse.split(["--config", "base"]) == (None, ["--config", "base"])
    given = parse.parse(VERBS["train"], ["--config.seed=3", "--config", "base", "--nodry_run", "-workdir", "x"])
    assert (given.config.seed, given.dry_run, given.workdir) == (3, False, [Path("x")])


def test_overrides_reach_every_kind_of_key(request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    overrides = [
        *("--config.train.images=64000", "--config.data.source=a b", "--config.phases=('adversarial',)"),
        *("--config.train.beta1=0.5", "--config.remat", "--config.log.wandb=true", "--noconfig.data.follow_links"),
    ]
    given = parse.parse(VERBS["train"], ["--config=base", *overrides])
    c = given.config
    assert (c.train.images, c.data.source, c.phases, c.train.beta1) == (64000, "a b", ("adversarial",), 0.5)
    assert (c.remat, c.log.wandb, c.data.follow_links) == (True, True, False)
    assert given.overrides == tuple(overrides)


def test_a_preset_a_path_and_python_are_the_same_configuration(request, monkeypatch):
    import configs.folder
    import t2igan

    monkeypatch.chdir(request.config.rootpath)
    made = [parse.parse(VERBS["data"], [f"--config={name}"]).config for name in ("folder", "configs/folder.py")]
    made += [t2igan.get_config("folder"), t2igan.get_config(Path("configs/folder.py")), configs.folder.get_config()]
    assert all(config.to_json(one) == config.to_json(made[0]) for one in made)


OWN = """
import t2igan
import {beside}

def get_config(images="320"):
    config = t2igan.get_config("base")
    config.train.images = int(images) + {beside}.MORE
    return config
"""


def test_a_file_of_ones_own_may_import_what_lies_beside_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend("")  # what is added to sys.path is taken away again
    (tmp_path / "beside_one.py").write_text("MORE = 7\n")
    (tmp_path / "mine.py").write_text(OWN.format(beside="beside_one"))
    assert config.get_config(tmp_path / "mine.py").train.images == 327
    assert config.get_config(f"{tmp_path / 'mine.py'}:40").train.images == 47


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def get_config(:\n", ["line 1", "SyntaxError"]),
        ("x = 1\nimport no_such_module\n", ["line 2", "ModuleNotFoundError: No module named 'no_such_module'"]),
        ("from configs import no_such\n", ["line 1", "ImportError"]),
        ("def get_config():\n    return 1 / 0\n", ["line 2", "ZeroDivisionError: division by zero"]),
        ("def get_config():\n    return {}\n", ["returned dict, not a ml_collections.ConfigDict"]),
        (
            "import t2igan\ndef get_config():\n    c = t2igan.get_config()\n    c.train.imges = 3\n",
            ["line 4", "images"],
        ),
        ("x = 1\n", ["no function get_config()"]),
    ],
)
def test_an_error_in_a_file_of_ones_own_is_said_with_its_line(run, tmp_path, source, words):
    (tmp_path / "mine.py").write_text(source)
    says(run("data", f"--config={tmp_path / 'mine.py'}"), "mine.py", *words)


def test_a_plugin_runs_before_anything_is_loaded(run, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend("")
    mark = tmp_path / "ran"
    for name in VERBS:  # a file of its own for each: one that has run is not run again
        (tmp_path / f"plugin_of_{name}.py").write_text(f"open({str(mark)!r}, 'w').write('yes')\n")
        assert "plugin" in parse.flags_of(VERBS[name]), name
        mark.unlink(missing_ok=True)
        arguments = ["--config=base", "--config.devices=-1"] if VERBS[name].configured else []
        if name == "data":
            arguments[-1] = "--config.data.source=/no/such"
        done = run(name, f"--plugin={tmp_path / f'plugin_of_{name}.py'}", *arguments)
        # `models` alone is content with nothing.
        assert done.returncode == (0 if name == "models" else 2) and mark.read_text() == "yes", (name, done.stderr)


@pytest.mark.parametrize("arguments", [["--help"], ["models"], ["data", "--help"]])
def test_a_reader_that_leaves_is_no_traceback(arguments, tmp_path):
    """From an empty folder, where the command is not on the path."""
    ours = subprocess.Popen(
        [sys.executable, "-m", "t2igan", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    ours.stdout.close()
    said = ours.stderr.read()
    assert ours.wait(120) in (0, 141) and b"Traceback" not in said and b"No module" not in said


def test_tilde_is_the_home_folder_in_every_path(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in VERBS:
        own = parse.flags_of(VERBS[name])
        paths = [flag for flag in own if isinstance(own[flag].parser, verb.PathParser)]
        assert "plugin" in paths
        for flag in paths:
            own([name, f"--{flag}=~/x y"])
            value = own[flag].value
            assert (value[0] if isinstance(value, list) else value) == tmp_path / "x y", (name, flag)
    (tmp_path / "pictures").mkdir()
    for i in range(8):
        Image.new("RGB", (16, 16), (30 * i, 0, 0)).save(tmp_path / "pictures" / f"{i}.png")
        (tmp_path / "pictures" / f"{i}.txt").write_text(f"number {i}")
    keys = ["--config.data.source=~/pictures", "--config.data.cache_dir=~/cache"]
    done = run("data", "--config=base", "--num=6", "--out=~/sheets/me.png", *keys)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sheets" / "me.png").is_file() and list((tmp_path / "cache").iterdir())
    (tmp_path / "mine.py").write_text("import t2igan\n\ndef get_config():\n    return t2igan.get_config('mlp')\n")
    assert parse.parse(VERBS["data"], ["--config=~/mine.py"]).config_name == "mine"


def test_without_a_home_folder_a_tilde_is_a_line_and_the_cache_a_temporary_folder(run, monkeypatch):
    def nowhere(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", lambda path: nowhere(path) if str(path).startswith("~") else path)
    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.delenv("XDG_CACHE_HOME")
    says(run("sample", "--workdir=~/runs/base", "--prompt=x"), "--workdir='~/runs/base': the home folder is not known")
    says(run("data", "--config=base", "--config.data.source=~/x"), "config.data.source='~/x': the home folder")
    assert config.cache_folder().is_absolute()


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_console_that_lacks_letters_gets_them_escaped(request, tmp_path, encoding):
    """Names and captions in Japanese, an emoji, a broken picture: what `data` says, and an error that names them."""
    folder = tmp_path / "絵"
    folder.mkdir()
    for i in range(12):
        Image.new("RGB", (16, 16), (20 * i, 0, 0)).save(folder / f"絵_{i}.png")
        (folder / f"絵_{i}.txt").write_text(f"赤い四角 {i} 🙂", encoding="utf-8")
    (folder / "壊れた.png").write_bytes(b"no picture")
    environ = os.environ | {"PYTHONIOENCODING": encoding}
    environ.pop("PYTHONUTF8", None)

    def call(*arguments):
        command = [sys.executable, "run.py", "data", "--config=folder", *arguments]
        return subprocess.run(command, cwd=request.config.rootpath, capture_output=True, env=environ, check=False)

    done = call(f"--config.data.source={folder}", f"--out={tmp_path / '見本.png'}")
    assert done.returncode == 0, done.stderr.decode()
    assert "\\u58ca" in done.stdout.decode(encoding) and (tmp_path / "見本.png").is_file()
    done = call(f"--config.data.source={folder / '無い'}")
    assert done.returncode == 2 and b"Traceback" not in done.stderr and b"\\u7121" in done.stderr


def test_what_is_said_fits_the_stream(monkeypatch):
    import io

    from t2igan.inference import console

    for encoding in ("cp1252", "ascii", "utf-8", None):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding or "utf-8")
        monkeypatch.setattr(sys, "stdout", stream)
        console.say("絵 é \udcff")
        text = raw.getvalue().decode(encoding or "utf-8")
        assert "\\udcff" in text and ("絵" in text) == (encoding in ("utf-8", None))
    monkeypatch.setattr(sys, "stdout", None)  # pythonw has none
    console.say("nobody hears it")


def test_it_is_said_how_the_user_can_call(tmp_path):
    def said(program):
        errors.started_as(program)
        return errors.command("sample", workdir=tmp_path / "a b", prompt="it's", num=8)

    try:
        assert said("t2igan") == f"t2igan sample '--workdir={tmp_path}/a b' ...".replace(
            "'--workdir=", "--workdir='"
        ).replace("...", """--prompt='it'"'"'s' --num=8""")
        assert said("python run.py").startswith("python run.py sample --workdir=")
        assert said("") == f't2igan.load({str(tmp_path / "a b")!r}).sample("it\'s")'
        assert errors.command("report", workdir="x") == "t2igan report --workdir=x"
        assert errors.command("train", config="...", workdir="...") == "t2igan.train(config, '...')"
    finally:
        errors.started_as("")


def test_nothing_in_the_package_says_how_a_clone_is_called(request):
    root = request.config.rootpath
    files = [*(root / "t2igan").rglob("*.py"), *(root / "t2igan").rglob("*.html"), *(root / "configs").glob("*.py")]
    assert len(files) > 100
    says_it = [path for path in files if "run.py" in path.read_text(encoding="utf-8")]
    assert [path.name for path in says_it] == ["errors.py"]  # an example in a docstring


def test_the_list_of_flags_in_the_docs_is_the_one_of_the_program(request):
    """docs/cli.md is made by docs/make_cli.py; this test says when it has to be made again."""
    text = (request.config.rootpath / "docs" / "cli.md").read_text(encoding="utf-8")
    for one in [help_lib.of_program("t2igan"), *(help_lib.of_verb(VERBS[name], "t2igan") for name in VERBS)]:
        assert one in text, "python docs/make_cli.py"


def folder_of(path, num_pictures, num_captions):
    path.mkdir()
    for i in range(num_pictures):
        Image.effect_noise((16, 16), 90).save(path / f"{i}.png")
        if i < num_captions:
            (path / f"{i}.txt").write_text(f"number {i}")
    return path


@pytest.mark.parametrize(
    ("num_pictures", "num_captions", "changes", "shown", "words"),
    [
        (40, 10, [], True, ["pictures can be used", "config.data.min_usable=0.5"]),
        (40, 40, ["--config.data.image_size_px=48"], True, ["image_size_px=48", "base_px"]),
        (1, 1, [], False, ["1 picture is too few", "val_split=train"]),
        (40, 40, ["--config.data.test_split=val"], False, ["are both 'val'", "minival"]),
    ],
)
def test_data_refuses_what_training_refuses(run, tmp_path, num_pictures, num_captions, changes, shown, words):
    source = folder_of(tmp_path / "data", num_pictures, num_captions)
    arguments = ["--config=folder", f"--config.data.source={source}", *changes]
    looked = run("data", *arguments)
    says(looked, *words)
    assert ("nothing was left out" in looked.stdout or "left out 30 pictures" in looked.stdout) == shown
    trained = run("train", *arguments, f"--workdir={tmp_path / 'run'}")
    says(trained, *words)
    assert trained.stderr == looked.stderr


@pytest.mark.parametrize("where", ["callback", "finalizer"])
def test_no_interruption_is_lost_in_the_garbage_collection(where, request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    main.interrupt_again()
    asked = [True]

    def interrupted(*_):
        if asked:
            asked.pop()
            raise KeyboardInterrupt

    class Finalized:
        __del__ = interrupted

    def collect():
        if where == "callback":
            gc.collect()
        else:
            Finalized()
        time.sleep(5)  # the main thread goes on

    if where == "callback":
        gc.callbacks.append(interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            collect()
    finally:
        if where == "callback":
            gc.callbacks.remove(interrupted)
    assert not asked
