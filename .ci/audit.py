"""Known vulnerabilities of the pinned requirements, by pip-audit; the result in the log.

    python .ci/audit.py            # shows what is found; exit 0
    python .ci/audit.py --strict   # exit 1 where a vulnerability is known, or nobody could say

Without ``--strict`` nothing fails: an advisory of tomorrow, or no network, must not turn the tests
of an unchanged commit red.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

FILES = ("requirements.txt", "requirements-dev.txt")


def audited() -> tuple[list[dict], str]:
    """Every pinned package with its ``vulns`` or its ``skip_reason``; or why there is no answer."""
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", "15"]
    for file in FILES:
        command += ["--requirement", file]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        return json.loads(done.stdout)["dependencies"], ""
    except subprocess.TimeoutExpired:
        return [], "no answer within 180 s"
    except ValueError:  # no JSON: it ended with an error
        return [], (done.stderr.strip().splitlines() or ["no output"])[-1][:300]


def main() -> int:
    strict = sys.argv[1:] == ["--strict"]
    packages, problem = audited()
    skipped = Counter(p["skip_reason"].split(":")[0] for p in packages if "skip_reason" in p)
    known = [p for p in packages if "skip_reason" not in p]
    found = [(p, v) for p in known for v in p["vulns"]]
    for package, vulnerability in found:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        name = f"{package['name']} {package['version']}"
        print(f"audit: {name}: {vulnerability['id']}, fixed in {fixed}")
        print(f"       {' '.join(vulnerability['description'].split())[:200]}")
    for reason, count in skipped.items():
        print(f"audit: {count} packages NOT AUDITED: {reason}")
    if not known:
        why = problem or "it knows none of the packages"
        print(f"audit: NOTHING AUDITED, the advisory service is out of reach here: {why}")
    else:
        print(f"audit: {len(known)} packages audited, {len(found)} known vulnerabilities")
    return int(strict and (bool(found) or not known))


if __name__ == "__main__":
    sys.exit(main())
