import type { Status } from '../api/types';
import { useText } from '../i18n';
import classes from './Status.module.css';

export type Tone = 'good' | 'busy' | 'bad' | 'doubt' | 'calm';

const tones: Record<Status, Tone> = {
  pending: 'calm',
  progress: 'busy',
  ready: 'good',
  stopped: 'calm',
  failed: 'bad',
  unknown: 'doubt',
  deleting: 'busy',
  deleted: 'calm',
  cancelled: 'calm',
};

/** The tone of a status word. */
export const toneOf = (status: Status): Tone => tones[status] ?? 'calm';

/** A word with a dot in its tone; the word says it all, the colour only helps. */
export function Pill({ tone, children }: { tone: Tone; children: string }) {
  return (
    <span className={classes.pill} data-tone={tone}>
      <span className={classes.dot} aria-hidden="true" />
      {children}
    </span>
  );
}

/** The status of anything that a person manages. */
export function StatusBadge({ status }: { status: Status }) {
  const t = useText();
  return <Pill tone={toneOf(status)}>{t(`common:status.${status}`)}</Pill>;
}
