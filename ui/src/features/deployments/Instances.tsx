import { useData } from '@kit/api/query';
import type { Instance } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { useNow } from '@kit/format/now';
import { hasText, useText } from '@kit/i18n';
import { toldExactly } from '@kit/i18n/problem';
import { DataTable } from '@kit/ui/DataTable';
import { Section } from '@kit/ui/Section';
import { Bones, Empty, LoadFailed } from '@kit/ui/States';
import { Pill, type Tone } from '@kit/ui/Status';
import { getInstances, type Place, partKey } from './api';
import classes from './Instances.module.css';

type Observed = NonNullable<Instance['observed']>;

const tones: Record<Observed['state'], Tone> = {
  pending: 'calm',
  pulling: 'busy',
  starting: 'busy',
  ready: 'good',
  unready: 'doubt',
  restarting: 'busy',
  completed: 'good',
  failed: 'bad',
  stopping: 'busy',
  gone: 'calm',
  drifted: 'doubt',
  quarantined: 'doubt',
};

/** Three facts of each instance, apart: what should be, what was seen, and when it was seen last. */
export function Instances({ place }: { place: Place }) {
  const t = useText();
  const { data, error, refetch } = useData(partKey(place, 'instances'), () => getInstances(place));
  const items = data?.items ?? [];
  // Only operators are told on which server something runs.
  const named = items.some((instance) => instance.server);
  const serverColumn = {
    label: t('deployments:instances.server'),
    cell: (instance: Instance) => (
      <span className={classes.dim}>{instance.server?.name ?? t('deployments:instances.noServer')}</span>
    ),
  };
  return (
    <Section title={t('deployments:instances.title')} flush>
      {error && !data && <LoadFailed problem={error} retry={refetch} />}
      {!error && !data && <Bones rows={2} height={52} />}
      {data && items.length === 0 && (
        <Empty title={t('deployments:instances.empty')} hint={t('deployments:instances.emptyHint')} />
      )}
      {items.length > 0 && (
        <DataTable
          label={t('deployments:instances.title')}
          rows={items}
          rowKey={(instance) => instance.id}
          columns={[
            { label: t('deployments:instances.service'), cell: (instance) => <Named instance={instance} /> },
            {
              label: t('deployments:instances.desired'),
              cell: (instance) => (
                <Pill tone={instance.desired === 'running' ? 'good' : 'calm'}>
                  {t(`deployments:instances.${instance.desired}`)}
                </Pill>
              ),
            },
            {
              label: t('deployments:instances.observed'),
              wide: true,
              cell: (instance) => <Seen instance={instance} />,
            },
            { label: t('deployments:instances.seen'), cell: (instance) => <LastSeen instance={instance} /> },
            ...(named ? [serverColumn] : []),
          ]}
        />
      )}
    </Section>
  );
}

function Named({ instance }: { instance: Instance }) {
  const t = useText();
  return (
    <div className={classes.named}>
      <span>
        <strong>
          {instance.service}
          {!instance.task && <span className={classes.dim}> #{instance.index + 1}</span>}
        </strong>
        {instance.serving && <Pill tone="busy">{t('deployments:instances.serving')}</Pill>}
      </span>
      <span className={classes.dim}>
        {t('deployments:instances.release', { number: instance.release_number })}
        {instance.container_id && <code> {instance.container_id.slice(0, 12)}</code>}
      </span>
    </div>
  );
}

function Seen({ instance }: { instance: Instance }) {
  const t = useText();
  const format = useFormat();
  const now = useNow(30_000);
  const { observed, knowledge, last_seen_at: seen } = instance;
  if (knowledge === 'never' || !observed) return <Pill tone="calm">{t('deployments:instances.never')}</Pill>;
  const state = t(`deployments:observed.${observed.state}`);
  return (
    <div className={classes.named}>
      {knowledge === 'stale' && seen ? (
        <>
          <span>
            <Pill tone="doubt">{t('deployments:instances.unknownSince', { time: format.since(seen, now) })}</Pill>
          </span>
          <span className={classes.dim}>{t('deployments:instances.lastKnown', { state })}</span>
        </>
      ) : (
        <span>
          <Pill tone={tones[observed.state] ?? 'calm'}>{state}</Pill>
        </span>
      )}
      <Details observed={observed} />
    </div>
  );
}

function Details({ observed }: { observed: Observed }) {
  const t = useText();
  const facts: string[] = [];
  const code = observed.reason ? `instance_${observed.reason}` : undefined;
  if (observed.message || hasText(`problems:${code}`)) facts.push(toldExactly({ ...observed, code }));
  if (observed.exit_code !== 0 || observed.state === 'completed') {
    facts.push(t('deployments:instances.exit', { code: observed.exit_code }));
  }
  if (observed.restarts > 0) facts.push(t('deployments:instances.restarts', { count: observed.restarts }));
  if (observed.port) facts.push(t('deployments:instances.port', { port: observed.port }));
  if (facts.length === 0) return null;
  return <span className={classes.dim}>{facts.join(' · ')}</span>;
}

/** While the observation is current it is true at this moment, and there is no time in the past to tell. */
function LastSeen({ instance }: { instance: Instance }) {
  const t = useText();
  const format = useFormat();
  const now = useNow(10_000);
  const { knowledge, last_seen_at: seen } = instance;
  if (knowledge === 'current') return <span className={classes.dim}>{t('common:state.justNow')}</span>;
  if (knowledge === 'never' || !seen) {
    return <span className={classes.dim}>{t('deployments:instances.never')}</span>;
  }
  return (
    <time className={classes.dim} dateTime={seen} title={format.clock(seen)}>
      {format.ago(seen, now)}
    </time>
  );
}
