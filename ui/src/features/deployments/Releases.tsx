import { useAction, usePages } from '@kit/api/query';
import type { Deployment, Release } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { useText } from '@kit/i18n';
import { DataTable } from '@kit/ui/DataTable';
import { Confirm } from '@kit/ui/Dialog';
import { UndoIcon } from '@kit/ui/icons';
import { Section } from '@kit/ui/Section';
import { Bones, Empty, LoadFailed } from '@kit/ui/States';
import { Pill } from '@kit/ui/Status';
import { Button } from '@mantine/core';
import { useState } from 'react';
import { deploy, environmentKey, getReleases, type Place, partKey } from './api';
import classes from './DeploymentList.module.css';

interface ReleasesProps {
  place: Place;
  onDeployed: (deployment: Deployment) => void;
}

/** What can be gone back to. */
export function Releases({ place, onDeployed }: ReleasesProps) {
  const t = useText();
  const format = useFormat();
  const { items, error, refetch, more, loadMore, loadingMore } = usePages<Release>(
    partKey(place, 'releases'),
    (cursor) => getReleases(place, cursor),
  );
  const [asking, setAsking] = useState<Release>();
  const rollback = useAction((release: Release) => deploy(place, { release_id: release.id }), {
    stale: [environmentKey(place)],
    quiet: true,
    onSuccess: onDeployed,
  });
  return (
    <Section title={t('deployments:releases.title')} lead={t('deployments:releases.lead')} flush>
      {error && !items && <LoadFailed problem={error} retry={refetch} />}
      {!error && !items && <Bones rows={4} height={48} />}
      {items?.length === 0 && (
        <Empty title={t('deployments:releases.empty')} hint={t('deployments:releases.emptyHint')} />
      )}
      {items && items.length > 0 && (
        <DataTable
          label={t('deployments:releases.title')}
          rows={items}
          rowKey={(release) => release.id}
          columns={[
            {
              label: t('deployments:releases.release'),
              cell: (release) => (
                <span className={classes.buttons}>
                  <strong>{t('deployments:releases.number', { number: release.number })}</strong>
                  {release.current && <Pill tone="good">{t('deployments:releases.current')}</Pill>}
                </span>
              ),
            },
            {
              label: t('deployments:releases.source'),
              cell: (release) => <span className={classes.dim}>{release.source.label}</span>,
            },
            {
              label: t('deployments:releases.services'),
              cell: (release) => <span className={classes.dim}>{(release.services ?? []).join(', ')}</span>,
            },
            {
              label: t('deployments:releases.made'),
              cell: (release) => <span className={classes.dim}>{format.dateTime(release.created_at)}</span>,
            },
            {
              label: t('common:table.actions'),
              actions: true,
              cell: (release) =>
                !release.current && (
                  <Button
                    size="xs"
                    variant="default"
                    leftSection={<UndoIcon size={14} />}
                    aria-label={t('deployments:releases.rollbackTo', { number: release.number })}
                    onClick={() => setAsking(release)}
                  >
                    {t('deployments:releases.rollback')}
                  </Button>
                ),
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
      {asking && (
        <Confirm
          title={t('deployments:releases.rollbackTitle', { number: asking.number })}
          hint={t('deployments:releases.rollbackHint')}
          confirm={t('deployments:releases.rollback')}
          busy={rollback.isPending}
          problem={rollback.error}
          onConfirm={() => rollback.mutate(asking)}
          onClose={() => {
            rollback.reset();
            setAsking(undefined);
          }}
        />
      )}
    </Section>
  );
}
