import { setConnected } from '@kit/api/live';
import { openStream } from '@kit/api/stream';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { applyChanges, type Change } from './changes';

const gather = 250;
const patience = 2500;
const afterFirstPaint = 300;

/** The one stream that keeps everything on screen fresh. It is opened after the first paint, and said lost after a moment only. */
export function useChanges() {
  const client = useQueryClient();
  useEffect(() => {
    let waiting: Change[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    let doubt: ReturnType<typeof setTimeout> | undefined;
    let wasLost = false;
    let close = () => {};
    const flush = () => {
      timer = undefined;
      applyChanges(client, waiting);
      waiting = [];
    };
    const onState = (connected: boolean) => {
      clearTimeout(doubt);
      if (!connected) {
        wasLost = true;
        doubt = setTimeout(() => setConnected(false), patience);
        return;
      }
      setConnected(true);
      // What changed in the meantime is unknown, unless the server could resume; asking again is cheap.
      if (wasLost) void client.invalidateQueries();
      wasLost = false;
    };
    const opener = setTimeout(() => {
      close = openStream('/changes', {
        onState,
        onProblem: (problem) => {
          setConnected(false);
          if (problem.status === 401) void client.invalidateQueries({ queryKey: ['me'] });
        },
        onEvent: ({ event, data }) => {
          if (event === 'reset') void client.invalidateQueries();
          if (event !== 'change') return;
          waiting.push(JSON.parse(data) as Change);
          timer ??= setTimeout(flush, gather);
        },
      });
    }, afterFirstPaint);
    return () => {
      clearTimeout(opener);
      clearTimeout(timer);
      clearTimeout(doubt);
      close();
    };
  }, [client]);
}
