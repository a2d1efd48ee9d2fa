"""``python -m faults``: many rounds, one JSON line each; ends with 1 if there was a violation."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from faults.bundles import BundleRound, write_workspace
from faults.lane import Lane
from faults.plans import plan_round
from faults.rounds import Round


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--pool", choices=["local", "personal"], help="default: either")
    parser.add_argument("--what", choices=["map", "run", "bundle"], help="default: map or run")
    parser.add_argument("--only", action="append", default=[], help="only these faults")
    parser.add_argument(
        "--disk", type=int, help="the data folder is a disk of so many MiB, which is filled (root)"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no further round after so long")
    parser.add_argument("--work", type=Path, help="folder; default: a temporary one")
    args = parser.parse_args()
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
    ):  # the lane is to be ended, also where a shell has these ignored
        signal.signal(number, lambda *_: sys.exit("ended by a signal"))
    work = args.work or Path(tempfile.mkdtemp(prefix="wingspan-faults-"))
    lane, begin, done, bad = Lane(work, args.disk), time.monotonic(), 0, 0
    try:
        for number in range(args.first, args.first + args.rounds):
            if time.monotonic() - begin > 60 * args.minutes:
                break
            if args.what == "bundle":
                started = time.monotonic()
                built = BundleRound(
                    lane, args.seed, number, write_workspace(work / "workspace", work / "channel")
                )
                violations = built.run()
                done, bad = done + 1, bad + bool(violations)
                told = {
                    "seed": args.seed,
                    "round": number,
                    "what": "bundle",
                    "kind": built.kind,
                    "killed_at": built.killed_at,
                }
                told |= {"seconds": round(time.monotonic() - started, 1)}
                told["violations"] = [{"kind": each["kind"], "text": each["text"]} for each in violations]
                print(json.dumps(told), flush=True)
                continue
            plan = plan_round(
                args.seed,
                number,
                pool=args.pool,
                what=args.what,
                disk=args.disk is not None,
                only=tuple(args.only),
            )
            if plan.pool == "personal":
                lane.start_pool()
            started = time.monotonic()
            one = Round(lane, plan)
            violations = one.run()
            done, bad = done + 1, bad + bool(violations)
            faults = [name for _, name, _ in plan.faults]
            seconds = round(time.monotonic() - started, 1)
            told = {
                "seed": args.seed,
                "round": number,
                "what": plan.what,
                "pool": plan.pool,
                "n": len(plan.inputs),
                "faults": faults,
                "worked": one.worked,
            }
            told |= {"killed_at": plan.killed_at, "end": plan.end, "seconds": seconds}
            distinct = {(event["kind"], event["text"]) for event in violations}
            told["violations"] = [{"kind": kind, "text": text} for kind, text in sorted(distinct)]
            print(json.dumps(told), flush=True)
    finally:
        lane.end()
    print(json.dumps({"seed": args.seed, "rounds": done, "with_violations": bad, "work": str(work)}))
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
