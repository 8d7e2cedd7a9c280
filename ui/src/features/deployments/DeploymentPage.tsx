import { useData } from '@kit/api/query';
import type { Deployment } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { useNow } from '@kit/format/now';
import { useText } from '@kit/i18n';
import { LinkIcon } from '@kit/ui/icons';
import { Section } from '@kit/ui/Section';
import { Bones, LoadFailed } from '@kit/ui/States';
import { Pill } from '@kit/ui/Status';
import { Actions } from './Actions';
import { deploymentKey, getDeployment } from './api';
import { Builds } from './Builds';
import classes from './DeploymentPage.module.css';
import { Notes } from './Detected';
import { ErrorBox } from './ErrorBox';
import { StateBadge } from './StateBadge';
import { Timeline } from './Timeline';
import { ended, tookOf } from './timeline';

interface DeploymentPageProps {
  id: string;
  /** A retry made a new deployment. */
  onDeployed: (deployment: Deployment) => void;
}

/** One deployment: where it stands, since when, what it builds, and what to do when it failed. */
export function DeploymentPage({ id, onDeployed }: DeploymentPageProps) {
  const { data, error, refetch } = useData(deploymentKey(id), () => getDeployment(id));
  if (error && !data) return <LoadFailed problem={error} retry={refetch} />;
  if (!data) return <Bones rows={3} height={120} />;
  return <Loaded deployment={data} onDeployed={onDeployed} />;
}

function Loaded({ deployment, onDeployed }: { deployment: Deployment; onDeployed: (deployment: Deployment) => void }) {
  const t = useText();
  const notes = deployment.notes ?? [];
  return (
    <div className={classes.page}>
      <Head deployment={deployment} onDeployed={onDeployed} />
      {deployment.error && (
        <ErrorBox error={deployment.error}>
          <Actions deployment={deployment} onDeployed={onDeployed} only="retry" />
        </ErrorBox>
      )}
      <div className={classes.columns}>
        <div className={classes.side}>
          <Section title={t('deployments:page.timeline')}>
            <Timeline deployment={deployment} />
          </Section>
          <ServiceStates deployment={deployment} />
          {notes.length > 0 && (
            <Section title={t('deployments:page.notes')}>
              <Notes notes={notes} />
            </Section>
          )}
        </div>
        <Builds deployment={deployment} />
      </div>
    </div>
  );
}

function Head({ deployment, onDeployed }: { deployment: Deployment; onDeployed: (deployment: Deployment) => void }) {
  const t = useText();
  const format = useFormat();
  const now = useNow(1000, !ended(deployment.state));
  const state = t(`deployments:state.${deployment.state}`);
  return (
    <div className={classes.head}>
      <div className={classes.title}>
        <h2>{t('deployments:page.title', { number: deployment.number })}</h2>
        <StateBadge state={deployment.state} />
        <span className={classes.unseen} role="status">
          {t('deployments:page.announce', { number: deployment.number, state })}
        </span>
      </div>
      <Actions deployment={deployment} onDeployed={onDeployed} />
      <p className={classes.meta}>
        <span>{t(`deployments:kind.${deployment.kind}`)}</span>
        <span>{deployment.source.label}</span>
        {deployment.created_by && <span>{t('deployments:page.by', { name: deployment.created_by })}</span>}
        <span>{format.dateTime(deployment.created_at)}</span>
        <span>{t('deployments:page.total', { duration: format.duration(tookOf(deployment, now)) })}</span>
        {deployment.state === 'live' &&
          (deployment.urls ?? []).map((url) => (
            <a key={url} href={url} target="_blank" rel="noreferrer">
              {url.replace(/^https?:\/\//, '')} <LinkIcon size={13} />
            </a>
          ))}
      </p>
    </div>
  );
}

function ServiceStates({ deployment }: { deployment: Deployment }) {
  const t = useText();
  const services = deployment.services ?? [];
  if (services.length === 0) return null;
  return (
    <Section title={t('deployments:page.services')}>
      <ul className={classes.services}>
        {services.map((service) => (
          <li key={service.name}>
            <strong>{service.name}</strong>
            {service.kept ? (
              <Pill tone="calm">{t('deployments:page.kept')}</Pill>
            ) : (
              <Pill tone={service.ready >= service.wanted ? 'good' : deployment.state === 'failed' ? 'bad' : 'busy'}>
                {t('deployments:page.wanted', { ready: service.ready, wanted: service.wanted })}
              </Pill>
            )}
            {service.message && <span className={classes.message}>{service.message}</span>}
          </li>
        ))}
      </ul>
    </Section>
  );
}
