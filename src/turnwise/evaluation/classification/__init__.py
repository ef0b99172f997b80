"""Reports on classifiers of texts and of tokens: scores per label, calibration, and comparisons with intervals."""
