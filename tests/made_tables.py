"""Small tables and record files, whole and broken, for the tests of what reads them."""

import base64
import json
import struct
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from made_archives import COLOURS, png

# As Hugging Face `datasets` marks its columns.
FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["T-shirt/top", "Ankle boot"], "_type": "ClassLabel"}}


def colours_of(dataset):
    """First caption -> name of the colour of the first pixel."""
    names = {rgb: name for name, rgb in COLOURS.items()}
    pixels = [tuple(image[0, 0].tolist()) for image in dataset.images]
    return {captions[0]: names[pixel] for captions, pixel in zip(dataset.captions, pixels, strict=True)}


def unpacked(text):
    """Bytes that another library wrote, once: zlib in base 85."""
    return zlib.decompress(base64.b85decode(text))


def write_parquet(path, table=None, /, **columns):
    """Writes a table, or columns that make one, as Parquet; options of pyarrow's begin with `_`."""
    options = {name[1:]: columns.pop(name) for name in list(columns) if name.startswith("_")}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table if table is not None else pa.table(columns), path, **options)
    return path


def picture(colour, path=None):
    """A cell of Hugging Face's image column."""
    return {"bytes": png(colour), "path": path}


def marked(table, features=FEATURES):
    """The table with the metadata of Hugging Face `datasets`."""
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def save_to_disk(folder, tables, options=None):
    """Writes tables (one a file) as `datasets.Dataset.save_to_disk` lays them out."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{i:05d}-of-{len(tables):05d}.arrow" for i in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema, options=options) as out:
            out.write_table(table, max_chunksize=2)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return folder


def example(**features):
    """A serialized tf.train.Example; of a name, "__" stands for "/"."""
    from tensorflow_datasets.proto import tf_example_pb2

    made = tf_example_pb2.Example()
    for name, values in features.items():
        values = values if isinstance(values, list) else [values]
        feature = made.features.feature[name.replace("__", "/")]
        (feature.bytes_list if isinstance(values[0], bytes) else feature.int64_list).value.extend(values)
    return made.SerializeToString()


def write_records(path, records, group_size=1):
    """Writes records as ArrayRecord or, by its suffix, as TFRecord."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".tfrecord" in path.name:
        path.write_bytes(b"".join(map(tfrecord, records)))
        return path
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), f"group_size:{group_size}")
    for record in records:
        writer.write(record)
    writer.close()
    return path


def tfrecord(record, size=None):
    """A record as TFRecord frames it; `size` lies about its length."""
    from t2igan.data.sources.record_files import masked_crc32c

    length = struct.pack("<Q", len(record) if size is None else size)
    return length + struct.pack("<I", masked_crc32c(length)) + record + struct.pack("<I", masked_crc32c(record))


def zeroed(data, at, count):
    """Bytes with some of them zero."""
    return data[:at] + bytes(count) + data[at + count :]
