"""What was evaluated: judged sets, judgements, runs and verdicts, in a database of their own."""
