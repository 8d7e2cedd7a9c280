import { useAction } from '@kit/api/query';
import type { Environment, Project } from '@kit/api/types';
import { useText } from '@kit/i18n';
import '@kit/ui/moreStyles';
import { ProblemBox } from '@kit/ui/ProblemBox';
import { Section } from '@kit/ui/Section';
import { Button, Switch, TextInput } from '@mantine/core';
import { useState } from 'react';
import { changeEnvironment, changeProject, environmentKey, type Place, projectKey, projectsKey } from './api';
import { DeleteDialog } from './DeleteDialog';
import classes from './Settings.module.css';

interface SettingsProps {
  project: Project;
  environment: Environment | undefined;
  place: Place;
  onRenamed: (project: Project) => void;
  onDeleted: () => void;
}

/** Name, port, and the end of a project. */
export function Settings({ project, environment, place, onRenamed, onDeleted }: SettingsProps) {
  const t = useText();
  const [deleting, setDeleting] = useState(false);
  return (
    <div className={classes.page}>
      <General project={project} onRenamed={onRenamed} />
      <OwnPort environment={environment} place={place} />
      <Section title={t('projects:settings.danger')} lead={t('projects:settings.dangerHint')}>
        <Button className={classes.danger} variant="default" onClick={() => setDeleting(true)}>
          {t('projects:settings.delete')}
        </Button>
      </Section>
      {deleting && (
        <DeleteDialog project={project} place={place} onDeleted={onDeleted} onClose={() => setDeleting(false)} />
      )}
    </div>
  );
}

function General({ project, onRenamed }: { project: Project; onRenamed: (project: Project) => void }) {
  const t = useText();
  const [name, setName] = useState(project.name);
  const [slug, setSlug] = useState(project.slug);
  const save = useAction(
    () =>
      changeProject(project.id, {
        name: name.trim() === project.name ? undefined : name.trim(),
        slug: slug === project.slug ? undefined : slug,
      }),
    {
      // Under its old name it is not to be found any more.
      stale: slug === project.slug ? [projectsKey, projectKey(slug)] : [projectsKey],
      success: t('projects:settings.saved'),
      quiet: true,
      onSuccess: onRenamed,
    },
  );
  const same = name.trim() === project.name && slug === project.slug;
  return (
    <Section title={t('projects:settings.general')}>
      <form
        className={classes.form}
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate();
        }}
      >
        <TextInput
          label={t('projects:settings.name')}
          value={name}
          onChange={(event) => setName(event.target.value)}
          required
          maxLength={100}
        />
        <TextInput
          label={t('projects:settings.slug')}
          description={t('projects:settings.slugHint')}
          value={slug}
          onChange={(event) => setSlug(event.target.value.toLowerCase())}
          required
          maxLength={40}
          spellCheck={false}
        />
        {save.error && <ProblemBox problem={save.error} />}
        <div>
          <Button type="submit" loading={save.isPending} disabled={same || !name.trim() || !slug}>
            {t('common:action.save')}
          </Button>
        </div>
      </form>
    </Section>
  );
}

function OwnPort({ environment, place }: { environment: Environment | undefined; place: Place }) {
  const t = useText();
  const change = useAction((wanted: boolean) => changeEnvironment(place, { own_port: wanted }), {
    stale: [environmentKey(place)],
  });
  const port = environment?.own_port ?? null;
  return (
    <Section title={t('projects:settings.ownPort')} lead={t('projects:settings.ownPortHint')}>
      <Switch
        label={port === null ? t('projects:settings.ownPort') : t('projects:settings.ownPortValue', { port })}
        checked={change.isPending ? change.variables : port !== null}
        disabled={!environment || change.isPending}
        onChange={(event) => change.mutate(event.target.checked)}
      />
    </Section>
  );
}
