import { useAction } from '@kit/api/query';
import type { Environment, Project } from '@kit/api/types';
import { useText } from '@kit/i18n';
import { Confirm } from '@kit/ui/Dialog';
import { LinkIcon, PlayIcon, RestartIcon, StopIcon } from '@kit/ui/icons';
import { Bone } from '@kit/ui/States';
import { StatusBadge } from '@kit/ui/Status';
import { Button } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { environmentKey, type Place, projectsKey, restartEnvironment, startEnvironment, stopEnvironment } from './api';
import classes from './ProjectHeader.module.css';

interface ProjectHeaderProps {
  project: Project;
  environment: Environment | undefined;
  place: Place;
  /** The newest deployment, drawn by who knows deployments. */
  newest: ReactNode;
  /** Chooses among environments, when there are several. */
  onEnvironment: (slug: string) => void;
}

/** Name, state, addresses, and what one can do to the whole. */
export function ProjectHeader({ project, environment, place, newest, onEnvironment }: ProjectHeaderProps) {
  const t = useText();
  const environments = project.environments ?? [];
  return (
    <div className={classes.head}>
      <div className={classes.title}>
        <h1>{project.name}</h1>
        <StatusBadge status={environment?.status ?? project.status} />
        {environments.length > 1 && (
          <select
            aria-label={t('projects:header.environment')}
            className={classes.environment}
            value={place.environment}
            onChange={(event) => onEnvironment(event.target.value)}
          >
            {environments.map((each) => (
              <option key={each.id} value={each.slug}>
                {each.slug}
              </option>
            ))}
          </select>
        )}
      </div>
      {environment && <Controls environment={environment} place={place} name={project.name} />}
      <div className={classes.meta}>
        {environment ? (
          <>
            {(environment.urls ?? []).map((url) => (
              <a key={url} href={url} target="_blank" rel="noreferrer" className={classes.url}>
                {url.replace(/^https?:\/\//, '').replace(/\/$/, '')} <LinkIcon size={13} />
              </a>
            ))}
            {newest}
          </>
        ) : (
          <Bone width={260} height={22} />
        )}
      </div>
    </div>
  );
}

function Controls({ environment, place, name }: { environment: Environment; place: Place; name: string }) {
  const t = useText();
  const [asking, setAsking] = useState(false);
  const stale = [environmentKey(place), projectsKey];
  const start = useAction(() => startEnvironment(place), { stale, success: t('projects:header.starting') });
  const restart = useAction(() => restartEnvironment(place), { stale, success: t('projects:header.restarting') });
  const stop = useAction(() => stopEnvironment(place), {
    stale,
    success: t('projects:header.stopping'),
    onSuccess: () => setAsking(false),
  });
  const nothing = !environment.release;
  return (
    <div className={classes.controls}>
      {environment.wanted === 'stopped' ? (
        <Button
          variant="default"
          leftSection={<PlayIcon size={14} />}
          loading={start.isPending}
          disabled={nothing}
          onClick={() => start.mutate()}
        >
          {t('projects:header.start')}
        </Button>
      ) : (
        <>
          <Button
            variant="default"
            leftSection={<RestartIcon size={15} />}
            loading={restart.isPending}
            disabled={nothing}
            onClick={() => restart.mutate()}
          >
            {t('projects:header.restart')}
          </Button>
          <Button
            variant="default"
            leftSection={<StopIcon size={14} />}
            disabled={nothing}
            onClick={() => setAsking(true)}
          >
            {t('projects:header.stop')}
          </Button>
        </>
      )}
      {asking && (
        <Confirm
          title={t('projects:header.stopTitle', { name })}
          hint={t('projects:header.stopHint')}
          confirm={t('projects:header.stop')}
          busy={stop.isPending}
          onConfirm={() => stop.mutate()}
          onClose={() => setAsking(false)}
        />
      )}
    </div>
  );
}
