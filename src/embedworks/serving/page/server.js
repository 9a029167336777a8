// Requests to the server the page came from, and what can go wrong with them.

const KEY = "embedworks-key";

export class ServerError extends Error {
  /** @param {{status?: number, code?: string, message?: string, retryAfter?: number, parameter?: string}} details */
  constructor({ status = 0, code = "unreachable", message = "", retryAfter = 0, parameter = null }) {
    super(message);
    Object.assign(this, { status, code, retryAfter, parameter });
  }
}

let key = null;
try {
  key = sessionStorage.getItem(KEY);
} catch {
  key = null; // storage is switched off: the key is asked for again after a reload
}

export function useKey(given) {
  key = given;
  try {
    sessionStorage.setItem(KEY, given);
  } catch {
    // kept for as long as the page is open
  }
}

/** GET a JSON document; parameters may be a list of pairs, in which a name may come twice. */
export async function ask(path, parameters = [], { signal } = {}) {
  return answered(path, parameters, { signal });
}

/** Change something: POST a JSON document, or DELETE. */
export async function send(path, body, { signal, method = "POST" } = {}) {
  const json = method === "POST" ? { content: JSON.stringify(body), type: "application/json" } : {};
  return answered(path, [], { signal, method, ...json });
}

async function answered(path, parameters, { signal, method = "GET", content, type }) {
  const address = new URL(path, document.baseURI);
  address.search = "";
  for (const [name, value] of parameters) address.searchParams.append(name, value);
  const headers = { ...(key ? { authorization: `Bearer ${key}` } : {}), ...(type ? { "content-type": type } : {}) };
  let response;
  try {
    response = await fetch(address, { signal, method, body: content, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError({});
  }
  let body;
  try {
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError({ status: response.status, code: "unreadable", message: "The answer is not JSON." });
  }
  if (!response.ok) {
    throw new ServerError({
      status: response.status,
      code: body.error?.code ?? "unknown",
      message: body.error?.message ?? "",
      parameter: body.error?.param ?? null,
      retryAfter: Number(response.headers.get("retry-after")) || 1,
    });
  }
  return body;
}
