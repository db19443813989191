"use strict";
// Block Kit becomes nodes. "act" is called with what somebody did to an element.

function renderBlocks(blocks, act) {
  return el("div", { class: "blocks" }, (blocks || []).map((b) => renderBlock(b, act)));
}

function renderBlock(b, act) {
  const element = (e) => renderElement(e, b, act);
  switch (b.type) {
    case "header": return el("h3", { class: "b-header" }, plainOf(b.text));
    case "divider": return el("hr");
    case "section": return el("div", { class: "b-section" },
      el("div", { class: "b-body" },
        b.text && textObject(b.text),
        b.fields && el("div", { class: "b-fields" }, b.fields.map((f) => el("div", { class: "b-field" }, textObject(f))))),
      b.accessory && el("div", { class: "b-accessory" }, element(b.accessory)));
    case "context": return el("div", { class: "b-context" }, b.elements.map((e) => (e.type === "image" ? picture(e, "icon") : textObject(e))));
    case "actions": return el("div", { class: "b-actions" }, b.elements.map(element));
    case "image": return el("figure", { class: "b-image" }, b.title && el("figcaption", {}, plainOf(b.title)), picture(b));
    case "input": return renderInput(b, act);
    case "rich_text": return el("div", { class: "text" }, b.elements.map(richPart));
    case "markdown": return mrkdwn(b.text.replace(/\*\*(.+?)\*\*/g, "*$1*").replace(/^#+ (.*)$/gm, "*$1*").replace(/\[([^\]]+)\]\((https?:[^)\s]+)\)/g, "<$2|$1>"));
    default: return el("p", { class: "unknown" }, "[" + b.type + "]");
  }
}

function picture(e, cls) {
  const url = e.image_url || "";
  const image = el("img", { src: url, alt: e.alt_text, class: cls, title: e.alt_text, loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(el("span", { class: "no-image" }, e.alt_text)));
  return image;
}

function richPart(part) {
  const runs = (list) => list.map(richRun);
  switch (part.type) {
    case "rich_text_section": return el("div", { class: "line" }, runs(part.elements));
    case "rich_text_quote": return el("blockquote", {}, runs(part.elements));
    case "rich_text_preformatted": return el("pre", {}, runs(part.elements));
    case "rich_text_list": {
      const list = el(part.style === "ordered" ? "ol" : "ul", {}, part.elements.map((i) => el("li", {}, runs(i.elements))));
      list.style.marginLeft = (part.indent || 0) * 1.4 + "em";
      return list;
    }
    default: return el("span");
  }
}

function richRun(r) {
  let node;
  switch (r.type) {
    case "text": node = document.createTextNode(r.text); break;
    case "link": node = /^(https?:|mailto:)/i.test(r.url) ? el("a", { href: r.url, target: "_blank", rel: "noopener noreferrer" }, r.text || r.url) : document.createTextNode(r.text || r.url); break;
    case "emoji": node = emojiNode(r.name); break;
    case "user": node = special("@" + r.user_id); break;
    case "channel": node = special("#" + r.channel_id); break;
    case "usergroup": node = special("!subteam^" + r.usergroup_id); break;
    case "broadcast": node = special("!" + r.range); break;
    case "date": node = document.createTextNode(formatDate(r.timestamp, r.format)); break;
    default: node = document.createTextNode("");
  }
  const style = r.style || {};
  for (const [name, tag] of [["code", "code"], ["bold", "strong"], ["italic", "em"], ["strike", "s"], ["underline", "u"]]) {
    if (style[name]) node = el(tag, {}, node);
  }
  return node;
}

// ask shows a confirmation dialog if the element has one, then goes on.
function ask(e, go) {
  if (!e.confirm) { go(); return; }
  const c = e.confirm;
  const close = () => layer.remove();
  const yes = el("button", { class: c.style === "danger" ? "danger" : "primary", onclick: () => { close(); go(); } }, plainOf(c.confirm));
  const layer = el("div", { class: "layer", role: "dialog", "aria-modal": "true", "aria-label": plainString(c.title) },
    el("div", { class: "dialog small" },
      el("header", {}, el("h2", {}, plainOf(c.title)), el("button", { class: "plain", "aria-label": "Close", onclick: close }, "\u2715")),
      el("div", { class: "dialog-body" }, textObject(c.text)),
      el("footer", {}, el("button", { onclick: close }, plainOf(c.deny)), yes)));
  layer.addEventListener("keydown", (ev) => { if (ev.key === "Escape") close(); });
  document.body.append(layer);
  yes.focus();
}

function renderElement(e, block, act) {
  const send = (value, node) => ask(e, () => act({ action_id: e.action_id, block_id: block.block_id, value: value || "" }, node));
  switch (e.type) {
    case "image": return picture(e, "thumb");
    case "button": {
      const b = el("button", { class: e.style || "", type: "button", "aria-label": e.accessibility_label }, plainOf(e.text), e.url && el("span", { class: "out" }, " \u2197"));
      b.addEventListener("click", () => {
        if (e.url && /^https?:/i.test(e.url)) window.open(e.url, "_blank", "noopener");
        send("", b);
      });
      return b;
    }
    case "overflow": {
      const menu = el("details", { class: "overflow" }, el("summary", { "aria-label": "More actions" }, "\u22EF"));
      menu.append(el("div", { class: "menu", role: "menu" }, e.options.map((o) => el("button", {
        class: "plain", role: "menuitem", type: "button",
        onclick: () => { menu.open = false; if (o.url && /^https?:/i.test(o.url)) window.open(o.url, "_blank", "noopener"); send(o.value, menu); },
      }, plainOf(o.text), o.description && el("small", {}, plainOf(o.description))))));
      return menu;
    }
    default: {
      const field = inputField(e, block);
      field.addEventListener("change", () => { const value = field.read(); if (value) send(value, field); });
      return field;
    }
  }
}

function renderInput(b, act) {
  const field = inputField(b.element, b);
  field.dataset.key = b.block_id + "/" + b.element.action_id;
  if (b.dispatch_action) field.addEventListener("change", () => act({ action_id: b.element.action_id, block_id: b.block_id, value: field.read() }, field));
  return el("div", { class: "b-input", "data-block": b.block_id },
    el("label", {}, el("span", { class: "label" }, plainOf(b.label), b.optional && el("small", {}, " (optional)")), field),
    b.hint && el("p", { class: "hint" }, plainOf(b.hint)),
    el("p", { class: "problem", hidden: true }));
}

// inputField is an input of any type, with read() for its value as text.
function inputField(e) {
  const initial = (o) => (o ? o.value : "");
  const placeholder = plainString(e.placeholder);
  const choice = (pairs, chosen, several) => {
    const s = el("select", { multiple: several, size: several ? Math.min(5, pairs.length) : undefined, "aria-label": placeholder || undefined });
    if (!several) s.append(el("option", { value: "", selected: !chosen.length }, placeholder || "Select an option"));
    for (const group of pairs) {
      const options = group.options.map((o) => el("option", { value: o.value, selected: chosen.includes(o.value) }, o.label));
      if (group.label) s.append(el("optgroup", { label: group.label }, options)); else s.append(...options);
    }
    s.read = () => [...s.selectedOptions].map((o) => o.value).filter(Boolean).join(",");
    return s;
  };
  const labelled = (options) => options.map((o) => ({ value: o.value, label: plainString(o.text) }));
  const groups = e.option_groups ? e.option_groups.map((g) => ({ label: plainString(g.label), options: labelled(g.options) })) : [{ options: labelled(e.options || []) }];
  const people = [{ options: view.state.people.filter((p) => !p.deleted).map((p) => ({ value: p.id, label: p.real_name })) }];
  const rooms = [{ options: view.state.channels.map((c) => ({ value: c.id, label: "#" + c.name })) }];
  const box = (type, value, more) => {
    const i = el("input", { type, value, placeholder, ...more });
    i.read = () => i.value;
    return i;
  };
  switch (e.type) {
    case "plain_text_input": {
      const i = e.multiline ? el("textarea", { rows: 4, placeholder, maxlength: e.max_length }) : el("input", { type: "text", placeholder, maxlength: e.max_length });
      i.value = e.initial_value || "";
      i.read = () => i.value;
      return i;
    }
    case "email_text_input": return box("email", e.initial_value);
    case "url_text_input": return box("url", e.initial_value);
    case "number_input": return box("number", e.initial_value, { min: e.min_value, max: e.max_value, step: e.is_decimal_allowed ? "any" : "1" });
    case "datepicker": return box("date", e.initial_date);
    case "timepicker": return box("time", e.initial_time);
    case "datetimepicker": {
      const i = box("datetime-local", e.initial_date_time ? new Date(e.initial_date_time * 1000).toISOString().slice(0, 16) : "");
      i.read = () => (i.value ? String(Math.floor(new Date(i.value + "Z").getTime() / 1000)) : "");
      return i;
    }
    case "static_select": return choice(groups, [initial(e.initial_option)].filter(Boolean));
    case "multi_static_select": return choice(groups, (e.initial_options || []).map(initial), true);
    case "users_select": return choice(people, [e.initial_user].filter(Boolean));
    case "multi_users_select": return choice(people, e.initial_users || [], true);
    case "channels_select": return choice(rooms, [e.initial_channel].filter(Boolean));
    case "conversations_select": return choice(rooms, [e.initial_conversation].filter(Boolean));
    case "multi_channels_select": return choice(rooms, e.initial_channels || [], true);
    case "multi_conversations_select": return choice(rooms, e.initial_conversations || [], true);
    case "radio_buttons": case "checkboxes": {
      const kind = e.type === "checkboxes" ? "checkbox" : "radio";
      const chosen = e.initial_option ? [e.initial_option.value] : (e.initial_options || []).map(initial);
      const name = "g" + Math.random().toString(36).slice(2);
      const set = el("div", { class: "choices", role: kind === "radio" ? "radiogroup" : "group" }, e.options.map((o) =>
        el("label", { class: "choice" }, el("input", { type: kind, name, value: o.value, checked: chosen.includes(o.value) }),
          el("span", {}, textObject(o.text), o.description && el("small", {}, textObject(o.description))))));
      set.read = () => [...set.querySelectorAll("input:checked")].map((i) => i.value).join(",");
      return set;
    }
    default: {
      const none = el("span", { class: "unknown" }, "[" + e.type + "]");
      none.read = () => "";
      return none;
    }
  }
}
