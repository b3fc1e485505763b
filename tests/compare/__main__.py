"""Print the table of docs/protocol/comparison.md: minutes of CPU, no chance, no clock."""

from __future__ import annotations

from tests.compare.table import LINKS, cell, header, legend, measure, settings


def main() -> None:
    """Print the legend and the table, row by row as they are measured."""
    print("\n".join(legend()))
    print()
    print("\n".join(header()))
    for setting in settings():
        found = [cell(link, measure(link, setting)) for link in LINKS]
        print(f"| {setting.name} | " + " | ".join(found) + " |", flush=True)


if __name__ == "__main__":
    main()
