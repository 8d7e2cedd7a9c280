import type { Deployment } from '@kit/api/types';
import { expect, it } from 'vitest';
import { stepsOf, tookOf } from './timeline';

const at = (second: number) => new Date(Date.UTC(2026, 10, 20, 10, 0, second)).toISOString();
const now = Date.parse(at(30));
const steps = (state: Deployment['state'], kind: Deployment['kind'], timeline: Deployment['timeline']) =>
  stepsOf({ state, kind, timeline }, now).map((step) => [step.state, step.took, step.current, step.notes.length]);

it('lets the running step grow and shows what is ahead', () => {
  const timeline = [
    { state: 'queued', at: at(0) },
    { state: 'building', at: at(2) },
    { state: 'building', at: at(9), code: 'build_retry' },
  ];
  expect(steps('building', 'deploy', timeline)).toEqual([
    ['queued', 2000, false, 0],
    ['building', 28_000, true, 1],
    ['releasing', undefined, false, 0],
    ['live', undefined, false, 0],
  ]);
});

it('promises no build to what builds nothing', () => {
  expect(steps('queued', 'rollback', [{ state: 'queued', at: at(29) }]).map(([state]) => state)).toEqual([
    'queued',
    'releasing',
    'live',
  ]);
});

it('ends where the deployment ended', () => {
  const timeline = [
    { state: 'queued', at: at(0) },
    { state: 'failed', at: at(5) },
  ];
  expect(steps('failed', 'deploy', timeline)).toEqual([
    ['queued', 5000, false, 0],
    ['failed', undefined, false, 0],
  ]);
  expect(tookOf({ created_at: at(0), finished_at: at(5) }, now)).toBe(5000);
});
