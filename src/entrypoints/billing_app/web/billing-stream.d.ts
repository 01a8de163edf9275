// Types of billing-stream.js.

import type { BillingEventPayload, StatePayload } from "./billing-event-payload.v2.js";

export type * from "./billing-event-payload.v2.js";

/** `refused` and `stopped` stay until `start`; all others change by themselves. */
export type StreamStatus =
  | "stopped"
  | "loading"
  | "connecting"
  | "catching-up"
  | "live"
  | "reconnecting"
  | "offline"
  | "refused";

/** Send a GET with the stream's token, and return the decoded JSON of a 2xx response. */
export type Get = (url: string) => Promise<any>;

export interface BillingStreamOptions<
  State extends { sequence: number } = StatePayload,
  Message extends { sequence: number } = BillingEventPayload,
> {
  /** URL of the stream: `/api/v1/billing/stream`, or one on an origin that allows this page's. */
  url: string;
  /** A bearer token, or a function that returns one. Called with `refresh` after the server refused a token. */
  token: string | ((ask: { refresh: boolean }) => string | Promise<string>);
  /** Loads the state; the stream starts at its `position`, or else its `sequence`. Called first, after a `reset` and after a move. */
  load: (get: Get) => State | Promise<State>;
  /** Event types to receive, such as `invoice.*`. All by default. */
  types?: readonly string[];
  onState?: (state: State) => void;
  /** Called with every message after the state, once and in order. */
  onEvent?: (message: Message) => void;
  /** `error` is the cause: always given for `refused`, and if known for `reconnecting` and `offline`. */
  onStatus?: (status: StreamStatus, error?: Error) => void;
  /** Milliseconds without a byte after which the connection is closed; more than two keep-alives. */
  silence?: number;
  fetch?: typeof globalThis.fetch;
}

export declare class BillingStream<
  State extends { sequence: number } = StatePayload,
  Message extends { sequence: number } = BillingEventPayload,
> {
  constructor(options: BillingStreamOptions<State, Message>);
  get cursor(): number | null;
  get status(): StreamStatus;
  start(): void;
  stop(): void;
  /** Reads other data of the tenant. Raises the error that `failure` returns. */
  get: Get;
  /** Posts JSON. Raises the error that `failure` returns. */
  post(url: string, body: unknown, headers?: Record<string, string>): Promise<any>;
}

/** A refusal that a retry will not change. `code` is the server's, such as `unauthorized` or `stream_disabled`. */
export declare class RefusedError extends Error {
  constructor(status: number, code: string, message: string, problem?: Record<string, unknown> | null);
  status: number;
  code: string;
  /** The body of an operation's refusal, by RFC 9457; null for other requests. */
  problem: Record<string, unknown> | null;
}

export interface Frame {
  id: string | null;
  event: string;
  data: string | null;
  retry: number | null;
  filled: boolean;
}

export declare class FrameParser {
  push(bytes: Uint8Array): Frame[];
}

/** Return the error for a response other than 2xx: a RefusedError if a retry will not help. */
export declare function failure(response: Response): Promise<Error>;
