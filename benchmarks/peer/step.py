"""The adversarial step of `t2igan.step` in plain PyTorch: losses, penalties, Adam, clipping, moving average."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peer.networks import Discriminator, Generator, Text, TextEncoder
from benchmarks.peer.weights import copy_into

# (real, fake) logits to the loss of each sample, one for each player.
ADVERSARIAL: dict[str, tuple[Callable, Callable]] = {
    "non_saturating": (lambda r, f: F.softplus(-r) + F.softplus(f), lambda r, f: F.softplus(-f)),  # noqa: ARG005
    "hinge": (lambda r, f: F.relu(1 - r) + F.relu(1 + f), lambda r, f: -f),  # noqa: ARG005
    "relativistic": (lambda r, f: F.softplus(f - r), lambda r, f: F.softplus(r - f)),
}


class Scores(NamedTuple):
    """Logits of real and fake pictures and the penalty, [N] each; and of real pictures with others' captions."""

    real: Tensor
    fake: Tensor
    penalty: Tensor
    mismatched: Tensor | None = None

    @classmethod
    def of(cls, real: Tensor, fake: Tensor, penalty: Tensor) -> Scores:
        """Takes the rows of logits apart, where there are two."""
        return cls(real, fake, penalty) if real.ndim == 1 else cls(real[0], fake[0], penalty, real[1])


class Settings(NamedTuple):
    """What moves with the step."""

    generator_rate: float
    discriminator_rate: float
    beta2: float
    penalty_weight: float
    ema_decay: float

    @classmethod
    def of(cls, method: Any, step: int) -> Settings:
        """Reads a `t2igan.method.game.Method` at a step."""
        by_step = (method.generator_rate, method.discriminator_rate, method.beta2, method.penalty_weight)
        return cls(*(float(setting(step)) for setting in (*by_step, method.ema_decay)))


def by_autograd(critic: Callable, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Logits, and the gradient of each (of two rows the first) by its own inputs, to be differentiated again."""
    inputs = tuple(x.detach().requires_grad_() for x in inputs)
    logits = critic(*inputs)
    return logits, torch.autograd.grad(logits.reshape(-1, len(inputs[0]))[0].sum(), inputs, create_graph=True)


def by_transform(critic: Callable, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The same by `torch.func`, which `torch.compile` can trace as a whole."""
    logits, backward = torch.func.vjp(critic, *inputs)
    if logits.ndim == 1:
        return logits, backward(torch.ones_like(logits))
    return logits, backward(torch.stack([torch.ones_like(logits[0]), torch.zeros_like(logits[1])]))


def penalise(
    penalty: str, critic: Callable, real: Tensor, fake: Tensor, sentence: Tensor, slopes: Callable, once: Callable
) -> Scores:
    """As `t2igan.method.losses.PENALTIES[penalty]`; `critic` is differentiated twice, `once` is the same for once."""
    square = lambda g: g.square().flatten(1).sum(1)
    norm = lambda g: (square(g) + 1e-12).sqrt()
    if penalty == "r1_r2":
        sentences = torch.cat([sentence, sentence])
        logits, (of_images,) = slopes(lambda x: critic(x, sentences), torch.cat([real, fake]))
        r1, r2 = (square(of_images) / 2).chunk(2)
        return Scores.of(*logits.chunk(2, -1), r1 + r2)
    if penalty == "r1":
        logits, (of_images,) = slopes(lambda x: critic(x, sentence), real)
        value = square(of_images) / 2
    elif penalty == "ma_gp":
        logits, (of_images, of_sentences) = slopes(critic, real, sentence)
        value = (norm(of_images) + norm(of_sentences)) ** 6
    else:
        raise ValueError(f"the peer knows no penalty {penalty!r}, only r1, r1_r2, ma_gp")
    return Scores.of(logits, once(fake, sentence), value)


def discriminator_loss(
    config, critic: Callable, real, fake, tokens, text: Text, weight: float, slopes: Callable, once: Callable
) -> tuple[Tensor, Scores]:
    """adversarial(real, fake) + weight * penalty [+ mismatched captions as fakes]; the mean."""
    of_discriminator = ADVERSARIAL[config.loss.adversarial][0]
    if config.loss.mismatch_weight:
        both = lambda critic: lambda images, sentence: critic(images, sentence, sentence.roll(1, 0))
        critic, once = both(critic), both(once)
    scores = penalise(config.loss.penalty, critic, real, fake, text.sentence, slopes, once)
    adversarial = of_discriminator(scores.real, scores.fake)
    if config.loss.mismatch_weight:
        mismatched = of_discriminator(scores.real, scores.mismatched)
        same = (tokens == tokens.roll(1, 0)).all(1)
        share = config.loss.mismatch_weight * (~same).to(adversarial.dtype)
        adversarial = (1 - share) * adversarial + share * mismatched
    return (adversarial + weight * scores.penalty).mean(), scores


def generator_loss(config, critic: Callable, real: Tensor, fake: Tensor, text: Text) -> tuple[Tensor, Tensor]:
    """adversarial [+ weight * mean (real - fake)^2], the mean, and the first alone.

    The discriminator sees real pictures only where the loss reads their logits.
    """
    of_generator = ADVERSARIAL[config.loss.adversarial][1]
    real_logits = critic(real, text.sentence) if config.loss.adversarial == "relativistic" else None
    adversarial = of_generator(real_logits, critic(fake, text.sentence)).mean()
    if not config.loss.paired_weight:
        return adversarial, adversarial
    return adversarial + config.loss.paired_weight * (real - fake).square().mean(), adversarial


class Peer:
    """Networks with our weights, their optimizers and averages; `step` is one training step.

    Compiled by parts: text encoder, generator, and the discriminator where it is differentiated once; where it is
    differentiated twice `torch.compile` refuses, and it runs eagerly. Compiled as a whole: there too, the
    discriminator's loss with its penalty and its gradient being one function, by `torch.func`.
    """

    def __init__(self, config, vocab_size: int, params: Mapping[str, Any], *, compiled: str = "", channels_last=True):
        """`params` are ours by network; `compiled` is "" (eager), "parts" or "whole"."""
        self.config, self.compiled = config, compiled
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        memory = torch.channels_last if channels_last else torch.contiguous_format
        build = lambda network, name: copy_into(network, params[name]).to(device, memory_format=memory)
        self.device, self.memory = device, memory
        self.generator = build(Generator(config), "generator")
        self.discriminator = build(Discriminator(config), "discriminator")
        self.text_encoder = build(TextEncoder(config, vocab_size), "text").requires_grad_(False)
        self.ema = copy.deepcopy(self.generator).requires_grad_(False)
        adam = lambda network: torch.optim.Adam(network.parameters(), betas=(config.train.beta1, 0.99), fused=True)
        self.optimizers = {"generator": adam(self.generator), "discriminator": adam(self.discriminator)}
        compile_ = torch.compile if compiled else lambda function: function
        self.encode = compile_(self.text_encoder)
        self.draw = compile_(self.generator)
        self.judge_once = compile_(self.discriminator)
        self.gradient = compile_(self.transformed())

    def step(self, images: Tensor, tokens: Tensor, z: tuple[Tensor, Tensor], settings: Settings) -> dict[str, Tensor]:
        """One step on images [N, H, W, C], uint8 or float codes, and tokens [N, T]; noise of both updates; metrics."""
        images, tokens = images.to(self.device), tokens.to(self.device)
        z = [noise.to(self.device) for noise in z]
        real = images.permute(0, 3, 1, 2).float()
        if images.dtype == torch.uint8:
            real = real / 127.5 - 1
        real = real.contiguous(memory_format=self.memory)
        with torch.no_grad():
            text = self.encode(tokens)
        metrics = self._update_discriminator(real, tokens, text, z[0], settings)
        metrics |= self._update_generator(real, text, z[1], settings)
        with torch.no_grad():
            ours, averages = list(self.generator.parameters()), list(self.ema.parameters())
            torch._foreach_lerp_(averages, ours, 1 - settings.ema_decay)
        return metrics

    def _update_discriminator(self, real, tokens, text, z, settings: Settings) -> dict[str, Tensor]:
        with torch.no_grad():
            fake = self.draw(z, text)
        if self.compiled == "whole":
            params = dict(self.discriminator.named_parameters())
            weight = settings.penalty_weight
            grads, (loss, scores) = self.gradient(params, real, fake, tokens, text, weight)
            scores = Scores(*scores)
            for name, parameter in params.items():
                parameter.grad = grads[name].detach()
        else:
            critic, once = self.discriminator, self.judge_once
            loss, scores = discriminator_loss(
                self.config, critic, real, fake, tokens, text, settings.penalty_weight, by_autograd, once
            )
            self.discriminator.zero_grad()
            loss.backward()
        norm = self._move("discriminator", settings.discriminator_rate, settings.beta2)
        return {
            "loss/discriminator": loss.detach() - settings.penalty_weight * scores.penalty.detach().mean(),
            "loss/penalty": scores.penalty.detach().mean(),
            "logits/real": scores.real.detach().mean(),
            "logits/fake": scores.fake.detach().mean(),
            "gradient_norm/discriminator": norm,
        }

    def _update_generator(self, real, text, z, settings: Settings) -> dict[str, Tensor]:
        self.discriminator.requires_grad_(False)
        loss, adversarial = generator_loss(self.config, self.judge_once, real, self.draw(z, text), text)
        self.generator.zero_grad()
        loss.backward()
        self.discriminator.requires_grad_(True)
        norm = self._move("generator", settings.generator_rate, settings.beta2)
        return {"loss/generator": adversarial.detach(), "gradient_norm/generator": norm}

    def transformed(self) -> Callable:
        """The discriminator's gradient as a function of its parameters, with what came with it."""

        def gradient(params, real, fake, tokens, text, weight):
            def loss(params):
                critic = lambda *inputs: torch.func.functional_call(self.discriminator, params, inputs)
                loss, scores = discriminator_loss(
                    self.config, critic, real, fake, tokens, text, weight, by_transform, critic
                )
                return loss, (loss, [each for each in scores if each is not None])  # torch.func wants tensors

            return torch.func.grad(loss, has_aux=True)(params)

        return gradient

    def _move(self, name: str, rate: float, beta2: float) -> Tensor:
        optimizer = self.optimizers[name]
        group = optimizer.param_groups[0]
        group["lr"], group["betas"] = rate, (group["betas"][0], beta2)
        norm = nn.utils.clip_grad_norm_(group["params"], self.config.train.clip_norm, foreach=True)
        optimizer.step()
        return norm
