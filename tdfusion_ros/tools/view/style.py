"""How a report looks: one style sheet, dark and light, nothing from outside."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --card: #fff; --ink: #1b1d1f; --soft: #5c6166; --rule: #dfe1e3;
  --grid: #eceeef; --accent: #0b6bcb; --warn: #b3420a;
  --c0: #e69f00; --c1: #56b4e9; --c2: #009e73; --c3: #c8b900; --c4: #d55e00; --c5: #cc79a7;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131517; --card: #1b1e21; --ink: #e8eaec; --soft: #9ba2a8; --rule: #32373b;
    --grid: #262a2e; --accent: #6cb2f7; --warn: #ff9d5c; --c3: #f0e442;
  }
}
* { box-sizing: border-box }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px }
h1 { font-size: 30px; line-height: 1.2; margin: 2px 0 6px; overflow-wrap: anywhere }
h2 { font-size: 20px; margin: 48px 0 4px; padding-top: 14px; border-top: 2px solid var(--ink) }
h3 { font-size: 15px; margin: 26px 0 0 }
p { margin: 2px 0 10px }
.soft, figcaption, .kicker { color: var(--soft) }
.kicker { margin: 0; font-size: 13px; letter-spacing: .04em; text-transform: uppercase }
.warn { color: var(--warn) }
.tiles {
  display: grid; gap: 12px; margin: 24px 0 0;
  grid-template-columns: repeat(auto-fit, minmax(190px, 1fr));
}
.tile, .panel { background: var(--card); border: 1px solid var(--rule); border-radius: 8px }
.tile { padding: 12px 16px 10px }
.tile b { display: block; font-size: 25px; line-height: 1.25; font-weight: 600 }
.tile span { display: block; font-size: 13px; color: var(--soft) }
.panel { padding: 12px 12px 6px; margin: 8px 0 0 }
.missing { margin: 20px 0 0; padding: 10px 16px; border-left: 3px solid var(--warn) }
.missing ul { margin: 2px 0; padding-left: 18px }
.moment {
  display: grid; grid-template-columns: 112px repeat(3, 1fr); gap: 8px; margin: 8px 0;
  align-items: start;
}
.moment img { display: block; width: 100%; border-radius: 4px }
.moment p { margin: 0; font-size: 13px; color: var(--soft); font-variant-numeric: tabular-nums }
.moment p b { display: block; font-size: 15px; color: var(--ink) }
.moment .head { font-size: 13px; font-weight: 600; color: var(--soft) }
.none {
  aspect-ratio: 4 / 3; display: grid; place-items: center; padding: 12px; text-align: center;
  border: 1px dashed var(--rule); border-radius: 4px; color: var(--soft); font-size: 13px;
  overflow-wrap: anywhere; overflow: hidden;
}
.scroll { overflow-x: auto; margin: 0 0 18px }
table { border-collapse: collapse; margin: 8px 0 0; font-variant-numeric: tabular-nums }
.wide { width: 100% }
th, td { padding: 5px 24px 5px 0; text-align: left; vertical-align: top }
th { font-weight: 600; font-size: 13px; color: var(--soft); border-bottom: 1px solid var(--rule) }
td { border-bottom: 1px solid var(--grid); overflow-wrap: anywhere }
.r { text-align: right; white-space: nowrap }
th:last-child, td:last-child { padding-right: 0 }
.key { display: inline-flex; gap: 7px; align-items: center; margin-right: 18px; font-size: 13px }
.key i { width: 11px; height: 11px; border-radius: 2px; background: currentColor }
.key span { color: var(--ink) }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif }
svg text { fill: var(--soft) }
.tick { font-variant-numeric: tabular-nums }
.grid { stroke: var(--grid); fill: none }
.axis { stroke: var(--soft); fill: none }
.dot { stroke: currentColor; stroke-width: 5; stroke-linecap: round; fill: none }
.line { stroke: currentColor; stroke-width: 1.8; fill: none }
.fill { fill: currentColor }
.range { fill: currentColor; opacity: .35 }
.c0 { color: var(--c0) } .c1 { color: var(--c1) } .c2 { color: var(--c2) }
.c3 { color: var(--c3) } .c4 { color: var(--c4) } .c5 { color: var(--c5) }
.blue { color: var(--accent) } .red { color: var(--warn) } .gray { color: var(--soft) }
@media (max-width: 640px) {
  main { padding: 24px 12px }
  .moment { grid-template-columns: repeat(3, 1fr) }
  .moment > p:first-child { grid-column: 1 / -1 }
  .moment .head:first-child { display: none }
}
@media print { .moment, .panel { break-inside: avoid } }
"""
