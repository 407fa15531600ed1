"""Evaluation over the data folder: sets, runs, comparisons, gates. No terminal here: any way in calls it."""
