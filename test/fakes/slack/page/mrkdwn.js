"use strict";
// Formatted text becomes nodes, never markup: nothing that came from outside is parsed as HTML.

function el(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "text") node.textContent = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

const unescapeText = (s) => s.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

function safeLink(url, label) {
  const address = unescapeText(url);
  if (!/^(https?:|mailto:)/i.test(address)) return document.createTextNode(unescapeText(label || url));
  return el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, label ? inline(label) : address.replace(/^mailto:/, ""));
}

function formatDate(stamp, format) {
  const at = new Date(Number(stamp) * 1000);
  const day = (o) => at.toLocaleDateString(undefined, o);
  const words = {
    date_num: () => at.toISOString().slice(0, 10),
    date: () => day({ month: "long", day: "numeric", year: "numeric" }),
    date_short: () => day({ month: "short", day: "numeric", year: "numeric" }),
    date_long: () => day({ weekday: "long", month: "long", day: "numeric", year: "numeric" }),
    time: () => at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }),
    time_secs: () => at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }),
    ago: () => Math.max(0, Math.round((Date.now() - at) / 60000)) + " min ago",
  };
  return format.replace(/\{(\w+?)(_pretty)?\}/g, (all, word, pretty) => {
    if (!words[word]) return all;
    if (pretty && new Date().toDateString() === at.toDateString()) return "today";
    return words[word]();
  });
}

// special renders what stands between angle brackets: mentions, dates and links.
function special(body) {
  const bar = body.indexOf("|");
  const target = bar < 0 ? body : body.slice(0, bar);
  const label = bar < 0 ? "" : body.slice(bar + 1);
  if (target.startsWith("@")) {
    const person = personByID(target.slice(1));
    return el("span", { class: "mention" + (target.slice(1) === view.user ? " me" : "") }, "@" + (person ? person.real_name : label || target.slice(1)));
  }
  if (target.startsWith("#")) {
    const channel = view.state.channels.find((c) => c.id === target.slice(1));
    return el("a", { class: "mention", href: "#" + target.slice(1) }, "#" + (channel ? channel.name : label || target.slice(1)));
  }
  if (target.startsWith("!date^")) {
    const [, stamp, format, link] = target.split("^");
    const shown = formatDate(stamp, unescapeText(format || ""));
    return link ? safeLink(link, shown) : el("time", { title: unescapeText(label) }, shown);
  }
  if (target.startsWith("!")) return el("span", { class: "mention me" }, label || "@" + target.slice(1).replace(/^subteam\^/, ""));
  return safeLink(target, label);
}

// inline renders one run of mrkdwn without block structure.
const TOKEN = /`([^`\n]+)`|<([^<>]+)>|(^|[\s(\[{"'\u2022*_~])([*_~])(?=\S)([^\n]*?\S)\4(?=$|[\s)\]}.,;:!?"'*_~\u2026-])/;

function inline(text) {
  const out = document.createDocumentFragment();
  let rest = text;
  for (;;) {
    const m = TOKEN.exec(rest);
    if (!m) break;
    out.append(withEmoji(unescapeText(rest.slice(0, m.index))));
    if (m[1] !== undefined) out.append(el("code", {}, unescapeText(m[1])));
    else if (m[2] !== undefined) out.append(special(m[2]));
    else {
      out.append(withEmoji(unescapeText(m[3])));
      out.append(el({ "*": "strong", _: "em", "~": "s" }[m[4]], {}, inline(m[5])));
    }
    rest = rest.slice(m.index + m[0].length);
  }
  out.append(withEmoji(unescapeText(rest)));
  return out;
}

// mrkdwn renders a whole text: preformatted parts, quotes, lines.
function mrkdwn(text) {
  const out = el("div", { class: "text" });
  text.split(/```/).forEach((part, i, all) => {
    if (i % 2 === 1 && i < all.length - 1) {
      out.append(el("pre", {}, unescapeText(part.replace(/^\n/, ""))));
      return;
    }
    const lines = part.split("\n");
    if (i > 0 && lines[0] === "") lines.shift();
    if (i < all.length - 1 && lines[lines.length - 1] === "") lines.pop();
    let quote = null;
    for (const line of lines) {
      const quoted = /^(&gt;|>) ?(.*)$/.exec(line);
      if (quoted) {
        if (!quote) out.append(quote = el("blockquote", {}));
        quote.append(el("div", { class: "line" }, inline(quoted[2])));
        continue;
      }
      quote = null;
      out.append(el("div", { class: "line" }, line === "" ? el("br") : inline(line)));
    }
  });
  return out;
}

function textObject(t) {
  if (t.type === "mrkdwn") return mrkdwn(t.text);
  return el("div", { class: "text" }, t.emoji === false ? t.text : withEmoji(t.text));
}

// plainOf is a plain text for a label, plainString for where only characters can stand.
const plainOf = (t) => (t ? (t.emoji === false ? t.text : withEmoji(t.text)) : "");
const plainString = (t) => (t ? emojiText(t.text) : "");
