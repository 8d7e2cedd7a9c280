import { HttpResponse, http, type JsonBodyType } from 'msw';
import { setupServer } from 'msw/node';
import { afterAll, afterEach, beforeAll } from 'vitest';

const base = '*/api/v1';

/** A network of our own for one test file; an unexpected call fails the test. */
export function network() {
  const server = setupServer();
  beforeAll(() => server.listen({ onUnhandledRequest: 'error' }));
  afterEach(() => server.resetHandlers());
  afterAll(() => server.close());
  return server;
}

/** Answers every GET of a path. */
export const gives = (path: string, body: JsonBodyType) => http.get(`${base}${path}`, () => HttpResponse.json(body));

/** Answers a call with a problem. */
export const refuses = (method: 'get' | 'post' | 'patch' | 'delete', path: string, status: number, problem: object) =>
  http[method](`${base}${path}`, () => HttpResponse.json({ status, title: '', ...problem }, { status }));

/** Takes a call, keeps its body in `calls`, and answers. */
export function takes(method: 'post' | 'patch', path: string, calls: unknown[], body: JsonBodyType, status = 200) {
  return http[method](`${base}${path}`, async ({ request }) => {
    calls.push(await request.json());
    return HttpResponse.json(body, { status });
  });
}
