"""Builders of TFDS: found by name or in a folder, prepared where need be, with errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from t2igan.config import expanded
from t2igan.data.stored import read_text, reason_of
from t2igan.errors import UserError, nearest

FILE_FORMAT = "array_record"  # what data is prepared as: read by index, and written without TensorFlow
MAX_JSON_BYTES = 64 << 20
FEATURE_PACKAGE = "tensorflow_datasets."
CONNECT_TIMEOUT_S = 10.0


def prepared_folder(path: Path) -> Path | None:
    """Returns the folder that TFDS has prepared: `path`, or its one version (`path/1.0.0`). None where there is none.

    UserError where there are several.
    """
    if (path / "features.json").is_file():
        return path
    found = sorted(file.parent for depth in ("*", "*/*") for file in path.glob(f"{depth}/features.json"))
    if len(found) > 1 and path.name:
        names = ", ".join(folder.relative_to(path).as_posix() for folder in found[:8])
        raise UserError(f"{path} holds several prepared data sets or versions: {names}.\nName one of these folders.")
    return found[0] if found and path.name else None


def prepared_builder(source: str, path: Path) -> Any:
    """Returns the builder of a prepared folder; UserError where it cannot be read."""
    import tensorflow_datasets as tfds

    _check_features(source, path)
    with _errors(source):
        builder = tfds.builder_from_directory(path)
        if not builder.info.splits:
            raise UserError(f"{source}: {path} holds no prepared splits (dataset_info.json names none).")
        return builder


def named_builder(source: str, name: str, data_config: Any) -> Any:
    """Returns the builder of "NAME[:CONFIG][:VERSION]" in `config.data.tfds_dir`, prepared first if need be."""
    import tensorflow_datasets as tfds

    # "a:b" to the user, "a/b" to TFDS, which keeps the colon for versions ("a:1.0.0").
    name, _, rest = name.partition(":")
    name = name if not rest else f"{name}:{rest}" if rest[0].isdigit() else f"{name}/{rest}"
    data_dir = str(expanded(data_config.tfds_dir, "config.data.tfds_dir")) if data_config.tfds_dir else None
    with _errors(source):
        try:
            builder = tfds.builder(name, data_dir=data_dir)
            if builder.is_prepared():
                return builder
            builder = tfds.builder(name, data_dir=data_dir, file_format=FILE_FORMAT)
        except tfds.core.DatasetNotFoundError as error:
            near = nearest(name.split("/")[0], tfds.list_builders(with_community_datasets=False))
            raise UserError(
                f"config.data.source={source!r}: TFDS has no such data set{near}\n"
                f"Looked also for prepared data in {data_dir or tfds.core.constants.DATA_DIR} (config.data.tfds_dir)."
            ) from error
        files_dir = data_config.tfds_files_dir
        if files_dir:
            files_dir = str(expanded(files_dir, "config.data.tfds_files_dir"))
        _prepare(source, builder, files_dir)
        # Anew: the builder at hand was made before there were splits and would say that there are none.
        return tfds.builder_from_directory(builder.data_dir)


def _prepare(source: str, builder: Any, files_dir: str) -> None:
    import tensorflow_datasets as tfds

    if files_dir and not Path(files_dir).is_dir():
        raise UserError(
            f"config.data.tfds_files_dir={files_dir!r} is not a folder.\n"
            f"It must hold the original files of {builder.name}; leave it empty to download them."
        )
    if builder.name != "fashion_mnist" or not files_dir:  # its own preparation looks at each file
        _check_network(source, builder, files_dir)
    if builder.name == "fashion_mnist":
        from t2igan.data.sources import fashion_mnist

        fashion_mnist.prepare(str(builder.data_dir_root), files_dir, FILE_FORMAT)
        return
    builder.download_and_prepare(
        file_format=FILE_FORMAT,
        download_config=tfds.download.DownloadConfig(manual_dir=files_dir or None, try_download_gcs=False),
    )


def _check_network(source: str, builder: Any, files_dir: str) -> None:
    """Asks for the first file once: TFDS itself tries ten times, for minutes, before it says that there is none."""
    import requests

    files = builder.url_infos or {}
    at_hand = {path.name for path in Path(files_dir).iterdir()} if files_dir else set()
    url = next((url for url in files if url.startswith("http")), None)
    if url is None or at_hand & {info.filename for info in files.values()}:
        return
    try:
        requests.get(url, stream=True, timeout=CONNECT_TIMEOUT_S).close()
    except requests.RequestException as error:
        raise UserError(
            f"{source} is not prepared yet, and {url} cannot be reached ({type(error).__name__}).\n"
            "Where you have its original files, set config.data.tfds_files_dir to their folder."
        ) from error


def _check_features(source: str, path: Path) -> None:
    """Refuses a features.json that names classes outside TFDS: TFDS would import whatever module it names."""
    named: list[str] = []

    def note(fields: dict[str, Any]) -> dict[str, Any]:
        found = (fields.get(key) for key in ("pythonClassName", "python_class_name", "type"))
        named.extend(name for name in found if isinstance(name, str) and "." in name)
        return fields

    try:
        json.loads(read_text(path / "features.json", MAX_JSON_BYTES), object_hook=note)
    except (OSError, ValueError, RecursionError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "not JSON"
        raise UserError(f"{source}: {path / 'features.json'}: {reason}.") from error
    foreign = next((name for name in named if not name.startswith(FEATURE_PACKAGE)), None)
    if foreign is not None:
        raise UserError(
            f"{source}: {path / 'features.json'} has a feature of class {foreign[:200]!r}, which is not TFDS's own.\n"
            "Data must not say which code to run: prepare it with the features of tensorflow_datasets."
        )


@contextmanager
def _errors(source: str) -> Iterator[None]:
    """Says what to do where TFDS lacks a package, a file or the network."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        chain = [error]
        while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
            chain.append(cause)
        for cause in chain:
            if isinstance(cause, ImportError) and cause.name:
                package = cause.name.split(".")[0]
                install = "tensorflow-cpu" if package == "tensorflow" else package
                raise UserError(
                    f"{source}: preparing it takes the package {package!r}, which is not installed.\n"
                    f"pip install {install} (once: what is prepared is read without it)."
                ) from error
        if any(isinstance(cause, OSError) for cause in chain):
            raise UserError(
                f"{source} could not be downloaded or prepared: {_first_line(chain[-1])}\n"
                "Where you have its original files, set config.data.tfds_files_dir to their folder."
            ) from error
        raise UserError(f"{source}: TFDS says: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
