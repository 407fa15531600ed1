"""Tests of prompts: files in promptfoo's shape (:mod:`suite`), assertions (:mod:`checks`), and runs of them
with a model, with recorded answers or without any (:mod:`runs`)."""
