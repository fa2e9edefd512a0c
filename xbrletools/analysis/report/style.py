"""The style sheet of the report: for light and dark screens, narrow ones, and paper.

Cold colours are data, warm ones are trouble, as in the browser of captures. Paper gets the light ones.
"""

STYLE = """
:root { color-scheme: light dark; --back: #fbfaf7; --ink: #20242e; --soft: #515766; --line: #cfcdc6; --panel: #f3f2ee;
  --page: #2f7cc9; --compressed: #7547c4; --delta: #0b7057; --dup: #8b94a3; --never: #e9e8e3; --healed: #b98200;
  --unknown: #43217f; --maybe: #d9682a; --wrong: #a81e08; --good: #0b7057; --link: #1c4fa0; --s1: #cde2eb;
  --s2: #8fc7d2; --s3: #3a92b3; --s4: #23609c; --s5: #192c65; }
@media screen and (prefers-color-scheme: dark) { :root { --back: #10131a; --ink: #d8deea; --soft: #a3adc0;
  --line: #2f3648; --panel: #1d2230; --page: #4f97e0; --compressed: #9a84e8; --delta: #6fd8b0; --dup: #7a879e;
  --never: #23283a; --healed: #f0c24f; --unknown: #dcc8ff; --maybe: #ff9a5c; --wrong: #ff5a36; --good: #6fd8b0;
  --link: #8ab4f8; --s1: #1e4673; --s2: #236c95; --s3: #3398a9; --s4: #6cccbd; --s5: #bff5e4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 28px 24px 40px; background: var(--back); color: var(--ink);
  font: 14px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 12px; }
h2 { font-size: 19px; margin: 36px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 22px 0 6px; }
p { margin: 8px 0; max-width: 88ch; orphans: 3; widows: 3; }
a { color: var(--link); }
code, pre { font: 12px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
pre { background: var(--panel); padding: 10px 12px; margin: 6px 0; overflow-x: auto; overflow-wrap: normal; }
.over, .note, .soft, figcaption, caption, footer { color: var(--soft); }
.over { margin: 0; }
.note { margin: 6px 0; font-size: 13px; }
.soft { font-size: 12px; }
.verdict { font-size: 17px; max-width: none; border-left: 5px solid var(--wrong); padding: 10px 14px; margin: 0 0 14px;
  background: var(--panel); }
.verdict.good { border-color: var(--good); } .verdict.healed { border-color: var(--healed); }
.verdict.unknown { border-color: var(--unknown); }
.tiles { display: flex; flex-wrap: wrap; gap: 10px 34px; margin: 16px 0; }
.tiles dt { color: var(--soft); font-size: 12px; }
.tiles dd { margin: 0; font-size: 16px; font-weight: 600; }
nav { background: var(--panel); padding: 10px 14px; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 6px 20px; margin: 0; padding: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 2px 0 4px; font-size: 13px; }
th, td { text-align: left; vertical-align: top; padding: 3px 14px 3px 0; }
thead th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--line); overflow-wrap: normal; }
tbody td { border-bottom: 1px solid var(--line); }
th.n, td.n { text-align: right; white-space: nowrap; }
td code { overflow-wrap: anywhere; }
.pairs { width: auto; margin: 6px 0; }
.pairs th { color: var(--soft); font-weight: 500; white-space: nowrap; }
.pairs td { border: 0; }
.wide { overflow-x: auto; margin: 10px 0; }
.wide:focus-visible, pre:focus-visible { outline: 2px solid var(--link); }
.findings td:nth-child(-n+5), .chain td:nth-child(-n+3) { white-space: nowrap; }
.fold { border: 1px solid var(--line); border-left: 4px solid var(--dup); margin: 8px 0; }
.fold > summary { padding: 8px 12px; cursor: pointer; }
.fold > .inner { padding: 0 12px 10px; }
.fold.lasting { border-left-color: var(--wrong); }
.name { font-weight: 600; }
.next { padding-left: 18px; margin: 6px 0; }
.badge { color: #fff; border-radius: 3px; padding: 1px 7px; font-size: 12px; background: #55606a; }
.badge.error { background: #a81e08; }
.badge.warning { background: #855400; }
.mark::before { content: "\\25cb  "; color: var(--soft); }
.mark.good::before { content: "\\25cf  "; color: var(--good); }
.mark.wrong::before { content: "\\25cf  "; color: var(--wrong); }
.mark.unknown::before { content: "?  "; color: var(--unknown); }
.sections td:first-child { min-width: 150px; }
.owners td:first-child { min-width: 200px; }
.sections td:nth-child(3) { overflow-wrap: normal; }
.sections td:nth-child(2), .sections td:nth-child(4), .sections td:nth-child(5) { white-space: nowrap; }
.bars td { border: 0; padding-top: 1px; padding-bottom: 1px; vertical-align: middle; }
.bars .group th { padding-top: 14px; color: var(--soft); font-weight: 400; }
.bars .group code { color: var(--ink); font-size: 13px; }
.bars .bar { width: 36%; }
.bars .n { width: 1%; }
.scaled { position: relative; }
.scaled svg { display: block; width: 100%; height: 12px; background: var(--panel); }
.over-mark { position: absolute; right: -11px; top: -5px; font-size: 13px; color: var(--ink); }
.hot svg { display: block; width: 100%; min-width: 120px; max-width: 320px; height: 12px; margin-top: 4px; }
.hot td:first-child, .differ td:first-child { white-space: nowrap; }
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
.fate-maybe { fill: var(--maybe); } .fate-wrong { fill: var(--wrong); } .fate-zero { fill: var(--dup); }
.sent-1 { fill: var(--s1); } .sent-2 { fill: var(--s2); } .sent-3 { fill: var(--s3); } .sent-4 { fill: var(--s4); }
.sent-5 { fill: var(--s5); }
.glossary { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 8px 28px; }
.glossary dt { font-weight: 600; }
.glossary dd { margin: 0; }
.plain { font-size: 15px; margin: 0 0 6px; padding: 0; border: 0; }
.beside td:first-child { white-space: nowrap; }
.beside td:nth-child(4) { color: var(--soft); }
.map svg { width: 100%; max-width: 620px; height: auto; shape-rendering: crispEdges; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 20px; align-items: start; }
footer { margin-top: 36px; border-top: 1px solid var(--line); padding-top: 10px; }
@media screen and (max-width: 760px) {
  body { padding: 16px 12px 28px; }
  h1 { font-size: 21px; }
  .maps, .two { grid-template-columns: 1fr; }
  .tiles { display: grid; grid-template-columns: 1fr 1fr; gap: 10px 16px; }
  .tiles dd { font-size: 14px; }
  .wide { max-height: 460px; overflow-y: auto; }
  .wide > table { min-width: 620px; }
  .wide > .bars { min-width: 480px; }
  .pairs, .pairs tbody, .pairs tr, .pairs th, .pairs td { display: block; padding-right: 0; }
  .pairs td { padding-bottom: 8px; }
  .wide > .findings { min-width: 860px; }
  .at { font-size: 2.3px; }
  .glossary { grid-template-columns: 1fr; }
}
@page { margin: 14mm; @bottom-right { content: counter(page) " / " counter(pages); font: 9pt sans-serif; } }
@media print {
  :root { color-scheme: light; --back: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .wide { overflow: visible; max-height: none; }
  pre { white-space: pre-wrap; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  h2, h3, caption, thead, .group, summary, figcaption, .legend { break-after: avoid; }
  section > p:has(+ .legend), section > p:has(+ .wide) { break-after: avoid; }
  .legend, .verdict, .tiles, .glossary > div { break-inside: avoid; }
  .at { font-size: 2.3px; }
  figure, tr, table:not(:has(tbody tr:nth-child(9))) { break-inside: avoid; }
  tbody tr:nth-child(-n+2):not(:last-child) { break-after: avoid; }
  tbody tr:nth-last-child(-n+2):not(:first-child) { break-before: avoid; }
  p + .note, .wide + .note, figure + .note { break-before: avoid; }
  summary { list-style: none; }
  .glossary { grid-template-columns: 1fr 1fr; }
  .maps, .two { grid-template-columns: 1fr 1fr; }
  .map svg { max-width: 380px; }
  body, td { line-height: 1.35; }
}
"""
