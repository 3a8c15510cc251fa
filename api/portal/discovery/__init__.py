"""Documents for machines that look for data: they tell of what is open, whoever asks."""
