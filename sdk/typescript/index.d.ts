/**
 * What a Plugyard plugin written in TypeScript or JavaScript receives.
 *
 * Import it for its types alone (`import type { Context } from "@plugyard/sdk"`): such an import disappears before the
 * plugin runs, so the package needs no dependency. The names are those of the running platform; a service that the
 * manifest does not ask for, or that the tenant did not grant, rejects with a `PermissionError`, and one that the
 * server does not offer rejects with an error whose `code` is `service_unavailable`.
 */

/** Everything that can be written as JSON. Inputs and outputs are such values; `NaN` and `Infinity` are not. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * The second argument of every handler.
 *
 * @typeParam Configuration the shape that the manifest's `configuration` schema describes.
 */
export interface Context<Configuration = Record<string, Json>> {
  /** The tenant on whose behalf this execution runs. */
  readonly tenantId: string;
  /** Who called: a user, or the API key's own name. */
  readonly userId: string;
  /** The name of this execution in logs, history and traces. */
  readonly executionId: string;
  /** The tenant's settings for this plugin, checked against the manifest's schema, with its defaults filled in. */
  readonly configuration: Readonly<Configuration>;
  /** When the platform ends this execution, as ISO 8601 in UTC. */
  readonly deadline: string;
  /** Where this execution belongs in a distributed trace; pass it on to systems that you call. */
  readonly trace: Trace;
  readonly services: Services;
}

/** W3C Trace Context, as header values. */
export interface Trace {
  readonly traceparent?: string;
  readonly tracestate?: string;
}

/**
 * A function that callers, schedules or events run. It may be plain or async; what it returns must be JSON.
 */
export type Handler<Input = Json, Output = Json | void, Configuration = Record<string, Json>> = (
  input: Input,
  context: Context<Configuration>,
) => Output | Promise<Output>;

/** The input of `events.handler`. */
export interface HeardEvent<Payload = Json> {
  /** The same however often the event comes. */
  readonly eventId: string;
  readonly topic: string;
  readonly payload: Payload;
  /** The id of the plugin that said it, or `null` where the platform itself did. */
  readonly publishedBy: string | null;
  /** Which part of the platform said it, or `null` where a plugin did. */
  readonly source: string | null;
  /** When it happened, in the form of RFC 3339. */
  readonly occurredAt: string;
}

/** The input of a handler that `api.endpoints` names. */
export interface EndpointRequest<Body = Json> {
  /** Upper case. */
  readonly method: string;
  /** The path as called, below the plugin's own prefix, still percent-encoded. */
  readonly path: string;
  /** A name that is given several times holds its values in order. */
  readonly query: Readonly<Record<string, string | readonly string[]>>;
  /** Names in lower case. A name that is given several times holds its values in order. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  /** The parsed document when the content type is JSON, else the text, or `null` when there is none or it is no text. */
  readonly body: Body | string | null;
  /** The body's bytes in Base64, or `null` when there are none. */
  readonly bodyBase64: string | null;
  /** The values of the path's placeholders. */
  readonly params: Readonly<Record<string, string>>;
}

/** The answer of a handler that `api.endpoints` names. */
export interface EndpointResponse {
  /** 200 to 599. */
  status: number;
  /** A list sends a header several times. */
  headers?: Record<string, string | string[]>;
  /** A string is sent as it is; anything else as JSON. Give one of `body`, `json` and `bodyBase64`, or none. */
  body?: Json;
  /** Anything, sent as JSON. */
  json?: Json;
  /** Bytes in Base64. */
  bodyBase64?: string;
}

/** The platform's services. Every method may run beside others: `await Promise.all([...])`. */
export interface Services {
  readonly logger: Logger;
  readonly database: Database;
  readonly cache: Cache;
  readonly http: Http;
  readonly events: Events;
  readonly files: Files;
}

/** Structured log lines, kept with the execution. Needs no permission. Rate and size are capped. */
export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): Promise<void>;
  info(message: string, fields?: Record<string, unknown>): Promise<void>;
  warn(message: string, fields?: Record<string, unknown>): Promise<void>;
  error(message: string, fields?: Record<string, unknown>): Promise<void>;
}

export type SqlValue = Json;
export type Row = Record<string, Json>;

/** A PostgreSQL schema of the plugin's own for each tenant. Permission: `database`. */
export interface Database {
  /** Run a statement with `$1`, `$2` ... as its parameters and return its rows. */
  query<R = Row>(sql: string, parameters?: readonly SqlValue[]): Promise<R[]>;
  /** Run a statement and return how many rows it touched. */
  execute(sql: string, parameters?: readonly SqlValue[]): Promise<number>;
  /** Run a function whose statements hold together when it returns, and not at all when it throws. */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** Run statements in one transaction: all of them hold, or none. Returns the rows of each. */
  transaction(statements: readonly { sql: string; parameters?: readonly SqlValue[] }[]): Promise<Row[][]>;
}

/** The statements of one transaction, on one connection. */
export interface Transaction {
  query<R = Row>(sql: string, parameters?: readonly SqlValue[]): Promise<R[]>;
  execute(sql: string, parameters?: readonly SqlValue[]): Promise<number>;
}

/** Short-lived values of this plugin and tenant. Permission: `cache`. */
export interface Cache {
  /** `null` when there is no such key, or no longer. */
  get<T = Json>(key: string): Promise<T | null>;
  set(key: string, value: Json, options?: { ttlSeconds?: number }): Promise<void>;
  /** Whether there was such a key. */
  delete(key: string): Promise<boolean>;
  /** Add `by` (default 1) in one step and return the new value. */
  increment(key: string, by?: number, options?: { ttlSeconds?: number }): Promise<number>;
}

export interface HttpOptions {
  headers?: Record<string, string>;
  /** Added to the URL, encoded. A list gives its name several times. */
  query?: Record<string, string | number | boolean | readonly (string | number | boolean)[]>;
  /** Sent as it is. Give either `body` or `json`. */
  body?: string | Uint8Array | ArrayBuffer;
  /** Sent as JSON, with its content type. */
  json?: Json;
  /** The whole request with its redirects; the execution's own deadline holds beside it. */
  timeoutMs?: number;
  /** `follow` (the default) judges each hop against the grant; `manual` answers with the redirect; `error` fails. */
  redirect?: "follow" | "manual" | "error";
}

export interface HttpResponse {
  readonly status: number;
  /** 200 to 299. */
  readonly ok: boolean;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Where the answer came from, after redirects. */
  readonly url: string;
  text(): string;
  json<T = Json>(): T;
  bytes(): Uint8Array;
}

/** Requests to the hosts that were granted, and no others. Permission: `network`. */
export interface Http {
  request(method: string, url: string, options?: HttpOptions): Promise<HttpResponse>;
  get(url: string, options?: HttpOptions): Promise<HttpResponse>;
  post(url: string, options?: HttpOptions): Promise<HttpResponse>;
  put(url: string, options?: HttpOptions): Promise<HttpResponse>;
  delete(url: string, options?: HttpOptions): Promise<HttpResponse>;
}

/** Messages between the plugins of one tenant. Permission: `events`. */
export interface Events {
  /** Kept once this resolves, and delivered to whoever subscribes. */
  publish(topic: string, payload: Json): Promise<void>;
  /** Rejects: a plugin subscribes in its manifest, by `events.subscribes`. */
  subscribe(topic: string, handler: string): Promise<void>;
}

/** A folder of the plugin's own for each tenant. Permission: `filesystem`. */
export interface Files {
  /** The text; with `base64` the bytes in that form. */
  read(path: string, options?: { encoding?: "utf-8" | "base64" }): Promise<string>;
  write(path: string, content: string, options?: { encoding?: "utf-8" | "base64" }): Promise<void>;
  /** The paths that begin so, in order. */
  list(prefix?: string): Promise<string[]>;
  /** Whether there was such a file. */
  delete(path: string): Promise<boolean>;
}

/** What a service call rejects with. */
export interface ServiceError extends Error {
  /** Stable, for programs: `permission_denied`, `service_unavailable`, ... */
  readonly code: string;
}
