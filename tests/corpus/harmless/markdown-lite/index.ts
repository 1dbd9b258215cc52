const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escaped = (text: string) => text.replace(/[&<>"']/g, (c) => ESCAPES[c]);

export function render(input: { text: string }): { html: string } {
  const blocks = escaped(input.text).split(/\n{2,}/);
  const html = blocks.map((block) => {
    const head = /^(#{1,6})\s+(.*)$/.exec(block);
    const inline = (text: string) => text.replace(/\*\*(.+?)\*\*/g, "<b>$1</b>").replace(/`(.+?)`/g, "<code>$1</code>");
    return head ? `<h${head[1].length}>${inline(head[2])}</h${head[1].length}>` : `<p>${inline(block)}</p>`;
  });
  return { html: html.join("\n") };
}
