"""Texts that are not UTF-8: read as what they are, or refused by name; never U+FFFD."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from configs.base import get_config
from t2igan.data import check_usable, open_dataset
from t2igan.data.encoding import Texts, is_utf8, likely_encoding, odd_words
from t2igan.data.settings import check_data
from t2igan.errors import UserError

CAPTIONS = {
    "cp1252": ["un carré très foncé, à côté", "une fenêtre brisée", "élève portant un béret", "le garçon à la plage"],
    "latin-1": ["ein großer Hund läuft", "grünes Dreieck, schöne Farbe", "Frau mit Hütchen", "weiß auf weiß"],
    "cp1250": ["červený kruh na bílém pozadí", "žlutý trojúhelník", "velký pes běží po trávě", "kočka spí na pohovce"],
    "cp1251": ["красный круг на белом фоне", "большая собака бежит", "кошка спит на диване", "портрет женщины"],
    "koi8-r": ["красный круг на белом фоне", "большая собака бежит", "кошка спит на диване", "портрет женщины"],
    "cp1253": ["κόκκινος κύκλος σε λευκό φόντο", "ένας μεγάλος σκύλος", "η γάτα κοιμάται", "κίτρινο τρίγωνο"],
    "cp1254": ["beyaz zemin üzerinde kırmızı daire", "büyük bir köpek koşuyor", "şapkalı kadın", "sarı üçgen"],
    "cp932": ["白い背景に赤い円", "大きな犬が草の上を走る", "帽子をかぶった女性の肖像", "猫がソファで寝ている"],
    "euc_jp": ["白い背景に赤い円", "大きな犬が草の上を走る", "帽子をかぶった女性の肖像", "猫がソファで寝ている"],
    "gbk": ["红色的圆在白色背景上", "一只大狗在草地上奔跑", "戴帽子的女人肖像", "猫在沙发上睡觉"],
    "big5": ["紅色的圓在白色背景上", "一隻大狗在草地上奔跑", "戴帽子的女人肖像", "貓在沙發上睡覺"],
    "cp949": ["흰 배경에 빨간 원", "큰 개가 풀밭을 달린다", "모자를 쓴 여자의 초상", "고양이가 소파에서 잔다"],
    "utf-16-le": ["a red circle", "a large dog on the grass", "a portrait with a hat", "a cat asleep"],
    "utf-16-be": ["красный круг на белом фоне", "большая собака бежит", "кошка спит на диване", "портрет женщины"],
}  # fmt: skip
ENCODINGS = sorted(CAPTIONS)


def config_of(path, **changes):
    config = get_config().data
    config.update({"source": str(path), "val_fraction": 0.0, "test_fraction": 0.0, "min_usable": 0.0} | changes)
    return config


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (number * 9 % 256, number, 0)).save(stream, "PNG")
    return stream.getvalue()


def files_of(texts: dict[str, bytes]) -> dict[str, bytes]:
    """Pictures with a text beside each."""
    pictures = {f"{name}.png": png(i) for i, name in enumerate(texts)}
    return pictures | {f"{name}.txt": data for name, data in texts.items()}


def texts_in(encoding: str, again: int = 3) -> dict[str, bytes]:
    sentences = [f"{caption} {i}" for i in range(again) for caption in CAPTIONS[encoding]]
    return {f"{i:02d}": sentence.encode(encoding) for i, sentence in enumerate(sentences)}


def captions_of(dataset) -> list[str]:
    return [captions[0] for captions in dataset.captions]


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


# Wherever texts lie


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts_beside_pictures(tmp_path, encoding):
    texts = texts_in(encoding)
    data = open_dataset(config_of(write(tmp_path / "a", files_of(texts))), "train")
    assert captions_of(data) == [text.decode(encoding) for text in texts.values()] and not data.skipped
    (note,) = data.notes
    assert "12 texts are not UTF-8 and read as" in note and "00.txt" in note and "config.data.encoding" in note


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["list.csv", "list.jsonl", "metadata.csv"])
def test_lists(tmp_path, encoding, name):
    sentences = [text.decode(encoding) for text in texts_in(encoding).values()]
    write(tmp_path, {f"{i}.png": png(i) for i in range(len(sentences))})
    if name.endswith(".csv"):
        lines = ["file_name;text", *(f"{i}.png;{sentence}" for i, sentence in enumerate(sentences))]
    else:
        lines = [json.dumps({"file_name": f"{i}.png", "text": s}, ensure_ascii=False) for i, s in enumerate(sentences)]
    (tmp_path / name).write_bytes(("\n".join(lines) + "\n").encode(encoding))
    data = open_dataset(config_of(tmp_path if name == "metadata.csv" else tmp_path / name), "train")
    assert sorted(captions_of(data)) == sorted(sentences) and name in data.notes[0]


@pytest.mark.parametrize("encoding", ["cp1252", "cp932", "utf-16-le"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives(tmp_path, encoding, kind):
    texts = texts_in(encoding)
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files_of(texts).items():
                archive.writestr(name, data)
    else:
        with tarfile.open(path, "w") as archive:
            for name, data in files_of(texts).items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    data = open_dataset(config_of(path), "train")
    assert captions_of(data) == [text.decode(encoding) for text in texts.values()] and data.notes


@pytest.mark.parametrize("encoding", ["cp1251", "gbk"])
def test_json_and_arrays(tmp_path, encoding):
    sentences = [text.decode(encoding) for text in texts_in(encoding).values()]
    rows = range(len(sentences))
    beside = {f"{i:02d}.json": json.dumps({"caption": sentences[i]}, ensure_ascii=False).encode(encoding) for i in rows}
    folder = write(tmp_path / "beside", beside | {f"{i:02d}.png": png(i) for i in rows})
    images = [{"id": i, "file_name": f"{i:02d}.png"} for i in rows]
    annotations = [{"image_id": i, "caption": sentences[i]} for i in rows]
    coco = json.dumps({"images": images, "annotations": annotations}, ensure_ascii=False).encode(encoding)
    write(tmp_path / "coco", {"captions_all.json": coco} | {f"{i:02d}.png": png(i) for i in rows})
    pictures = np.arange(len(sentences), dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "x.npz", images=pictures, captions=np.array([s.encode(encoding) for s in sentences]))
    for source in (folder, tmp_path / "coco" / "captions_all.json", tmp_path / "x.npz"):
        data = open_dataset(config_of(source), "train")
        assert captions_of(data) == sentences and not data.skipped and "not UTF-8 and read as" in data.notes[0]


# What is not clear is refused; what is asked for is done


def test_what_is_not_clear_is_refused_by_name(tmp_path):
    texts = {f"{i}": data for i, data in enumerate([b"\xff\xfa\x90 q", b"\x81\x8d\x90x", b"\xe8\xf8"])}
    folder = write(tmp_path / "a", files_of(texts | {"fine": "schön".encode()}))
    data = open_dataset(config_of(folder), "train")
    assert captions_of(data) == ["schön"]
    for i, skipped in enumerate(data.skipped):
        assert skipped.file == f"{i}.png" and "encoding it has is not clear" in skipped.reason
        assert f"{i}.txt" in skipped.reason and "config.data.encoding" in skipped.reason
    with pytest.raises(UserError, match=r"only 1 of 4 pictures can be used: .*config\.data\.encoding"):
        check_usable(data, config_of(folder, min_usable=0.5))
    (tmp_path / "list.csv").write_bytes(b"file_name,text\na.png,\x81\x8d\x90x \xff\xfa\x90\n")
    with pytest.raises(UserError, match=r"list.csv: not UTF-8(.|\n)*config.data.encoding"):
        open_dataset(config_of(tmp_path / "list.csv"), "train")


@pytest.mark.parametrize("encoding", ["cp1257", "cp437", "utf-16"])
def test_an_encoding_that_is_asked_for(tmp_path, encoding):
    texts = {"0": "caf\u00e9 \u00fc".encode(encoding), "1": "plain".encode(encoding)}
    data = open_dataset(config_of(write(tmp_path, files_of(texts)), encoding=encoding), "train")
    assert captions_of(data) == ["café ü", "plain"] and not data.notes
    write(tmp_path, {"2.png": png(2), "2.txt": b"\xef\xbb\xbfcaf\xc3\xa9"})  # a mark says more
    assert captions_of(open_dataset(config_of(tmp_path, encoding=encoding), "train"))[2] == "café"


def test_bytes_that_are_no_characters_cost_their_caption(tmp_path):
    texts = {f"{i}": "赤い円".encode("cp932") for i in range(3)}
    texts["broken"] = b"\x81\x81\xff\n"
    texts["half"] = b"fine\nbroken \x81\xff\n"
    data = open_dataset(config_of(write(tmp_path / "a", files_of(texts)), encoding="cp932"), "train")
    assert captions_of(data) == ["赤い円"] * 3 + ["fine"]
    (skipped,) = data.skipped
    assert skipped.file == "broken.png" and "bytes that are no characters" in skipped.reason
    # One damaged line in a list of UTF-8 costs that line.
    lines = ["file_name,text", *(f"{i}.png,grün und weiß {i}" for i in range(6))]
    damaged = "\n".join(lines).encode().replace("ß 3".encode(), b"\xdf 3")
    write(tmp_path / "b", {"list.csv": damaged} | {f"{i}.png": png(i) for i in range(6)})
    data = open_dataset(config_of(tmp_path / "b" / "list.csv"), "train")
    assert len(data) == 5 and "bytes that are no characters" in data.skipped[0].reason and not data.notes


@pytest.mark.parametrize("name", ["cp-1252x", "rot13", "hex", "utf8000"])
def test_an_encoding_that_there_is_not(name):
    with pytest.raises(UserError, match=r"config.data.encoding='.*is no encoding(.|\n)*cp1252"):
        check_data(config_of("x", encoding=name))


# Finding out


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_two_captions_are_enough_or_refused(encoding):
    for one, other in zip(CAPTIONS[encoding], CAPTIONS[encoding][1:], strict=False):
        texts = [text.encode(encoding) for text in (one, other)]
        found = likely_encoding(texts)
        assert found is None or [text.decode(found) for text in texts] == [one, other]
    everything = [text.encode(encoding) for text in CAPTIONS[encoding]]
    assert [text.decode(likely_encoding(everything)) for text in everything] == CAPTIONS[encoding]


def test_pairs_that_happen_to_be_utf8_are_not_meant_to_be(tmp_path):
    odd = "一只猫".encode("gbk")
    assert is_utf8(odd)  # as letters of three alphabets
    texts = texts_in("gbk") | {"odd": odd}
    data = open_dataset(config_of(write(tmp_path, files_of(texts))), "train")
    assert captions_of(data)[-1] == "一只猫"
    mixed = texts_in("cp1252") | {f"u{i}": "très foncé".encode() for i in range(20)}
    data = open_dataset(config_of(write(tmp_path / "b", files_of(mixed))), "train")
    assert captions_of(data)[-20:] == ["très foncé"] * 20 and "12 texts" in data.notes[0]


def test_utf8_is_told_from_the_rest():
    assert is_utf8("grün".encode()) and is_utf8(b"plain") and is_utf8("漢字".encode()[:-1])
    assert not is_utf8("grün".encode("latin-1")) and not is_utf8("a cat".encode("utf-16-le"))
    assert is_utf8(("grün weiß " * 5).encode() + b"\xff")  # damaged, but nothing else
    assert odd_words("très foncé, l’été “grün” 漢字 кот") == 0 and odd_words("carrй fonc¤e été") > 0.6


@pytest.mark.parametrize("last", ["utf-8", "cp1252"])
def test_other_texts_are_looked_at_once_for_all(last):
    texts = {f"{i}.txt": f"très foncé, à côté {i}".encode() for i in range(20)}
    texts |= {f"{i}.txt": f"un béret, à côté {i}".encode(last) for i in range(20, 25)}
    opened = []

    def opener(name):
        opened.append(name)
        return io.BytesIO(texts[name])

    reader = Texts(config_of(""), list(texts), opener)
    for name in texts:
        with reader.open(name) as stream:
            assert stream.read().decode() == texts[name].decode("utf-8" if int(name[:-4]) < 20 else last)
    assert len(opened) == 2 * len(texts)


def test_long_texts_are_decoded_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr("t2igan.data.encoding.MAX_HELD_BYTES", 1001)
    lines = "".join(f"{i}.png,большая собака бежит {i}\n" for i in range(200))
    (tmp_path / "x.csv").write_bytes(lines.encode("cp1251"))
    texts = Texts(config_of(""), ["x.csv"], lambda name: (tmp_path / name).open("rb"))
    with texts.open("x.csv") as stream:
        assert stream.read().decode() == lines
    assert "cp1251" in texts.notes()[0]
