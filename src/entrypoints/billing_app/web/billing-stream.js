// Follow a tenant's billing events in the browser, or wherever there is fetch: no dependencies, no build step.
//
//   const stream = new BillingStream({
//     url: "/api/v1/billing/stream",
//     token: ({ refresh }) => session.token({ refresh }),                  // or a string
//     load: (get) => get("/api/v1/billing/tenants/acme/state"),            // the stream starts at its `position`
//     onState, onEvent, onStatus,
//   });
//   stream.start();
//
// `load` is called first, and again when the server does not know our position (`reset`) or an operator moved objects to
// the tenant or away from it; from then on onEvent gets every message once and in order, across any number of lost
// connections. See docs/billing/frontend.md.
//
// EventSource is not used because it cannot send an Authorization header, and a token does not belong in a URL.

const FIRST_RETRY = 1000;
const MAX_RETRY = 30_000;
const MAX_RETRY_AFTER = 300_000;
const SILENCE = 45_000; // three keep-alives: a connection this quiet is dead, even if the browser reports it open
const SETTLE = 250; // caught up after this long without a message…
const MAX_CATCHING_UP = 5000; // …or, with a busy tenant, after this long
const MAX_FRAME = 8 * 1024 * 1024; // characters; far above any message, so a larger frame is not from our server
const RELINKED = new Set(["customer.linked", "customer.unlinked", "subscription.linked", "subscription.unlinked"]);

/** A refusal that a retry will not change, such as an invalid token or a disabled stream. */
export class RefusedError extends Error {
  constructor(status, code, message, problem = null) {
    super(message);
    this.name = "RefusedError";
    this.status = status;
    this.code = code;
    this.problem = problem; // the whole body of an operation's refusal
  }
}

export class BillingStream {
  #options;
  #cursor = null; // number of the last delivered message
  #start = null; // position of the state
  #lastId = null; // position of the last frame, kept as the server sent it
  #retry = FIRST_RETRY;
  #failures = 0;
  #status = "stopped";
  #running = null;

  constructor({
    url,
    token,
    load,
    types = [],
    onState = () => {},
    onEvent = () => {},
    onStatus = () => {},
    silence = SILENCE,
    fetch = globalThis.fetch.bind(globalThis),
  }) {
    this.#options = { url, token, load, types, onState, onEvent, onStatus, silence, fetch };
  }

  /** The number of the last delivered message; null before the state is loaded. */
  get cursor() {
    return this.#cursor;
  }

  /** The status that onStatus got last. */
  get status() {
    return this.#status;
  }

  /** Load the state and follow the stream until `stop`. After a stop, continue from the same position. */
  start() {
    if (this.#running) return;
    this.#running = new AbortController();
    this.#run(this.#running.signal);
  }

  /** Close the connection; no handler is called after that. */
  stop() {
    this.#running?.abort();
    this.#running = null;
    this.#status = "stopped";
  }

  /** Get the decoded JSON at a URL with the stream's token. */
  async get(url) {
    const response = await this.#request(url, "application/json", AbortSignal.timeout(this.#options.silence));
    return response.json();
  }

  /** Post JSON to a URL with the stream's token, and get the decoded answer. */
  async post(url, body, headers = {}) {
    const more = { method: "POST", body: JSON.stringify(body) };
    const given = { ...headers, "Content-Type": "application/json" };
    const signal = AbortSignal.timeout(this.#options.silence);
    const response = await this.#request(url, "application/json", signal, given, more);
    return response.json();
  }

  async #run(stopped) {
    while (!stopped.aborted) {
      let failed;
      const watchdog = new Watchdog(stopped, this.#options.silence);
      this.#failures += 1; // reset once the stream is live
      try {
        // When the watchdog fires, an attempt that hangs, in our code or in the caller's, is abandoned.
        await Promise.race([this.#attempt(watchdog), watchdog.end]);
      } catch (error) {
        failed = error;
      } finally {
        watchdog.abort();
      }
      if (stopped.aborted) return;
      if (failed instanceof RefusedError && failed.code !== "bad_last_event_id") {
        this.#running = null;
        this.#notify("refused", failed);
        return;
      }
      if (failed instanceof RefusedError) this.#forget(); // the server does not know our position
      this.#notify(globalThis.navigator?.onLine === false ? "offline" : "reconnecting", failed);
      await pause(this.#delay(failed?.retryAfter ?? 0), stopped);
    }
  }

  /** Full jitter below a doubling ceiling, so that a server's clients do not return all at once. */
  #delay(retryAfter) {
    const ceiling = Math.min(MAX_RETRY, this.#retry * 2 ** Math.min(this.#failures, 10));
    return Math.max(this.#retry / 4, retryAfter) + Math.random() * ceiling;
  }

  async #attempt(watchdog) {
    if (this.#cursor === null) await this.#load(watchdog);
    if (!watchdog.signal.aborted) await this.#follow(watchdog);
  }

  async #load(watchdog) {
    this.#notify("loading");
    const state = await this.#options.load((url) => this.get(url));
    if (watchdog.signal.aborted) return;
    watchdog.renew();
    this.#cursor = state.sequence;
    this.#start = state.position ?? String(state.sequence);
    this.#call(this.#options.onState, state);
  }

  /** Return a 2xx response. After a 401, request a token once more, with `refresh`. */
  async #request(url, accept, signal, given = {}, more = {}) {
    const { token, fetch } = this.#options;
    for (const refresh of typeof token === "function" ? [false, true] : [true]) {
      const bearer = typeof token === "function" ? await token({ refresh }) : token;
      if (!bearer) throw new RefusedError(401, "no_token", "No token was given.");
      const headers = { Accept: accept, Authorization: `Bearer ${bearer}`, ...given };
      const response = await fetch(url, { ...more, headers, cache: "no-store", signal });
      if (response.ok) return response;
      if (response.status !== 401 || refresh) throw await failure(response);
      await response.body?.cancel();
    }
  }

  async #follow(watchdog) {
    this.#notify("connecting");
    const settled = new Timer(SETTLE, () => {
      this.#failures = 0;
      this.#notify("live");
    });
    watchdog.signal.addEventListener("abort", () => settled.stop());
    const resume = this.#lastId === null ? {} : { "Last-Event-ID": this.#lastId };
    const response = await this.#request(this.#address(), "text/event-stream", watchdog.signal, resume);
    const parser = new FrameParser();
    const reader = response.body.getReader();
    if (watchdog.signal.aborted) return;
    this.#notify("catching-up");
    const deadline = Date.now() + MAX_CATCHING_UP;
    settled.renew();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      watchdog.renew();
      if (this.#status === "catching-up" && Date.now() < deadline) settled.renew();
      for (const frame of parser.push(part.value)) {
        if (watchdog.signal.aborted || !this.#take(frame)) return;
      }
    }
  }

  /** The URL to connect to: after the state at first, then Last-Event-ID says where. */
  #address() {
    const { url, types } = this.#options;
    const query = new URLSearchParams();
    if (this.#lastId === null) query.set("after", this.#start);
    if (types.length > 0) query.set("types", types.join(","));
    const text = query.toString();
    return text === "" ? url : `${url}${url.includes("?") ? "&" : "?"}${text}`;
  }

  /** Deliver a frame if it is new; return false if the connection must end. */
  #take(frame) {
    if (frame.retry !== null) this.#retry = Math.min(frame.retry, MAX_RETRY);
    if (frame.event === "reset") this.#forget();
    if (frame.event === "reset" || frame.event === "reconnect") return false;
    if (frame.data === null) {
      this.#move(frame.id, Number.parseInt(frame.id ?? this.#cursor, 10)); // a position starts with its number
      return true;
    }
    const message = JSON.parse(frame.data);
    if (!Number.isSafeInteger(message.sequence)) throw new Error("a message without a number");
    if (message.sequence <= this.#cursor) return true;
    this.#move(frame.id, message.sequence, message);
    if (message.source?.kind !== "link" || !RELINKED.has(message.event_type)) return true;
    this.#forget(); // an operator moved objects, which have no messages of their own
    return false;
  }

  /** Advance to a position. Throws if a number is missing: reconnecting delivers it. */
  #move(id, sequence, message = null) {
    const next = this.#cursor + (message === null ? 0 : 1);
    if (sequence > next && this.#options.types.length === 0) {
      throw new Error(`number ${sequence} came after ${this.#cursor}`);
    }
    if (id !== null && sequence >= this.#cursor) this.#lastId = id;
    if (sequence > this.#cursor) this.#cursor = sequence;
    if (message !== null) this.#call(this.#options.onEvent, message);
  }

  #forget() {
    this.#cursor = null;
    this.#start = null;
    this.#lastId = null;
  }

  #notify(status, error) {
    if (status === this.#status && !error) return;
    this.#status = status;
    this.#call(this.#options.onStatus, status, error);
  }

  /** Call a handler. Its failure must cost neither the connection nor a message. */
  #call(handler, ...values) {
    try {
      handler(...values);
    } catch (error) {
      if (globalThis.reportError) globalThis.reportError(error);
      else console.error(error);
    }
  }
}

/** Parses server-sent events from chunks that may end anywhere, with any of the three line endings. */
export class FrameParser {
  #decoder = new TextDecoder();
  #rest = "";
  #afterReturn = false; // a line feed that follows belongs to the same line ending
  #frame = emptyFrame();
  #size = 0;

  /** Return the frames that these bytes complete. Throws if a frame does not end. */
  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1);
    else if (text === "") return [];
    this.#afterReturn = text.endsWith("\r");
    this.#size += text.length;
    const lines = text.split(/\r\n|\n|\r/);
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop();
    const frames = [];
    for (const line of lines) {
      if (line !== "") this.#field(line);
      else {
        if (this.#frame.filled) frames.push(this.#frame);
        this.#frame = emptyFrame();
        this.#size = this.#rest.length;
      }
    }
    if (this.#size > MAX_FRAME) throw new Error("a frame without end");
    return frames;
  }

  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment keeps the connection alive
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    const frame = this.#frame;
    if (name === "data") frame.data = frame.data === null ? value : `${frame.data}\n${value}`;
    else if (name === "event") frame.event = value === "" ? "message" : value;
    else if (name === "id" && !value.includes("\0")) frame.id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) frame.retry = Number(value);
    else return;
    frame.filled = true;
  }
}

function emptyFrame() {
  return { id: null, event: "message", data: null, retry: null, filled: false };
}

/** Return the error for a response other than 2xx: a RefusedError, or an Error with `retryAfter`; `problem` is its body. */
export async function failure(response) {
  let code = `http_${response.status}`;
  let message = `The server answered ${response.status}.`;
  let problem = null;
  try {
    const { error, ...rest } = await response.json();
    if (typeof rest.code === "string" && typeof rest.detail === "string") {
      problem = rest; // of an operation, by RFC 9457
      ({ code, detail: message } = rest);
    } else if (typeof error.code === "string" && typeof error.message === "string") ({ code, message } = error);
  } catch {
    // not our server's response: a proxy's, for example
  }
  const final = response.status >= 400 && response.status < 500 && ![408, 425, 429].includes(response.status);
  if (final) return new RefusedError(response.status, code, message, problem);
  return Object.assign(new Error(message), { retryAfter: retryAfterOf(response), problem });
}

/** Return Retry-After, given in seconds or as a date, in milliseconds; 0 without one. */
function retryAfterOf(response) {
  const text = response.headers.get("Retry-After") ?? "";
  const wait = /^[0-9]+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Math.min(MAX_RETRY_AFTER, Math.max(0, wait || 0));
}

/** Calls a function after a delay that can be renewed. */
class Timer {
  #milliseconds;
  #then;
  #pending;

  constructor(milliseconds, then) {
    this.#milliseconds = milliseconds;
    this.#then = then;
  }

  renew() {
    clearTimeout(this.#pending);
    this.#pending = setTimeout(this.#then, this.#milliseconds);
  }

  stop() {
    clearTimeout(this.#pending);
  }
}

/** Ends one attempt when the stream is stopped, the browser goes offline, or the server is silent for too long. */
class Watchdog {
  #connection = new AbortController();
  #stopped;
  #silence;
  #onEnd = () => this.abort();
  end; // rejects when the attempt ends

  constructor(stopped, silence) {
    this.#stopped = stopped;
    this.#silence = new Timer(silence, this.#onEnd);
    this.#silence.renew();
    stopped.addEventListener("abort", this.#onEnd);
    globalThis.addEventListener?.("offline", this.#onEnd);
    this.end = new Promise((_, reject) => {
      this.signal.addEventListener("abort", () => reject(new Error("the connection was lost")));
    });
    this.end.catch(() => {}); // a rejection after the attempt is of no interest
  }

  get signal() {
    return this.#connection.signal;
  }

  renew() {
    this.#silence.renew();
  }

  abort() {
    this.#silence.stop();
    this.#stopped.removeEventListener("abort", this.#onEnd);
    globalThis.removeEventListener?.("offline", this.#onEnd);
    this.#connection.abort();
  }
}

/** Wait, or return early if the stream is stopped or the network comes back. */
function pause(milliseconds, stopped) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      stopped.removeEventListener("abort", done);
      globalThis.removeEventListener?.("online", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    stopped.addEventListener("abort", done);
    globalThis.addEventListener?.("online", done);
  });
}
