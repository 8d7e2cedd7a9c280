import { expect, it } from 'vitest';
import { timed } from './buildlog';

const line = (text: string, at?: string) => ({ build_id: 'b', text, ...(at ? { at } : {}) });

it.each([
  ['a live line', line('#1 DONE', '2026-11-20T17:00:00Z'), '2026-11-20T16:59:00Z', '2026-11-20T17:00:00Z', '#1 DONE'],
  ['a packed line', line('17:52:54.042 #1 DONE'), '2026-11-20T17:52:50Z', '2026-11-20T17:52:54.042Z', '#1 DONE'],
  ['past midnight', line('00:00:02.500 ok'), '2026-11-20T23:59:50Z', '2026-11-21T00:00:02.500Z', 'ok'],
  ['clocks that differ', line('17:52:49.000 ok'), '2026-11-20T17:52:50Z', '2026-11-20T17:52:49.000Z', 'ok'],
  ['no time at all', line('plain text'), '2026-11-20T17:52:50Z', undefined, 'plain text'],
  ['no start', line('17:52:54.042 ok'), null, undefined, '17:52:54.042 ok'],
])('%s', (_, sent, startedAt, at, text) => {
  expect(timed(sent, startedAt)).toEqual({ at, text });
});
