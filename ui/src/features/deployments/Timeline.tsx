import type { Deployment } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { useNow } from '@kit/format/now';
import { useText } from '@kit/i18n';
import { toldExactly } from '@kit/i18n/problem';
import { toneOfState } from './StateBadge';
import classes from './Timeline.module.css';
import { ended, stepsOf } from './timeline';

/** Every state with its moment and how long it took; what is still ahead stands there already, so nothing jumps. */
export function Timeline({ deployment }: { deployment: Deployment }) {
  const t = useText();
  const format = useFormat();
  const now = useNow(500, !ended(deployment.state));
  return (
    <ol className={classes.list}>
      {stepsOf(deployment, now).map((step) => (
        <li
          key={`${step.state}${step.at ?? ''}`}
          data-tone={step.at ? toneOfState(step.state) : 'ahead'}
          data-current={step.current || undefined}
          aria-current={step.current ? 'step' : undefined}
        >
          <span className={classes.state}>{t(`deployments:state.${step.state}`)}</span>
          <span className={classes.took}>{step.took === undefined ? '' : format.duration(step.took)}</span>
          <span className={classes.at}>{step.at ? <time dateTime={step.at}>{format.clock(step.at)}</time> : ''}</span>
          {step.notes.map((note) => (
            <span key={`${note.at}${note.code ?? ''}${note.message ?? ''}`} className={classes.note}>
              {toldExactly(note)}
            </span>
          ))}
        </li>
      ))}
    </ol>
  );
}
