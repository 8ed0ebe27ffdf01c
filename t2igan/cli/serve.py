"""`t2igan serve`: a model behind OpenAI's Images API, and a page to draw with."""

from __future__ import annotations

import gc
import os
import signal
import socket
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from absl.flags import FlagValues

from t2igan.cli import verb
from t2igan.cli.keys import PASSWORD
from t2igan.cli.verb import Given
from t2igan.errors import UserError, nearest

ENVIRONMENT = "T2IGAN_SERVE_"
# New objects until Python looks for garbage. Nearly all that a request makes is gone with it; looking every 700, as
# Python does by itself, took 3 to 13 % of the CPU time of requests (docs/serving.md).
GARBAGE_FROM = 100_000


class Option(NamedTuple):
    """A setting that comes from a flag, from the environment or from a file, in this order."""

    kind: Callable[[str], Any]
    default: Any
    about: str


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _yes(text: str) -> bool:
    if text.lower() not in ("1", "0", "true", "false", "yes", "no"):
        raise ValueError(text)
    return text.lower() in ("1", "true", "yes")


OPTIONS = {
    "host": Option(str, "127.0.0.1", "where to listen; other than this machine itself wants --keys"),
    "port": Option(int, 8000, "0 = any that is free"),
    "keys": Option(Path, None, "file of keys; who has none is not served"),
    "public_url": Option(str, "", "how clients reach the server, such as https://example.org/gan, behind a proxy"),
    "allowed_hosts": Option(_listed, (), "host names that clients may use besides localhost, with commas"),
    "cors_origins": Option(_listed, (), "origins whose pages may call the API, with commas"),
    "trusted_proxies": Option(_listed, (), "addresses of proxies whose X-Forwarded-For and -Proto count"),
    "link_secret": Option(Path, None, "file with the secret of the pictures' addresses; made where there is none"),
    "link_s": Option(int, 3600, "seconds for which an address of a picture is good"),
    "batch_images": Option(int, 64, "pictures that the device draws at once, a power of two"),
    "drawing_threads": Option(int, 0, "batches drawn at a time; 0 = one, or on a CPU one a core up to four"),
    "deny": Option(Path, None, "file of words and phrases that no prompt may have, one a line"),
    "allow": Option(Path, None, "file of all words that a prompt may have"),
    "watermark": Option(Path, None, "secret (.mark, of `keys`) of a watermark in every picture; wants 64 px"),
    "c2pa": Option(Path, None, "key and certificates (.pem, as of `sample`): content credentials in every picture"),
    "queue_images": Option(int, 512, "pictures that may wait; a client's share is half of it"),
    "request_images": Option(int, 16, "pictures a request"),
    "requests_per_minute": Option(int, 0, "that a client may send; 0 = as many as it likes"),
    "images_per_minute": Option(int, 0, "pictures that a client may have drawn; 0 = as many as it likes"),
    "prompt_characters": Option(int, 2000, "the longest prompt that is read; the model's own limit is lower"),
    "timeout_s": Option(float, 30.0, "seconds until a request that waits is given up"),
    "drain_s": Option(float, 1.0, "seconds for which requests are still taken after SIGTERM"),
    "largest_px": Option(int, 2048, "the largest size in which pictures are handed out"),
    "connections": Option(int, 1000, "connections at a time"),
    "a1111": Option(_yes, False, "whether to answer AUTOMATIC1111's API, too: yes, no"),
    "open_metrics": Option(_yes, False, "whether /metrics is read without a key: yes, no"),
    "log_format": Option(str, "json", "of the log on stderr: json, plain"),
    "log_prompts": Option(_yes, False, "whether prompts are in the log: yes, no"),
}


def define(given: FlagValues) -> None:
    """Adds the flags of `serve`."""
    verb.define_workdir(given, "run, snapshot file or folder of snapshot files; may repeat, the first is the default")
    verb.define_which(given)
    for name, option in OPTIONS.items():
        shown = f"{option.default:g}" if isinstance(option.default, float) else option.default
        default = f" ({shown})" if option.default not in ("", None, (), False) else ""
        if option.kind is Path:
            verb.define_path(given, name, option.about)
        elif option.kind is int:
            flags.DEFINE_integer(name, None, option.about + default, flag_values=given)
        elif option.kind is float:
            flags.DEFINE_float(name, None, option.about + default, flag_values=given)
        else:
            flags.DEFINE_string(name, None, option.about + default, flag_values=given)
    verb.define_path(
        given, "settings", "TOML file with any of these by name; the environment's T2IGAN_SERVE_NAME is above it"
    )
    flags.DEFINE_string(
        "new_key", None, "make a key for somebody, add its hash to --keys, print it, and end", flag_values=given
    )
    verb.define_plugin(given)


def run(given: Given) -> None:
    """Serves until SIGTERM or Ctrl-C."""
    options = resolve(given)
    if given.new_key is not None:
        _make_key(given.new_key, options["keys"])
        return
    gc.disable()  # a start makes little garbage, and to look for it among all that is imported takes half a second
    try:
        server, taken = _opened(given, options)
        gc.freeze()  # what is loaded stays: nobody has to look through it again while requests wait
    finally:
        gc.enable()
    gc.set_threshold(GARBAGE_FROM)
    server.run(sockets=[taken])
    if server.signal == signal.SIGINT:
        raise KeyboardInterrupt("the server was stopped")


def _opened(given: Given, options: dict[str, Any]) -> tuple[Any, socket.socket]:
    """Returns the server of a command, its models loaded, and where it will listen."""
    try:
        from t2igan.inference.serving.app import create_app
        from t2igan.inference.serving.server import Server, bound_socket
    except ModuleNotFoundError as error:
        raise UserError(f"`serve` wants {error.name}: pip install 't2igan[serve]'") from error
    from t2igan.inference.console import say
    from t2igan.inference.serving.models import open_models
    from t2igan.training.distributed import parallel

    settings = settings_of(options)
    workdirs = verb.workdirs(given, "serve")
    taken = bound_socket(settings)  # before seconds are spent on loading
    parallel.start()
    catalogue = open_models(workdirs, given.which)
    host, port = taken.getsockname()[:2]
    address = settings.public_url or f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def started() -> None:
        say(f"{', '.join(catalogue)}: the studio is at {address}, OpenAI's Images API at {address.rstrip('/')}/v1")

    return Server(create_app(catalogue, settings), settings, started), taken


def resolve(given: Given) -> dict[str, Any]:
    """Returns the value of each option: of its flag, the environment, the file, or its default."""
    from_file = _read_file(given.settings)
    options = {}
    for name, option in OPTIONS.items():
        for value, where in (
            (getattr(given, name), f"--{name}"),
            (os.environ.get(ENVIRONMENT + name.upper()), ENVIRONMENT + name.upper()),
            (from_file.get(name), f"{given.settings}: {name}"),
        ):
            if value is not None:
                options[name] = _value(option, value, where)
                break
        else:
            options[name] = option.default
    return options


def settings_of(options: dict[str, Any]) -> Any:
    """Returns the settings of a server. Raises `UserError` for values that it does not take."""
    options = dict(options)
    from t2igan.config import cache_folder
    from t2igan.inference.credentials import read_signer
    from t2igan.inference.rules import PromptRules
    from t2igan.inference.serving.keys import read_keys
    from t2igan.inference.serving.links import kept_secret
    from t2igan.inference.serving.settings import Settings
    from t2igan.inference.watermark import read_secret

    rules = PromptRules.read(options.pop("deny"), options.pop("allow"))
    keys = read_keys(options["keys"]) if options["keys"] else ()
    secret = kept_secret(options["link_secret"] or cache_folder() / "link_secret")
    mark = read_secret(options["watermark"]) if options["watermark"] else None
    certificate = options.pop("c2pa")
    signer = read_signer(certificate, os.environ.get(PASSWORD, "")) if certificate else None
    read = {"keys": keys, "link_secret": secret, "rules": rules, "watermark": mark, "signer": signer}
    return Settings(**options | read)


def _value(option: Option, value: Any, where: str) -> Any:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        return option.kind(text)
    except ValueError as error:
        kind = {int: "a whole number", float: "a number", _yes: "yes or no"}.get(option.kind, "another text")
        raise UserError(f"{where}={text!r} must be {kind}") from error


def _read_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"--settings={path} cannot be read: {error}") from error
    for name in found:
        if name not in OPTIONS:
            raise UserError(f"{path} has a setting {name!r} that there is not{nearest(name, OPTIONS)}")
    return found


def _make_key(name: str, path: Path | None) -> None:
    from t2igan.inference.serving.keys import new_key

    if path is None:
        raise UserError("--new_key wants --keys=FILE, the file that the hash of the key is added to")
    print(new_key(path, name))


VERB = verb.Verb(
    name="serve",
    summary="draw for others: OpenAI's Images API and a page (pip install 't2igan[serve]')",
    examples=(
        "serve --workdir=runs/base",
        "serve --workdir=runs/base --host=0.0.0.0 --keys=keys.txt",
        "serve --new_key=alice --keys=keys.txt",
    ),
    define=define,
    run=run,
)
