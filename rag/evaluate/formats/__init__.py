"""How judged sets and runs are written by others, and read here."""
