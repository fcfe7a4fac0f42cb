"""Approach 3: a loss over N and D (and whatever else a law reads) fitted to runs, and how sure each number is.

An interval is made room by room, each above the ones it asks (docs/intervals.md says the same for a reader):

quantities           what can be asked of a fit: a form (value, gradient, the way back) and its parameters
problem              what the engine asks of a law and its runs: residuals, Jacobian, bounds, steps, quantities
steps, chinchilla,   the Chinchilla law as a problem, by closed forms; any other family, by formula and gradient
general
solver, optimum      many robust fits at once; the best minimum of many starts and its certificate
sandwich             the fit to first order: leverages, classical and HC2 errors, degrees of freedom
groups, resample     what runs may share (a budget, a trunk); refits without one group, or of resampled runs
intervals            the ends: profiles with the HC2 threshold, the jackknife by group, percentiles of a bootstrap
diagnostics,         tests of the form and of shared noise, runs that decide, doubts by name
influence, findings
analysis             which of these is the main one for these runs
fit, result          fit_parametric, for the Chinchilla law; general_fit, law_fit: fit_law, for every family
bootstrap,           clouds of coefficients, bands of predicted losses, the band and draws that a plan reads
prediction, uncertainty
"""
