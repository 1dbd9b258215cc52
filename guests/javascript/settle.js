// Lets a plugin's promises run, and waits for the platform when they wait for it: service calls and timers.
import { start, wait } from "plugyard:plugin/host@1.0.0";
import { Failure, ofService } from "./failures.js";

const calls = new Map();
const timers = new Map();
let lastTimer = 0;

// While nothing is under way a promise may still be settled by others that are; only when so many turns changed nothing
// is it plain that none will.
const TURNS_BEFORE_WAITING = 50;
const TURNS_BEFORE_GIVING_UP = 10_000_000;

export function call(service, method, args) {
  return new Promise((resolve, reject) => {
    calls.set(start(service, method, JSON.stringify(args)), { resolve, reject });
  });
}

export function addTimer(callback, delay, args, repeat) {
  const period = Math.max(0, Number(delay) || 0);
  const run = typeof callback === "function" ? callback : () => (0, eval)(String(callback));
  lastTimer += 1;
  timers.set(lastTimer, { due: performance.now() + period, period, run: () => run(...args), repeat });
  return lastTimer;
}

export function removeTimer(id) {
  timers.delete(Number(id));
}

// What a handler leaves running ends with it.
export function forget() {
  calls.clear();
  timers.clear();
}

export async function settle(value) {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return value;
  if (typeof value.then !== "function") return value;
  let settled = false;
  const promise = Promise.resolve(value);
  promise.then(
    () => (settled = true),
    () => (settled = true),
  );
  let idle = 0;
  for (;;) {
    for (let turn = 0; turn < TURNS_BEFORE_WAITING && !settled; turn++) await null;
    if (settled) return promise;
    if (calls.size === 0 && timers.size === 0) {
      idle += TURNS_BEFORE_WAITING;
      if (idle < TURNS_BEFORE_GIVING_UP) continue;
      throw new Failure("never_settled", "the function waits for something that nothing will bring about");
    }
    idle = 0;
    turn();
  }
}

// Wait for one answer or the next timer, and pass it on.
function turn() {
  let next;
  for (const [id, timer] of timers) {
    if (next === undefined || timer.due < next[1].due) next = [id, timer];
  }
  const left = next === undefined ? undefined : next[1].due - performance.now();
  if (left === undefined || left > 0) {
    const answer = wait(left);
    if (answer !== undefined) {
      const call = calls.get(answer.ticket);
      calls.delete(answer.ticket);
      if (call !== undefined) {
        if (answer.ok) call.resolve(JSON.parse(answer.value));
        else call.reject(ofService(JSON.parse(answer.value)));
      }
      return;
    }
  }
  const [id, timer] = next;
  if (timer.repeat) timer.due = performance.now() + timer.period;
  else timers.delete(id);
  timer.run();
}
