"""Approach 1: points (which rows are on the lower envelope of the curves) and fit_envelope."""
