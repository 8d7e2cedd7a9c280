import type { Deployment } from '@kit/api/types';
import { useText } from '@kit/i18n';
import { Link } from '@tanstack/react-router';
import classes from './Newest.module.css';
import { StateBadge } from './StateBadge';

/** The newest deployment in one line; said aloud when its state changes. */
export function Newest({ project, deployment }: { project: string; deployment: Deployment | null }) {
  const t = useText();
  if (!deployment) return <span className={classes.none}>{t('projects:header.noDeployment')}</span>;
  return (
    <span className={classes.newest}>
      <Link to="/projects/$project/deployments/$deployment" params={{ project, deployment: deployment.id }} search>
        {t('projects:header.newest', { number: deployment.number })}
      </Link>
      <StateBadge state={deployment.state} />
      <span className={classes.unseen} role="status">
        {t('deployments:page.announce', {
          number: deployment.number,
          state: t(`deployments:state.${deployment.state}`),
        })}
      </span>
    </span>
  );
}
