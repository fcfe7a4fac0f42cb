"""Transformers built from an `Architecture`: parts in layers and stack, the model in transformer, weights in build
and convert."""

from __future__ import annotations

from scaling.lm.models.build import build_model, load_model, load_weights, save_model
from scaling.lm.models.transformer import Transformer

__all__ = ["Transformer", "build_model", "load_model", "load_weights", "save_model"]
