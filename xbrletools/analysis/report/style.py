"""The style sheet of the report: for light and dark screens, narrow ones, and paper."""

STYLE = """
:root { color-scheme: light dark; --back: #fcfcfb; --ink: #1b1b19; --soft: #5f5e59; --line: #dddcd6; --panel: #f3f2ee;
  --page: #2a78d6; --compressed: #7a5fd0; --delta: #e59700; --dup: #8fa3ad; --never: #ecebe6; --healed: #f2b8a0;
  --unknown: #b04ac0; --wrong: #d0242e; --good: #157a45; --s1: #cfe0f5; --s2: #98bfea; --s3: #5a97dc; --s4: #2567b4;
  --s5: #0d3a70; }
@media (prefers-color-scheme: dark) { :root { --back: #191918; --ink: #ecebe6; --soft: #a5a49d; --line: #3a3a37;
  --panel: #232321; --page: #3987e5; --compressed: #9a84e8; --delta: #d99200; --dup: #66767e; --never: #2b2b29;
  --healed: #8a4a3a; --unknown: #c76ad6; --wrong: #f04850; --good: #4cc285; --s1: #1c3552; --s2: #23528a; --s3: #3478c4;
  --s4: #6ba5e8; --s5: #c4ddf8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 14px/1.45 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 24px 40px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 38px 0 10px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 22px 0 6px; }
code, pre { font: 12px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { background: var(--panel); padding: 10px 12px; margin: 6px 0; white-space: pre-wrap; }
.over, .note, .legend-title, figcaption, footer { color: var(--soft); }
.over { margin: 0; }
.note, .legend-title { margin: 6px 0; }
.verdict { font-size: 16px; border-left: 4px solid var(--good); padding: 6px 12px; background: var(--panel); }
.verdict.bad { border-color: var(--wrong); }
.tiles { display: flex; flex-wrap: wrap; gap: 10px 36px; margin: 16px 0; }
.tiles dt { color: var(--soft); font-size: 12px; }
.tiles dd { margin: 0; font-size: 16px; font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 3px 14px 3px 0; overflow-wrap: anywhere; }
thead th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--line); overflow-wrap: normal; }
tbody td { border-bottom: 1px solid var(--line); }
.n { text-align: right; white-space: nowrap; }
.pairs { width: auto; }
.pairs th { color: var(--soft); font-weight: 500; white-space: nowrap; }
.pairs td { border: 0; }
.wide { overflow-x: auto; }
.findings td:nth-child(-n+3), .chain td:nth-child(-n+3) { white-space: nowrap; }
.badge { color: #fff; border-radius: 3px; padding: 1px 7px; font-size: 12px; background: #5f6b73; }
.badge.error { background: #b91c26; }
.badge.warning { background: #8f5a00; }
.count { color: var(--soft); font-weight: 400; }
.bars td { border: 0; padding-top: 1px; padding-bottom: 1px; vertical-align: middle; }
.bars .group th { padding-top: 14px; color: var(--soft); font-weight: 400; }
.bars .group code { color: var(--ink); font-size: 13px; }
.bars .bar { width: 36%; }
.bars .n { width: 1%; }
.bars .bar svg { display: block; width: 100%; height: 12px; background: var(--panel); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 18px; padding: 0; margin: 4px 0 8px; }
.legend svg { width: 11px; height: 11px; margin-right: 6px; vertical-align: -1px; }
figure { margin: 18px 0; }
figcaption { margin-bottom: 6px; }
figcaption code { color: var(--ink); font-size: 13px; }
.maps { display: grid; grid-template-columns: 1fr 1fr; gap: 20px; align-items: start; }
.maps svg { width: 100%; height: auto; shape-rendering: crispEdges; }
.at { font: 1.7px ui-monospace, monospace; fill: var(--soft); text-anchor: end; }
.page, .fate-page { fill: var(--page); } .compressed { fill: var(--compressed); }
.delta, .fate-delta { fill: var(--delta); } .dup, .fate-dup { fill: var(--dup); }
.fate-never { fill: var(--never); } .fate-healed { fill: var(--healed); } .fate-unknown { fill: var(--unknown); }
.fate-wrong { fill: var(--wrong); } .fate-zero { fill: var(--dup); }
.sent-1 { fill: var(--s1); } .sent-2 { fill: var(--s2); } .sent-3 { fill: var(--s3); } .sent-4 { fill: var(--s4); }
.sent-5 { fill: var(--s5); }
footer { margin-top: 36px; border-top: 1px solid var(--line); padding-top: 10px; }
@media (max-width: 760px) { .maps { grid-template-columns: 1fr; } }
@page { margin: 14mm; }
@media print { :root { color-scheme: light; --back: #fff; --ink: #000; --soft: #444; --line: #bbb; --panel: #f3f2ee;
  --page: #2a78d6; --compressed: #7a5fd0; --delta: #e59700; --dup: #8fa3ad; --never: #ecebe6; --healed: #f2b8a0;
  --unknown: #b04ac0; --wrong: #d0242e; --good: #157a45; --s1: #cfe0f5; --s2: #98bfea; --s3: #5a97dc; --s4: #2567b4;
  --s5: #0d3a70; }
  body { font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  .wide { overflow: visible; }
  h2, h3, .legend, .legend-title { break-after: avoid; }
  .legend { break-inside: avoid; }
  .at { font-size: 2.3px; }
  figure, tr, .tiles { break-inside: avoid; }
  .maps { grid-template-columns: 1fr 1fr; } }
"""
