"""Parquet, Hugging Face's save_to_disk, ArrayRecord and TFRecord: the formats as their own libraries write them."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from made_archives import config_of, png, skipped
from made_tables import (
    colours_of,
    example,
    marked,
    picture,
    save_to_disk,
    tfrecord,
    unpacked,
    write_parquet,
    write_records,
)

from t2igan.data import list_splits, open_dataset
from t2igan.data.dataset import read
from t2igan.data.sources import parquet
from t2igan.data.sources.array_record import ArrayRecords
from t2igan.data.sources.arrow import Saved
from t2igan.data.sources.record_files import masked_crc32c
from t2igan.data.sources.table import Table


def test_parquet_of_hugging_face(tmp_path):
    for split, colours in (("train", ["red", "lime"]), ("validation", ["blue"])):
        columns = {"image": [picture(c, f"{c}.jpg") for c in colours], "text": [f"all {c}" for c in colours]}
        table = marked(pa.table(columns | {"label": [1] * len(colours)}))
        write_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet", table)
    config = config_of(tmp_path, test_split="validation")
    assert list_splits(config) == ("train", "validation")
    assert colours_of(open_dataset(config, "train")) == {"all red": "red", "all lime": "lime"}
    assert colours_of(open_dataset(config, "validation")) == {"all blue": "blue"}
    assert "pictures in 'image.bytes', captions from 'text'" in open_dataset(config, "train").description
    # The names of the labels are in the file, too.
    (tmp_path / "labels").mkdir()
    write_parquet(
        tmp_path / "labels" / "x.parquet", marked(pa.table({"image": [picture("red")] * 3, "label": [0, 1, -1]}))
    )
    labelled = open_dataset(config_of(tmp_path / "labels"), "train")
    assert labelled.captions == (("a picture of t-shirt or top",), ("a picture of ankle boot",))
    assert labelled.attributes == ({"label": "t-shirt or top"}, {"label": "ankle boot"})
    assert skipped(labelled) == {"x.parquet:3": "no caption in 'label'"}


def test_splits_and_attributes_in_columns(tmp_path):
    path = write_parquet(
        tmp_path / "x.parquet",
        image=[picture(c, f"{c}.png") for c in ("red", "lime", "blue")],
        text=["red", "green", "blue"],
        attributes=['{"c": "r", "tags": ["x"], "n": null}', None, "not json"],
        split=["train", "test", None],
    )
    config = config_of(path)
    assert list_splits(config) == ("train", "test")
    train = open_dataset(config, "train")
    assert colours_of(train) == {"red": "red", "blue": "blue"} and train.attributes == ({"c": "r"}, {})
    assert colours_of(open_dataset(config, "test")) == {"green": "lime"}


def test_parquet_of_img2dataset(tmp_path):
    # output_format=parquet: pictures in a column named after their format, beside facts of the download.
    for shard, colour in (("00000", "red"), ("00001", "blue")):
        write_parquet(
            tmp_path / f"{shard}.parquet",
            jpg=[png(colour), None],
            caption=[f"all {colour}", "lost"],
            key=[f"{shard}0000", f"{shard}0001"],
            status=["success", "failed_to_download"],
            error_message=[None, "404"],
            url=["http://x/1", "http://x/2"],
            width=[8, None],
        )
    dataset = open_dataset(config_of(tmp_path), "train")
    assert colours_of(dataset) == {"all red": "red", "all blue": "blue"}
    assert set(skipped(dataset)) == {"00000.parquet:2", "00001.parquet:2"}
    assert all("no picture in this row" in reason for reason in skipped(dataset).values())


def test_a_column_of_names_of_files(tmp_path):
    for name, colour in (("a/red.png", "red"), ("data/blue.png", "blue"), ("white.png", "white")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(colour))
    # Relative to the root, to the table's own folder, in Windows' way, or absolute within the root.
    names = ["a/red.png", "blue.png", "a\\red.png", str(tmp_path / "white.png")]
    write_parquet(tmp_path / "data" / "x.parquet", file_name=names, caption=["one", "two", "three", "four"])
    table = Table(config_of(tmp_path), [tmp_path / "data" / "x.parquet"])
    records, lost = table.records(None)
    assert [Path(record.image.path).name for record in records] == ["red.png", "blue.png", "red.png", "white.png"]
    assert not lost and records[0].image.read() == png("red")


PICTURES = {
    "binary": lambda cells: pa.array(cells, pa.binary()),
    "large binary": lambda cells: pa.array(cells, pa.large_binary()),
    "binary view": lambda cells: pa.array(cells, pa.binary_view()),
    "dictionary": lambda cells: pa.array(cells, pa.binary()).dictionary_encode(),
    "fixed size": lambda cells: pa.array([cells[0]] * 2, pa.binary(len(cells[0]))),
    "struct": lambda cells: pa.array([{"bytes": cell, "path": None} for cell in cells]),
    "struct in a struct": lambda cells: pa.array([{"image": {"bytes": cell}, "n": 1} for cell in cells]),
}
TEXTS = {
    "string": lambda texts: pa.array(texts),
    "large string": lambda texts: pa.array(texts, pa.large_string()),
    "string view": lambda texts: pa.array(texts, pa.string_view()),
    "dictionary": lambda texts: pa.array(texts).dictionary_encode(),
    "bytes": lambda texts: pa.array([text.encode() for text in texts]),
    "list": lambda texts: pa.array([[text, f"{text} again"] for text in texts]),
    "large list": lambda texts: pa.array([[text] for text in texts], pa.large_list(pa.string())),
    "list of structs": lambda texts: pa.array([[{"raw": text, "sentid": 1}] for text in texts]),
    "struct": lambda texts: pa.array([{"caption": text, "n": 1} for text in texts]),
}


@pytest.mark.parametrize(
    ("pictures", "texts"),
    [*((kind, "string") for kind in PICTURES), *(("struct", kind) for kind in TEXTS)],
)
def test_every_type_of_column(tmp_path, pictures, texts):
    image = PICTURES[pictures]([png("red"), png("blue")])
    text = TEXTS[texts](["é one", "two"])
    table = pa.table({"image": image, "text": text})
    try:
        write_parquet(tmp_path / "x.parquet", table)
    except pa.ArrowNotImplementedError as error:
        pytest.skip(str(error))  # older ones do not write views
    dataset = open_dataset(config_of(tmp_path / "x.parquet"), "train")
    second = "red" if pictures == "fixed size" else "blue"
    assert colours_of(dataset) == {"é one": "red", "two": second}
    assert len(dataset.captions[0]) == (2 if texts == "list" else 1)


def test_captions_by_configuration(tmp_path):
    path = write_parquet(
        tmp_path / "x.parquet",
        image=[picture("red")],
        text=["short"],
        blip=[["first", "second"]],
        meta=[{"title": {"long": "nested"}}],
    )

    def captions(**changes):
        return open_dataset(config_of(path, **changes), "train").captions

    assert captions() == (("short",),)
    assert captions(caption_field="blip") == (("first", "second"),)
    assert captions(caption_field="blip", captions="first") == (("first",),)
    assert captions(caption_field="meta.title.long") == captions(caption_field="long") == (("nested",),)


@pytest.fixture
def small_windows(monkeypatch):
    """Windows of a few rows, few of which are kept."""
    monkeypatch.setattr(parquet, "WINDOW_BYTES", 600)
    monkeypatch.setattr(parquet, "KEPT_BYTES", 3_000)
    monkeypatch.setattr(parquet, "KEPT_CURSORS", 2)
    monkeypatch.setattr(parquet, "_windows", parquet._Windows())
    parquet._window_rows.cache_clear()


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("options", [{}, {"_use_dictionary": False}, {"_compression": "zstd", "_data_page_size": 500}])
def test_cells_in_any_order_from_any_thread(tmp_path, options):
    cells = [bytes([i % 256, i // 256]) * (20 + i % 7) for i in range(500)]
    path = write_parquet(tmp_path / "x.parquet", image=cells, text=["x"] * 500, _row_group_size=90, **options)
    records, _ = Table(config_of(path), [path]).records(None)
    order = np.random.default_rng(0).permutation(500)
    assert [records[i].image.read() for i in range(500)] == cells
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda i: records[i].image.read(), order[:200])) == [cells[i] for i in order[:200]]
    assert parquet._windows._kept_bytes <= 3_000 and len(parquet._windows._cursors) <= 2
    assert len({record.image.stamp for record in records}) == 500
    # As worker processes get them.
    assert pickle.loads(pickle.dumps(records[17].image)).read() == cells[17]


def test_a_file_that_changed_since_it_was_listed(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", image=[png("red")], text=["x"])
    (record,), _ = Table(config_of(path), [path]).records(None)
    stamp = record.image.stamp
    write_parquet(path, image=[png("blue")] * 2, text=["x", "y"])
    parquet.open_parquet.cache_clear()
    with pytest.raises(ValueError, match="has changed since it was listed"):
        record.image.read()
    assert Table(config_of(path), [path]).records(None)[0][0].image.stamp != stamp


def test_repeated_values_do_not_fill_the_memory(tmp_path):
    # A dictionary holds each value once: 1 MB of caption and of picture, 500 times, in a small file.
    rows = pa.array(np.zeros(500, np.int32))
    table = pa.table(
        {
            "image": pa.DictionaryArray.from_arrays(rows, pa.array([b"x" * (1 << 20)])),
            "text": pa.DictionaryArray.from_arrays(rows, pa.array(["long " * 200_000])),
        }
    )
    path = write_parquet(tmp_path / "x.parquet", table, _compression="none", _store_schema=False)
    assert path.stat().st_size < 1 << 23
    del table
    records, lost = Table(config_of(path), [path]).records(None)
    assert len(records) == 500 and not lost and len(records[0].captions[0]) < 2_001
    assert len(records[499].image.read()) == 1 << 20
    assert pa.default_memory_pool().max_memory() < 250 << 20


# What `datasets` 5.2.0 wrote to data-00000-of-00002.arrow: two rows of image, text and label.
SAVED = (
    "c-oCq&ubG=5S~pocBzS7V%0_b5%wljEgn5JHDW`h6e(Vc=%#tu1U9?N?hCY(Lh$Ba;Kf4^J>($b(PNK2D7{wjqIl?^;6YetX5YqTh1!A1%$xb<dpq+c"
    "Ns=U13BUxBS-1ojpaKSZD4ITvSMgU@@t^Et8kOP({!-3B|C7p1P<QQt-wW)Aja|DZ965?a%!k3yaRqxX<xWVR-R98VLc^9~TXL?O<zg8PeAmX@6#m@tMk("
    "BLI>KYT?+lrL)84on_Xm-@FN2V(Izb@q7y0r>o)gDUxpEJMI=qP5AGt2x)N{53l=1ALE~$Q2a8B59iRRHzF_H@5h)K=CfEk_xjfZN-X<dcttXv&gYL)yDF_"
    "RQmvvU0SEU=C`ukPWwq1{L9$r-$%Bm3kZA;!dN1K)IpU&>VPsp({I6#D4wND*^PpT?0Q>1*jX0KfNDwINkzgtE@}^D?MivD7}$u6%=Zw@UC=s&IbEu%@za"
    "m7OS?UHh?sKg{*TvncQ$74Rp8^JxK}ovmD~Qs@iLIBWmO=Vdk5=bQDlC$-t@G|F0grS**04Ar2*)!`kQZ@t}WZfw8X`h7gUx%l0@eNcxlO>OS9`6D2T_T#"
    "nIhviqV&qH-tQFVVEkFP8`*KWP9!{=pf?!n>a*F4uh-<{3by%+kf^2_Q5l1OyjNC>}!f82bXR<H^0HNYS3B&06"
)
# What TensorFlow 2.21.0 wrote: two examples with image/encoded, image/caption; the first has two captions.
TFRECORD = (
    "c-mXV00C>adMa@(XXKLN63om^Oi$HM&PgmT*3U^yO3e{sm15>%WadiX;)Tei<|XH+q^1b@bNO<4cLw;m^8)n&4dM0la0vp^93afW1SGw4HSYi^Ax{^_kcv"
    "6Uf6h0^8axz`Un0bC){&9_h2x`qkma7PelF{r5}LTwVKyWu7L;V>=Lv~%iEyzOrKTw4=cRISCMrOgi!RNoZ-ctLfKfJvtC^823Eg#pTtN2`<2n(j>rxVao"
    "NwSYNEDUbBE)donUOzCrDqq4`()AG$HT?N#gUX#nhJ82so2&{0NdtO-2"
)


def test_save_to_disk(tmp_path):
    folder = save_to_disk(tmp_path / "saved" / "train", [pa.table({"unused": [1]})])
    (folder / "data-00000-of-00001.arrow").write_bytes(unpacked(SAVED))
    # The other split as laid out by hand, in two files and several batches.
    colours = ["white", "blue", "red", "lime", "white"]
    tables = [
        marked(pa.table({"image": [picture(c) for c in part], "text": [f"all {c}" for c in part]}))
        for part in (colours[:3], colours[3:])
    ]
    save_to_disk(tmp_path / "saved" / "test", tables)
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    for source in (f"hf:{tmp_path / 'saved'}", tmp_path / "saved"):
        config = config_of(source)
        assert list_splits(config) == ("train", "test")
        assert colours_of(open_dataset(config, "train")) == {"red": "red", "green": "lime"}
        test = open_dataset(config, "test")
        assert test.captions == tuple((f"all {c}",) for c in colours) and not test.skipped
        assert set(colours_of(test).items()) == {(f"all {c}", c) for c in colours}
    # A split on its own is a Dataset. Its labels have names.
    alone = config_of(folder, caption_field="label")
    records, _ = Saved(config_of(folder), folder).records(None)
    assert [record.file for record in records] == ["data-00000-of-00001.arrow:1", "g.png"]
    assert pickle.loads(pickle.dumps(records[1].image)).read() == records[1].image.read()
    assert len({record.image.stamp for record in records}) == 2
    with pytest.raises(Exception, match="no column of texts 'label'"):
        list_splits(alone)


def test_labels_of_save_to_disk(tmp_path):
    save_to_disk(tmp_path / "x", [marked(pa.table({"image": [picture("red"), picture("blue")], "label": [0, 1]}))])
    assert open_dataset(config_of(f"hf:{tmp_path}/x"), "train").captions == (
        ("a picture of t-shirt or top",),
        ("a picture of ankle boot",),
    )


@pytest.mark.parametrize("suffix", ["array_record", "tfrecord"])
def test_files_of_examples(tmp_path, suffix):
    records = [example(image=png(c), captions__text=[f"all {c}".encode(), b"two"]) for c in ("red", "lime", "blue")]
    write_records(tmp_path / f"train.{suffix}-00000-of-00002", records[:2])
    write_records(tmp_path / f"train.{suffix}-00001-of-00002", records[2:])
    write_records(tmp_path / f"test.{suffix}", [example(image__encoded=png("white"), image__class__label=7)])
    files = sorted(tmp_path.iterdir())
    source = ArrayRecords(config_of(tmp_path), files)
    assert source.splits() == ("train", "test")
    found, lost = source.records("train")
    assert [r.image.read() for r in found] == [png("red"), png("lime"), png("blue")] and not lost
    assert found[0].captions == ("all red", "two") and found[0].image.stamp != found[1].image.stamp
    assert pickle.loads(pickle.dumps(found[2].image)).read() == png("blue")
    assert [r.captions for r in source.records("test")[0]] == [("a picture of 7",)]
    first = config_of(files[1], captions="first")
    dataset = read(ArrayRecords(first, files[1:2]), "", first)
    assert colours_of(dataset) == {"all red": "red", "all lime": "lime"} and len(dataset.captions[0]) == 1


def test_a_tfrecord_of_tensorflow(tmp_path):
    (tmp_path / "x.tfrecord").write_bytes(unpacked(TFRECORD))
    config = config_of(tmp_path / "x.tfrecord")
    dataset = read(ArrayRecords(config, [tmp_path / "x.tfrecord"]), "", config)
    assert dataset.captions == (("red one", "a red one"), ("blue one",))
    assert colours_of(dataset) == {"red one": "red", "blue one": "blue"}
    # Framed by hand it is the same, bit by bit. CRC-32C of "123456789" is 0xe3069283 (RFC 3720).
    size = int.from_bytes(unpacked(TFRECORD)[:8], "little")
    first = unpacked(TFRECORD)[: size + 16]
    assert tfrecord(first[12:-4]) == first
    assert masked_crc32c(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_records_in_groups(tmp_path):
    # ArrayRecord compresses several records together where it is told to; each is still read by its index.
    records = [example(image=png("red"), text=f"number {i}".encode()) for i in range(100)]
    path = write_records(tmp_path / "x.array_record", records, group_size=16)
    found, _ = ArrayRecords(config_of(path), [path]).records(None)
    assert [record.captions for record in found] == [(f"number {i}",) for i in range(100)]
    assert {record.image.read() for record in found} == {png("red")}


def test_the_path_of_a_row_is_only_a_name_where_it_holds_the_picture(tmp_path):
    (tmp_path / "x.png").write_bytes(png("blue"))
    cells = [picture("red", "x.png"), {"bytes": None, "path": "x.png"}, {"bytes": None, "path": "../y.png"}]
    path = write_parquet(tmp_path / "x.parquet", image=cells, text=["a", "b", "c"])
    dataset = open_dataset(config_of(path), "train")
    assert colours_of(dataset) == {"a": "red", "b": "blue"}
    assert "the file that its row names is not inside the folder" in skipped(dataset)["../y.png"]
