"""The keys and values of past tokens, in memory allocated once, whose rows can be copied, dropped and reordered."""

# L layers, B rows, G key-value heads, N allocated tokens, K head size, S filled tokens

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from scaling.architecture import Architecture


class KVCache:
    """State of a decoding pass: `length` filled tokens of `capacity`, and which of them are padding.

    `keep_BN` is None when no row is padded: then neither masks nor positions differ between rows. What is held has the
    dtype and the device of `like`.
    """

    def __init__(
        self, a: Architecture, *, n_rows: int, capacity: int, keep_BT: Tensor | None, like: Tensor
    ) -> None:
        n_layers = a.n_decoder_layers or a.n_layers
        self.held = like.new_empty(2, n_layers, n_rows, a.n_kv_heads, capacity, a.d_head)
        self.length, self.capacity = 0, capacity
        self.keep_BN: Tensor | None = None
        if keep_BT is not None:
            self.keep_BN = torch.ones(n_rows, capacity, dtype=torch.bool, device=like.device)
            self.keep_BN[:, : keep_BT.shape[1]] = keep_BT
        self.memory_keep_BS: Tensor | None = None
        self.step: Callable[[Tensor, KVCache], Tensor] | None = None  # the model's, once it has made one
        self.layers = [LayerCache(self) for _ in range(n_layers)]
        self._show_layers()

    @property
    def n_rows(self) -> int:
        """Rows held now."""
        return self.held.shape[2]

    @torch.inference_mode()
    def reorder(self, rows: Sequence[int]) -> None:
        """Row i becomes the old row rows[i]; a row may be named several times, or not at all.

        Only the filled part moves, and rows that stay in place are not touched.
        """
        if list(rows) == list(range(self.n_rows)):
            return
        if len(rows) > self.n_rows:
            grown = self.held.new_empty(*self.held.shape[:2], len(rows), *self.held.shape[3:])
            self._copy_rows(grown, range(len(rows)), rows)
            self.held = grown
        else:
            moved = [i for i, row in enumerate(rows) if i != row]
            self._copy_rows(self.held, moved, [rows[i] for i in moved])
            self.held = self.held[:, :, : len(rows)]
        self._show_layers()
        self._reorder_masks(self._index(rows))

    def _copy_rows(self, target: Tensor, to: Sequence[int], rows: Sequence[int]) -> None:
        filled = self.held.narrow(4, 0, self.length).index_select(2, self._index(rows))
        target.narrow(4, 0, self.length).index_copy_(2, self._index(to), filled)

    def _index(self, rows: Sequence[int]) -> Tensor:
        return torch.tensor(list(rows), dtype=torch.long, device=self.held.device)

    def _show_layers(self) -> None:
        for layer, keys, values in zip(self.layers, self.held[0].unbind(), self.held[1].unbind()):
            layer.keys, layer.values = keys, values

    def _reorder_masks(self, index: Tensor) -> None:
        if self.keep_BN is not None:
            self.keep_BN = self.keep_BN[index]
        if self.memory_keep_BS is not None:
            self.memory_keep_BS = self.memory_keep_BS[index]
        for layer in self.layers:
            if layer.memory is not None:
                layer.memory = layer.memory[0][index], layer.memory[1][index]


class LayerCache:
    """One layer's part of a KVCache, (B, G, N, K) each, and the keys and values of its cross-attention if any."""

    keys: Tensor
    values: Tensor

    def __init__(self, cache: KVCache) -> None:
        self.cache = cache
        self.memory: tuple[Tensor, Tensor] | None = None

    def append(self, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Write new tokens after the filled ones; returns views of all keys and values up to them."""
        start, n_new = self.cache.length, k_BGTK.shape[2]
        self.keys.narrow(2, start, n_new).copy_(k_BGTK)
        self.values.narrow(2, start, n_new).copy_(v_BGTK)
        return self.keys.narrow(2, 0, start + n_new), self.values.narrow(2, 0, start + n_new)
