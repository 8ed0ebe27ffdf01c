"""Adversarial pairs of losses on logits, per sample and float32."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from jax.nn import relu, softplus

from t2igan.config.registry import Registry


@dataclasses.dataclass(frozen=True)
class Adversarial:
    """A pair of losses on logits, (real, fake) -> per-sample loss, one for each player.

    `of_real` is what the discriminator's loss says of a real logit for a label between 0 and 1, (real, label) -> loss;
    None where the loss has no labels to be smoothed. A pair that is `relative` looks at differences of logits alone:
    where zero lies means nothing to it.
    """

    discriminator: Callable
    generator: Callable
    of_real: Callable | None = None
    relative: bool = False


ADVERSARIAL: Registry[Adversarial] = Registry("pair of adversarial losses", key="loss.adversarial")


def cross_entropy_of_real(real, label):
    """Cross-entropy between a label from 0 to 1 and sigmoid(real)."""
    return label * softplus(-real) + (1 - label) * softplus(real)


# Goodfellow et al. 2014, arXiv:1406.2661: E[log D(x)] + E[log(1 - D(G(z)))], with D = sigmoid(logit).
ADVERSARIAL.register(
    "minimax",
    Adversarial(
        discriminator=lambda real, fake: softplus(-real) + softplus(fake),
        generator=lambda real, fake: -softplus(fake),  # noqa: ARG005
        of_real=cross_entropy_of_real,
    ),
)
# Goodfellow et al. 2014, section 3: the generator maximises log D(G(z)) instead.
ADVERSARIAL.register(
    "non_saturating",
    Adversarial(
        discriminator=lambda real, fake: softplus(-real) + softplus(fake),
        generator=lambda real, fake: softplus(-fake),  # noqa: ARG005
        of_real=cross_entropy_of_real,
    ),
)
# Mao et al. 2017, arXiv:1611.04076.
ADVERSARIAL.register(
    "least_squares",
    Adversarial(
        discriminator=lambda real, fake: (real - 1) ** 2 + fake**2,
        generator=lambda real, fake: (fake - 1) ** 2,  # noqa: ARG005
        of_real=lambda real, label: (real - label) ** 2,
    ),
)
# Lim & Ye 2017, arXiv:1705.02894.
ADVERSARIAL.register(
    "hinge",
    Adversarial(
        discriminator=lambda real, fake: relu(1 - real) + relu(1 + fake),
        generator=lambda real, fake: -fake,  # noqa: ARG005
        of_real=lambda real, label: relu(label - real),
    ),
)
# Arjovsky et al. 2017, arXiv:1701.07875; wants a penalty that keeps the critic Lipschitz.
ADVERSARIAL.register(
    "wasserstein",
    Adversarial(
        discriminator=lambda real, fake: fake - real,
        generator=lambda real, fake: -fake,  # noqa: ARG005
        relative=True,
    ),
)
# Jolicoeur-Martineau 2019, arXiv:1807.00734; R3GAN, Huang et al. 2024, arXiv:2501.05441.
ADVERSARIAL.register(
    "relativistic",
    Adversarial(
        discriminator=lambda real, fake: softplus(fake - real),
        generator=lambda real, fake: softplus(real - fake),
        relative=True,
    ),
)


def smoothable() -> tuple[str, ...]:
    """Returns the names of the pairs whose real label can be smoothed."""
    return tuple(name for name, pair in ADVERSARIAL.items() if pair.of_real is not None)


def smoothed(name: str, label_smoothing: float) -> Adversarial:
    """Returns the pair `name`, its discriminator asked for 1 - `label_smoothing` on real pictures and no more.

    One-sided (Salimans et al. 2016, arXiv:1606.03498): the labels of fakes stay, since a smoothed one would reward
    generated pictures where they are. Only for pairs that have `of_real`.
    """
    pair = ADVERSARIAL[name]
    if not label_smoothing:
        return pair
    of_real, label = pair.of_real, 1 - label_smoothing
    # These losses are a sum of one term a logit, so the real one's can be exchanged.
    return dataclasses.replace(
        pair,
        discriminator=lambda real, fake: pair.discriminator(real, fake) - of_real(real, 1.0) + of_real(real, label),
    )
