"""The networks of `t2igan.nets` in plain PyTorch: same layers, same names where ours have one, pictures [N, C, H, W].

Only what the benchmarks time: residual networks without patches, growing, heads at several scales, or dropout; on
pixels or on codes.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2igan.nets import SPACES
from t2igan.nets.kinds import game_size_px

SLOPE = 0.2
GAIN = (2 / (1 + SLOPE**2)) ** 0.5


class Text(NamedTuple):
    """An encoded caption: sentence [N, D], words [N, T, W], mask [N, T] of the words that are real."""

    sentence: Tensor
    words: Tensor
    mask: Tensor


def map_channels(config) -> int:
    """Returns the channels of what the generator draws: of pictures, or of codes."""
    return config.space.channels if SPACES[config.space.kind].codes else config.data.channels


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU, scaled to keep the second moment."""
    return F.leaky_relu(x, SLOPE) * GAIN


def flat(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, H * W * C], the order of the weights; no copy where memory is channels last."""
    return x.permute(0, 2, 3, 1).flatten(1)


class Modulate(nn.Module):
    """x * (1 + scale(style)) + shift(style), a channel each."""

    def __init__(self, channels: int, style_dim: int):
        super().__init__()
        self.linear = nn.Linear(style_dim, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.linear(style)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, x, 1 + scale)


class ModulatedBlock(nn.Module):
    """A residual block of the generator."""

    def __init__(self, channels: int, style_dim: int):
        super().__init__()
        self.modulate_in, self.modulate_out = Modulate(channels, style_dim), Modulate(channels, style_dim)
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        h = self.conv_in(activate(self.modulate_in(x, style)))
        return x + self.conv_out(activate(self.modulate_out(h, style)))


class Block(nn.Module):
    """A residual block of the discriminator."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_out(activate(self.conv_in(activate(x))))


class WordAttention(nn.Module):
    """Each place of a map looks at the words."""

    def __init__(self, channels: int, word_dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.out = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.key, self.value = nn.Linear(word_dim, channels), nn.Linear(word_dim, channels)

    def forward(self, x: Tensor, text: Text) -> Tensor:
        places = x.permute(0, 2, 3, 1)  # [N, H, W, C]
        split = lambda y: y.reshape(len(y), -1, self.heads, y.shape[-1] // self.heads).transpose(1, 2)
        query, key, value = split(self.query(activate(places))), self.key(text.words), self.value(text.words)
        mask = text.mask[:, None, None, :]
        attended = F.scaled_dot_product_attention(query, split(key), split(value), attn_mask=mask)
        attended = attended.transpose(1, 2).reshape(places.shape)
        return x + self.out(attended).permute(0, 3, 1, 2)


class Generator(nn.Module):
    """Noise and a caption to pictures."""

    def __init__(self, config):
        super().__init__()
        g, text = config.generator, config.text_encoder
        self.base_px, self.levels = g.base_px, len(g.channels)
        self.attends = [g.base_px * 2**i >= g.attention_from_px > 0 for i in range(self.levels)]
        self.style_0 = nn.Linear(g.z_dim + text.sentence_dim, g.style_dim)
        self.style_1 = nn.Linear(g.style_dim, g.style_dim)
        self.base = nn.Linear(g.style_dim, g.base_px**2 * g.channels[0])
        self.transitions = nn.ModuleList(nn.Conv2d(a, b, 1, bias=False) for a, b in itertools.pairwise(g.channels))
        self.blocks = nn.ModuleList(
            nn.ModuleList(ModulatedBlock(channels, g.style_dim) for _ in range(g.blocks)) for channels in g.channels
        )
        self.attentions = nn.ModuleList(
            WordAttention(channels, text.width, g.attention_heads)
            for channels, attends in zip(g.channels, self.attends, strict=True)
            if attends
        )
        self.modulate = Modulate(g.channels[-1], g.style_dim)
        self.pixels = nn.Conv2d(g.channels[-1], map_channels(config), 1)

    def forward(self, z: Tensor, text: Text) -> Tensor:
        style = activate(self.style_1(activate(self.style_0(torch.cat([z, text.sentence], 1)))))
        x = self.base(style).reshape(len(z), self.base_px, self.base_px, -1).permute(0, 3, 1, 2)
        attentions = iter(self.attentions)
        for level in range(self.levels):
            if level:
                x = F.interpolate(self.transitions[level - 1](x), scale_factor=2, mode="nearest")
            for block in self.blocks[level]:
                x = block(x, style)
            if self.attends[level]:
                x = next(attentions)(x, text)
        return self.pixels(activate(self.modulate(x, style)))


class Discriminator(nn.Module):
    """A picture and a caption to a logit; and several captions to a row of logits each."""

    def __init__(self, config):
        super().__init__()
        d = config.discriminator
        channels = tuple(d.channels)[::-1]
        last_px = game_size_px(config) // 2 ** (len(channels) - 1)
        self.stem = nn.Conv2d(map_channels(config), channels[0], 3, padding=1)
        self.transitions = nn.ModuleList(nn.Conv2d(a, b, 1, bias=False) for a, b in itertools.pairwise(channels))
        self.blocks = nn.ModuleList(nn.Sequential(*(Block(c) for _ in range(d.blocks))) for c in channels)
        self.features = nn.Linear(last_px**2 * channels[-1], d.features)
        self.project = nn.Linear(config.text_encoder.sentence_dim, d.features)
        self.realness = nn.Linear(d.features, 1)

    def forward(self, images: Tensor, *sentences: Tensor) -> Tensor:
        x = self.stem(images)
        for level, blocks in enumerate(self.blocks):
            if level:
                x = self.transitions[level - 1](F.avg_pool2d(x, 2))
            x = blocks(x)
        f = activate(self.features(flat(activate(x))))
        realness, scale = self.realness(f)[:, 0], f.shape[1] ** 0.5
        rows = [realness + (f * self.project(sentence)).sum(1) / scale for sentence in sentences]
        return rows[0] if len(rows) == 1 else torch.stack(rows)


class SelfAttention(nn.Module):
    """Attention of the tokens among themselves."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        # As ours: first into heads, then each head's part into query, key and value.
        heads = self.qkv(x).reshape(batch, length, self.heads, -1).transpose(1, 2)
        query, key, value = heads.chunk(3, dim=-1)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        return self.out(attended.transpose(1, 2).reshape(batch, length, width))


class TextEncoder(nn.Module):
    """Captions as token ids to `Text`; frozen in the adversarial step."""

    def __init__(self, config, vocab_size: int):
        super().__init__()
        t = config.text_encoder
        norm = lambda: nn.LayerNorm(t.width, eps=1e-6)
        self.tokens = nn.Embedding(vocab_size, t.width)
        self.positions = nn.Parameter(torch.zeros(config.tokenizer.max_tokens, t.width))
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm_in": norm(),
                    "attention": SelfAttention(t.width, t.heads),
                    "norm_out": norm(),
                    "wide": nn.Linear(t.width, 4 * t.width),
                    "narrow": nn.Linear(4 * t.width, t.width),
                }
            )
            for _ in range(t.layers)
        )
        self.norm = norm()
        self.pooling = nn.Linear(t.width, t.pooling_queries)
        self.sentence = nn.Linear(t.pooling_queries * t.width, t.sentence_dim)

    def forward(self, tokens: Tensor) -> Text:
        mask = tokens != 0
        x = self.tokens(tokens) + self.positions[: tokens.shape[1]]
        for layer in self.layers:
            x = x + layer["attention"](layer["norm_in"](x), mask)
            x = x + layer["narrow"](F.gelu(layer["wide"](layer["norm_out"](x)), approximate="tanh"))
        words = self.norm(x)
        queries = self.pooling(words).masked_fill(~mask[..., None], -1e9).softmax(1)
        sentence = self.sentence(torch.einsum("btq,btw->bqw", queries, words).flatten(1))
        return Text(F.layer_norm(sentence, sentence.shape[1:], eps=1e-6), words, mask)
