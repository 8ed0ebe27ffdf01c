"""Lists with captions, of any name and in any form that people and tools write; names in them written elsewhere."""

import pyarrow
import pyarrow.parquet
import pytest
from layouts import captions_of, in_file, lay_out, reasons_of, source_of, unread_of

from t2igan.data.sources.headerless import reader_of
from t2igan.data.sources.locate import Locator

CAT, DOG = "a cat on a mat", "a dog, in the rain"
BOTH = {"1.png": None, "2.png": None}


# Lists of any name and form

LISTS = {
    "Flickr8k's": ("captions.txt", f'image,caption\n1.png,{CAT}\n2.png,"{DOG}"\n'),
    "Flickr30k's": ("results.csv", f"image_name| comment_number| comment\n1.png| 0| {CAT}\n2.png| 0| {DOG}\n"),
    "Flickr8k's tokens": ("Flickr8k.token.txt", f"1.png#0\t{CAT}\n2.png#0\t{DOG}\n"),
    "another name": ("metadata1000.jsonl", [{"image": "1.png", "caption": CAT}, {"image": "2.png", "caption": DOG}]),
    "columns in capitals, with blanks": ("index.csv", f'File Name,Title\n1.png,{CAT}\n2.png,"{DOG}"\n'),
    "semicolons": ("daten.csv", f"Image-Path;Description\n1.png;{CAT}\n2.png;{DOG}\n"),
    "tabs": ("all.tsv", f"filename\talt_text\n1.png\t{CAT}\n2.png\t{DOG}\n"),
    "a column of names by what is in it": ("t.csv", f'id,blip_caption\n1,{CAT}\n2,"{DOG}"\n'),
    "no header": ("captions.csv", f"1.png, {CAT}\n2.png, {DOG}\n"),
    "no header, the caption first": ("captions.tsv", f"{CAT}\t1.png\n{DOG}\t2.png\n"),
    "no header, more columns": ("captions.tsv", f"1.png\t0\t{CAT}\n2.png\t1\t{DOG}\n"),
    "blanks": ("list.txt", f"1.png {CAT}\n2.png {DOG}\n"),
    "colons": ("prompts.txt", f"1: {CAT}\n2: {DOG}\n"),
    "name to caption": ("captions.json", {"1.png": CAT, "2.png": DOG}),
    "stem to captions": ("x.json", {"1": [CAT], "2": [DOG]}),
    "kohya's": ("meta_cap.json", {"/work/x/1": {"caption": CAT, "tags": "a"}, "/work/x/2": {"caption": DOG}}),
    "a list of records": ("metadata.json", [{"file_name": "1.png", "text": CAT}, {"file_name": "2.png", "text": DOG}]),
    "pairs": ("pairs.json", [["1.png", CAT], ["2.png", DOG]]),
    "StyleGAN's": ("dataset.json", {"labels": [["1.png", CAT], ["2.png", DOG]]}),
    "wrapped": ("a.json", {"info": {"n": 2}, "data": [{"img": "1.png", "desc": CAT}, {"img": "2.png", "desc": DOG}]}),
    "columns": ("b.json", {"image": ["1.png", "2.png"], "prompt": [CAT, DOG]}),
    "pandas' columns": ("c.json", {"image": {"0": "1.png", "1": "2.png"}, "text": {"0": CAT, "1": DOG}}),
    "COCO's in another file": (
        "train.json",
        {
            "images": [{"id": 7, "file_name": "1.png"}, {"id": 8, "file_name": "2.png"}],
            "annotations": [{"id": 1, "image_id": "7", "caption": CAT}, {"id": 2, "image_id": 8, "caption": DOG}],
        },
    ),
    "LLaVA's": (
        "llava.json",
        [
            {"image": name, "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": said}]}
            for name, said in (("1.png", CAT), ("2.png", DOG))
        ],
    ),
    "chats": (
        "chat.jsonl",
        [
            {
                "images": None,
                "image": name,
                "messages": [
                    {"role": "user", "content": "?"},
                    {"role": "assistant", "content": [{"type": "text", "text": said}]},
                    {"role": "assistant", "content": "no caption"},
                ],
            }
            for name, said in (("1.png", CAT), ("2.png", DOG))
        ],
    ),
}


@pytest.mark.parametrize("where", ["beside", "above"])
@pytest.mark.parametrize("kind", LISTS)
def test_lists(tmp_path, kind, where):
    name, content = LISTS[kind]
    folder = "Images/" if where == "above" else ""
    lay_out(tmp_path, {f"{folder}1.png": None, f"{folder}2.png": None, name: in_file(name, content)})
    expected = {f"{folder}1.png": (CAT,), f"{folder}2.png": (DOG,)}
    assert captions_of(tmp_path) == expected
    assert not unread_of(tmp_path) and not reasons_of(tmp_path)
    assert captions_of(tmp_path / name) == expected  # the list itself is the source


def test_a_parquet_of_names(tmp_path):
    lay_out(tmp_path, {"pics/1.png": None, "pics/2.png": None})
    for names in (["1.png", "2.png"], ["pics/1.png", "pics/2.png"]):
        table = pyarrow.table({"Image": names, "Caption": [CAT, DOG]})
        pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
        for source in (tmp_path, tmp_path / "t.parquet"):
            assert captions_of(source) == {"pics/1.png": (CAT,), "pics/2.png": (DOG,)}


@pytest.mark.parametrize(
    ("names", "more", "captions", "asked"),
    [
        (("Image", "Caption"), {}, [CAT], ""),
        (("IMG", "TEXT"), {"url": ["x y"]}, [CAT], ""),
        (("picture", "image_caption"), {"split": ["train"]}, [CAT], ""),
        (("image", "conversations"), {}, [[{"from": "human", "value": "?"}, {"from": "gpt", "value": CAT}]], ""),
        (("Image", "Blurb"), {"text": ["no"]}, [CAT], "blurb"),
    ],
)
def test_columns_of_parquet(tmp_path, names, more, captions, asked):
    cells = {names[0]: [{"bytes": (lay_out(tmp_path / "x", ["1.png"]) / "1.png").read_bytes()}], names[1]: captions}
    pyarrow.parquet.write_table(pyarrow.table(cells | more), tmp_path / "t.parquet")
    assert list(captions_of(tmp_path / "t.parquet", caption_field=asked).values()) == [(CAT,)]


@pytest.mark.parametrize(
    ("columns", "taken"),
    [
        ("text,title", "text"), ("title,alt", "title"), ("Alt", "alt"), ("COMMENT", "comment"),
        ("caption_en", "caption_en"), ("image_caption", "image_caption"), ("gpt4v caption", "gpt4v_caption"),
        ("negative_prompt,prompt", "prompt"), ("short_caption,text_length", "short_caption"),
    ],
)  # fmt: skip
def test_which_column_is_taken_is_said(tmp_path, columns, taken):
    cells = [CAT if column.lower().replace(" ", "_") == taken else "no" for column in columns.split(",")]
    lay_out(tmp_path, {"1.png": None, "list.csv": f"file_name,{columns}\n1.png,{','.join(cells)}\n"})
    assert captions_of(tmp_path) == {"1.png": (CAT,)}
    assert source_of(tmp_path).notes() == (f"captions from '{taken}' of list.csv",)


@pytest.mark.parametrize("columns", ["url", "negative_prompt", "text_color", "photographer", "texture", "prompt_id"])
def test_other_columns_are_no_captions(tmp_path, columns):
    lay_out(tmp_path, {"1.png": None, "metadata.csv": f"file_name,{columns}\n1.png,some more words\n"})
    assert not captions_of(tmp_path) and columns in reasons_of(tmp_path)["1.png"]
    assert captions_of(tmp_path, caption_field=columns) == {"1.png": ("some more words",)}


def test_lists_that_say_the_split_by_their_names(tmp_path):
    for names in (("train.csv", "val.csv"), ("captions_train2020.csv", "captions_test2021.csv")):
        root = tmp_path / names[0]
        rows = [f"file_name,text\n1.png,{CAT}\n", f'file_name,text\n2.png,"{DOG}"\n']
        lay_out(root, {"images/1.png": None, "images/2.png": None} | dict(zip(names, rows, strict=True)))
        held_out = "val" if "val" in names[1] else "test"
        assert source_of(root).splits() == ("train", held_out)
        assert captions_of(root, held_out) == {"images/2.png": (DOG,)}
    lay_out(root, {"both.json": {"train": {"1.png": CAT}, "test": {"2.png": DOG}}})
    for name in names:
        (root / name).unlink()
    assert captions_of(root, "test") == {"images/2.png": (DOG,)}


def test_labels_in_lists(tmp_path):
    pictures = ["00000/a.png", "00000/b.png", "00001/c.png"]
    labels = {"labels": [[name, label] for name, label in zip(pictures, (1, [1, 0], None), strict=True)]}
    lay_out(tmp_path, dict.fromkeys(pictures) | {"dataset.json": labels})
    assert captions_of(tmp_path) == {pictures[0]: ("a picture of 1",), pictures[1]: ("a picture of 0",)}
    assert any("bare numbers" in note for note in source_of(tmp_path).notes())
    lay_out(tmp_path, {"dataset.json": labels | {"class_names": ["Cat", "Dog"]}})
    assert captions_of(tmp_path)[pictures[0]] == ("a picture of dog",)
    # Beside captions they are facts.
    lay_out(tmp_path, {"captions.json": {name: f"of {name}" for name in pictures}})
    records, _ = source_of(tmp_path).records(None)
    assert [record.captions for record in records] == [(f"of {name}",) for name in pictures]


# Names in lists


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("{root}/img/{n}.png", True), ("file://{root}/img/{n}.png", True), ("img\\{n}.png", True),
        ("./img/{n}.png", True), ("{n}.png", True), ("{n}", True), ("{n}.jpg", True), ("IMG/{n}.PNG", True),
        ("{name}/img/{n}.png", True), ("data/{name}/img/{n}.png", True), ("C:\\data\\img\\{n}.png", True),
        ("/elsewhere/img/{n}.png", True), ("../other/img/{n}.png", True), ("my%20img/{n}.png", False),
        ("other/{n}.png", False), ("/elsewhere/{n}/x.png", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("list_name", ["metadata.jsonl", "sub/list.jsonl"])
def test_names_in_lists(tmp_path, written, found, list_name):
    root = tmp_path / "pets"
    names = [written.format(root=root, name=root.name, n=n) for n in ("1", "2")]
    rows = [{"file_name": name, "text": said} for name, said in zip(names, (CAT, DOG), strict=True)]
    lay_out(root, {"img/1.png": None, "img/2.png": None, list_name: in_file(list_name, rows)})
    expected = {"img/1.png": (CAT,), "img/2.png": (DOG,)} if found else {}
    assert captions_of(root, folder_labels="ignore") == expected


@pytest.mark.parametrize("links", [False, True])
def test_absolute_names_through_a_link(tmp_path, links):
    root = lay_out(tmp_path / "real", BOTH)
    (tmp_path / "link").symlink_to("real")
    written, opened = (tmp_path / "link", root) if links else (root, tmp_path / "link")
    lay_out(root, {"list.csv": f"file_name,text\n{written}/1.png,{CAT}\n{written}/2.png,x\n"})
    assert captions_of(opened) == {"1.png": (CAT,), "2.png": ("x",)}


def test_a_missing_name_is_not_taken_for_another_picture():
    locator = Locator(["a/0.png", "a/1.png", "b/2.png", "x/7.png"])
    assert locator.resolve(["0.png", "2.png"], "a") == {"0.png": "a/0.png"}  # 2.png is missing beside the list
    assert locator.resolve(["b/0.png", "b/1.png"]) == {}
    assert locator.resolve(["p/0.png", "q/0.png"], "a") == {}  # both cannot be one picture
    assert Locator(["0.png", "1.png"]).resolve(["train/0.png", "val/0.png", "val/1.png"]) == {}
    assert Locator(["1.png"]).resolve(["/etc/1.png"]) == {} == Locator(["1.png"]).resolve(["C:\\1.png"])
    twice = Locator(["images/1.png", "masks/1.png", "c/2.png", "d/2.png"])
    assert twice.resolve(["1.png", "2.png"]) == {"1.png": "images/1.png"}


def test_lines_without_a_header():
    knows = {"1.png", "2.png", "my cat.png"}.__contains__
    lines = {
        "1.png, a, b, c\n2.png, a": ("1.png", "a, b, c"),
        "my cat.png - a cat": ("my cat.png", "a cat"),
        "1.png|0|a cat": ("1.png", "a cat"),
        "1.png\t1\t0": ("1.png", ""),
    }
    for line, found in lines.items():
        first, *_ = lines_of = line.split("\n")
        read = reader_of(lines_of, knows)
        assert read is not None and tuple(part.strip() for part in read(first)) == found
    assert reader_of(["some text, and more"], knows) is None and reader_of([], knows) is None
