"""Many runs: what to train, where its records live, and who trains it."""

EXECUTORS = ("local", "inline", "slurm", "ray")  # names of what starts the workers; see `executors`
