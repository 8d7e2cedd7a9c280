import type { Health } from '@kit/api/types';

/** What the form's choice of health check can be: `default` is the image's own, else the port. */
export type HealthChoice = 'default' | Health['kind'];

/** The check that a form describes; the timings of the one before are kept. null is the default. */
export function healthFrom(choice: HealthChoice, path: string, command: string, before: Health | null): Health | null {
  if (choice === 'default') return null;
  const { kind: _kind, path: _path, command: _command, ...timings } = before ?? { kind: choice };
  if (choice === 'http') return { ...timings, kind: 'http', path: path.startsWith('/') ? path : `/${path}` };
  if (choice === 'command') return { ...timings, kind: 'command', command: words(command) };
  return { ...timings, kind: choice };
}

/** A command line as its words; quotes keep spaces together. No shell ever reads it. */
export function words(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}

/** The opposite of `words`. */
export const lineOf = (command: string[]) =>
  command
    .map((word) => (/[\s"']/.test(word) || word === '' ? (word.includes('"') ? `'${word}'` : `"${word}"`) : word))
    .join(' ');
