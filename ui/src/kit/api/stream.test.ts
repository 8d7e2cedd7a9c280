import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { backoff, openStream } from './stream';

const answer = (text: string) => new Response(text, { headers: { 'Content-Type': 'text/event-stream' } });

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

it('takes a broken stream up again from the last id it saw, and ends with "end"', async () => {
  const asked: (string | null)[] = [];
  const answers = ['id: 41\nevent: line\ndata: a\n\n', 'id: 42\nevent: line\ndata: b\n\nevent: end\n\n'];
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (_url, init) => {
    asked.push(new Headers(init?.headers).get('Last-Event-ID'));
    return answer(answers.shift() ?? '');
  });
  const lines: string[] = [];
  const states: boolean[] = [];
  openStream('/x', { onEvent: (event) => lines.push(event.data), onState: (state) => states.push(state) });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toEqual([null, '41']);
  expect(lines).toEqual(['a', 'b', '']);
  expect(states).toEqual([true, false, true]);
});

it('does not ask again for what is gone', async () => {
  const fetch = vi
    .spyOn(globalThis, 'fetch')
    .mockImplementation(
      async () => new Response(JSON.stringify({ code: 'not_found', detail: 'Gone.' }), { status: 404 }),
    );
  const problems: string[] = [];
  openStream('/x', { onEvent: () => {}, onProblem: (problem) => problems.push(problem.code) });
  await vi.advanceTimersByTimeAsync(120_000);
  expect(problems).toEqual(['not_found']);
  expect(fetch).toHaveBeenCalledTimes(1);
});

it('stops when it is closed', async () => {
  const fetch = vi.spyOn(globalThis, 'fetch').mockRejectedValue(new TypeError('offline'));
  const close = openStream('/x', { onEvent: () => {} });
  await vi.advanceTimersByTimeAsync(10);
  close();
  await vi.advanceTimersByTimeAsync(120_000);
  expect(fetch).toHaveBeenCalledTimes(1);
});

it('waits longer each time, up to half a minute', () => {
  expect([0, 1, 2, 10].map((attempt) => backoff(attempt, () => 1))).toEqual([1000, 2000, 4000, 30_000]);
  expect(backoff(3, () => 0)).toBe(4000);
});
