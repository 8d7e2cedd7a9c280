import { expect, it } from 'vitest';
import { healthFrom, lineOf, words } from './health';

it('keeps the timings of the check before', () => {
  const before = { kind: 'http', path: '/old', interval: '5s', retries: 3 } as const;
  expect(healthFrom('http', 'ready', '', before)).toEqual({ kind: 'http', path: '/ready', interval: '5s', retries: 3 });
  expect(healthFrom('tcp', '/x', '', before)).toEqual({ kind: 'tcp', interval: '5s', retries: 3 });
  expect(healthFrom('default', '/x', '', before)).toBeNull();
});

it('reads a command line without a shell', () => {
  expect(words(`pg_isready -U "my user" 'x y'`)).toEqual(['pg_isready', '-U', 'my user', 'x y']);
  expect(words(lineOf(['a b', 'c', ''])).slice(0, 2)).toEqual(['a b', 'c']);
});
