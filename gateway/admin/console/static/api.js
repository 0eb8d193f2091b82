// What the admin listener is asked. Reading is GET; what changes something carries the header no form can send.

export class Lost extends Error {}

async function answered(address, options) {
  let response;
  try {
    response = await fetch(address, { cache: "no-store", credentials: "omit", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Lost("the gateway does not answer");
  }
  return response;
}

/** JSON of an address; null when there is no such thing. */
export async function get(address, signal) {
  const response = await answered(address, { signal });
  if (response.status === 404) return null;
  if (!response.ok) throw new Lost(`the gateway answers ${response.status}`);
  return response.json();
}

/** Asks for a change. Gives status and JSON, or text when it is none. */
export async function post(address) {
  const response = await answered(address, { method: "POST", headers: { "x-gateway-admin": "1" } });
  const text = await response.text();
  try {
    return { ok: response.ok, status: response.status, body: JSON.parse(text) };
  } catch {
    return { ok: response.ok, status: response.status, body: text };
  }
}
