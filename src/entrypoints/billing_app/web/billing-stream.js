// A tenant's billing events in the browser, or wherever there is fetch: no dependencies, no build step.
//
//   const stream = new BillingStream({
//     url: "/api/v1/billing/stream",
//     token: ({ refresh }) => session.token({ refresh }),                  // or just a string
//     load: (get) => get("/api/v1/billing/tenants/acme/state"),            // its `position` is where the stream begins
//     onState, onEvent, onStatus,
//   });
//   stream.start();
//
// `load` is called first and whenever the server says that our numbers are not its own (`reset`); from then on onEvent
// gets every message once and in order, across any number of lost connections. docs/billing/frontend.md tells more.
//
// EventSource is not used because it cannot send an Authorization header, and a token does not belong in an address.

const FIRST_RETRY = 1000;
const LONGEST_RETRY = 30_000;
const LONGEST_RETRY_AFTER = 300_000;
const SILENCE = 45_000; // three keep-alives: a connection this quiet is dead, whatever the browser believes
const CALM = 250; // no more comes for this long: we have caught up…
const LONGEST_CATCHING_UP = 5000; // …and with a busy tenant at the latest now
const LONGEST_FRAME = 8 * 1024 * 1024; // characters; no message is near it, so this is no stream of ours

/** An answer that trying again will not change: a token that is not valid, a stream that is switched off. */
export class RefusedError extends Error {
  constructor(status, code, message) {
    super(message);
    this.name = "RefusedError";
    this.status = status;
    this.code = code;
  }
}

export class BillingStream {
  #options;
  #cursor = null; // the number of the last message that was handed over
  #begin = null; // where the state stands, as the server calls that place
  #lastId = null; // where we are, as the server calls it; kept as it came
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

  /** The number of the last message that was handed over; null before the state was loaded. */
  get cursor() {
    return this.#cursor;
  }

  /** What onStatus was told last. */
  get status() {
    return this.#status;
  }

  /** Load the state and follow the stream until `stop`. After a stop it goes on where it was. */
  start() {
    if (this.#running) return;
    this.#running = new AbortController();
    this.#run(this.#running.signal);
  }

  /** End the connection; no handler is called any more. */
  stop() {
    this.#running?.abort();
    this.#running = null;
    this.#status = "stopped";
  }

  /** The decoded JSON at an address, read with the stream's token. */
  async get(url) {
    const response = await this.#request(url, "application/json", AbortSignal.timeout(this.#options.silence));
    return response.json();
  }

  async #run(stopped) {
    while (!stopped.aborted) {
      let failed;
      const lifeline = new Lifeline(stopped, this.#options.silence);
      this.#failures += 1; // until it has been live
      try {
        // Whatever hangs, in our code or in the caller's, is left behind when the lifeline is cut.
        await Promise.race([this.#attempt(lifeline), lifeline.end]);
      } catch (error) {
        failed = error;
      } finally {
        lifeline.cut();
      }
      if (stopped.aborted) return;
      if (failed instanceof RefusedError && failed.code !== "bad_last_event_id") {
        this.#running = null;
        this.#tell("refused", failed);
        return;
      }
      if (failed instanceof RefusedError) this.#forget(); // our place is none of this history
      this.#tell(globalThis.navigator?.onLine === false ? "offline" : "reconnecting", failed);
      await pause(this.#delay(failed?.retryAfter ?? 0), stopped);
    }
  }

  /** Full jitter under a doubling ceiling, and never all clients of a server at the same moment. */
  #delay(asked) {
    const ceiling = Math.min(LONGEST_RETRY, this.#retry * 2 ** Math.min(this.#failures, 10));
    return Math.max(this.#retry / 4, asked) + Math.random() * ceiling;
  }

  async #attempt(lifeline) {
    if (this.#cursor === null) await this.#load(lifeline);
    if (!lifeline.signal.aborted) await this.#follow(lifeline);
  }

  async #load(lifeline) {
    this.#tell("loading");
    const state = await this.#options.load((url) => this.get(url));
    if (lifeline.signal.aborted) return;
    lifeline.renew();
    this.#cursor = state.sequence;
    this.#begin = state.position ?? String(state.sequence);
    this.#call(this.#options.onState, state);
  }

  /** An answer of 2xx. A token that is refused is asked for once more, with `refresh`. */
  async #request(url, accept, signal, more = {}) {
    const { token, fetch } = this.#options;
    for (const refresh of typeof token === "function" ? [false, true] : [true]) {
      const bearer = typeof token === "function" ? await token({ refresh }) : token;
      if (!bearer) throw new RefusedError(401, "no_token", "There is no token.");
      const headers = { Accept: accept, Authorization: `Bearer ${bearer}`, ...more };
      const response = await fetch(url, { headers, cache: "no-store", signal });
      if (response.ok) return response;
      if (response.status !== 401 || refresh) throw await failure(response);
      await response.body?.cancel();
    }
  }

  async #follow(lifeline) {
    this.#tell("connecting");
    const calm = new Timer(CALM, () => {
      this.#failures = 0;
      this.#tell("live");
    });
    lifeline.signal.addEventListener("abort", () => calm.stop());
    const resume = this.#lastId === null ? {} : { "Last-Event-ID": this.#lastId };
    const response = await this.#request(this.#address(), "text/event-stream", lifeline.signal, resume);
    const parser = new FrameParser();
    const reader = response.body.getReader();
    if (lifeline.signal.aborted) return;
    this.#tell("catching-up");
    const patience = Date.now() + LONGEST_CATCHING_UP;
    calm.renew();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      lifeline.renew();
      if (this.#status === "catching-up" && Date.now() < patience) calm.renew();
      for (const frame of parser.push(part.value)) {
        if (lifeline.signal.aborted || !this.#take(frame)) return;
      }
    }
  }

  /** Where to connect: behind the state at first, then where Last-Event-ID says. */
  #address() {
    const { url, types } = this.#options;
    const query = new URLSearchParams();
    if (this.#lastId === null) query.set("after", this.#begin);
    if (types.length > 0) query.set("types", types.join(","));
    const text = query.toString();
    return text === "" ? url : `${url}${url.includes("?") ? "&" : "?"}${text}`;
  }

  /** Hand over what is new; false when the connection shall end. */
  #take(frame) {
    if (frame.retry !== null) this.#retry = Math.min(frame.retry, LONGEST_RETRY);
    if (frame.event === "reset") this.#forget();
    if (frame.event === "reset" || frame.event === "reconnect") return false;
    if (frame.data === null) {
      this.#move(frame.id, Number.parseInt(frame.id ?? this.#cursor, 10)); // a place begins with its number
      return true;
    }
    const message = JSON.parse(frame.data);
    if (!Number.isSafeInteger(message.sequence)) throw new Error("a message without a number");
    if (message.sequence <= this.#cursor) return true;
    this.#move(frame.id, message.sequence, message);
    return true;
  }

  /** Go on to a place. Raises when something was left out on the way: connecting again brings it. */
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
    this.#begin = null;
    this.#lastId = null;
  }

  #tell(status, error) {
    if (status === this.#status && !error) return;
    this.#status = status;
    this.#call(this.#options.onStatus, status, error);
  }

  /** A handler's failure is its own: it must not cost the connection, nor a message. */
  #call(handler, ...values) {
    try {
      handler(...values);
    } catch (error) {
      if (globalThis.reportError) globalThis.reportError(error);
      else console.error(error);
    }
  }
}

/** Server-sent events from pieces of bytes that end anywhere, with any of the three line ends. */
export class FrameParser {
  #decoder = new TextDecoder();
  #rest = "";
  #afterReturn = false; // a line feed that comes next belongs to the line end before it
  #frame = emptyFrame();
  #size = 0;

  /** The frames that these bytes complete. Raises for a frame without end. */
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
    if (this.#size > LONGEST_FRAME) throw new Error("a frame without end");
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

/** The error an answer stands for: refused for good, or to be tried again. */
export async function failure(response) {
  let code = `http_${response.status}`;
  let message = `The server answered ${response.status}.`;
  try {
    const { error } = await response.json();
    if (typeof error.code === "string" && typeof error.message === "string") ({ code, message } = error);
  } catch {
    // an answer of somebody in between, a proxy say
  }
  const final = response.status >= 400 && response.status < 500 && ![408, 425, 429].includes(response.status);
  if (final) return new RefusedError(response.status, code, message);
  return Object.assign(new Error(message), { retryAfter: waitAskedFor(response) });
}

/** Milliseconds that Retry-After asks for, given in seconds or as a date; 0 without one. */
function waitAskedFor(response) {
  const text = response.headers.get("Retry-After") ?? "";
  const wait = /^[0-9]+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Math.min(LONGEST_RETRY_AFTER, Math.max(0, wait || 0));
}

/** Something to do when nobody has asked to wait any longer. */
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

/** Ends one attempt: when we are stopped, when the network goes, when nothing is heard for too long. */
class Lifeline {
  #connection = new AbortController();
  #stopped;
  #silence;
  #cut = () => this.cut();
  end; // rejects when it is cut

  constructor(stopped, silence) {
    this.#stopped = stopped;
    this.#silence = new Timer(silence, this.#cut);
    this.#silence.renew();
    stopped.addEventListener("abort", this.#cut);
    globalThis.addEventListener?.("offline", this.#cut);
    this.end = new Promise((_, reject) => {
      this.signal.addEventListener("abort", () => reject(new Error("the connection was lost")));
    });
    this.end.catch(() => {}); // that it ends after everything else is no news
  }

  get signal() {
    return this.#connection.signal;
  }

  renew() {
    this.#silence.renew();
  }

  cut() {
    this.#silence.stop();
    this.#stopped.removeEventListener("abort", this.#cut);
    globalThis.removeEventListener?.("offline", this.#cut);
    this.#connection.abort();
  }
}

/** Wait, unless we are stopped or the network comes back before. */
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
