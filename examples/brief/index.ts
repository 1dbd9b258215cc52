/**
 * A brief of a text: how long it takes to read, what it speaks of, and the sentences that say most of it, in their
 * order. A sentence counts by how often its words, short and common ones aside, occur in the whole text.
 */

import type { Context, EndpointRequest } from "@plugyard/sdk";

interface Input {
  text?: string;
  /** How many sentences to keep, 1 to 10. */
  sentences?: number;
}

interface Brief {
  words: number;
  readingMinutes: number;
  topics: string[];
  summary: string[];
}

const WORDS_PER_MINUTE = 230;
const LONGEST_TEXT = 100_000;
const COMMON = new Set(
  ("about after also because been before being between both could does each every from have having here into itself " +
    "just like made many more most much must only other over same should some such than that their them then there " +
    "these they this those through under until very were what when where which while will with within without would " +
    "your").split(" "),
);

export async function handleRequest(input: Input | EndpointRequest, context: Context): Promise<Brief> {
  const { logger } = context.services;
  const { text, sentences } = requested(input);
  if (text.trim() === "") throw new TypeError('there is nothing to read: give {"text": "..."}');
  if (text.length > LONGEST_TEXT) throw new RangeError(`the text has ${text.length} characters; ${LONGEST_TEXT} are allowed`);
  const brief = summarise(text, sentences);
  logger.info("text read", { by: context.userId, words: brief.words, kept: brief.summary.length });
  return brief;
}

/** The same function serves a call (`{"text": ...}`) and the endpoint of the manifest (`?text=...`). */
function requested(input: Input | EndpointRequest): { text: string; sentences: number } {
  const { text, sentences } = "query" in input ? input.query : input;
  const wanted = Number(sentences ?? 3);
  if (typeof text !== "string") throw new TypeError('the field "text" must be a string');
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > 10) throw new RangeError("sentences must be 1 to 10");
  return { text, sentences: wanted };
}

function summarise(text: string, sentences: number): Brief {
  const words = text.match(/[^\s.,;:!?()"“”]+/g) ?? [];
  const frequency = new Map<string, number>();
  for (const word of words.filter(telling)) {
    const key = word.toLowerCase();
    frequency.set(key, (frequency.get(key) ?? 0) + 1);
  }
  const scored = (text.match(/[^.!?]+[.!?]*["”)]*/g) ?? [])
    .map((sentence) => sentence.trim().replace(/\s+/g, " "))
    .filter((sentence) => sentence !== "")
    .map((sentence, index) => ({ sentence, index, score: score(sentence, frequency) }));
  const kept = [...scored].sort((a, b) => b.score - a.score || a.index - b.index).slice(0, sentences);
  return {
    words: words.length,
    readingMinutes: Math.max(1, Math.round(words.length / WORDS_PER_MINUTE)),
    topics: [...frequency].sort((a, b) => b[1] - a[1]).slice(0, 5).map(([word]) => word),
    summary: kept.sort((a, b) => a.index - b.index).map(({ sentence }) => sentence),
  };
}

const telling = (word: string): boolean => word.length > 3 && !COMMON.has(word.toLowerCase());

/** The mean, not the sum, or the longest sentence would always win. */
function score(sentence: string, frequency: ReadonlyMap<string, number>): number {
  const words = (sentence.match(/[^\s.,;:!?()"“”]+/g) ?? []).filter(telling);
  const total = words.reduce((sum, word) => sum + (frequency.get(word.toLowerCase()) ?? 0), 0);
  return words.length < 3 ? 0 : total / words.length;
}
