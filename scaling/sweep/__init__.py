"""Many runs: what to train, where its records live, and who trains it."""

from scaling.lazy import lazy_names

EXECUTORS = ("local", "inline", "slurm", "ray")  # names of what starts the workers; see `executors`

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
