"""Approach 3. From the bottom up:

surface, starts, solver, optimum       the objective, where to start, the minimiser, the certified minimum
quantities, sandwich, profile,         what is asked of a fit; its standard errors, profiles and refits
resample, groups, intervals
diagnostics, influence, findings       tests, runs that matter, doubts by name
analysis, result, fit                  fit_parametric and what it returns
bootstrap, prediction, uncertainty     clouds, predicted losses, the band a plan reads
"""
