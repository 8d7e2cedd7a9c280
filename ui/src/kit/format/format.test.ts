import { expect, it } from 'vitest';
import { formatFor } from '.';

const en = formatFor('en');

it.each([
  [0, '0ms'],
  [850, '850ms'],
  [1250, '1.3s'],
  [42_900, '42s'],
  [75_000, '1m 15s'],
  [3_720_000, '1h 2m'],
])('writes %d ms as %s', (ms, written) => {
  expect(en.duration(ms)).toBe(written);
});

it('writes sizes in steps of 1024', () => {
  expect([1, 1536, 256 * 1024 ** 2, 1.7 * 1024 ** 3].map(en.bytes)).toEqual(['1 byte', '1.5 kB', '256 MB', '1.7 GB']);
});

it('says when it was', () => {
  const now = Date.parse('2026-11-20T12:00:00Z');
  expect(en.ago('2026-11-20T11:59:40Z', now)).toBe('now');
  expect(en.ago('2026-11-20T11:38:00Z', now)).toBe('22 minutes ago');
  expect(formatFor('ru').ago('2026-11-17T12:00:00Z', now)).toBe('3 дня назад');
});
