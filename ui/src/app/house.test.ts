import { expect, it } from 'vitest';

const sources = import.meta.glob<string>('/src/**/*.{ts,tsx}', { eager: true, query: '?raw', import: 'default' });

/** The room of a file: kit, app, or features/NAME. */
function roomOf(path: string): string {
  const [, , first, second] = path.split('/');
  return first === 'features' ? `features/${second}` : (first ?? '');
}

function target(from: string, specifier: string): string | undefined {
  if (specifier.startsWith('@kit')) return 'kit';
  if (!specifier.startsWith('.')) return undefined;
  return roomOf(new URL(specifier, `file://${from}`).pathname);
}

/** What a source may not import: features know kit and themselves, kit knows nothing of ours. */
function broken(path: string, source: string): string[] {
  const room = roomOf(path);
  if (room === 'app') return [];
  return [...source.matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)]
    .map((match) => match[1] ?? '')
    .filter((specifier) => {
      const to = target(path, specifier);
      return to !== undefined && to !== room && to !== 'kit';
    })
    .map((specifier) => `${path} imports ${specifier}`);
}

it('sees a planted violation', () => {
  expect(broken('/src/features/projects/x.ts', "import { a } from '../deployments/api';")).toHaveLength(1);
  expect(broken('/src/kit/ui/x.ts', "const a = import('../../app/router');")).toHaveLength(1);
  expect(broken('/src/features/projects/x.ts', "import '@kit/ui/styles'; import { b } from './api';")).toEqual([]);
});

it('keeps app above features above kit', () => {
  expect(Object.keys(sources).length).toBeGreaterThan(50);
  expect(Object.entries(sources).flatMap(([path, source]) => broken(path, source))).toEqual([]);
});
