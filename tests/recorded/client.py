"""Calls every route with the openai package that is imported; `record.py` runs it."""

import asyncio
import io
import struct
import zlib

import openai

PROMPT = "a person with a red cap"


def png() -> bytes:
    """A grey picture of 16 x 16 px."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    pixels = zlib.compress((b"\0" + b"\x99" * 48) * 16)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def mask() -> bytes:
    """White below, black above, 16 x 16 px."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    pixels = zlib.compress((b"\0" + b"\0" * 16) * 8 + (b"\0" + b"\xff" * 16) * 8)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def calls(client):
    """Yields the name of each call and what makes it."""
    named = lambda name, **extra: {"extra_headers": {"x-call": name}, "extra_body": extra or None}
    images = client.images
    yield (
        "generate",
        lambda name: images.generate(
            prompt=PROMPT, n=2, size="256x256", response_format="b64_json", **named(name, seed=1)
        ),
    )
    yield (
        "generate url",
        lambda name: images.generate(prompt=PROMPT, model="dall-e-2", response_format="url", user="me", **named(name)),
    )
    yield (
        "edit",
        lambda name: images.edit(
            image=("a.png", io.BytesIO(png())), mask=mask(), prompt=PROMPT, n=1, **named(name, quality="low")
        ),
    )
    yield (
        "edit caption",
        lambda name: images.edit(image=png(), prompt=PROMPT, **named(name, caption="green hair", quality="low")),
    )
    yield (
        "variation",
        lambda name: images.create_variation(
            image=png(), n=2, **named(name, caption=PROMPT, strength=0.5, quality="low")
        ),
    )
    yield "models", lambda name: client.models.list(extra_headers={"x-call": name})
    yield "model", lambda name: client.models.retrieve("gpt-image-1", extra_headers={"x-call": name})


def main():
    """Calls synchronously, then asynchronously."""
    with openai.OpenAI(api_key="none", max_retries=0) as client:
        for name, call in calls(client):
            call(name)

    async def again():
        async with openai.AsyncOpenAI(api_key="none", max_retries=0) as client:
            for name, call in calls(client):
                await call(f"{name}, async")

    asyncio.run(again())


main()
