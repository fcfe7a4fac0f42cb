"""The spec that `scaling sweep init` writes: the quick start, with every key explained."""

TEMPLATE = """\
# A sweep: train many small models and find out how loss depends on parameters and tokens.
#   scaling sweep design sweep.toml    what it would train, what that costs, what is wrong with it
#   scaling sweep run sweep.toml       train it; Ctrl-C and run it again at will, nothing is lost
schema_version = 1
name = "{name}"

[corpus]
# synthetic (its true entropy is known), stdlib (real text), or a folder made by `scaling corpus prepare`
name = "synthetic:bits=7,seed=0"
context_length = 64

[grid]
# training FLOPs; each budget trains `sizes_per_budget` model sizes around the optimum you expect. Budgets less than a
# factor of two apart share most of their sizes, hence their trunks: six cost hardly more than four over the same range
budgets = [1.5e10, 2.4e10, 3.8e10, 6.2e10, 1e11, 1.6e11]
sizes_per_budget = 6           # or every size in a range: tokens_per_param_range = [4, 100]
size_ratio = 1.6               # from one size to the next
optimum_flops = 3e10           # one point on the line of optima you expect (or: tokens_per_param = 20)
optimum_params = 14e3
optimum_exponent = 0.5
flops = "6ND"                  # how C is counted: 6ND, exact_causal, palm
params = "total"               # how N is counted: total, non_embedding

[shape]
n_layers = 2                   # or leave it out: then aspect_ratio, width over depth, decides (d_model, n_layers)
n_heads = 2                    # or d_head, the size of a head

[recipe]
name = "fixed"                 # learning_rate (N / reference_params)^learning_rate_exponent; or steplaw, deepseek
optimizer = "adamw"
batch_tokens = 1024
learning_rate = 0.012
reference_params = 14e3
learning_rate_exponent = -0.4

[schedule]
kind = "wsd"                   # all budgets of one size share a trunk; cosine and linear train each run alone
warmup_steps = 15
decay_fraction = 0.2

[seeds]
replicates = 2                 # at the middle size of these budgets, to know the noise
replicate_budgets = [1.5e10, 6.2e10]

[evaluation]
windows = 512                  # of validation text, the same for every run
"""
