"""The pages that `serve` sends. They load nothing from another host, and their headers forbid that to all in them."""

import html
import secrets

from ..text import inert

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#14202b"/>'
    '<path d="M8 3.5 12.5 12h-9z" fill="none" stroke="#ffb454" stroke-width="1.6"/></svg>'
)
_STYLE = """
@font-face { font-family: "Roboto Mono"; src: url("static/fonts/RobotoMono-VariableFont_wght.ttf"); }
html, body { margin: 0; height: 100%; background: #121212; color: #e0e0e0; font: 16px "Roboto Mono", monospace; }
.textual-terminal { width: 100vw; height: 100vh; }
main { max-width: 48em; margin: 0 auto; padding: 10vh 1em; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; }
#state { display: none; position: fixed; bottom: 0; width: 100%; padding: .5em 1em; background: #3a2a10; }
#state.shown { display: block; }
#state a:empty { display: none; }
a { color: #ffb454; }
"""
# textual.js reads the terminal's data. It opens windows for links on the screen and for downloads: neither is allowed.
# It measures its font once the page is loaded, so the font must be there then, which nothing else on the page needs.
# What tells tabs apart stays when a page is loaded anew, so that its session goes on. A connection's end says why.
_SCRIPT = """
window.open = () => null;
const KEY = "xbrle-tab";
let tab = sessionStorage.getItem(KEY);
if (!/^[0-9a-f]{32}$/.test(tab)) {
  tab = [...crypto.getRandomValues(new Uint8Array(16))].map(b => b.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem(KEY, tab);
}
function say(text, next) {
  const state = document.querySelector("#state");
  state.querySelector("span").textContent = text;
  state.querySelector("a").textContent = next || "";
  state.className = "shown";
}
async function again() {
  for (;;) {
    say("The connection was lost. Trying again.");
    await new Promise(resolve => setTimeout(resolve, 1000));
    try {
      if ((await fetch("icon.svg", {cache: "no-store"})).ok) return location.reload();
      return say("This server does not know the address any more. Open the one that xbrle serve prints now.");
    } catch {}
  }
}
function closed(event) {
  if (event.code == 1001) return say("The server has ended. Open the address that xbrle serve prints.");
  if (event.code < 4000 && event.code != 1000) return again();
  sessionStorage.removeItem(KEY);
  say(event.reason || "This session has ended.", event.code == 4003 ? "Try again" : "Start another");
}
window.WebSocket = class extends WebSocket {
  constructor(...address) {
    super(...address);
    this.addEventListener("close", closed);
    this.addEventListener("open", () => document.querySelector(".xterm-helper-textarea")?.focus());
  }
};
addEventListener("DOMContentLoaded", () => {
  const base = location.origin.replace(/^http/, "ws") + location.pathname;
  document.querySelector(".textual-terminal").dataset.sessionWebsocketUrl = base + "ws/" + tab;
  const begin = onload;
  onload = event => document.fonts.load('16px "Roboto Mono"').catch(() => 0).then(() => begin(event));
});
"""


def terminal(name: str, font_size: int) -> tuple[str, str]:
    """The page with the terminal, for a capture of this name, and the nonce of its script."""
    nonce = secrets.token_urlsafe(16)
    head = f'<link rel="stylesheet" href="static/css/xterm.css"><script nonce="{nonce}">{_SCRIPT}</script>'
    head += '<script src="static/js/textual.js"></script>'
    body = f'<div id="terminal" class="textual-terminal" data-font-size="{font_size}"></div>'
    body += '<div id="state" role="status"><span></span> <a href=""></a></div>'
    body += "<noscript>The terminal needs scripts, which all come from here.</noscript>"
    return _page(name, head, body), nonce


def refusal(name: str, heading: str, why: str) -> str:
    """A page that says what cannot be had, and why. Nothing in a name or a reason is markup."""
    body = f"<main><h1>{_text(heading)}</h1><pre>{_text(why)}</pre>"
    return _page(name, "", body + '<p><a href="">Try again</a></p></main>')


def policy(host: str = "", nonce: str = "") -> dict[str, str]:
    """The headers of every answer: from here alone, for nobody else's page, and not kept.

    The page with the terminal connects to ``host``, which must be a name and a port, and has a script with ``nonce``.
    """
    script = f"'self' 'nonce-{nonce}'" if nonce else "'self'"
    sockets = f"'self' ws://{host} wss://{host}" if host else "'self'"
    rules = (
        f"default-src 'none'; script-src {script}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        f"font-src 'self'; connect-src {sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": rules,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def _page(name: str, head: str, body: str) -> str:
    title = f"<title>{_text(name)} - xbrle</title>"
    icon = '<link rel="icon" type="image/svg+xml" href="icon.svg">'
    start = f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">{title}{icon}<style>{_STYLE}</style>'
    return f"{start}{head}</head><body>{body}</body></html>"


def _text(text: str) -> str:
    return html.escape(inert(text))
