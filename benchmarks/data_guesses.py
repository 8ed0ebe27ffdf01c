"""How often what data leaves unsaid is found out rightly: encodings of captions, and one picture in several files.

    python -m benchmarks.data_guesses

The figures are those of docs/data.md. It takes half a minute.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter

import numpy as np
from PIL import Image

from t2igan.data.alike import same_picture, signature
from t2igan.data.decode import Decoding, decode
from t2igan.data.encoding import is_utf8, likely_encoding

CAPTIONS = {  # six in each language
    "ru": [
        "красный круг на белом фоне",
        "большая собака бежит по траве",
        "синий квадрат слева",
        "портрет женщины в шляпе",
        "кошка спит на диване",
        "жёлтый треугольник и зелёный круг",
    ],
    "zh": [
        "红色的圆在白色背景上",
        "一只大狗在草地上奔跑",
        "左边的蓝色正方形",
        "戴帽子的女人肖像",
        "猫在沙发上睡觉",
        "黄色三角形和绿色圆形",
    ],
    "zht": [
        "紅色的圓在白色背景上",
        "一隻大狗在草地上奔跑",
        "左邊的藍色正方形",
        "戴帽子的女人肖像",
        "貓在沙發上睡覺",
        "黃色三角形和綠色圓形",
    ],
    "ja": [
        "白い背景に赤い円",
        "大きな犬が草の上を走る",
        "左側の青い正方形",
        "帽子をかぶった女性の肖像",
        "猫がソファで寝ている",
        "赤い0の絵、白い背景",
    ],
    "ko": [
        "흰 배경에 빨간 원",
        "큰 개가 풀밭을 달린다",
        "왼쪽의 파란 사각형",
        "모자를 쓴 여자의 초상",
        "고양이가 소파에서 잔다",
        "노란 삼각형과 초록 원",
    ],
    "fr": [
        "un carré n° 3 très foncé, à côté",
        "un chien court dans l'herbe",
        "une fenêtre brisée près d'une forêt",
        "élève portant un béret",
        "le garçon mange une crêpe à la plage",
        "un cœur rouge sur fond blanc",
    ],
    "de": [
        "ein roter Kreis auf weißem Grund",
        "ein großer Hund läuft über die Wiese",
        "ein blaues Quadrat",
        "Frau mit Hut, schönes Porträt",
        "die Katze schläft auf dem Sofa",
        "grünes Dreieck und gelber Kreis",
    ],
    "es": [
        "un círculo rojo sobre fondo blanco",
        "un perro grande corre por la hierba",
        "niña con sombrero",
        "el corazón pequeño",
        "¿qué es? una montaña",
        "árbol y pájaro",
    ],
    "pt": [
        "um círculo vermelho",
        "um cão grande na relva",
        "três maçãs",
        "coração azul à esquerda",
        "menina de chapéu em pé",
        "não há ninguém na praça",
    ],
    "sv": [
        "en röd cirkel på vit bakgrund",
        "en stor hund springer på gräset",
        "flicka med blå hatt",
        "två äpplen",
        "katten sover på soffan",
        "grön triangel",
    ],
    "pl": [
        "czerwone koło na białym tle",
        "duży pies biegnie po trawie",
        "niebieski kwadrat po lewej stronie",
        "portret kobiety w kapeluszu",
        "kot śpi na kanapie",
        "żółty trójkąt i zielone koło",
    ],
    "cs": [
        "červený kruh na bílém pozadí",
        "velký pes běží po trávě",
        "modrý čtverec vlevo",
        "portrét ženy v klobouku",
        "kočka spí na pohovce",
        "žlutý trojúhelník",
    ],
    "el": [
        "κόκκινος κύκλος σε λευκό φόντο",
        "ένας μεγάλος σκύλος τρέχει",
        "μπλε τετράγωνο αριστερά",
        "πορτρέτο γυναίκας με καπέλο",
        "η γάτα κοιμάται",
        "κίτρινο τρίγωνο",
    ],
    "tr": [
        "beyaz zemin üzerinde kırmızı daire",
        "büyük bir köpek çimenlerde koşuyor",
        "soldaki mavi kare",
        "şapkalı kadın portresi",
        "kedi kanepede uyuyor",
        "sarı üçgen ve yeşil daire",
    ],
    "he": [
        "עיגול אדום על רקע לבן",
        "כלב גדול רץ על הדשא",
        "ריבוע כחול משמאל",
        "דיוקן אישה עם כובע",
        "החתול ישן על הספה",
        "משולש צהוב",
    ],
    "en": [
        "a “quoted” dog – running",
        "it’s a red square",
        "the dog’s bone — white",
        "a “big” house",
        "don’t look",
        "a cat’s eye",
    ],
}
ENCODINGS = {
    "ru": "cp1251 koi8_r cp866 utf-16-le",
    "zh": "gb18030 gbk utf-16-le utf-16-be",
    "zht": "big5 utf-16-le",
    "ja": "cp932 euc_jp utf-16-le",
    "ko": "cp949 utf-16-le",
    "fr": "cp1252 latin-1",
    "de": "cp1252 utf-16-be",
    "es": "cp1252",
    "pt": "cp1252",
    "sv": "cp1252",
    "pl": "cp1250 iso8859_2",
    "cs": "cp1250",
    "el": "cp1253",
    "tr": "cp1254",
    "he": "cp1255",
    "en": "cp1252",
}
SIZES_PX, QUALITIES, NUM_PICTURES = (16, 32, 48, 64, 128), (95, 75, 50), 100


def guess_encodings() -> None:
    """Prints, for so many captions at a time, how often their encoding was found, was another, or was refused."""
    counts: Counter[tuple[int, str]] = Counter()
    for language, names in ENCODINGS.items():
        for encoding in names.split():
            for num in (1, 2, 3, 6):
                for start in range(0, 6, num):
                    captions = CAPTIONS[language][start : start + num]
                    try:
                        texts = [caption.encode(encoding) for caption in captions]
                    except UnicodeEncodeError:
                        continue
                    if others := [text for text in texts if not is_utf8(text)]:
                        counts[num, _answer(likely_encoding(others), texts, captions)] += 1
    for num in (1, 2, 3, 6):
        print(f"sets of {num}: " + ", ".join(f"{counts[num, how]} {how}" for how in ("right", "wrong", "refused")))


def _answer(found: str | None, texts: list[bytes], captions: list[str]) -> str:
    if found is None:
        return "refused"
    right = all(text.decode(found, "replace") == caption for text, caption in zip(texts, captions, strict=True))
    return "right" if right else "wrong"


def find_copies() -> None:
    """Prints what share of JPEG and WebP copies of PNGs is found, and how many different pictures are taken for one."""
    for size_px in SIZES_PX:
        for quality in QUALITIES:
            pictures = [_picture(number, size_px) for number in range(NUM_PICTURES)]
            files = [_encoded(picture, kind, quality) for kind in ("PNG", "JPEG", "WEBP") for picture in pictures]
            signatures = np.stack([signature(decode(file, Decoding(32))[0]) for file in files])
            content = np.stack([np.frombuffer(hashlib.sha256(file).digest()[:16], np.uint8) for file in files])
            first = same_picture(content, signatures)
            own = np.arange(len(first)) % NUM_PICTURES
            found, wrong = (first == own)[NUM_PICTURES:].mean(), first % NUM_PICTURES != own
            print(
                f"{size_px:>4} px, quality {quality}: {found:.1%} of the copies found, {wrong.sum()} taken for another"
            )


def _picture(number: int, size_px: int) -> Image.Image:
    """Waves of colour, a disc, and noise."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:size_px, :size_px] / size_px
    waves = [np.sin(random.uniform(3, 15) * (x if c else y) + random.uniform(0, 6)) for c in range(3)]
    pixels = 128 + 60 * np.stack(waves, -1) + random.normal(0, 8, (size_px, size_px, 3))
    cy, cx = random.uniform(0.3, 0.7, 2)
    pixels[(y - cy) ** 2 + (x - cx) ** 2 < 0.06] = random.integers(0, 256, 3)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _encoded(picture: Image.Image, kind: str, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **({} if kind == "PNG" else {"quality": quality}))
    return stream.getvalue()


if __name__ == "__main__":
    guess_encodings()
    find_copies()
