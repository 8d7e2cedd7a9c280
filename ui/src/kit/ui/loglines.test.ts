import { expect, it } from 'vitest';
import { append, emptyLog, plain, visible } from './loglines';

const esc = String.fromCharCode(27);
const line = (text: string) => ({ at: '2026-11-20T10:00:00Z', text });

it('keeps the newest lines and counts the others', () => {
  const log = append(append(emptyLog, [line('a'), line('b')], 3), [line('c'), line('d')], 3);
  expect(log.lines.map((each) => each.text)).toEqual(['b', 'c', 'd']);
  expect(log.dropped).toBe(1);
});

it('shows a line as a terminal would have left it', () => {
  expect(plain(`${esc}[1;31mred${esc}[0m text`)).toBe('red text');
  expect(plain('10 %\r50 %\r100 %')).toBe('100 %');
  expect(plain('dos\r')).toBe('dos');
  expect(plain('a\tb')).toBe('a    b');
});

it('draws only the rows in view', () => {
  expect(visible(0, 400, 20, 5000, 5)).toEqual({ from: 0, to: 25 });
  expect(visible(2000, 400, 20, 5000, 5)).toEqual({ from: 95, to: 125 });
  expect(visible(999_999, 400, 20, 30, 5)).toEqual({ from: 30, to: 30 });
});
