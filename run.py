"""The command line: python run.py [train | sample | evaluate | report | data] --flags; `--help` lists them."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from t2igan.errors import UserError, nearest
from t2igan.training.distributed import processes

CONFIG = config_flags.DEFINE_config_file("config", None, "train: file in configs/; keys by --config.group.key=value")
WORKDIR = flags.DEFINE_multi_string("workdir", None, "folder of the run (train: runs/CONFIG); evaluate takes several")
PROMPT = flags.DEFINE_multi_string("prompt", [], "sample: a caption; may be given several times")
PROMPTS = flags.DEFINE_string("prompts", None, "sample: text file with a caption a line")
NUM = flags.DEFINE_integer("num", None, "pictures; sample: a prompt (1); evaluate: in all; data: on the sheet (24)")
SEED = flags.DEFINE_integer("seed", 0, "sample: seed of the first picture of a prompt; evaluate: seed of the noise")
TRUNCATION = flags.DEFINE_float("truncation", 1.0, "sample: 1 = the noise of training, less = more typical pictures")
GUIDANCE = flags.DEFINE_float("guidance", 1.0, "sample: above 1 leans towards the caption, if the training allows it")
OUT = flags.DEFINE_string("out", None, "sample: .png (sample.png), or a folder for files; report: .html; data: .png")
SCALE = flags.DEFINE_integer("scale", 0, "sample: enlarge pixels so many times; 0 = to 128 px at least")
SPLIT = flags.DEFINE_string("split", "test", "evaluate, report: which split of the data")
INCEPTION = flags.DEFINE_string("inception_weights", None, "evaluate: Inception-v3 for FID, a .safetensors file")
CLIP = flags.DEFINE_string("clip_weights", None, "evaluate: folder of a CLIP in Hugging Face's layout")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "train: compile every step, say what it takes of memory, and stop")
DRY_RUN_DEVICES = flags.DEFINE_integer("dry_run_devices", 0, "so many simulated devices; 0 = those that would be used")
DRY_RUN_MEMORY = flags.DEFINE_float("dry_run_memory_gb", 0.0, "what a device has (GB); 0 = as JAX says, if it knows")
COORDINATOR = flags.DEFINE_string("coordinator", None, "train, of several processes: HOST:PORT of the first one")
PROCESSES = flags.DEFINE_integer("processes", None, "train: how many processes there are (docs/scaling.md)")
PROCESS = flags.DEFINE_integer("process", None, "train: which of them this is, from 0")
START_TIMEOUT = flags.DEFINE_float("start_timeout_s", 300.0, "train: how long to wait for the other processes")
METRICS = flags.DEFINE_list("metrics", [], "evaluate: groups of metrics, such as attributes,frechet; default: all")


def run_train() -> None:
    """Trains, or goes on where the same command was stopped."""
    config = required_config()
    if DRY_RUN.value:
        dry_run(config)
        return
    workdir = required_workdir("train", default_workdir())
    processes.start(processes.find(os.environ, COORDINATOR.value, PROCESSES.value, PROCESS.value), START_TIMEOUT.value)
    from t2igan.training.loop import Interrupted
    from t2igan.training.train import train

    overrides = [arg for arg in sys.argv[1:] if arg.startswith("--config.")]
    try:
        train(config, workdir, tuple(overrides))
    except Interrupted:  # all of them were, after the same step
        leads = processes.leads()
        processes.finish()
        if leads:
            raise
        sys.exit(130)
    processes.finish()


def dry_run(config: Any) -> None:
    """Prints what the training would take; UserError where that is more than a device has."""
    from t2igan import config as config_lib
    from t2igan.config.checks import check, check_devices
    from t2igan.method.phases import PHASES
    from t2igan.training import plan
    from t2igan.training.distributed import parallel

    check(config)
    if DRY_RUN_DEVICES.value < 0 or DRY_RUN_MEMORY.value < 0:
        raise UserError("--dry_run_devices and --dry_run_memory_gb must be 0 or more")
    devices = DRY_RUN_DEVICES.value or config.devices
    if DRY_RUN_DEVICES.value:
        parallel.only_compile()
    parallel.start(devices or 1)
    mesh = parallel.make_mesh(devices, config.shard_devices)
    for phase in config.phases:
        key = f"{PHASES[phase].section}.batch_images"
        check_devices(config_lib.get(config, key), mesh.size, key)
    made = plan.make_plan(config, mesh)
    print("\n".join(plan.lines(made, config)))
    given_bytes = int(DRY_RUN_MEMORY.value * 1e9)
    plan.check_memory(made, given_bytes or plan.memory_of(mesh.devices.flat[0]))


def run_sample() -> None:
    """Draws pictures from prompts into a sheet or a folder."""
    import t2igan
    from t2igan.inference.pictures import enlarge, save_png, sheet
    from t2igan.training.distributed import parallel

    prompts = list(PROMPT.value)
    if PROMPTS.value:
        try:
            lines = Path(PROMPTS.value).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--prompts={PROMPTS.value} cannot be read ({error}); give a UTF-8 text file") from error
        prompts += [line for line in lines if line.strip()]
    if not prompts:
        raise UserError('there is no prompt; give --prompt="..." (once or more) or --prompts=FILE, a caption a line')
    num = number_of_pictures(1)
    if SCALE.value < 0:
        raise UserError(f"--scale={SCALE.value} must be 0 or more")
    parallel.start()
    generator = t2igan.load(required_workdir("sample"))
    everyone = [(prompt, SEED.value + i) for prompt in prompts for i in range(num)]
    how = {"truncation": TRUNCATION.value, "guidance": GUIDANCE.value}
    images = generator.sample([p for p, _ in everyone], [s for _, s in everyone], **how)
    facts = {"model": generator.digest, "t2igan": t2igan.__version__} | how
    out = Path(OUT.value or "sample.png")
    if out.suffix.lower() == ".png":
        picture = sheet(images, prompts, columns=num, scale=SCALE.value)
        seeds = list(range(SEED.value, SEED.value + num))
        save_png(out, picture, facts | {"prompts": prompts, "seeds": seeds})
        print(f"{len(images)} pictures in {out}")
        return
    if out.suffix and not out.is_dir():
        raise UserError(f"--out={out} must end in .png, or be a folder")
    for i, ((prompt, seed), image) in enumerate(zip(everyone, enlarge(images, SCALE.value), strict=True)):
        save_png(out / f"{i:05d}_seed{seed}.png", image, facts | {"prompt": prompt, "seed": seed})
    print(f"{len(images)} pictures in {out}/")


def run_evaluate() -> None:
    """Measures trained runs on a split of their data, several side by side."""
    from t2igan.evaluation.evaluate import GROUPS
    from t2igan.evaluation.runs import evaluate_runs
    from t2igan.training.distributed import parallel

    workdirs = required_workdirs("evaluate")
    parallel.start()
    given = {"inception": INCEPTION.value, "clip": CLIP.value}
    weights = {name: path for name, path in given.items() if path is not None}
    evaluate_runs(workdirs, SPLIT.value, NUM.value, SEED.value, METRICS.value or tuple(GROUPS), weights)


def run_data() -> None:
    """Shows what is in the data and what would be left out, before anything is trained."""
    import json

    from t2igan.data import list_splits, open_datasets
    from t2igan.data.summary import as_json, examples, lines
    from t2igan.inference.pictures import save_png, sheet

    config = required_config()
    out = Path(OUT.value) if OUT.value else None
    if out and out.suffix.lower() != ".png":
        raise UserError(f"--out={out} must end in .png: a sheet of pictures with their captions")
    num = number_of_pictures(24)
    splits = list_splits(config.data)
    wanted = dict.fromkeys((config.data.train_split, config.data.test_split))
    datasets = open_datasets(config.data, list(wanted))
    print("\n".join(lines(datasets, config.data, config.tokenizer)))
    if others := [split for split in splits if split not in wanted]:
        print(f"more splits: {', '.join(others)}")
    if out:
        images, captions = examples(datasets[0], num)
        save_png(out, sheet(images, captions, columns=6))
        report = out.with_suffix(".json")
        report.write_text(json.dumps(as_json(datasets), indent=2) + "\n", encoding="utf-8")
        print(f"pictures in {out}, all that was left out in {report}")


def run_report() -> None:
    """Writes one page about a run, and its model card."""
    from configs.base import get_config
    from t2igan.evaluation.report import write_report
    from t2igan.training.distributed import parallel

    workdir = required_workdir("report")
    parallel.start()
    write_report(
        workdir,
        Path(OUT.value) if OUT.value else None,
        SPLIT.value if SPLIT.present else None,
        base=get_config().to_dict(),
        num_images=NUM.value,
        seed=SEED.value,
    )


VERBS: dict[str, Callable[[], None]] = {
    "train": run_train,
    "sample": run_sample,
    "evaluate": run_evaluate,
    "report": run_report,
    "data": run_data,
}


def known_configs() -> list[str]:
    """The configuration files at hand."""
    return sorted(str(path) for path in Path("configs").glob("*.py") if path.stem != "__init__") or ["configs/*.py"]


def default_workdir() -> str:
    """The run's folder for a configuration file: runs/ and its name."""
    return f"runs/{Path(config_flags.get_config_filename(flags.FLAGS['config']).split(':')[0]).stem}"


def required_config() -> Any:
    """The configuration that `train` and `data` cannot do without."""
    if CONFIG.value is None:
        raise UserError(f"--config is missing; give one of {', '.join(known_configs())}")
    return CONFIG.value


def required_workdirs(verb: str) -> list[Path]:
    """The folders that a verb cannot do without, one or more."""
    if not WORKDIR.value or not all(WORKDIR.value):
        raise UserError(f"--workdir is missing; `{verb}` wants the folder of a run, such as --workdir=runs/base")
    return [Path(workdir) for workdir in WORKDIR.value]


def required_workdir(verb: str, default: str | None = None) -> Path:
    """The one folder of a verb; UserError for several."""
    if default and not WORKDIR.value:
        return Path(default)
    workdirs = required_workdirs(verb)
    if len(workdirs) > 1:
        raise UserError(f"--workdir is given {len(workdirs)} times; `{verb}` takes one, only `evaluate` several")
    return workdirs[0]


def number_of_pictures(default: int) -> int:
    """--num, or what the verb takes without it; UserError for none."""
    num = default if NUM.value is None else NUM.value
    if num < 1:
        raise UserError(f"--num={num} must be 1 or more")
    return num


def parse(argv: list[str]) -> Callable[[], None]:
    """Reads flags and configuration; returns what the verb does."""
    for arg, after in itertools.pairwise([*argv[1:], ""]):
        flag, equals, name = arg.partition("=")
        name = (name if equals else after).split(":")[0]  # FILE or FILE:ARGUMENT
        if flag in ("--config", "-config") and not Path(name).is_file():
            known = known_configs()
            raise UserError(f"--config={name} is not a file{nearest(name, known)} There are {', '.join(known)}")
    try:
        positional = flags.FLAGS(argv)[1:]
    except flags.Error as error:
        raise UserError(str(error).strip().splitlines()[0]) from error
    except (AttributeError, KeyError) as error:
        raise UserError(f"{unknown_key(error)}; configs/base.py has every key with its default") from error
    except (OSError, SyntaxError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the configuration cannot be read: {reason}\nGive --config=FILE.py, of configs/") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{str(error).splitlines()[0]}; configs/base.py has every key with its type") from error
    verb = positional[0] if positional else "train"
    if verb not in VERBS:
        raise UserError(f"there is no verb {verb!r}{nearest(verb, VERBS)} Verbs are {', '.join(VERBS)}")
    if len(positional) > 1:
        raise UserError(f"{positional[1]!r} is one word too many; flags look like --workdir=runs/base")
    return VERBS[verb]


def unknown_key(error: Exception) -> str:
    """One line of ml_collections' message about a key that the configuration does not have."""
    text = str(error.args[0] if error.args else error).splitlines()[0]
    return f"the configuration has no such key: {text}"


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, 2 for a user's mistake, 130 when interrupted."""
    # XLA logs "Very slow compile? ... file a bug" as an error; what is wrong it raises besides.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.set_verbosity(logging.FATAL)  # what libraries log with a traceback also reaches us, and is said in a line
    app.define_help_flags()
    try:
        parse(argv)()
    except UserError as error:
        print(f"run.py: {error}", file=sys.stderr)
        processes.leave(str(error), 2)
        return 2
    except KeyboardInterrupt as error:
        reason = str(error) or "interrupted; the same command goes on from the last checkpoint"
        print(f"run.py: {reason}", file=sys.stderr)
        processes.leave("interrupted", 130)
        return 130
    except Exception as error:
        processes.fail(error)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
