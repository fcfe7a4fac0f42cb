"""Any law family: search (starts and least squares over named inputs) and fit_law."""
