import { useAction, useData } from '@kit/api/query';
import type { Project } from '@kit/api/types';
import { useText } from '@kit/i18n';
import { ProblemBox } from '@kit/ui/ProblemBox';
import { PageHead, Section } from '@kit/ui/Section';
import { Button, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData } from '@tanstack/react-query';
import { useState } from 'react';
import { createProject, getName, projectsKey } from './api';
import classes from './CreateProject.module.css';
import { longestSlug, proposeSlug } from './slug';

interface CreateProjectProps {
  /** Name of the archive that is deployed once the project exists. */
  archive?: string;
  onCreated: (project: Project) => void;
}

/** Name and subdomain of a new project, the latter checked while one types. */
export function CreateProject({ archive, onCreated }: CreateProjectProps) {
  const t = useText();
  const [name, setName] = useState(() => (archive ?? '').replace(/\.(zip|tgz|tar\.gz|tar)$/i, ''));
  const [ownSlug, setOwnSlug] = useState<string>();
  const slug = ownSlug ?? proposeSlug(name);
  const create = useAction(createProject, { stale: [projectsKey], quiet: true, onSuccess: onCreated });
  const check = useNameCheck(slug);
  return (
    <div className={classes.page}>
      <PageHead title={t('projects:create.title')} />
      <Section title={archive ? t('projects:create.archive', { name: archive }) : t('projects:create.title')}>
        <form
          className={classes.form}
          onSubmit={(event) => {
            event.preventDefault();
            create.mutate({ name: name.trim(), slug: slug || undefined });
          }}
        >
          <TextInput
            label={t('projects:create.name')}
            placeholder={t('projects:create.namePlaceholder')}
            value={name}
            onChange={(event) => setName(event.target.value)}
            required
            maxLength={100}
            autoFocus
            autoComplete="off"
          />
          <div>
            <TextInput
              label={t('projects:create.slug')}
              value={slug}
              onChange={(event) => setOwnSlug(event.target.value.toLowerCase())}
              required
              maxLength={longestSlug}
              autoComplete="off"
              spellCheck={false}
              aria-describedby="slug-check"
              error={check.bad}
            />
            <p id="slug-check" className={classes.check} aria-live="polite" data-good={check.good || undefined}>
              {check.text}
              {check.suggestion && (
                <button type="button" onClick={() => setOwnSlug(check.suggestion)}>
                  {t('projects:create.use', { suggestion: check.suggestion })}
                </button>
              )}
            </p>
          </div>
          {create.error && <ProblemBox problem={create.error} />}
          <div>
            <Button type="submit" loading={create.isPending} disabled={!name.trim() || check.bad}>
              {t('projects:create.submit')}
            </Button>
          </div>
        </form>
      </Section>
    </div>
  );
}

function useNameCheck(slug: string) {
  const t = useText();
  const [settled] = useDebouncedValue(slug, 250);
  const { data, isFetching } = useData(['name', settled], () => getName(settled), {
    enabled: settled !== '',
    placeholderData: keepPreviousData,
  });
  if (slug === '' || !data) return { text: slug === '' ? '' : t('projects:create.checking'), good: false, bad: false };
  if (settled !== slug || isFetching) return { text: t('projects:create.checking'), good: false, bad: false };
  if (data.available) {
    return { text: t('projects:create.available', { hostname: data.hostname ?? slug }), good: true, bad: false };
  }
  return {
    text: t(`projects:create.${data.reason ?? 'taken'}`, { slug }),
    good: false,
    bad: true,
    suggestion: data.suggestion,
  };
}
