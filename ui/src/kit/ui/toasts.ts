import { useSyncExternalStore } from 'react';
import type { Problem } from '../api/problem';

/** Something said to the person in passing: a sentence, or a problem told in their language. */
export type Saying = { tone: 'good'; text: string } | { tone: 'bad'; problem: Problem };
export type Toast = Saying & { id: number };

const most = 4;
const goodFor = 5000;
const badFor = 15_000;

let toasts: Toast[] = [];
let nextId = 1;
const listeners = new Set<() => void>();

function set(next: Toast[]) {
  toasts = next;
  for (const listener of listeners) listener();
}

/** Shows a saying for some seconds. */
export function say(saying: Saying) {
  const toast = { ...saying, id: nextId++ };
  set([...toasts, toast].slice(-most));
  setTimeout(() => dismiss(toast.id), saying.tone === 'good' ? goodFor : badFor);
}

/** Takes one away. */
export function dismiss(id: number) {
  if (toasts.some((toast) => toast.id === id)) set(toasts.filter((toast) => toast.id !== id));
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** What is said at the moment. */
export const useToasts = () => useSyncExternalStore(subscribe, () => toasts);
