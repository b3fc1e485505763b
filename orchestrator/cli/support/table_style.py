"""How the page of a table of runs looks: light and dark, on narrow screens, and without colours."""

from __future__ import annotations

#: Colours differ in lightness too, and every cell has its letter: nobody needs to tell red from green.
STYLE = """
:root{color-scheme:light dark;--P:#e3f4e6;--F:#f3b5ad;--U:#ececf0;--M:#ececf0;--E:#fbdca4;--N:#fff;
--ink:#1c2024;--soft:#515a66;--line:#c9ced6;--page:#fff}
@media(prefers-color-scheme:dark){:root{--P:#173a22;--F:#7a2b25;--U:#2b2e34;--M:#2b2e34;--E:#654d16;--N:#16181c;
--ink:#e8eaed;--soft:#b3bac4;--line:#454b54;--page:#16181c}}
*{box-sizing:border-box}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page);margin:1.5rem}
h1{font-size:1.3rem;margin:0 0 .3rem}p{color:var(--soft);margin:.2rem 0 .8rem;max-width:60rem}
.wide{overflow-x:auto}
table{border-collapse:separate;border-spacing:3px}
th{font-weight:600;text-align:left;padding:.35rem .7rem;vertical-align:top;background:var(--page)}
thead th{border-bottom:1px solid var(--line);vertical-align:bottom}
tbody th{position:sticky;left:0;max-width:22rem;min-width:9rem}
td{padding:.4rem .7rem;border-radius:5px;vertical-align:top;min-width:9rem;max-width:26rem;
overflow-wrap:anywhere}.P{background:var(--P)}.F{background:var(--F)}.U{background:var(--U)}
.M{background:var(--M)}.E{background:var(--E)}
.N{background:var(--N)}td.F,td.E{outline:2px solid var(--ink);outline-offset:-2px}
td>b{display:inline-block;min-width:1.1em}td span{font-variant-numeric:tabular-nums}
small{color:var(--soft);display:block;font-weight:400;overflow-wrap:anywhere}
td small,td summary{color:inherit}
svg{display:block;margin:.25rem 0}polyline{fill:none;stroke:currentColor;stroke-width:1.3;opacity:.75}
.runs{font-size:.85em}.runs a{display:inline-block;margin-right:.5rem;color:inherit}
details{font-size:.85em}summary{cursor:pointer}ul{margin:.2rem 0;padding-left:1.1rem}
.key span{display:inline-block;padding:.1rem .5rem;border-radius:4px;margin:0 .4rem .3rem 0;color:var(--ink);
border:1px solid var(--line)}
@media(max-width:40rem){body{margin:.7rem;font-size:14px}
tbody th{max-width:9.5rem;min-width:0;padding:.35rem .4rem}
tbody th small{display:none}}
"""
