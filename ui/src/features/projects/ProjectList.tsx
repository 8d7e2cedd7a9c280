import { usePages } from '@kit/api/query';
import type { Project } from '@kit/api/types';
import { useFormat } from '@kit/format';
import { useNow } from '@kit/format/now';
import { useText } from '@kit/i18n';
import { LinkIcon, PlusIcon, UploadIcon } from '@kit/ui/icons';
import { PageHead } from '@kit/ui/Section';
import { Bones, Empty, LoadFailed } from '@kit/ui/States';
import { StatusBadge } from '@kit/ui/Status';
import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { getProjects, projectsKey } from './api';
import classes from './ProjectList.module.css';

interface ProjectListProps {
  /** Begins a new project; with the archive that was dropped, if one was. */
  onCreate: (file?: File) => void;
}

/** Every project of the organization. An archive dropped anywhere on it begins a new one. */
export function ProjectList({ onCreate }: ProjectListProps) {
  const t = useText();
  const { items, error, refetch, more, loadMore, loadingMore } = usePages<Project>(projectsKey, getProjects);
  const [over, setOver] = useState(false);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: dropping is one way of several; the button does the same
    <div
      className={classes.page}
      data-over={over || undefined}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node)) setOver(false);
      }}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        onCreate(event.dataTransfer.files[0]);
      }}
    >
      <PageHead
        title={t('projects:list.title')}
        actions={
          <Button leftSection={<PlusIcon />} onClick={() => onCreate()}>
            {t('projects:list.new')}
          </Button>
        }
      />
      {error && !items && <LoadFailed problem={error} retry={refetch} />}
      {!error && !items && <Bones rows={4} height={92} />}
      {items?.length === 0 && (
        <div className={classes.drop}>
          <Empty icon={<UploadIcon size={26} />} title={t('projects:list.empty')} hint={t('projects:list.emptyHint')}>
            <Button variant="default" onClick={() => onCreate()}>
              {t('projects:list.emptyAction')}
            </Button>
          </Empty>
        </div>
      )}
      {items && items.length > 0 && (
        <ul className={classes.grid}>
          {items.map((project) => (
            <ProjectCard key={project.id} project={project} />
          ))}
        </ul>
      )}
      {more && (
        <Button variant="default" mt="md" onClick={loadMore} loading={loadingMore}>
          {t('common:action.more')}
        </Button>
      )}
    </div>
  );
}

function ProjectCard({ project }: { project: Project }) {
  const t = useText();
  const format = useFormat();
  const now = useNow(30_000);
  const host = project.url?.replace(/^https?:\/\//, '').replace(/\/$/, '');
  return (
    <li className={classes.card}>
      <div className={classes.top}>
        <span className={classes.badge} aria-hidden="true">
          {[...project.name][0]?.toUpperCase()}
        </span>
        <Link to="/projects/$project" params={{ project: project.slug }} className={classes.name}>
          {project.name}
        </Link>
        <StatusBadge status={project.status} />
      </div>
      <div className={classes.bottom}>
        {project.url && host ? (
          <a
            className={classes.url}
            href={project.url}
            target="_blank"
            rel="noreferrer"
            aria-label={t('projects:list.open', { hostname: host })}
          >
            {host} <LinkIcon size={13} />
          </a>
        ) : (
          <span>{t('projects:list.noUrl')}</span>
        )}
        <span>{t('projects:list.updated', { when: format.ago(project.updated_at, now) })}</span>
      </div>
    </li>
  );
}
