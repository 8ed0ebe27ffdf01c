"""How the generators of `t2igan.nets.generator` become narrower: their widths at a share, their groups of channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from t2igan.nets.channels import ChannelGroup, Narrower, Use, input_of, narrowed, output_of


def _residual_widths(section: Mapping[str, Any], share: float) -> dict[str, Any]:
    return {
        "channels": tuple(narrowed(channels, share, section["attention_heads"]) for channels in section["channels"]),
        "style_dim": narrowed(section["style_dim"], share),
    }


def _residual_groups(net: Any) -> list[ChannelGroup]:
    """Both layers of the style, the maps of each level, what is inside of blocks, and of attention."""
    written: list[list[Use]] = [[] for _ in net.channels]
    read: list[list[Use]] = [[] for _ in net.channels]
    inside: list[ChannelGroup] = []
    modulations: list[str] = []
    convolutions = readings = 0

    def modulation() -> tuple[Use, ...]:
        modulations.append(f"Modulate_{len(modulations)}/Dense_0")
        return output_of(modulations[-1], times=2)  # scales, then shifts

    for level, channels in enumerate(net.channels):
        if level:
            written[level] += output_of(f"transition_{level}", bias=False)
            read[level - 1].append(input_of(f"transition_{level}"))
        else:
            written[level] += output_of("base", times=net.base_px**2)
        for _ in range(net.blocks):
            first, second = f"Conv_{convolutions}", f"Conv_{convolutions + 1}"
            written[level] += [*modulation(), *output_of(second)]
            read[level].append(input_of(first))
            made = (*output_of(first), *modulation())
            inside.append(ChannelGroup(f"block {convolutions // 2}", channels, made, (input_of(second),)))
            convolutions += 2
        if net.reads(level):
            name, heads = f"WordAttention_{readings}", net.attention_heads
            written[level] += output_of(f"{name}/out")
            read[level].append(input_of(f"{name}/query"))
            # Of a product of query and key one factor is as good as the other for taking it away.
            query, key, value = (output_of(f"{name}/{part}") for part in ("query", "key", "value"))
            dot = tuple(use.path for use in query)
            inside.append(ChannelGroup(f"queries {readings}", channels, key, query, heads, dot))
            inside.append(ChannelGroup(f"values {readings}", channels, value, (input_of(f"{name}/out"),), heads))
            readings += 1
        if net.growing or level == len(net.channels) - 1:
            written[level] += modulation()
            read[level].append(input_of(f"pixels_{level}" if net.growing else "pixels"))
    maps = [
        ChannelGroup(f"maps {level}", channels, tuple(written[level]), tuple(read[level]))
        for level, channels in enumerate(net.channels)
    ]
    uses = tuple(input_of(name) for name in ("base", *modulations))
    style = [
        ChannelGroup("style 0", net.style_dim, output_of("style_0"), (input_of("style_1"),)),
        ChannelGroup("style 1", net.style_dim, output_of("style_1"), uses),
    ]
    return [*style, *maps, *inside]


def _mlp_widths(section: Mapping[str, Any], share: float) -> dict[str, Any]:
    return {"channels": tuple(narrowed(width, share) for width in section["channels"])}


def _mlp_groups(net: Any) -> list[ChannelGroup]:
    names = [*(f"Dense_{i}" for i in range(len(net.widths))), "pixels"]
    return [
        ChannelGroup(f"layer {i}", width, output_of(names[i]), (input_of(names[i + 1]),))
        for i, width in enumerate(net.widths)
    ]


RESIDUAL = Narrower(_residual_widths, _residual_groups)
MLP = Narrower(_mlp_widths, _mlp_groups)
