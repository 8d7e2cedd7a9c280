import { usePages } from '@kit/api/query';
import type { Deployment } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { useNow } from '@kit/format/now';
import { useText } from '@kit/i18n';
import { DataTable } from '@kit/ui/DataTable';
import { Section } from '@kit/ui/Section';
import { Bones, Empty, LoadFailed } from '@kit/ui/States';
import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { getDeployments, type Place, partKey } from './api';
import classes from './DeploymentList.module.css';
import { StateBadge } from './StateBadge';
import { ended, tookOf } from './timeline';

/** Every deployment of an environment, newest first. */
export function DeploymentList({ place }: { place: Place }) {
  const t = useText();
  const format = useFormat();
  const { items, error, refetch, more, loadMore, loadingMore } = usePages<Deployment>(
    partKey(place, 'deployments'),
    (cursor) => getDeployments(place, cursor),
  );
  const now = useNow(1000, items?.some((deployment) => !ended(deployment.state)) ?? false);
  return (
    <Section title={t('deployments:list.title')} flush>
      {error && !items && <LoadFailed problem={error} retry={refetch} />}
      {!error && !items && <Bones rows={5} height={48} />}
      {items?.length === 0 && <Empty title={t('deployments:list.empty')} hint={t('deployments:list.emptyHint')} />}
      {items && items.length > 0 && (
        <DataTable
          label={t('deployments:list.title')}
          rows={items}
          rowKey={(deployment) => deployment.id}
          columns={[
            {
              label: t('deployments:list.number'),
              cell: (deployment) => (
                <Link
                  className={classes.link}
                  to="/projects/$project/deployments/$deployment"
                  params={{ project: place.project, deployment: deployment.id }}
                  search
                >
                  {t(`deployments:kind.${deployment.kind}`)} {deployment.number}
                </Link>
              ),
            },
            {
              label: t('deployments:list.state'),
              cell: (deployment) => <StateBadge state={deployment.state} />,
            },
            {
              label: t('deployments:list.source'),
              cell: (deployment) => <span className={classes.dim}>{deployment.source.label}</span>,
            },
            {
              label: t('deployments:list.when'),
              cell: (deployment) => (
                <span className={classes.dim}>
                  {format.dateTime(deployment.created_at)}
                  {deployment.created_by && ` · ${t('deployments:list.by', { name: deployment.created_by })}`}
                </span>
              ),
            },
            {
              label: t('deployments:list.duration'),
              cell: (deployment) => <span className={classes.dim}>{format.duration(tookOf(deployment, now))}</span>,
            },
          ]}
        />
      )}
      {more && (
        <div className={classes.more}>
          <Button variant="default" onClick={loadMore} loading={loadingMore}>
            {t('common:action.more')}
          </Button>
        </div>
      )}
    </Section>
  );
}
