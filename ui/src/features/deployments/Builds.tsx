import type { Build, Deployment } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { useNow } from '@kit/format/now';
import { useText } from '@kit/i18n';
import { toldExactly } from '@kit/i18n/problem';
import { LogView } from '@kit/ui/LogView';
import type { LogLine } from '@kit/ui/loglines';
import { Section } from '@kit/ui/Section';
import { Pill, type Tone } from '@kit/ui/Status';
import { useLog } from '@kit/ui/useLog';
import { useMemo, useState } from 'react';
import { buildLogPath } from './api';
import classes from './Builds.module.css';
import { type SentLine, timed } from './buildlog';
import { LogStateText } from './LogStateText';

const tones: Record<Build['state'], Tone> = {
  pending: 'calm',
  progress: 'busy',
  ready: 'good',
  failed: 'bad',
  cancelled: 'calm',
};

interface BuildLine extends LogLine {
  build: string;
}

/** What is built and its log, live; it begins where it broke off after a lost connection. */
export function Builds({ deployment }: { deployment: Deployment }) {
  const t = useText();
  const builds = deployment.builds ?? [];
  const [chosen, setChosen] = useState('');
  const names = useMemo(() => new Map(builds.map((build) => [build.id, (build.services ?? []).join(', ')])), [builds]);
  const several = builds.length > 1;
  const read = (data: string): BuildLine => {
    const line = JSON.parse(data) as SentLine;
    const started = builds.find((build) => build.id === line.build_id)?.started_at;
    return { build: line.build_id, ...timed(line, started), source: several ? names.get(line.build_id) : undefined };
  };
  const { log, state } = useLog(builds.length > 0 ? buildLogPath(deployment.id) : null, read);
  const shown = useMemo(
    () => (chosen ? { ...log, lines: log.lines.filter((line) => (line as BuildLine).build === chosen) } : log),
    [log, chosen],
  );
  if (builds.length === 0) {
    const waits = deployment.kind === 'deploy' && deployment.state === 'queued';
    return (
      <Section title={t('deployments:page.builds')}>
        <p className={classes.none}>{waits ? t('common:state.loading') : t('deployments:page.noBuild')}</p>
      </Section>
    );
  }
  return (
    <Section
      title={t('deployments:page.builds')}
      flush
      actions={
        several && (
          <select
            className={classes.filter}
            aria-label={t('deployments:page.filter')}
            value={chosen}
            onChange={(event) => setChosen(event.target.value)}
          >
            <option value="">{t('deployments:page.allBuilds')}</option>
            {builds.map((build) => (
              <option key={build.id} value={build.id}>
                {names.get(build.id)}
              </option>
            ))}
          </select>
        )
      }
    >
      <ul className={classes.builds}>
        {builds.map((build) => (
          <BuildRow key={build.id} build={build} />
        ))}
      </ul>
      <div className={classes.state}>
        <LogStateText state={state} />
      </div>
      <LogView log={shown} label={t('deployments:page.log')} height={420} waiting={t('deployments:logs.waiting')} />
    </Section>
  );
}

function BuildRow({ build }: { build: Build }) {
  const t = useText();
  const format = useFormat();
  const now = useNow(1000, build.state === 'progress');
  const took = build.started_at
    ? (build.finished_at ? Date.parse(build.finished_at) : now) - Date.parse(build.started_at)
    : 0;
  return (
    <li>
      <strong>{(build.services ?? []).join(', ')}</strong>
      <Pill tone={tones[build.state]}>{t(`deployments:phase.${build.state}`)}</Pill>
      {build.state === 'progress' && build.phase && <span className={classes.dim}>{build.phase}</span>}
      {build.attempt > 1 && (
        <span className={classes.dim}>{t('deployments:page.attempt', { number: build.attempt })}</span>
      )}
      <span className={classes.took}>{build.started_at && format.duration(Math.max(0, took))}</span>
      {build.error && <span className={classes.error}>{toldExactly(build.error)}</span>}
    </li>
  );
}
