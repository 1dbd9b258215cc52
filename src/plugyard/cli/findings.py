"""What the gate found, in lines for people."""

from typing import Any


def finding_lines(finding: dict[str, Any]) -> str:
    """One finding of the gate: where, what, why, and how to mend it."""
    where = finding["where"] + (f":{finding['line']}" if finding.get("line") else "")
    return (
        f"  {finding['severity']}: {where}  [{finding['rule']}]\n"
        f"      {finding['what']}\n      Why: {finding['why']}\n      Mend: {finding['mend']}"
    )
