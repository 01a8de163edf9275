// A tenant's billing events in the browser, or wherever there is fetch: no dependencies, no build step.
//
//   const stream = new BillingStream({
//     url: "/api/v1/billing/stream",
//     token: () => sessionStorage.getItem("billing-token"),
//     load: async () => (await fetch(stateUrl)).json(),   // the state; its `sequence` is where the stream begins
//     onState, onEvent, onStatus,
//   });
//   stream.start();
//
// `load` is called first and whenever the server says that our numbers are not its own (`reset`); from then on onEvent
// gets every message once and in order, across any number of lost connections.
//
// EventSource is not used because it cannot send an Authorization header, and a token does not belong in an address.

const FIRST_RETRY = 1000;
const LONGEST_RETRY = 30_000;
const SILENCE = 45_000; // three keep-alives: a connection this quiet is dead, whatever the browser believes

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
  #cursor = null;
  #retry = FIRST_RETRY;
  #failures = 0;
  #running = null;

  constructor({ url, token, load, onState, onEvent, onStatus = () => {}, fetch = globalThis.fetch.bind(globalThis) }) {
    this.#options = { url, token, load, onState, onEvent, onStatus, fetch };
  }

  /** The number of the last message that was handed over; null before the state was loaded. */
  get cursor() {
    return this.#cursor;
  }

  /** Load the state and follow the stream until `stop`. */
  start() {
    if (this.#running) return;
    this.#running = new AbortController();
    this.#run(this.#running.signal);
  }

  stop() {
    this.#running?.abort();
    this.#running = null;
  }

  async #run(stopped) {
    while (!stopped.aborted) {
      try {
        if (this.#cursor === null) await this.#load();
        if (!stopped.aborted) await this.#follow(stopped);
      } catch (error) {
        if (stopped.aborted) return;
        if (error instanceof RefusedError) {
          this.stop();
          this.#options.onStatus("refused", error);
          return;
        }
        this.#failures += 1;
      }
      if (stopped.aborted) return;
      this.#options.onStatus("reconnecting");
      await pause(this.#delay(), stopped);
    }
  }

  /** Full jitter under a doubling ceiling, and never all clients of a server at the same moment. */
  #delay() {
    const ceiling = Math.min(LONGEST_RETRY, this.#retry * 2 ** Math.min(this.#failures, 10));
    return this.#retry / 4 + Math.random() * ceiling;
  }

  async #load() {
    this.#options.onStatus("loading");
    const state = await this.#options.load();
    this.#cursor = state.sequence;
    this.#options.onState(state);
  }

  async #follow(stopped) {
    const connection = new AbortController();
    const close = () => connection.abort();
    stopped.addEventListener("abort", close);
    globalThis.addEventListener?.("offline", close);
    let silence = setTimeout(close, SILENCE);
    try {
      const response = await this.#options.fetch(this.#options.url, {
        headers: {
          Accept: "text/event-stream",
          Authorization: `Bearer ${this.#options.token()}`,
          "Last-Event-ID": String(this.#cursor),
        },
        cache: "no-store",
        signal: connection.signal,
      });
      if (!response.ok) throw await failure(response);
      const parser = new FrameParser((frame) => this.#take(frame));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        clearTimeout(silence);
        silence = setTimeout(close, SILENCE);
        parser.push(part.value);
        if (this.#cursor === null) return; // reset: the state comes first
      }
    } finally {
      clearTimeout(silence);
      stopped.removeEventListener("abort", close);
      globalThis.removeEventListener?.("offline", close);
      connection.abort();
    }
  }

  #take(frame) {
    if (this.#cursor === null) return;
    if (frame.retry !== null) this.#retry = frame.retry;
    this.#failures = 0;
    if (frame.event === "reset") {
      this.#cursor = null;
    } else if (frame.event === "reconnect") {
      // The connection ends now, and we come back with our cursor.
    } else if (frame.data === null) {
      this.#options.onStatus("live");
    } else if (Number(frame.id) === this.#cursor + 1) {
      this.#cursor += 1;
      this.#options.onEvent(JSON.parse(frame.data));
    } else if (Number(frame.id) > this.#cursor) {
      throw new Error(`message ${frame.id} came after ${this.#cursor}`); // connecting again closes the gap
    }
  }
}

/** Server-sent events from pieces of text that end anywhere. */
export class FrameParser {
  #rest = "";
  #onFrame;
  #frame = emptyFrame();

  constructor(onFrame) {
    this.#onFrame = onFrame;
  }

  push(text) {
    this.#rest += text;
    const lines = this.#rest.split("\n");
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line.endsWith("\r") ? line.slice(0, -1) : line);
  }

  #line(line) {
    if (line === "") {
      if (this.#frame.filled) this.#onFrame(this.#frame);
      this.#frame = emptyFrame();
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment keeps the connection alive
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") this.#frame.data = this.#frame.data === null ? value : `${this.#frame.data}\n${value}`;
    else if (name === "id") this.#frame.id = value;
    else if (name === "event") this.#frame.event = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.#frame.retry = Number(value);
    else return;
    this.#frame.filled = true;
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
    ({ code, message } = error);
  } catch {
    // an answer of somebody in between, a proxy say
  }
  const final = response.status >= 400 && response.status < 500 && ![408, 425, 429].includes(response.status);
  return final ? new RefusedError(response.status, code, message) : new Error(message);
}

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
