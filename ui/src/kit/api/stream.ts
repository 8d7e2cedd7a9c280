import { base, commonHeaders } from './client';
import { type Problem, problemFrom } from './problem';
import { type ServerEvent, sseReader } from './sse';

/** What a stream tells its owner. `onState` says whether it is connected; a gone or refused stream ends with `onProblem`. */
export interface StreamHandlers {
  onEvent: (event: ServerEvent) => void;
  onState?: (connected: boolean) => void;
  onProblem?: (problem: Problem) => void;
}

const longestWait = 30_000;

/** How long to wait before try number `attempt` (from 0): doubling from one second, with full jitter above half. */
export function backoff(attempt: number, random = Math.random): number {
  const top = Math.min(1000 * 2 ** attempt, longestWait);
  return top / 2 + (top / 2) * random();
}

/**
 * Follows a server-sent event stream until closed, an `end` event, or an answer that will not get better (4xx).
 * A lost connection is taken up again after a growing wait from the last id that was seen.
 */
export function openStream(path: string, handlers: StreamHandlers): () => void {
  const stop = new AbortController();
  void follow(path, handlers, stop.signal);
  return () => stop.abort();
}

async function follow(path: string, handlers: StreamHandlers, signal: AbortSignal) {
  let lastId: string | undefined;
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      const headers: Record<string, string> = { ...commonHeaders(), Accept: 'text/event-stream' };
      if (lastId !== undefined) headers['Last-Event-ID'] = lastId;
      const answer = await fetch(base + path, { headers, signal, cache: 'no-store' });
      if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) {
        handlers.onState?.(false);
        handlers.onProblem?.(problemFrom(answer.status, await answer.json().catch(() => undefined)));
        return;
      }
      if (answer.ok && answer.body) {
        handlers.onState?.(true);
        attempt = 0;
        const ended = await drain(answer.body, (event) => {
          if (event.id !== undefined) lastId = event.id;
          if (!signal.aborted) handlers.onEvent(event);
          return event.event === 'end';
        });
        if (ended) return;
      }
    } catch {
      // A broken connection is the ordinary end of a try; the next one follows below.
    }
    if (signal.aborted) return;
    handlers.onState?.(false);
    await pause(backoff(attempt), signal);
  }
}

async function drain(body: ReadableStream<Uint8Array>, take: (event: ServerEvent) => boolean): Promise<boolean> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const read = sseReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return false;
    for (const event of read(decoder.decode(value, { stream: true }))) {
      if (take(event)) {
        void reader.cancel();
        return true;
      }
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
