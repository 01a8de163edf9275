// What billing-stream.js offers. State and messages are generic: docs/billing/schema has the types of ours.

/** `connecting` and `catching-up` pass by themselves; `refused` and `stopped` stay until `start`. */
export type StreamStatus =
  | "stopped"
  | "loading"
  | "connecting"
  | "catching-up"
  | "live"
  | "reconnecting"
  | "offline"
  | "refused";

/** GET with the stream's token; the decoded JSON of a 2xx answer. */
export type Get = (url: string) => Promise<any>;

export interface BillingStreamOptions<State extends { sequence: number }, Message extends { sequence: number }> {
  /** Where the stream is: `/api/v1/billing/stream`, or on another origin that allows ours. */
  url: string;
  /** A bearer token, or how to get one. Asked with `refresh` when the server refused the one before. */
  token: string | ((ask: { refresh: boolean }) => string | Promise<string>);
  /** Reads the state whose `position` (else whose `sequence`) the stream goes on from. Called at first, and after a `reset`. */
  load: (get: Get) => State | Promise<State>;
  /** Event types to get, such as `invoice.*`. All of them by default. */
  types?: readonly string[];
  onState?: (state: State) => void;
  /** Every message behind the state, once and in order. */
  onEvent?: (message: Message) => void;
  /** `error` is what went wrong, for `refused` always and for `reconnecting` and `offline` when it is known. */
  onStatus?: (status: StreamStatus, error?: Error) => void;
  /** Milliseconds without a byte after which a connection is given up; more than two keep-alives. */
  silence?: number;
  fetch?: typeof globalThis.fetch;
}

export declare class BillingStream<
  State extends { sequence: number } = any,
  Message extends { sequence: number } = any,
> {
  constructor(options: BillingStreamOptions<State, Message>);
  get cursor(): number | null;
  get status(): StreamStatus;
  start(): void;
  stop(): void;
  /** For whatever else belongs to the tenant. Raises what `failure` makes of an answer. */
  get: Get;
}

/** Trying again will not help. `code` is the server's word, such as `invalid_token` or `stream_disabled`. */
export declare class RefusedError extends Error {
  constructor(status: number, code: string, message: string);
  status: number;
  code: string;
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

/** The error that an answer other than 2xx stands for: a RefusedError when trying again is of no use. */
export declare function failure(response: Response): Promise<Error>;
