// Requests of a signed-in operator. The token is kept for this tab only and sent as a header, so that no other site
// can make the browser send it.

const BASE = "/api/v1/billing/operator";
const TOKEN = "billing-operator-token";
const PATIENCE = { GET: 30_000, POST: 120_000 }; // milliseconds for an answer: a dry run of many events takes its time

/** An answer other than 2xx, or none: `status` 0. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

export const session = {
  get token() {
    return sessionStorage.getItem(TOKEN);
  },
  set token(value) {
    if (value === null) sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, value);
  },
};

/** Get JSON from a path of the operator's API. Lists become repeated parameters. Raises ApiError. */
export const get = (path, query = {}, signal = undefined) =>
  request("GET", `${path}${asText(query)}`, undefined, signal);

/** Send JSON, and return the JSON of the answer. Raises ApiError. */
export const post = (path, body, signal = undefined) => request("POST", path, body, signal);

function asText(query) {
  const given = new URLSearchParams();
  for (const [name, values] of Object.entries(query)) {
    for (const value of [values].flat()) if (value !== null && value !== undefined) given.append(name, value);
  }
  return given.size === 0 ? "" : `?${given}`;
}

async function request(method, path, body, signal) {
  const headers = { ...authorization(), Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const ends = AbortSignal.timeout(PATIENCE[method]);
  try {
    const response = await fetch(`${BASE}${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, ends]) : ends,
    });
    if (response.ok) return await response.json();
    throw await problem(response);
  } catch (error) {
    if (error instanceof ApiError || signal?.aborted) throw error;
    throw new ApiError(0, "no_answer", changes(method, path) ? UNCERTAIN : "The server did not answer.");
  }
}

const UNCERTAIN =
  "The server did not answer. It may have done this nevertheless: look at the audit log before you try again.";
const changes = (method, path) => method === "POST" && !/(dry-run|selection|search)$/.test(path);

/** Open the live feed. Raises ApiError. */
export async function openFeed(signal) {
  const headers = { ...authorization(), Accept: "text/event-stream" };
  const response = await fetch(`${BASE}/live`, { headers, cache: "no-store", signal });
  if (!response.ok) throw await problem(response);
  return response.body;
}

const authorization = () => ({ Authorization: `Bearer ${session.token}` });

/** Return the error that an answer describes: problem details, or the other form of our server. */
async function problem(response) {
  const fallback = `The server answered ${response.status}.`;
  try {
    const body = await response.json();
    const { code, detail, message } = body.error ?? body;
    return Object.assign(new ApiError(response.status, code ?? "", detail ?? message ?? fallback), { body });
  } catch {
    return new ApiError(response.status, "", fallback); // a proxy's page, for example
  }
}
