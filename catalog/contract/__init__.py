"""The parts of a contract -> the model."""
