import createClient from 'openapi-fetch';
import { problemFrom, unreachable } from './problem';
import type { paths } from './schema';

export const base = '/api/v1';
const organizationKey = 'pandu.organization';

/** The organization that the person works in: its slug, or null for the server's choice (the first membership). */
export const chosenOrganization = () => localStorage.getItem(organizationKey);

/** Chooses an organization for every later call; null forgets the choice. */
export function chooseOrganization(slug: string | null) {
  if (slug === null) localStorage.removeItem(organizationKey);
  else localStorage.setItem(organizationKey, slug);
}

/** Headers that every call carries. */
export function commonHeaders(): Record<string, string> {
  const organization = chosenOrganization();
  return organization ? { 'Pandu-Organization': organization } : {};
}

/** A key that makes a repeated POST the same POST. crypto.randomUUID is missing on plain http:// pages. */
export function idempotencyKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
}

// A browser drops its connections when an interface of its machine comes or goes: reading again is harmless, and a POST
// carries the key that makes it the same one.
async function fetchTwice(request: Request): Promise<Response> {
  if (request.method !== 'GET' && request.method !== 'POST') return globalThis.fetch(request);
  const again = request.clone();
  return globalThis.fetch(request).catch(() => globalThis.fetch(again));
}

/** The typed client. Wrap each call in `ok`. */
export const api = createClient<paths>({ baseUrl: `${location.origin}${base}`, fetch: fetchTwice });

api.use({
  onRequest({ request }) {
    for (const [name, value] of Object.entries(commonHeaders())) request.headers.set(name, value);
    if (request.method === 'POST') request.headers.set('Idempotency-Key', idempotencyKey());
    return request;
  },
});

/** The data of a call, or its Problem thrown. */
export async function ok<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call.catch(() => {
    throw unreachable();
  });
  if (!response.ok) throw problemFrom(response.status, error);
  return data as T;
}
