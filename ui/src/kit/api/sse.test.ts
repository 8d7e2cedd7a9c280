import { expect, it } from 'vitest';
import { sseReader } from './sse';

it('gives events however the text is cut', () => {
  const stream = ': hello\nid: 7\nevent: line\ndata: {"a":1}\n\ndata: one\r\ndata: two\r\n\r\nevent: end\n\n';
  const whole = sseReader()(stream);
  expect(whole).toEqual([
    { event: 'line', data: '{"a":1}', id: '7' },
    { event: 'message', data: 'one\ntwo', id: '7' },
    { event: 'end', data: '', id: '7' },
  ]);
  for (let cut = 1; cut < stream.length; cut++) {
    const read = sseReader();
    expect([...read(stream.slice(0, cut)), ...read(stream.slice(cut))]).toEqual(whole);
  }
});

it('keeps an unfinished event to itself', () => {
  expect(sseReader()('event: line\ndata: half')).toEqual([]);
});
