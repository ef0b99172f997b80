// Links of answers. They open in a new tab, and only http, https and mailto are links.

import { make } from "../dom.js";

const SCHEMES = ["http:", "https:", "mailto:"];
const ADDRESS = /https?:\/\/[^\s<>()"'`]{1,2000}/g;
const HOST_IN_TEXT = /(?:^|[^\p{L}\p{N}-])((?:[\p{L}\p{N}-]+\.)+\p{L}{2,})/u;
const DIRECTION_CONTROLS = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** The URL of an address; null for relative ones and other schemes, such as javascript: and data:. */
export function safeUrl(address) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  return SCHEMES.includes(url.protocol) ? url : null;
}

/** A link without text. */
export const anchor = (url) => make("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" });

/** What follows a link: its host, if its text names another host or changes the direction of characters. */
export function hostNote(url, text) {
  const visible = text.replace(DIRECTION_CONTROLS, "");
  const isMail = url.protocol === "mailto:";
  const searched = isMail ? visible.replace(/[^\s@]+@/g, "@") : visible; // the name before the @ may have dots
  const named = HOST_IN_TEXT.exec(searched.slice(0, 500))?.[1].toLowerCase().replace(/^www\./, "");
  const host = isMail ? url.pathname : url.host;
  const linked = (isMail ? host.split("@").at(-1) : url.hostname).toLowerCase();
  const isHonest = visible === text && (!named || linked === named || linked.endsWith(`.${named}`));
  return isHonest ? null : make("span", { class: "link-host", dir: "ltr" }, ` (${host})`);
}

/** Text as nodes, with its web addresses as links. */
export function linkedText(text) {
  if (!text.includes("http")) return [text];
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(ADDRESS)) {
    let address = match[0];
    while (address && ".,;:!?*_。，；：！？、".includes(address.at(-1))) address = address.slice(0, -1);
    const url = safeUrl(address);
    if (!url) continue;
    const link = anchor(url);
    link.append(address);
    nodes.push(text.slice(from, match.index), link, hostNote(url, address) ?? "");
    from = match.index + address.length;
  }
  return [...nodes, text.slice(from)].filter((node) => node !== "");
}
