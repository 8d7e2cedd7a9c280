import { useCallback, useEffect, useRef, useState } from 'react';
import type { Problem } from '../api/problem';
import { openStream } from '../api/stream';
import { append, emptyLog, type Log, type LogLine, mostLines } from './loglines';

export type LogState = 'connecting' | 'live' | 'lost' | 'ended';

interface Followed {
  log: Log;
  state: LogState;
  problem: Problem | undefined;
  /** Lines that arrived while paused and are shown on resuming. */
  missed: number;
  clear: () => void;
}

const flushEvery = 80;

/**
 * Follows a log stream: `line` events become lines, `end` ends it. Lines are drawn in batches, so that a chatty log
 * costs no more than a few paints a second. A null path follows nothing.
 */
export function useLog(path: string | null, read: (data: string) => LogLine | undefined, paused = false): Followed {
  const [log, setLog] = useState<Log>(emptyLog);
  const [state, setState] = useState<LogState>('connecting');
  const [problem, setProblem] = useState<Problem>();
  const [missed, setMissed] = useState(0);
  const waiting = useRef<LogLine[]>([]);
  const hold = useRef(paused);
  const reader = useRef(read);
  reader.current = read;

  const flush = useCallback(() => {
    const lines = waiting.current;
    if (lines.length === 0) return;
    waiting.current = [];
    setMissed(0);
    setLog((before) => append(before, lines));
  }, []);

  useEffect(() => {
    hold.current = paused;
    if (!paused) flush();
  }, [paused, flush]);

  useEffect(() => {
    setLog(emptyLog);
    setState('connecting');
    setProblem(undefined);
    setMissed(0);
    waiting.current = [];
    if (path === null) return;
    const close = openStream(path, {
      onState: (connected) => setState(connected ? 'live' : 'lost'),
      onProblem: setProblem,
      onEvent: (event) => {
        if (event.event === 'end') setState('ended');
        if (event.event !== 'line') return;
        const line = reader.current(event.data);
        if (!line) return;
        waiting.current.push(line);
        if (waiting.current.length > mostLines) waiting.current.shift();
      },
    });
    const timer = setInterval(() => {
      if (hold.current) setMissed(waiting.current.length);
      else flush();
    }, flushEvery);
    return () => {
      clearInterval(timer);
      close();
    };
  }, [path, flush]);

  const clear = useCallback(() => setLog(emptyLog), []);
  return { log, state, problem, missed, clear };
}
