"""Approach 2: budgets (groups of runs), valley (one curve and its minimum), bias, findings, result, fit_isoflop."""
