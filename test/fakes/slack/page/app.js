"use strict";
// What is on screen. The server holds the workspace; this holds who looks and where.
const view = { user: "", channel: "", thread: "", home: false, state: { people: [], channels: [], messages: [] }, read: {}, modal: "" };
const $ = (id) => document.getElementById(id);
const personByID = (id) => view.state.people.find((p) => p.id === id);

async function post(deed, body) {
  let answer;
  try {
    const response = await fetch("ui/" + deed, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ user: view.user, ...body }) });
    answer = await response.json();
  } catch {
    answer = { error: "The workspace does not answer." };
  }
  if (answer.error) toast(answer.error);
  else if (answer.reason) toast("The app did not answer: " + answer.reason.replaceAll("_", " ") + ".");
  return answer;
}

function toast(text) {
  const t = el("div", { class: "toast" }, text);
  $("toasts").append(t);
  setTimeout(() => t.remove(), 6000);
}

// keyed brings a list in line with items and touches only what changed, so that open
// menus, text under selection and the focus survive.
function keyed(parent, items, key, draw) {
  const old = new Map([...parent.children].map((n) => [n.dataset.key, n]));
  let previous = null;
  for (const item of items) {
    const k = key(item), content = JSON.stringify(item);
    let node = old.get(k);
    if (!node || node.content !== content) {
      const fresh = draw(item);
      fresh.dataset.key = k;
      fresh.content = content;
      if (node) node.replaceWith(fresh);
      node = fresh;
    }
    old.delete(k);
    const place = previous ? previous.nextSibling : parent.firstChild;
    if (place !== node) parent.insertBefore(node, place);
    previous = node;
  }
  for (const node of old.values()) node.remove();
}

const initials = (name) => name.split(/[\s._-]+/).filter(Boolean).slice(0, 2).map((w) => w[0].toUpperCase()).join("");

function avatar(id, name, app) {
  if (app) return el("div", { class: "avatar app" }, el("img", { src: "icon.svg", alt: "" }));
  let hue = 0;
  for (const c of id) hue = (hue * 31 + c.charCodeAt(0)) % 360;
  const a = el("div", { class: "avatar", "aria-hidden": "true" }, initials(name));
  a.style.setProperty("--hue", hue);
  return a;
}

function clock(ts) {
  const at = new Date(parseFloat(ts) * 1000);
  return el("time", { datetime: at.toISOString(), title: at.toLocaleString() }, at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
}

function drawMessage(m, inThread) {
  const slackbot = m.user === "USLACKBOT";
  const person = personByID(m.user);
  const app = !slackbot && (m.bot_id || (person && person.app));
  const name = m.username || (slackbot ? "Slackbot" : person ? person.real_name : m.user);
  const act = (what, node) => busy(node, post("click", { channel: view.channel, ts: m.ts, seen: m.blocks, ...what }));
  const body = el("div", { class: "body" },
    el("div", { class: "who" }, el("b", {}, name), app && el("span", { class: "badge" }, "APP"), clock(m.ts), m.edited && el("span", { class: "edited" }, "(edited)"), m.pinned_to && el("span", { class: "edited" }, "pinned")),
    m.blocks && m.blocks.length ? renderBlocks(m.blocks, act) : m.text && mrkdwn(m.text),
    (m.attachments || []).map((a) => drawAttachment(a, act)),
    (m.files || []).map(drawFile),
    m.reactions && el("div", { class: "reactions" }, m.reactions.map((r) => el("span", { class: "reaction", title: r.users.map((u) => (personByID(u) || {}).real_name || u).join(", ") }, emojiNode(r.name), " ", String(r.count)))));
  if (!inThread && m.replies) body.append(el("button", { class: "replies", onclick: () => openThread(m.ts) }, m.replies === 1 ? "1 reply" : m.replies + " replies"));
  const row = el("article", { class: "message" + (m.is_ephemeral ? " private" : ""), id: (inThread ? "t" : "m") + m.ts }, avatar(m.user, name, app), body);
  if (m.is_ephemeral) row.prepend(el("p", { class: "only" }, "Only visible to you"));
  if (!inThread && !m.is_ephemeral) row.append(el("button", { class: "reply-here plain", title: "Reply in thread", onclick: () => openThread(m.ts) }, "Reply"));
  return row;
}

function drawAttachment(a, act) {
  const node = el("div", { class: "attachment" }, a.pretext && mrkdwn(a.pretext), a.title && el("b", {}, a.title_link ? safeLink(a.title_link, a.title) : a.title),
    a.blocks ? renderBlocks(a.blocks, act) : a.text && mrkdwn(a.text));
  if (/^#?[0-9a-f]{6}$/i.test(a.color || "")) node.style.borderColor = "#" + a.color.replace("#", "");
  return node;
}

function drawFile(f) {
  const local = new URL(f.url_private, location.href).pathname;
  if (f.mimetype.startsWith("image/")) return el("figure", { class: "b-image" }, el("figcaption", {}, f.title), el("img", { src: local, alt: f.title }));
  return el("a", { class: "file", href: local, target: "_blank", rel: "noopener" }, f.title, el("small", {}, " " + f.size + " bytes"));
}

// busy marks an element until the app has answered.
async function busy(node, done) {
  if (node) node.classList.add("busy");
  await done;
  if (node) node.classList.remove("busy");
}

function openThread(ts) { view.thread = ts; draw(); $("reply").querySelector("textarea").focus(); }

function drawSidebar() {
  const s = view.state;
  document.title = s.team;
  $("team").textContent = s.team;
  keyed($("who"), s.people.filter((p) => !p.app), (p) => p.id, (p) => el("option", { value: p.id },
    p.real_name + (p.title ? " \u00B7 " + p.title : "") + (p.deleted ? " (deactivated)" : p.foreign ? " (other workspace)" : "")));
  $("who").value = view.user;
  const item = (active, unread, label, go, lock) => el("li", {}, el("button", { class: (active ? "active" : "") + (unread ? " unread" : ""), "aria-current": active ? "page" : undefined, onclick: go }, el("span", { class: "hash" }, lock), label));
  $("channels").replaceChildren(...s.channels.map((c) => item(!view.home && c.id === view.channel, c.newest > (view.read[c.id] || "") && c.id !== view.channel, c.name, () => go(c.id), c.private ? emojiNode("lock") : "#")));
  $("apps").replaceChildren(item(view.home, false, s.app.name, openHome, "\u25C6"));
  $("panels-title").hidden = !s.panels.length;
  $("panels").replaceChildren(...s.panels.map((p) => el("li", {}, safePanel(p))));
  $("guide").hidden = !s.guide.length || view.home;
  keyed($("steps"), s.guide.map((text, i) => ({ text, i })), (g) => String(g.i), (g) => el("li", {}, inline(g.text.replace(/^\d+\.\s+/, ""))));
}

function safePanel(p) {
  if (!/^https?:/i.test(p.url)) return el("span", {}, p.title);
  return el("a", { href: p.url, target: "_blank", rel: "noopener" }, el("span", { class: "hash" }, "\u2197"), p.title);
}

function draw() {
  const s = view.state;
  const channel = s.channels.find((c) => c.id === view.channel);
  drawSidebar();
  document.body.classList.toggle("home", view.home);
  $("name").textContent = view.home ? s.app.name : (channel ? (channel.private ? "" : "# ") + channel.name : "");
  $("topic").textContent = view.home ? "Home" : channel ? channel.topic : "";
  $("members").textContent = !view.home && channel ? channel.members + (channel.members === 1 ? " member" : " members") : "";
  $("bookmarks").replaceChildren(...(!view.home && channel ? channel.bookmarks || [] : []).map((b) => safeLink(b.Link, b.Title)));
  const scroll = $("scroll");
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  if (view.home) {
    const act = (what, node) => busy(node, post("click", { view: s.home.id, ...what }));
    keyed($("messages"), [s.home || { id: "none" }], (h) => h.id, (h) => el("div", { class: "home-view" }, h.blocks ? renderBlocks(h.blocks, act) : el("p", { class: "empty" }, "The app has not published a Home tab yet.")));
  } else {
    const top = s.messages.filter((m) => !m.thread_ts).map((m) => ({ ...m, replies: s.messages.filter((r) => r.thread_ts === m.ts && !r.is_ephemeral).length }));
    keyed($("messages"), top.length ? top : [{ ts: "empty" }], (m) => m.ts, (m) => (m.ts === "empty" ? el("p", { class: "empty" }, "Nothing was said here yet.") : drawMessage(m, false)));
    if (channel) view.read[channel.id] = channel.newest;
  }
  if (atEnd || view.jump) scroll.scrollTop = scroll.scrollHeight;
  view.jump = false;
  const parent = view.thread && s.messages.find((m) => m.ts === view.thread);
  $("thread").hidden = view.home || !parent;
  document.body.classList.toggle("threaded", !$("thread").hidden);
  if (parent) {
    const list = [parent, ...s.messages.filter((m) => m.thread_ts === view.thread)];
    keyed($("replies"), list, (m) => m.ts, (m) => drawMessage(m, true));
    $("replies").scrollTop = $("replies").scrollHeight;
  }
  const hint = s.app.commands.length ? " \u2014 try " + s.app.commands[0] + " or @" + s.app.name : "";
  $("composer").querySelector("textarea").placeholder = channel ? "Message #" + channel.name + hint : "";
  $("reply").querySelector("textarea").placeholder = "Reply, or mention @" + s.app.name;
  $("composer").hidden = view.home || (channel && channel.archived);
  drawModal();
}

function drawModal() {
  const modal = view.state.modal;
  const stamp = modal ? modal.id + modal.hash : "";
  if (stamp === view.modal) return;
  const kept = {};
  if (modal && view.modal.startsWith(modal.id)) for (const f of $("overlay").querySelectorAll("[data-key]")) kept[f.dataset.key] = f.value;
  view.modal = stamp;
  $("overlay").replaceChildren();
  $("overlay").hidden = !modal;
  if (!modal) return;
  const act = (what, node) => busy(node, post("click", { view: modal.id, ...what }));
  const close = () => post("close", { view: modal.id });
  const form = el("form", { class: "dialog", role: "dialog", "aria-modal": "true", "aria-label": plainString(modal.title), novalidate: true },
    el("header", {}, el("img", { src: "icon.svg", alt: "" }), el("h2", {}, plainOf(modal.title)), el("button", { class: "plain", type: "button", "aria-label": "Close", onclick: close }, "\u2715")),
    el("div", { class: "dialog-body" }, renderBlocks(modal.blocks, act)),
    el("footer", {}, el("button", { type: "button", onclick: close }, modal.close ? plainOf(modal.close) : "Cancel"), modal.submit && el("button", { class: "primary", type: "submit" }, plainOf(modal.submit))));
  for (const f of form.querySelectorAll("[data-key]")) if (kept[f.dataset.key] && "value" in f) f.value = kept[f.dataset.key];
  form.addEventListener("keydown", (ev) => { if (ev.key === "Escape") close(); });
  form.addEventListener("submit", async (ev) => {
    ev.preventDefault();
    const values = {};
    for (const f of form.querySelectorAll("[data-key]")) values[f.dataset.key] = f.read();
    form.classList.add("busy");
    const answer = await post("submit", { view: modal.id, values });
    form.classList.remove("busy");
    for (const row of form.querySelectorAll("[data-block]")) {
      const problem = (answer.errors || {})[row.dataset.block];
      const line = row.querySelector(".problem");
      line.hidden = !problem;
      line.textContent = problem || "";
    }
  });
  $("overlay").append(form);
  const first = form.querySelector("input, textarea, select");
  if (first) first.focus();
}

function go(channel) {
  view.home = false;
  if (channel !== view.channel) view.thread = "";
  view.channel = channel;
  view.jump = true;
  document.body.classList.remove("drawer");
  refresh();
}

function openHome() {
  view.home = true;
  document.body.classList.remove("drawer");
  post("home", {});
  draw();
}

async function refresh() {
  const query = new URLSearchParams({ user: view.user, channel: view.channel });
  try {
    const response = await fetch("ui/state?" + query);
    view.state = await response.json();
  } catch { return; }
  view.user = view.state.user;
  view.channel = view.state.channel;
  draw();
}

let waiting = null;
function soon() {
  if (waiting) return;
  waiting = setTimeout(() => { waiting = null; refresh(); }, 40);
}

function composer(form, thread) {
  const box = form.querySelector("textarea");
  const send = () => {
    const text = box.value.trim();
    if (!text) return;
    box.value = "";
    box.style.height = "";
    view.jump = true;
    post("type", { channel: view.channel, thread: thread(), text });
  };
  form.addEventListener("submit", (ev) => { ev.preventDefault(); send(); });
  box.addEventListener("keydown", (ev) => { if (ev.key === "Enter" && !ev.shiftKey && !ev.isComposing) { ev.preventDefault(); send(); } });
  box.addEventListener("input", () => { box.style.height = ""; box.style.height = Math.min(box.scrollHeight, 160) + "px"; });
}

function byAddress() {
  const [channel, ts] = location.hash.slice(1).split("/");
  if (channel) go(channel);
  if (ts) setTimeout(() => { const m = $("m" + ts); if (m) { m.scrollIntoView({ block: "center" }); m.classList.add("found"); } }, 400);
}

composer($("composer"), () => "");
composer($("reply"), () => view.thread);
$("who").addEventListener("change", (ev) => { view.user = ev.target.value; view.modal = "-"; try { localStorage.setItem("who", view.user); } catch {} refresh(); });
$("thread-close").addEventListener("click", () => { view.thread = ""; draw(); });
$("burger").addEventListener("click", () => document.body.classList.toggle("drawer"));
window.addEventListener("hashchange", byAddress);
const asked = new URLSearchParams(location.search);
try { view.user = asked.get("user") || localStorage.getItem("who") || ""; } catch { view.user = asked.get("user") || ""; }
view.channel = asked.get("channel") || location.hash.slice(1).split("/")[0] || "";
view.thread = asked.get("thread") || "";
view.jump = true;
byAddress();
refresh();
// "?live=off" shows the workspace once and stays still, for pictures of the page.
if (asked.get("live") !== "off") {
  const changes = new EventSource("ui/events");
  changes.onmessage = soon;
  changes.onerror = () => document.body.classList.add("offline");
  changes.onopen = () => document.body.classList.remove("offline");
}
