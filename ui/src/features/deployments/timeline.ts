import type { Deployment, DeploymentState, Moment } from '@kit/api/types';

/** One row of a timeline. `at` is absent for what has not happened yet; `took` is in ms and grows while `current`. */
export interface Step {
  state: DeploymentState;
  at: string | undefined;
  took: number | undefined;
  current: boolean;
  notes: Moment[];
}

const ends: readonly string[] = ['live', 'failed', 'cancelled', 'superseded'];

/** Whether a deployment will not change any more. */
export const ended = (state: DeploymentState) => ends.includes(state);

/** The way that is still ahead of each state; one that builds nothing is `releasing` at once. */
const ahead: Partial<Record<DeploymentState, DeploymentState[]>> = {
  queued: ['building', 'releasing', 'live'],
  building: ['releasing', 'live'],
  releasing: ['live'],
};

/**
 * The steps of a deployment: what happened, with how long each took, and what is still ahead. Several moments in one
 * state are notes of that step. `now` is in ms.
 */
export function stepsOf(deployment: Pick<Deployment, 'state' | 'kind' | 'timeline'>, now: number): Step[] {
  const steps: Step[] = [];
  for (const moment of deployment.timeline ?? []) {
    const last = steps.at(-1);
    if (last && last.state === moment.state) {
      last.notes.push(moment);
      continue;
    }
    if (last?.at) last.took = Date.parse(moment.at) - Date.parse(last.at);
    const state = moment.state as DeploymentState;
    steps.push({ state, at: moment.at, took: undefined, current: false, notes: tells(moment) ? [moment] : [] });
  }
  const last = steps.at(-1);
  if (last?.at && !ended(last.state)) {
    last.current = true;
    last.took = Math.max(0, now - Date.parse(last.at));
  }
  const next = ahead[deployment.state] ?? [];
  const skipsBuild = deployment.kind !== 'deploy';
  for (const state of next) {
    if (state === 'building' && skipsBuild) continue;
    steps.push({ state, at: undefined, took: undefined, current: false, notes: [] });
  }
  return steps;
}

const tells = (moment: Moment) => Boolean(moment.code || moment.message);

/** From the beginning to the end, or to now, in ms. */
export function tookOf(deployment: Pick<Deployment, 'created_at' | 'finished_at'>, now: number): number {
  const end = deployment.finished_at ? Date.parse(deployment.finished_at) : now;
  return Math.max(0, end - Date.parse(deployment.created_at));
}
