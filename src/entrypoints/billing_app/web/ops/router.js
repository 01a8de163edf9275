// Views by address: each address shows one view, and going back shows the one before.

import { element } from "../dom.js";
import { button, link, redraw } from "./parts.js";
import { ApiError } from "./session.js";

const BETWEEN = 2000; // milliseconds between two refreshes of a view, unless it wants more
const AGAIN = 5000; // milliseconds after a refresh that failed
const SLOW = 500; // milliseconds after which a view that is still loading says so

const STALE = {}; // in place of a view that could not be loaded again

export class Router {
  #views;
  #main;
  #onRefused;
  #onShown;
  #onStale;
  #shown = null; // the path and query of the view on the screen
  #current = null; // its controller
  #view = null; // its content
  #refreshed = 0;
  #waiting = null;

  /**
   * `views` are [pattern, function]: it gets a page and the pattern's groups, and returns {title, content, live, pause}.
   *
   * `live` says whether a frame of the live feed concerns the view; `pause` is the time between two refreshes. `onStale`
   * is called when a view could not be refreshed: what it shows stays.
   */
  constructor({ views, main, onRefused, onShown, onStale }) {
    this.#views = views;
    this.#main = main;
    this.#onRefused = onRefused;
    this.#onShown = onShown;
    this.#onStale = onStale;
    addEventListener("popstate", () => this.#current && this.#show());
    document.addEventListener("visibilitychange", () => this.refresh());
    document.addEventListener("close", () => this.refresh(), true); // a dialog, under which nothing was drawn
    document.addEventListener("click", (event) => this.#follow(event));
  }

  /** Show the view of the current address. */
  start() {
    this.#shown = null;
    return this.#show();
  }

  /** Remove the view, and stop what it waits for. */
  stop() {
    clearTimeout(this.#waiting);
    this.#waiting = null;
    this.#current?.abort();
    this.#current = this.#view = this.#shown = null;
    this.#main.replaceChildren();
  }

  go(path, { replace = false } = {}) {
    history[replace ? "replaceState" : "pushState"](null, "", path);
    return this.#show();
  }

  /** Load the view again if a frame of the live feed concerns it. */
  heard(name, data) {
    if (this.#view?.live?.(name, data)) this.refresh();
  }

  /** Draw a live view again with the latest data: soon, but not while something is being decided. */
  refresh(pause = this.#view?.pause ?? BETWEEN) {
    if (this.#waiting !== null || this.#current === null) return;
    const wait = Math.max(0, this.#refreshed + pause - Date.now());
    this.#waiting = setTimeout(() => {
      this.#waiting = null;
      const loading = this.#main.hasAttribute("aria-busy");
      if (this.#view?.live && !document.hidden && !isDeciding() && !loading) this.#show({ again: true });
    }, wait);
  }

  #follow(event) {
    const anchor = event.target.closest?.("a[href]");
    if (!anchor || event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || anchor.target) return;
    const { origin, pathname, search, hash } = new URL(anchor.href);
    if (origin !== location.origin || hash !== "" || !/^\/ops(\/|$)/.test(pathname)) return;
    if (this.#current === null) return; // signed out
    event.preventDefault();
    this.go(pathname + search);
  }

  async #show({ again = false } = {}) {
    this.#current?.abort();
    const controller = (this.#current = new AbortController());
    const { pathname, search } = location;
    this.#main.setAttribute("aria-busy", "true");
    const slow = setTimeout(() => this.#waitFor(controller.signal), SLOW);
    const view = await this.#load(pathname, new URLSearchParams(search), controller.signal, again);
    clearTimeout(slow);
    if (controller.signal.aborted) return;
    this.#main.removeAttribute("aria-busy");
    this.#refreshed = Date.now();
    if (view === STALE) return (this.#onStale(), this.refresh(AGAIN));
    if (view === null || (again && isDeciding())) return;
    this.#view = view;
    redraw(this.#main, ...view.content);
    document.title = view.title === "Operations" ? view.title : `${view.title} · Operations`;
    this.#onShown(pathname, view);
    if (this.#shown !== null && this.#shown !== pathname) {
      scrollTo(0, 0);
      this.#main.focus({ preventScroll: true });
    }
    this.#shown = pathname;
  }

  /** Say that a view is loading where nothing else is on the screen; a bar at the top shows it in any case. */
  #waitFor(signal) {
    if (!signal.aborted && this.#main.childElementCount === 0) this.#main.append(element("p", "quiet", "Loading…"));
  }

  /** Return the content of a view, or of the error that it ended with; null or STALE if there is nothing to show. */
  async #load(path, query, signal, again) {
    for (const [pattern, view] of this.#views) {
      const found = pattern.exec(path);
      if (!found) continue;
      const page = { query, signal, path, go: (to, options) => this.go(to, options), again: () => this.start() };
      try {
        return await view(page, ...found.slice(1).map(decoded));
      } catch (error) {
        if (signal.aborted) return null;
        if (error.status === 401 || error.status === 403) return (this.#onRefused(error), null);
        if (again && error.status !== 404) return STALE;
        return this.#failed(error);
      }
    }
    return this.#failed(noSuchPage());
  }

  #failed(error) {
    if (error.name !== "ApiError") reportError(error);
    const title = element("h1", "", error.status === 404 ? "Not found" : "This could not be loaded");
    const buttons = element("div", "buttons", button("Try again", () => this.start()));
    if (location.search !== "") buttons.append(link(location.pathname, "Without filters", "button"));
    return { title: "Not loaded", content: [element("div", "title", title, element("p", "", error.message)), buttons] };
  }
}

const isDeciding = () => document.querySelector("dialog[open]") !== null;

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    throw noSuchPage();
  }
}

const noSuchPage = () => new ApiError(404, "not_found", "There is no such page.");
