"""The main job, shown: ingest the sample knowledge base, search it, render a prompt, ask.

Run by ``make demo``. Every line it prints after a ``$`` is a command that you can type yourself.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

STEPS = (
    ("The knowledge base: Spanish and English, in eight formats.", ["ingest", "examples/knowledge"]),
    ("Find passages, by words and by meaning.", ["search", "the display shows E-07 again", "-k", "2"]),
    ("¿Y en español?", ["search", "¿a qué temperatura se puede cargar una batería?", "-k", "2"]),
    (
        "An answer with numbered citations. No LLM is configured: it is made of quoted sentences.",
        ["ask", "How many requests per minute does the free plan allow?"],
    ),
    ("¿Y en español?", ["ask", "¿Cuánto cuesta dejar la bicicleta fuera de la zona de servicio?"]),
    (
        "What an LLM would get instead: the prompt, with the passages inside the token budget.",
        [
            *("prompts", "render", "answer", "-k", "2"),
            *("--var", "question=How many requests per minute does the free plan allow?"),
        ],
    ),
    ("What is there now.", ["status"]),
)


def main() -> int:
    """Run the steps; stop at the first that fails."""
    script = Path(sys.executable).with_name("rag")
    for title, arguments in STEPS:
        print(f"\n\033[1m# {title}\033[0m" if sys.stdout.isatty() else f"\n# {title}")
        print("$ rag " + shlex.join(arguments), flush=True)
        done = subprocess.run([script, *arguments], cwd=ROOT, env=os.environ, check=False)
        if done.returncode:
            return done.returncode
    print(
        "\nGo on from here: .venv/bin/rag --help. The data lies in ./.rag; delete the folder to start anew."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
