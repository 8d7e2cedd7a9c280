import { useText } from '@kit/i18n';
import type { LogState } from '@kit/ui/useLog';
import classes from './LogStateText.module.css';

/** Whether lines are still coming. */
export function LogStateText({ state, paused }: { state: LogState; paused?: boolean }) {
  const t = useText();
  const shown = paused && state === 'live' ? 'paused' : state;
  const texts = {
    connecting: t('common:state.loading'),
    live: t('deployments:logs.live'),
    lost: t('deployments:logs.reconnecting'),
    ended: t('deployments:logs.ended'),
    paused: t('deployments:logs.paused'),
  };
  return (
    <span className={classes.state} data-state={shown} role="status">
      {texts[shown]}
    </span>
  );
}
