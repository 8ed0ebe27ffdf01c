"""Adversarial pairs of losses on logits, per sample and float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jax.nn import relu, softplus


class Adversarial(NamedTuple):
    """A pair of losses on logits, (real, fake) -> per-sample loss, one for each player."""

    discriminator: Callable
    generator: Callable


ADVERSARIAL: dict[str, Adversarial] = {
    # Goodfellow et al. 2014, arXiv:1406.2661: E[log D(x)] + E[log(1 - D(G(z)))], with D = sigmoid(logit).
    "minimax": Adversarial(
        discriminator=lambda real, fake: softplus(-real) + softplus(fake),
        generator=lambda real, fake: -softplus(fake),  # noqa: ARG005
    ),
    # Goodfellow et al. 2014, section 3: the generator maximises log D(G(z)) instead.
    "non_saturating": Adversarial(
        discriminator=lambda real, fake: softplus(-real) + softplus(fake),
        generator=lambda real, fake: softplus(-fake),  # noqa: ARG005
    ),
    # Mao et al. 2017, arXiv:1611.04076.
    "least_squares": Adversarial(
        discriminator=lambda real, fake: (real - 1) ** 2 + fake**2,
        generator=lambda real, fake: (fake - 1) ** 2,  # noqa: ARG005
    ),
    # Lim & Ye 2017, arXiv:1705.02894.
    "hinge": Adversarial(
        discriminator=lambda real, fake: relu(1 - real) + relu(1 + fake),
        generator=lambda real, fake: -fake,  # noqa: ARG005
    ),
    # Arjovsky et al. 2017, arXiv:1701.07875; wants a penalty that keeps the critic Lipschitz.
    "wasserstein": Adversarial(
        discriminator=lambda real, fake: fake - real,
        generator=lambda real, fake: -fake,  # noqa: ARG005
    ),
    # Jolicoeur-Martineau 2019, arXiv:1807.00734; R3GAN, Huang et al. 2024, arXiv:2501.05441.
    "relativistic": Adversarial(
        discriminator=lambda real, fake: softplus(fake - real),
        generator=lambda real, fake: softplus(real - fake),
    ),
}

# Pairs that look at differences of logits alone: where zero lies means nothing to them.
RELATIVE = ("wasserstein", "relativistic")


def smoothed(name: str, label_smoothing: float) -> Adversarial:
    """Returns the pair `name`, its discriminator asked for 1 - `label_smoothing` on real pictures and no more.

    One-sided (Salimans et al. 2016, arXiv:1606.03498): the labels of fakes stay, since a smoothed one would reward
    generated pictures where they are. Only for the pairs of `SMOOTHABLE`, whose losses have a label.
    """
    pair = ADVERSARIAL[name]
    if not label_smoothing:
        return pair
    of_real, label = SMOOTHABLE[name], 1 - label_smoothing
    # These losses are a sum of one term a logit, so the real one's can be exchanged.
    return pair._replace(
        discriminator=lambda real, fake: pair.discriminator(real, fake) - of_real(real, 1.0) + of_real(real, label)
    )


# The discriminator's loss of a real logit for a label between 0 and 1.
SMOOTHABLE: dict[str, Callable] = {
    "minimax": lambda real, label: label * softplus(-real) + (1 - label) * softplus(real),
    "non_saturating": lambda real, label: label * softplus(-real) + (1 - label) * softplus(real),
    "least_squares": lambda real, label: (real - label) ** 2,
    "hinge": lambda real, label: relu(label - real),
}
