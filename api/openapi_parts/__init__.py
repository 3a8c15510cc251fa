"""What descriptions of operations are made of: names, parameters, answers, problems."""
