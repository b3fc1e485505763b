"""``python -m tests.compliance``: print each requirement with the code and the tests that cite it."""

from __future__ import annotations

import sys

from tests.compliance.requirements import of_project, problems


def main() -> int:
    """Print the table and what is wrong; return 1 when something is."""
    known, citations = of_project()
    for number, text in known.items():
        print(f"{number} {text}")
        for place in (*citations.code.get(number, ()), *citations.tests.get(number, ())):
            print(f"    {place}")
    wrong = problems(known, citations)
    print(f"{len(known)} requirements, {len(wrong)} problems", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
