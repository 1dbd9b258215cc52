"""Upgrades and goes back under load, and prints what callers saw. See the package."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

from plugyard.bootstrap.stack.parts import CannotRun
from tests.upgrade.checkouts import Checkout, NoCheckout
from tests.upgrade.rolling import Report, carried_out

ROOT = Path(__file__).parents[2]
RATE, QUIET_S = 40.0, 10.0
EXAMPLE = """\
for example:

  git worktree add ../old v1.0.0 && (cd ../old && uv sync)
  uv run python -m tests.upgrade --old ../old
  git worktree remove --force ../old
"""


def table(report: Report) -> str:
    """What callers saw in each step, and the audit."""
    lines = ["| step | requests | failed | longest answer | took |", "|---|---|---|---|---|"]
    for step in report.steps:
        failed = ", ".join(f"{count} `{code}`" for code, count in sorted(step.failed.items())) or "0"
        longest = f"{step.longest_s:.1f} s ({step.longest_kind})"
        lines.append(f"| {step.name} | {step.requests:,} | {failed} | {longest} | {step.took_s:.0f} s |")
    verdict = report.verdict
    looked_for = ", ".join(f"{count:,} {what}" for what, count in verdict.looked_for.items())
    lines += [
        "",
        f"Acknowledged and looked for afterwards: {looked_for}. Lost: {len(verdict.lost)}. "
        f"There twice: {len(verdict.twice)}.",
    ]
    if report.crossed:
        lines.append(", ".join(f"{count:,} {what}" for what, count in sorted(report.crossed.items())) + ".")
    return "\n".join(lines)


def document(report: Report, old: Checkout, new: Checkout) -> str:
    """The same for a program to read, with every failure."""
    codes = {name: {"commit": one.commit, "revision": one.head} for name, one in (("old", old), ("new", new))}
    encoded = msgspec.json.encode({**codes, "held": report.held, **msgspec.to_builtins(report)})
    return msgspec.json.format(encoded, indent=2).decode()


def both(old_path: Path, new_path: Path) -> tuple[Checkout, Checkout]:
    """The old code and the new; raises ``NoCheckout``."""
    if old_path.resolve() == new_path.resolve():
        raise NoCheckout(f"{old_path} is this very checkout; --old names one of older code")
    old, new = Checkout.at(old_path), Checkout.at(new_path)
    if old.head not in new.knows:
        raise NoCheckout(f"{old.path} is at revision {old.head}, which is newer than this code ({new.head})")
    return old, new


def _faults(report: Report) -> list[str]:
    """Everything that did not hold, so much of each kind that one sees what it is."""
    wrong = [f"{step.name}: {one}" for step in report.steps for one in step.wrong]
    kinds = Counter(" ".join(one.split()[:2]) for one in report.verdict.lost)
    wrong += [f"lost: {kind} ({count})" for kind, count in kinds.items()]
    return [*wrong, *report.verdict.lost[:20], *report.verdict.twice[:20], *report.failures[:40]]


def _words(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.upgrade",
        description="A rolling upgrade from older code to this, the way back, and forth again, under load.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--old", type=Path, required=True, help="a checkout of older code, with its environment")
    parser.add_argument("--rate", type=float, default=RATE, help=f"requests a second ({RATE:g})")
    parser.add_argument("--quiet", type=float, default=QUIET_S, help=f"seconds between two changes ({QUIET_S:g})")
    parser.add_argument("--json", action="store_true", help="print JSON for a program to read")
    parser.add_argument("--keep", action="store_true", help="leave the folder with the logs, and say where it is")
    asked = parser.parse_args(arguments)
    if asked.rate <= 0 or asked.quiet < 0:
        parser.error("--rate has to be above 0, and --quiet not below")
    return asked


def main(arguments: list[str] | None = None) -> int:
    """Carry it out; the exit status is 1 where something did not hold, 2 where it cannot begin."""
    asked = _words(arguments)
    try:
        old, new = both(asked.old, ROOT)
    except NoCheckout as error:
        print(f"tests.upgrade: {error}", file=sys.stderr)
        return 2
    print(f"old: {old.commit}, revision {old.head}; new: {new.commit}, revision {new.head}", file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix="plugyard-upgrade-"))
    folder.chmod(0o755)
    try:
        report = asyncio.run(
            carried_out(folder, old, new, asked.rate, asked.quiet, lambda said: print(said, file=sys.stderr))
        )
    except CannotRun as error:
        print(f"tests.upgrade: {error}", file=sys.stderr)
        return 2
    finally:
        if asked.keep:
            print(f"logs are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if asked.json:
        print(document(report, old, new))
    else:
        print(table(report), *(f"  {step.name}: {note}" for step in report.steps for note in step.notes), sep="\n")
        for wrong in _faults(report):
            print(f"  {wrong}")
        print("All held." if report.held else "Something did not hold.")
    return 0 if report.held else 1


if __name__ == "__main__":
    sys.exit(main())
