"""How long commands take to answer, as multiples of the time that `import torch` takes.

python -m tests.benchmarks.startup --rounds 5
"""

import subprocess
import sys
import time
from argparse import ArgumentParser
from statistics import median

IMPORTS = {"import torch": "import torch", "import mdx_progressive": "import mdx_progressive"}
COMMANDS = (
    "--help",
    "--version",
    "tset",
    "predict song.mp3 --data.inptu x",
    "predict --help",
    "separators",
    "schedules",
    "compare nothing",
    "test -s spleeter --print_config",
)


def seconds(command: list[str]) -> float:
    """The computing time of a process, which other processes of the machine do not lengthen."""
    code = "usage = resource.getrusage(resource.RUSAGE_CHILDREN); print(usage.ru_utime + usage.ru_stime)"
    run = f"import resource, subprocess; subprocess.run({command!r}, capture_output=True); {code}"
    ended = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
    return float(ended.stdout)


def main() -> None:
    """Measure all of them in turn, several times."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="How often each is run; the median counts.")
    rounds: int = parser.parse_args().rounds
    commands = {name: [sys.executable, "-c", code] for name, code in IMPORTS.items()}
    for line in COMMANDS:
        commands[f"mdx-progressive {line}"] = [sys.executable, "-m", "mdx_progressive", *line.split()]
    times: dict[str, list[float]] = {name: [] for name in commands}
    begin = time.perf_counter()
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(seconds(command))
    floor = median(times["import torch"])
    for name, measured in times.items():
        print(f"{name:<50}{median(measured):6.2f} s {median(measured) / floor:6.2f}")
    print(f"{rounds} rounds, {time.perf_counter() - begin:.0f} s; seconds of computing, and multiples of import torch")


if __name__ == "__main__":
    main()
