"""The phases before the adversarial one, in the same form as that: a method, a state, a pure step.

`text.py` teaches the text encoder, `generator.py` the generator and the inverter, `discriminator.py` the
discriminator's trunk: each by itself, from nothing but the data.
"""

from t2igan.pretrain.text import TextMethod, TextState, init_text_state, text_step

__all__ = ["TextMethod", "TextState", "init_text_state", "text_step"]
