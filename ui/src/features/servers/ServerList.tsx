import { usePages } from '@kit/api/query';
import type { Server } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { useNow } from '@kit/format/now';
import { useText } from '@kit/i18n';
import { DataTable } from '@kit/ui/DataTable';
import { PlusIcon, ServerIcon } from '@kit/ui/icons';
import { PageHead } from '@kit/ui/Section';
import { Bones, Empty, LoadFailed } from '@kit/ui/States';
import { Pill, StatusBadge } from '@kit/ui/Status';
import { Button } from '@mantine/core';
import { useState } from 'react';
import { AddServer } from './AddServer';
import { getServers, serversKey } from './api';
import classes from './ServerList.module.css';

/** The machines, for operators. */
export function ServerList() {
  const t = useText();
  const { items, error, refetch, more, loadMore, loadingMore } = usePages<Server>(serversKey, getServers);
  const [adding, setAdding] = useState(false);
  return (
    <>
      <PageHead
        title={t('servers:list.title')}
        lead={t('servers:list.lead')}
        actions={
          <Button leftSection={<PlusIcon />} onClick={() => setAdding(true)}>
            {t('servers:list.add')}
          </Button>
        }
      />
      <div className={classes.surface}>
        {error && !items && <LoadFailed problem={error} retry={refetch} />}
        {!error && !items && <Bones rows={3} height={56} />}
        {items?.length === 0 && (
          <Empty icon={<ServerIcon size={26} />} title={t('servers:list.empty')} hint={t('servers:list.emptyHint')} />
        )}
        {items && items.length > 0 && <ServerTable servers={items} />}
      </div>
      {more && (
        <Button variant="default" mt="md" onClick={loadMore} loading={loadingMore}>
          {t('common:action.more')}
        </Button>
      )}
      {adding && <AddServer servers={items ?? []} onClose={() => setAdding(false)} />}
    </>
  );
}

function ServerTable({ servers }: { servers: Server[] }) {
  const t = useText();
  const format = useFormat();
  return (
    <DataTable
      label={t('servers:list.title')}
      rows={servers}
      rowKey={(server) => server.id}
      columns={[
        { label: t('servers:list.name'), cell: (server) => <Named server={server} /> },
        { label: t('servers:list.state'), cell: (server) => <State server={server} /> },
        { label: t('servers:list.seen'), cell: (server) => <Seen server={server} /> },
        {
          label: t('servers:list.capacity'),
          cell: (server) => (
            <span className={classes.dim}>
              {server.cpus > 0 &&
                `${t('servers:list.cpus', { count: server.cpus })} · ${format.bytes(server.memory_bytes)}`}
            </span>
          ),
        },
        { label: t('servers:list.disk'), cell: (server) => <Disk server={server} /> },
        {
          label: t('servers:list.instances'),
          cell: (server) => <span className={classes.dim}>{format.number(server.instances)}</span>,
        },
      ]}
    />
  );
}

function Named({ server }: { server: Server }) {
  const t = useText();
  const versions = [
    server.agent_version && t('servers:list.agent', { version: server.agent_version }),
    server.engine_version && t('servers:list.engine', { version: server.engine_version }),
  ].filter(Boolean);
  return (
    <div className={classes.named}>
      <strong>{server.name}</strong>
      <span className={classes.dim}>{versions.join(' · ')}</span>
      {server.engine_error && (
        <span className={classes.bad}>{t('servers:list.engineProblem', { message: server.engine_error })}</span>
      )}
      {server.gateway_error && (
        <span className={classes.bad}>{t('servers:list.gatewayProblem', { message: server.gateway_error })}</span>
      )}
    </div>
  );
}

function State({ server }: { server: Server }) {
  const t = useText();
  const format = useFormat();
  const now = useNow(30_000);
  if (server.knowledge === 'stale' && server.last_seen_at) {
    return <Pill tone="doubt">{t('servers:list.unknownSince', { time: format.since(server.last_seen_at, now) })}</Pill>;
  }
  if (server.knowledge === 'never') return <Pill tone="calm">{t('servers:list.never')}</Pill>;
  return <StatusBadge status={server.status} />;
}

function Seen({ server }: { server: Server }) {
  const format = useFormat();
  const t = useText();
  const now = useNow(10_000);
  if (server.knowledge === 'current') return <span className={classes.dim}>{t('common:state.justNow')}</span>;
  if (!server.last_seen_at) return <span className={classes.dim}>–</span>;
  return (
    <time className={classes.dim} dateTime={server.last_seen_at} title={format.clock(server.last_seen_at)}>
      {format.ago(server.last_seen_at, now)}
    </time>
  );
}

function Disk({ server }: { server: Server }) {
  const t = useText();
  const format = useFormat();
  if (server.disk_bytes === 0) return <span className={classes.dim}>–</span>;
  const text = t('servers:list.free', {
    free: format.bytes(server.disk_free_bytes),
    total: format.bytes(server.disk_bytes),
  });
  return (
    <div className={classes.named}>
      <span className={classes.dim}>{text}</span>
      <meter
        aria-label={t('servers:list.disk')}
        min={0}
        max={server.disk_bytes}
        low={server.disk_bytes * 0.8}
        high={server.disk_bytes * 0.92}
        optimum={0}
        value={server.disk_bytes - server.disk_free_bytes}
      />
    </div>
  );
}
