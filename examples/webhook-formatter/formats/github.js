/** GitHub's webhooks: one function per event, named as the header `X-GitHub-Event` has it. */

import { bold, clip, escape, link, plural } from "../text.js";

/** Which events look like which payload, for callers that have the body but not the header. */
const MARKS = [
  ["ping", (p) => "zen" in p && "hook_id" in p],
  ["push", (p) => "commits" in p && "ref" in p],
  ["workflow_run", (p) => "workflow_run" in p],
  ["release", (p) => "release" in p],
  ["issue_comment", (p) => "comment" in p && "issue" in p],
  ["pull_request", (p) => "pull_request" in p],
  ["issues", (p) => "issue" in p],
  ["star", (p) => "starred_at" in p],
];

export function eventOf(payload) {
  return MARKS.find(([, matches]) => matches(payload))?.[0] ?? "unknown";
}

const EVENTS = {
  ping: (p, s) => ({ title: "webhook connected", body: s.quote(p.zen) }),

  push(p, s) {
    const branch = String(p.ref ?? "").replace(/^refs\/(heads|tags)\//, "");
    const commits = Array.isArray(p.commits) ? p.commits : [];
    if (p.deleted) return { title: `deleted ${s.strong(branch)}`, severity: "warning" };
    const shown = commits.slice(0, s.items).map((commit) => {
      const id = String(commit?.id ?? "").slice(0, 7);
      return `• ${s.link(commit?.url, s.say(id))} ${s.say(String(commit?.message ?? "").split("\n")[0], 100)}`;
    });
    if (commits.length > s.items) shown.push(`… and ${plural(commits.length - s.items, "more commit")}`);
    return {
      title: `pushed ${plural(commits.length, "commit")} to ${s.strong(branch)}${p.forced ? " (forced)" : ""}`,
      body: shown.join("\n"),
      url: p.compare,
      severity: p.forced ? "warning" : "info",
    };
  },

  pull_request(p, s) {
    const pull = p.pull_request ?? {};
    const done = p.action === "closed" ? (pull.merged ? "merged" : "closed without merging") : s.say(p.action, 40);
    const size = Number.isInteger(pull.additions) ? ` (+${pull.additions} −${Number(pull.deletions ?? 0)})` : "";
    return {
      title: `${done} pull request ${s.link(pull.html_url, `${s.number(pull.number ?? p.number)} ${s.say(pull.title)}`)}${size}`,
      body: p.action === "opened" ? s.quote(pull.body) : "",
      url: pull.html_url,
      severity: pull.merged ? "success" : "info",
    };
  },

  issues(p, s) {
    const issue = p.issue ?? {};
    const labels = (Array.isArray(issue.labels) ? issue.labels : []).map((label) => s.say(label?.name, 30));
    return {
      title: `${s.say(p.action, 40)} issue ${s.link(issue.html_url, `${s.number(issue.number)} ${s.say(issue.title)}`)}`,
      body: [p.action === "opened" ? s.quote(issue.body) : "", labels.length ? `Labels: ${labels.join(", ")}` : ""]
        .filter(Boolean)
        .join("\n"),
      url: issue.html_url,
      severity: p.action === "closed" ? "success" : "info",
    };
  },

  issue_comment: (p, s) => ({
    title: `commented on ${s.link(p.comment?.html_url, `${s.number(p.issue?.number)} ${s.say(p.issue?.title)}`)}`,
    body: s.quote(p.comment?.body),
    url: p.comment?.html_url,
  }),

  release: (p, s) => ({
    title: `${s.say(p.action, 40)} release ${s.link(p.release?.html_url, s.say(p.release?.name || p.release?.tag_name))}`,
    body: s.quote(p.release?.body),
    url: p.release?.html_url,
    severity: "success",
  }),

  workflow_run(p, s) {
    const run = p.workflow_run ?? {};
    const outcome = run.conclusion ?? run.status ?? p.action;
    const failed = ["failure", "timed_out", "startup_failure"].includes(outcome);
    return {
      title: `workflow ${s.link(run.html_url, s.say(run.name))} on ${s.strong(run.head_branch)}: ${s.say(outcome, 40)}`,
      url: run.html_url,
      severity: failed ? "error" : outcome === "success" ? "success" : "info",
    };
  },

  star: (p) => ({ title: p.action === "deleted" ? "took a star back" : "starred the repository" }),
};

export function formatGithub(payload, event, style) {
  const s = {
    items: style.items,
    number: (value) => (Number.isSafeInteger(value) ? `#${value}` : ""),
    say: (text, length = 120) => escape(clip(text, length), style.dialect),
    strong: (text) => bold(escape(clip(text, 80), style.dialect), style.dialect),
    link: (url, text) => link(url, text, style.dialect),
    quote: (text) => (text ? `> ${escape(clip(text, style.quote), style.dialect)}` : ""),
  };
  const known = Object.hasOwn(EVENTS, event) ? EVENTS[event] : undefined;
  const told = known?.(payload, s) ?? { title: `${s.say(event, 40)} ${s.say(payload.action, 40)}`.trim() };
  const repository = payload.repository?.full_name;
  const actor = payload.sender?.login ?? payload.pusher?.name;
  const where = repository ? `[${link(payload.repository.html_url, s.say(repository), style.dialect)}] ` : "";
  return { severity: "info", body: "", ...told, title: `${where}${actor ? `${s.say(actor, 40)} ` : ""}${told.title}` };
}
