/** Texts for chats: what strangers wrote is shown, and never takes effect. */

/** @typedef {"slack" | "markdown"} Dialect */

const ZERO_WIDTH_SPACE = "\u200b";

/** One line without control characters, cut at a word when it is too long. */
export function clip(value, length) {
  const line = String(value ?? "").replace(/[\u0000-\u001f\u007f\u2028\u2029]+/g, " ").replace(/ {2,}/g, " ").trim();
  if (line.length <= length) return line;
  // Spreading by code points keeps the cut from leaving half a character behind.
  const cut = [...line.slice(0, length)].slice(0, -1).join("");
  const space = cut.lastIndexOf(" ");
  return `${space > length * 0.6 ? cut.slice(0, space) : cut}…`;
}

/** Take the meaning out of the characters that the chat would read as markup or as a call to everyone. */
export function escape(value, dialect) {
  const text = String(value ?? "");
  if (dialect === "slack") {
    return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replace(/[*_~`]/g, (c) => ZERO_WIDTH_SPACE + c);
  }
  return text.replace(/[\\`*_{}[\]<>#|~]/g, (c) => `\\${c}`).replace(/@(?=\w)/g, `@${ZERO_WIDTH_SPACE}`);
}

export function bold(text, dialect) {
  return dialect === "slack" ? `*${text}*` : `**${text}**`;
}

/** Whether a chat may make a link of it: only http and https, and nothing in it that would end the link early. */
export function linkable(url) {
  return typeof url === "string" && /^https?:\/\/[^\s<>|()"]+$/.test(url);
}

/** A link whose text is escaped by the caller; an address that is not `linkable` leaves the text alone. */
export function link(url, text, dialect) {
  if (!linkable(url)) return text;
  return dialect === "slack" ? `<${url}|${text}>` : `[${text}](${url})`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}
