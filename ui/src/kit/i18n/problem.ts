import type { Problem } from '../api/problem';
import { currentLanguage, hasText, text, textOf } from '.';

interface Told {
  code?: string;
  message?: string;
  parameters?: Record<string, string>;
}

/** What the server said, in the person's language: by code and parameters, else its own English sentence. */
export function told({ code, message, parameters }: Told): string {
  const key = `problems:${code}`;
  if (code && hasText(key) && (filled(key, parameters) || !message)) return textOf(key, parameters);
  return message || text('problems:unexpected');
}

/** Like `told`, but in English the server's own sentence, which says more than the one that stands for its code. */
export const toldExactly = (what: Told): string =>
  currentLanguage() === 'en' && what.message ? what.message : told(what);

// A sentence with a hole that nothing fills is worse than an English one.
function filled(key: string, parameters: Record<string, string> = {}): boolean {
  const holes = textOf(key, { skipInterpolation: true }).matchAll(/{{(\w+)}}/g);
  return [...holes].every((hole) => parameters[hole[1] ?? ''] !== undefined);
}

/** What to do about it, when we know; undefined otherwise. */
export function advice({ code, parameters }: Told): string | undefined {
  const key = `problems:advice.${code}`;
  return code && hasText(key) ? textOf(key, parameters) : undefined;
}

/** A failed call as a sentence. */
export const problemText = (problem: Problem) =>
  told({ code: problem.code, message: problem.message, parameters: problem.parameters });
