"""Everything that needs torch: models, tokens, corpora, training, decoding. Nothing outside this folder imports it.

The public names below load on first use.
"""

from scaling.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
