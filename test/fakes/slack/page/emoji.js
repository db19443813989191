"use strict";
// The emoji that an incident needs, drawn here, because a server's browser often has no
// font for them. Names that are not drawn fall back to the character.

const INK = { red: "#d8334a", yellow: "#f0b429", orange: "#e8762d", green: "#2fa56b", blue: "#3a7fd5", grey: "#8b919c", dark: "#474c57", white: "#ffffff", paper: "#e9ecf1", brown: "#8a5a3c" };
const disc = (fill, more = []) => [["circle", { cx: 10, cy: 10, r: 8, fill }], ...more];
const tile = (fill, more = []) => [["rect", { x: 2, y: 2, width: 16, height: 16, rx: 3, fill }], ...more];
const stroke = (d, color, width = 2.4) => ["path", { d, fill: "none", stroke: color, "stroke-width": width, "stroke-linecap": "round", "stroke-linejoin": "round" }];
const fill = (d, color) => ["path", { d, fill: color }];
const axes = stroke("M3 3v14h14", INK.grey, 1.8);
const glass = [fill("M5 3h10v2c0 3-3.5 4-3.5 5s3.5 2 3.5 5v2H5v-2c0-3 3.5-4 3.5-5S5 8 5 5z", INK.paper), fill("M7 6h6c-.6 1.600-2 2.300-3 3.300C9 8.300 7.600 7.600 7 6zM6.200 16c.4-2 2.400-2.600 3.800-3.800 1.400 1.200 3.400 1.800 3.800 3.800z", INK.yellow), stroke("M4.500 2.800h11M4.500 17.200h11", INK.brown, 1.8)];
const body = ["rect", { x: 4, y: 9, width: 12, height: 9, rx: 2, fill: INK.yellow }];
const arrow = (d) => stroke(d, INK.white, 2.2);

const DRAWN = {
  red_circle: disc(INK.red), large_yellow_circle: disc(INK.yellow), large_orange_circle: disc(INK.orange), large_green_circle: disc(INK.green),
  large_blue_circle: disc(INK.blue), black_circle: disc(INK.dark), white_circle: disc(INK.paper),
  white_check_mark: tile(INK.green, [stroke("M5.500 10.500l3 3 6-7", INK.white)]),
  heavy_check_mark: [stroke("M3.500 10.500l4 4.500 9-10.500", INK.green, 3)],
  x: [stroke("M4 4l12 12M16 4L4 16", INK.red, 3.2)],
  warning: [fill("M10 1.800L19 17.500a1 1 0 0 1-.9 1.200H1.900a1 1 0 0 1-.9-1.200z", INK.yellow), stroke("M10 7.500v5", INK.dark, 2), ["circle", { cx: 10, cy: 15.6, r: 1.2, fill: INK.dark }]],
  rotating_light: [fill("M4.500 15V10a5.500 5.500 0 0 1 11 0v5z", INK.red), ["rect", { x: 3, y: 15, width: 14, height: 3, rx: 1, fill: INK.dark }], stroke("M10 1v1.500M3 3.500l1 1M17 3.500l-1 1", INK.red, 1.6), stroke("M7.500 12v-2a2.500 2.500 0 0 1 2.500-2.500", INK.white, 1.5)],
  fire: [fill("M10 1c1 3 5.500 5 5.500 10.500A5.500 5.500 0 0 1 10 18.500a5.500 5.500 0 0 1-5.500-6.500C4.700 9.500 6 8.500 6.500 6.500c1 .8 1.500 1.700 1.600 2.600C9.500 7 10.500 4 10 1z", INK.orange), fill("M10 9.500c.5 2 2.800 2.800 2.800 5.300a2.800 2.800 0 0 1-5.600 0C7.200 13 9.300 12 10 9.500z", INK.yellow)],
  hourglass: glass, hourglass_flowing_sand: glass,
  lock: [stroke("M6.500 9V6.500a3.500 3.500 0 0 1 7 0V9", INK.grey, 2), body],
  unlock: [stroke("M6.500 9V5.500a3.500 3.500 0 0 1 6.800-1", INK.grey, 2), body],
  eyes: [["ellipse", { cx: 6, cy: 10, rx: 4, ry: 6, fill: INK.paper, stroke: INK.grey, "stroke-width": 1 }], ["ellipse", { cx: 14, cy: 10, rx: 4, ry: 6, fill: INK.paper, stroke: INK.grey, "stroke-width": 1 }], ["circle", { cx: 5, cy: 11, r: 2, fill: INK.dark }], ["circle", { cx: 13, cy: 11, r: 2, fill: INK.dark }]],
  rewind: tile(INK.blue, [fill("M10 6v8l-5-4zM15.500 6v8l-5-4z", INK.white)]),
  arrow_forward: tile(INK.blue, [fill("M7 5.500v9l7-4.500z", INK.white)]),
  double_vertical_bar: tile(INK.blue, [fill("M6 5.500h3v9H6zM11 5.500h3v9h-3z", INK.white)]),
  leftwards_arrow_with_hook: tile(INK.blue, [arrow("M8 5L5 8l3 3M5.500 8H12a2.800 2.800 0 0 1 0 5.600H8")]),
  arrows_counterclockwise: tile(INK.blue, [arrow("M14.500 8A5 5 0 0 0 6 6.500L5 8M5 5v3h3M5.500 12a5 5 0 0 0 8.500 1.500l1-1.500M15 15v-3h-3")]),
  information_source: tile(INK.blue, [stroke("M10 9.500v4.500", INK.white, 2.4), ["circle", { cx: 10, cy: 6, r: 1.4, fill: INK.white }]]),
  no_entry: disc(INK.red, [["rect", { x: 5, y: 8.5, width: 10, height: 3, rx: 1, fill: INK.white }]]),
  no_entry_sign: [["circle", { cx: 10, cy: 10, r: 7, fill: "none", stroke: INK.red, "stroke-width": 2.4 }], stroke("M5 5l10 10", INK.red)],
  memo: [["rect", { x: 3, y: 2, width: 13, height: 16, rx: 1.5, fill: INK.paper, stroke: INK.grey, "stroke-width": 1 }], stroke("M6 6.500h7M6 9.500h7M6 12.500h4", INK.grey, 1.4), stroke("M17.500 8l-6 7-.6 1.800L12.600 16l6-7z", INK.orange, 1.2)],
  page_facing_up: [["rect", { x: 4, y: 2, width: 12, height: 16, rx: 1.5, fill: INK.paper, stroke: INK.grey, "stroke-width": 1 }], stroke("M7 7h6M7 10h6M7 13h6", INK.grey, 1.4)],
  bar_chart: [axes, fill("M5.500 10H8v6H5.500z", INK.green), fill("M9.500 6H12v10H9.500z", INK.blue), fill("M13.500 8H16v8h-2.500z", INK.red)],
  chart_with_upwards_trend: [axes, stroke("M5.500 14l3.500-4 2.500 2 5-7", INK.red, 2)],
  chart_with_downwards_trend: [axes, stroke("M5.500 5l3.500 4 2.500-2 5 7", INK.blue, 2)],
  stopwatch: [["circle", { cx: 10, cy: 11.5, r: 6.5, fill: INK.paper, stroke: INK.dark, "stroke-width": 1.8 }], stroke("M8 2h4M10 2v3M10 11.500V8", INK.dark, 1.8)],
  bulb: [fill("M10 1.500a5.700 5.700 0 0 1 3.500 10.200c-.7.600-.9 1.300-.9 2.300H7.400c0-1-.2-1.700-.9-2.300A5.700 5.700 0 0 1 10 1.500z", INK.yellow), ["rect", { x: 7.400, y: 14.800, width: 5.200, height: 3.400, rx: 1, fill: INK.grey }]],
  link: [stroke("M8.500 11.500a3.200 3.200 0 0 0 4.600 0l3-3a3.200 3.200 0 0 0-4.600-4.600l-1 1M11.500 8.500a3.200 3.200 0 0 0-4.600 0l-3 3a3.200 3.200 0 0 0 4.600 4.600l1-1", INK.grey, 1.9)],
  bell: [fill("M10 2a5 5 0 0 1 5 5v4l2 3.500H3L5 11V7a5 5 0 0 1 5-5z", INK.yellow), ["circle", { cx: 10, cy: 16.5, r: 2, fill: INK.brown }]],
  package: [fill("M2.500 5.500L10 2l7.500 3.500V15L10 18.500 2.500 15z", "#c98f55"), stroke("M2.500 5.500L10 9l7.500-3.500M10 9v9.500", INK.brown, 1.3)],
  key: [["circle", { cx: 6.5, cy: 10, r: 3.5, fill: "none", stroke: INK.yellow, "stroke-width": 2.4 }], stroke("M10 10h7.500v3M14 10v2.500", INK.yellow)],
  shield: [fill("M10 1.500l7 2.500v5c0 4.500-2.700 7.600-7 9.500-4.300-1.900-7-5-7-9.500V4z", INK.blue)],
  mag: [["circle", { cx: 8.5, cy: 8.5, r: 5, fill: INK.paper, stroke: INK.dark, "stroke-width": 2 }], stroke("M12.500 12.500l5 5", INK.brown, 2.8)],
  pushpin: [stroke("M10 12l-6 6", INK.grey, 1.6), ["circle", { cx: 12.5, cy: 7.5, r: 5, fill: INK.red }]],
  question: [stroke("M6.500 6.500A3.500 3.500 0 0 1 13.500 7c0 2.500-3.500 2.600-3.500 5.500", INK.red, 2.6), ["circle", { cx: 10, cy: 16.5, r: 1.7, fill: INK.red }]],
  exclamation: [stroke("M10 3v9", INK.red, 3.2), ["circle", { cx: 10, cy: 16.5, r: 1.9, fill: INK.red }]],
  speech_balloon: [fill("M3 3h14a1.500 1.500 0 0 1 1.500 1.500v8A1.500 1.500 0 0 1 17 14h-7l-4 4v-4H3a1.500 1.500 0 0 1-1.500-1.500v-8A1.500 1.500 0 0 1 3 3z", INK.grey)],
  bust_in_silhouette: [["circle", { cx: 10, cy: 6, r: 4, fill: INK.grey }], fill("M2.500 18a7.500 6.500 0 0 1 15 0z", INK.grey)],
  tada: [fill("M2 18l4.500-11 6.500 6.500z", INK.yellow), stroke("M11 6c0-2 1.500-2 1.500-4M14 9c2 0 2-1.500 4-1.500M13 7l3-3.500", INK.red, 1.6)],
  rocket: [fill("M18 2c-5 0-9 3-11 8l3 3c5-2 8-6 8-11z", INK.paper), ["circle", { cx: 13, cy: 7, r: 1.7, fill: INK.blue }], fill("M7 10l-4 .5L6 7zM10 13l-.5 4L13 14z", INK.red), fill("M5.500 12.500c-2 .5-2.500 2.500-3 5 2.500-.5 4.500-1 5-3z", INK.orange)],
};

const CHARACTERS = {
  white_check_mark: "\u2705", heavy_check_mark: "\u2714", x: "\u274C", warning: "\u26A0", rotating_light: "\u{1F6A8}", fire: "\u{1F525}",
  eyes: "\u{1F440}", rewind: "\u23EA", arrows_counterclockwise: "\u{1F504}", hourglass: "\u231B", hourglass_flowing_sand: "\u23F3", stopwatch: "\u23F1",
  lock: "\u{1F512}", unlock: "\u{1F513}", red_circle: "\u{1F534}", large_yellow_circle: "\u{1F7E1}", large_green_circle: "\u{1F7E2}",
  large_orange_circle: "\u{1F7E0}", large_blue_circle: "\u{1F535}", white_circle: "\u26AA", black_circle: "\u26AB", memo: "\u{1F4DD}",
  bar_chart: "\u{1F4CA}", chart_with_upwards_trend: "\u{1F4C8}", chart_with_downwards_trend: "\u{1F4C9}", pushpin: "\u{1F4CC}", link: "\u{1F517}",
  bulb: "\u{1F4A1}", no_entry: "\u26D4", no_entry_sign: "\u{1F6AB}", raised_hand: "\u270B", thumbsup: "\u{1F44D}", "+1": "\u{1F44D}",
  thumbsdown: "\u{1F44E}", "-1": "\u{1F44E}", tada: "\u{1F389}", wave: "\u{1F44B}", question: "\u2753", exclamation: "\u2757",
  information_source: "\u2139", bust_in_silhouette: "\u{1F464}", mag: "\u{1F50D}", package: "\u{1F4E6}", rocket: "\u{1F680}", bell: "\u{1F514}",
  double_vertical_bar: "\u23F8", arrow_forward: "\u25B6", leftwards_arrow_with_hook: "\u21A9", key: "\u{1F511}", shield: "\u{1F6E1}",
  page_facing_up: "\u{1F4C4}", speech_balloon: "\u{1F4AC}",
};
const NAMES = Object.fromEntries(Object.entries(CHARACTERS).map(([name, c]) => [c, name]));
const EMOJI_TOKEN = new RegExp(":([a-z0-9_+-]+):|(" + Object.values(CHARACTERS).join("|").replace(/\+/g, "\\+") + ")\uFE0F?", "gu");

function drawEmoji(name) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "emoji");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", name.replaceAll("_", " "));
  for (const [tag, attributes] of DRAWN[name]) {
    const shape = document.createElementNS(ns, tag);
    for (const [k, v] of Object.entries(attributes)) shape.setAttribute(k, v);
    svg.append(shape);
  }
  return svg;
}

// emojiNode is one emoji by name.
const emojiNode = (name) => (DRAWN[name] ? drawEmoji(name) : document.createTextNode(CHARACTERS[name] || ":" + name + ":"));

// withEmoji turns text into nodes, with emoji where the text names or contains them.
function withEmoji(text) {
  const out = document.createDocumentFragment();
  let at = 0;
  for (const m of text.matchAll(EMOJI_TOKEN)) {
    const name = m[1] || NAMES[m[2]];
    if (!DRAWN[name] && !CHARACTERS[name]) continue;
    out.append(text.slice(at, m.index), emojiNode(name));
    at = m.index + m[0].length;
  }
  out.append(text.slice(at));
  return out;
}

// emojiText is the same where only characters can stand, as in a menu.
const emojiText = (text) => text.replace(/:([a-z0-9_+-]+):/g, (all, name) => CHARACTERS[name] || all);
