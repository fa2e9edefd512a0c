"""Damages real captures in ways that are known, asks what is wrong, and puts the table into docs/verdict.md.

    python -m tests.causes --seeds 5 --jobs 2 # about 2,100 damages, 10 minutes
    python -m tests.causes --seeds 1 --print  # a look

Captures are of the corpus and of the samples. The "other captures" were not looked at when the hypotheses were first
written. docs/verdict.md says which seeds were looked at since. A splice takes the rest of another capture, named behind
a comma.
"""

import argparse
import lzma
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.conftest import CORPUS, ROOT, SAMPLES

from .damage import KINDS, Whole
from .measure import Outcome, outcomes, shares, table

WITH_SUMS = (
    "qemu-2011-posted/dbg-mixed-16m,qemu-2011-posted/dbg-stale-reject",
    "qemu-2011-posted/dbg-vga-x,qemu-2011-posted/dbg-stage3",
    "qemu-2010/m115-x,qemu-2010/m115-plain",
    "qemu-2010/lm2dbg-x,qemu-2011-posted/dbg-vga-x",
    "qemu-2010/nov03b-x,qemu-2010/nov03a-x",
    "posted-8m",
    "qemu-2011-posted/dbg-stale-reject,qemu-2011-posted/dbg-mixed-16m",
    "qemu-2011-posted/dbg-block-ix,qemu-2011-posted/dbg-small-8m",
    "qemu-2011-posted/dbg-oddcache-1500000,qemu-2011-posted/dbg-vga-x",
    "qemu-2010/m115dbg-x,qemu-2010/m115-x",
    "qemu-2010/nov03a-x,qemu-2010/nov03b-x",
)
WITHOUT_SUMS = (
    "qemu-2011-posted/def-mixed-16m,qemu-2011-posted/def-plain-v4",
    "qemu-2010/lm2-x,qemu-2011-posted/def-plain-v4",
    "qemu-2010/sep10-x,qemu-2010/m115-plain",
    "qemu-2011-posted/def-plain-v4,qemu-2010/lm2-x",
)
XBZRLE = (
    "qemu-7.2/pc16-xbzrle-large-kvm,xbzrle-16m",
    "xbzrle-16m,qemu-7.2/pc16-plain-kvm",
    "qemu-10/s390x-ccw64-xbzrle,xbzrle-16m",
)
BLIND_WITH_SUMS = (
    "qemu-2011-posted/dbg-small-8m,qemu-2011-posted/dbg-stage3",
    "qemu-2011-posted/dbg-stage3,qemu-2011-posted/dbg-oddcache-1500000",
)
BLIND_WITHOUT_DELTAS = (
    "qemu-2010/m115-plain,qemu-2010/sep10-x",
    "qemu-7.2/pc16-plain-kvm,qemu-7.2/pc16-noconfig-kvm",
    "qemu-7.2/pc16-noconfig-kvm,qemu-7.2/pc16-plain-kvm",
    "qemu-10/pc16-dimm-hotplug,qemu-7.2/pc16-plain-kvm",
    "qemu-7.2/ppc-g3beige32-plain-tcg",
)
GROUPS = (
    ("with sums", WITH_SUMS),
    ("without sums", WITHOUT_SUMS),
    ("XBZRLE", XBZRLE),
    ("with sums, other captures", BLIND_WITH_SUMS),
    ("without deltas, other captures", BLIND_WITHOUT_DELTAS),
)
BEGIN, END = "<!-- python -m tests.causes makes what follows -->", "<!-- python -m tests.causes ends here -->"


def whole(name: str) -> Whole:
    """A capture of the corpus, by its folder and name, or of the samples."""
    if "/" not in name:
        return Whole((SAMPLES / f"{name}.bin").read_bytes())
    return Whole(lzma.decompress((CORPUS / f"{name}.bin.xz").read_bytes()))


def damaged(spec: str, seeds: range) -> list[Outcome]:
    """Every kind of damage, with every seed, of one capture."""
    name, _, other = spec.partition(",")
    found = list(outcomes(name, whole(name), whole(other) if other else None, list(KINDS), seeds))
    right, among = shares(found)
    print(f"{name}: {len(found)} damages, {right:.3f} right, {among:.3f} with those among several", flush=True)
    return found


def measured(seeds: range, jobs: int) -> dict[str, list[Outcome]]:
    """All damages of all captures, by group, in so many processes."""
    with ProcessPoolExecutor(jobs) as pool:
        found = {name: [pool.submit(damaged, spec, seeds) for spec in captures] for name, captures in GROUPS}
        return {name: [o for future in futures for o in future.result()] for name, futures in found.items()}


def report(groups: dict[str, list[Outcome]], seeds: range) -> str:
    """What the outcomes come to, in Markdown."""
    found = [outcome for group in groups.values() for outcome in group]
    captures = len({outcome.capture for outcome in found})
    repairs = [outcome.repair for outcome in found if outcome.repair is not None]
    lines = [
        f"{len(found):,} damages of {captures} captures, with seeds {seeds.start} to {seeds.stop - 1}. Each is of one "
        "of 17 kinds, or a burst of 1, 4, 64 or 512 random bytes. *Right*: the cause is named, as certain or likely. "
        "*Named first*: it is the first of the cause words. *Among*: it is one of several that are named. The shares "
        "are of the damages that leave evidence.",
        "",
        "| captures | damages | leave evidence | right | named first | right or among | certain, and wrong |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, group in [*groups.items(), ("all", found)]:
        right, among = shares(group)
        speaks = sum(o.column != "no evidence" for o in group)
        wrong = sum(o.column == "wrong, certain" for o in group)
        first = sum(o.is_first for o in group) / max(1, speaks)
        lines.append(f"| {name} | {len(group)} | {speaks} | {right:.1%} | {first:.1%} | {among:.1%} | {wrong} |")
    wrong_repairs = repairs.count("wrong")
    seconds = sorted(o.seconds for o in found)
    lines += [
        "",
        f"{len(repairs)} damages had a repair that is called unique; {wrong_repairs} of these gave other bytes than "
        f"those before the damage. A capture took {seconds[len(seconds) // 2]:.2f} s (median), "
        f"{seconds[-1]:.1f} s at most.",
        "",
        table(found),
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure, and write the table. Returns 1 where a wrong cause was called certain, or a wrong repair unique."""
    parser = argparse.ArgumentParser(prog="python -m tests.causes", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="damages of each kind and capture (default: 5)")
    parser.add_argument("--first", type=int, default=910000, help="the first seed (default: 910000)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--print", action="store_true", help="print the table, and leave docs/verdict.md as it is")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    os.nice(5)
    groups = measured(seeds, options.jobs)
    text = report(groups, seeds)
    found = [outcome for group in groups.values() for outcome in group]
    for o in sorted(found, key=lambda o: -o.seconds)[:3]:
        print(f"slow: {o.capture} {o.truth.kind} at {o.truth.offset:#x}: {o.seconds:.1f} s")
    for o in found:
        if o.cause is not None and (o.column in ("wrong", "wrong, certain", "unknown") or o.repair == "wrong"):
            print(o.column, o.capture, o.truth, o.cause.name.value, o.cause.sure.value, o.cause.sentence, o.repair)
    if options.print:
        print(text)
    else:
        path = Path(ROOT / "docs" / "verdict.md")
        before, _, rest = path.read_text().partition(BEGIN)
        path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")
    return int(any(o.column == "wrong, certain" or o.repair == "wrong" for o in found))


if __name__ == "__main__":
    raise SystemExit(main())
