import { useText } from '@kit/i18n';
import { PauseIcon, PlayIcon } from '@kit/ui/icons';
import { LogView } from '@kit/ui/LogView';
import type { LogLine } from '@kit/ui/loglines';
import { ProblemBox } from '@kit/ui/ProblemBox';
import { Section } from '@kit/ui/Section';
import { useLog } from '@kit/ui/useLog';
import { Button } from '@mantine/core';
import { useState } from 'react';
import { logsPath, type Place } from './api';
import { LogStateText } from './LogStateText';
import classes from './RuntimeLogs.module.css';

function read(data: string): LogLine {
  const line = JSON.parse(data) as { at: string; service: string; stream: string; text: string };
  return { at: line.at, text: line.text, source: line.service, bad: line.stream === 'stderr' };
}

/** What the services say, as they say it. */
export function RuntimeLogs({ place, services }: { place: Place; services: string[] }) {
  const t = useText();
  const [service, setService] = useState('');
  const [paused, setPaused] = useState(false);
  const { log, state, problem, missed, clear } = useLog(logsPath(place, service || undefined), read, paused);
  return (
    <Section
      title={t('deployments:logs.title')}
      flush
      actions={
        <>
          <select
            className={classes.select}
            aria-label={t('deployments:logs.service')}
            value={service}
            onChange={(event) => setService(event.target.value)}
          >
            <option value="">{t('deployments:logs.all')}</option>
            {services.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
          <Button size="xs" variant="default" onClick={clear}>
            {t('deployments:logs.clear')}
          </Button>
          <Button
            size="xs"
            variant="default"
            aria-pressed={paused}
            leftSection={paused ? <PlayIcon size={12} /> : <PauseIcon size={13} />}
            onClick={() => setPaused(!paused)}
          >
            {paused ? t('deployments:logs.resume') : t('deployments:logs.pause')}
          </Button>
        </>
      }
    >
      <div className={classes.bar}>
        <LogStateText state={state} paused={paused} />
        <span className={classes.count}>
          {paused && missed > 0
            ? t('deployments:logs.missed', { count: missed })
            : t('deployments:logs.lines', { count: log.lines.length })}
        </span>
      </div>
      {problem && <ProblemBox problem={problem} />}
      <LogView
        log={log}
        label={t('deployments:logs.region')}
        height="max(320px, calc(100dvh - 360px))"
        waiting={t('deployments:logs.waiting')}
      />
    </Section>
  );
}
