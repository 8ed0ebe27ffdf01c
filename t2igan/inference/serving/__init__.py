"""A model behind HTTP: OpenAI's Images API, batched on the device, and a page to draw with (docs/serving.md)."""

from __future__ import annotations
