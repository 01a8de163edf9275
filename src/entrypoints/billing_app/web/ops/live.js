// The live feed of the operator's page: what changed, without a position. After each connection, load what is shown.

import { FrameParser } from "../billing-stream.js";
import { openFeed } from "./session.js";

const FIRST_RETRY = 1000;
const MAX_RETRY = 30_000;
const SILENCE = 45_000; // three keep-alives: a connection this quiet is dead

export class LiveFeed {
  #handlers;
  #running = null;
  #failures = 0;

  /** `onOpen` is called with each connection, `onFrame` with a name and data, `onLost` with the error or undefined. */
  constructor({ onOpen, onFrame, onLost }) {
    this.#handlers = { onOpen, onFrame, onLost };
  }

  start() {
    this.#running = new AbortController();
    this.#run(this.#running.signal);
  }

  stop() {
    this.#running?.abort();
    this.#running = null;
  }

  async #run(stopped) {
    while (!stopped.aborted) {
      let failed;
      try {
        await this.#follow(stopped);
      } catch (error) {
        failed = error;
      }
      if (stopped.aborted) return;
      this.#failures += 1;
      this.#handlers.onLost(failed);
      await pause(Math.random() * Math.min(MAX_RETRY, FIRST_RETRY * 2 ** this.#failures), stopped);
    }
  }

  async #follow(stopped) {
    const ended = new AbortController();
    const end = () => ended.abort();
    let timer = setTimeout(end, SILENCE);
    globalThis.addEventListener("offline", end);
    try {
      const reader = (await openFeed(AbortSignal.any([stopped, ended.signal]))).getReader();
      this.#handlers.onOpen();
      const parser = new FrameParser();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        clearTimeout(timer);
        timer = setTimeout(end, SILENCE);
        this.#failures = 0;
        for (const frame of parser.push(part.value)) {
          if (frame.event === "reconnect") return;
          if (frame.data !== null) this.#handlers.onFrame(frame.event, JSON.parse(frame.data));
        }
      }
    } finally {
      clearTimeout(timer);
      globalThis.removeEventListener("offline", end);
    }
  }
}

/** Wait, or return early if the feed is stopped or the network comes back. */
function pause(milliseconds, stopped) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    const now = () => {
      clearTimeout(timer);
      resolve();
    };
    stopped.addEventListener("abort", now, { once: true });
    globalThis.addEventListener("online", now, { once: true });
  });
}
