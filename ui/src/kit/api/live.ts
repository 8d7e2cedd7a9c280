import { useSyncExternalStore } from 'react';

let connected = true;
const listeners = new Set<() => void>();

/** Says whether the change stream is connected; the stream's owner calls it. */
export function setConnected(value: boolean) {
  if (connected === value) return;
  connected = value;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Whether changes arrive by themselves at the moment. */
export const useConnected = () => useSyncExternalStore(subscribe, () => connected);
